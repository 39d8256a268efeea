"""From a graph of nodes to the units of an accelerator: what is one engine, what a unit of its own."""

import dataclasses

from abc_hw.network.edges import Codes, Edge
from abc_hw.network.fused import Fused
from abc_hw.network.graph import INPUT, Graph
from abc_hw.network.nodes import Conv, MaxPool, Node, Output, Scores, Threshold

from ..blocks.correction import Correction
from ..blocks.search import is_searched

__all__ = ["Unit", "units_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """A unit of the accelerator.

    Members
    -------
    name : of the node whose output it hands out, and so of the unit
    does : a fused convolution, a correction behind one, or the node that it computes by itself
    inputs : names of the units that it takes from, "input" for the accelerator's
    arriving : their edges
    edge : what it hands out
    """

    name: str
    does: Fused | Correction | Node
    inputs: tuple[str, ...]
    arriving: tuple[Edge, ...]
    edge: Edge

    @property
    def kind(self) -> str:
        """Of the node that it computes; a correction is none."""
        if isinstance(self.does, Fused):
            return Conv.kind
        return "correction" if isinstance(self.does, Correction) else self.does.kind


def units_of(graph: Graph) -> tuple[Unit, ...]:
    """Units in topological order; the last one hands out what the network does."""
    found: list[Unit] = []
    place: dict[str, str] = {INPUT: INPUT}
    edges: dict[str, Edge] = {INPUT: graph.input}
    done: set[str] = set()
    for node in graph.nodes:
        if node.name in done:
            continue
        made, last = _lower(graph, node, place, edges)
        done |= set(last)
        for unit in made:
            edges[unit.name] = unit.edge
            found.append(unit)
        for name in last:
            place[name] = made[-1].name if made else place[node.inputs[0]]  # an output is what it takes
    return tuple(found)


def _lower(
    graph: Graph, node: Node, place: dict[str, str], edges: dict[str, Edge]
) -> tuple[list[Unit], list[str]]:
    """(units of a node, nodes whose output the last of them hands out)."""
    inputs = tuple(place[name] for name in node.inputs)
    arriving = tuple(edges[name] for name in inputs)
    if isinstance(node, Output):
        return [], [node.name]
    if isinstance(node, Conv):
        return _convolution(graph, node, inputs[0], arriving[0])
    unit = Unit(name=node.name, does=node, inputs=inputs, arriving=arriving, edge=graph.edges[node.name])
    return [unit], [node.name]


def _convolution(graph: Graph, conv: Conv, source: str, edge: Edge) -> tuple[list[Unit], list[str]]:
    """An engine of a convolution; a correction behind it where positions outside have no code, or several."""
    assert isinstance(edge, Codes)
    if not conv.has_one_code:
        return _corrected(graph, conv, source, edge)
    follow = _followers(graph, conv)
    names = [conv.name, *(node.name for node in follow)]
    threshold = next((node for node in follow if isinstance(node, Threshold)), None)
    scores = next((node for node in follow if isinstance(node, Scores)), None)
    pool = next((node for node in follow if isinstance(node, MaxPool)), None)
    fused = Fused(
        conv=dataclasses.replace(conv, padding_code=int(conv.padding_codes[0])), in_shape=edge.shape,
        thresholds=None if threshold is None else threshold.thresholds, pool=1 if pool is None else pool.size[0],
        bias=None if scores is None else scores.bias,
    )
    unit = Unit(name=names[-1], does=fused, inputs=(source,), arriving=(edge,), edge=graph.edges[names[-1]])
    return [unit], names


def _corrected(graph: Graph, conv: Conv, source: str, edge: Codes) -> tuple[list[Unit], list[str]]:
    """Positions outside are read as code 0, and what they add is taken off behind the engine."""
    outside = Conv(**{field.name: getattr(conv, field.name) for field in dataclasses.fields(conv)} | {
        "name": f"{conv.name}.padded", "padding_code": 0,
    })
    fused = Fused(conv=outside, in_shape=edge.shape)
    padded = Unit(name=outside.name, does=fused, inputs=(source,), arriving=(edge,), edge=outside.output(edge))
    correction = Correction.of(conv, edge.shape)
    unit = Unit(
        name=conv.name, does=correction, inputs=(padded.name,), arriving=(padded.edge,),
        edge=graph.edges[conv.name],
    )
    return [padded, unit], [conv.name]


def _followers(graph: Graph, conv: Conv) -> list[Node]:
    """The nodes behind a convolution that its engine computes too: nobody else takes what is between."""
    found: list[Node] = []
    name, kinds = conv.name, [Threshold, MaxPool, Scores]
    while len(graph.consumers[name]) == 1:
        (node,) = graph.consumers[name]
        if type(node) not in kinds or (isinstance(node, MaxPool) and not _is_square(node)):
            break
        if isinstance(node, Threshold) and is_searched(node):
            break
        kinds.remove(type(node))
        found.append(node)
        name = node.name
    if any(isinstance(node, Threshold) for node in found):
        return found
    return found[:1] if found and isinstance(found[0], Scores) else []


def _is_square(pool: MaxPool) -> bool:
    side = pool.size[0]
    return pool.size == pool.stride == (side, side) and not any(pool.padding) and pool.least is None
