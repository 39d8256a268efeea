"""The network as a graph of nodes, and the chain of fused layers that some graphs are.

:class:`Graph` is what every network can be said as; :class:`abc_hw.network.Network` is the chain that one fused
engine per layer computes. :func:`graph_of` turns a chain into a graph, :func:`chain_of` a graph into a chain.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..validation import shown
from . import limits
from .bases import Bases, ScaleForm
from .edges import Codes, Edge, Integers, Shape
from .nodes import Conv, MaxPool, Node, Output, Scores, Table, Threshold
from .spec import Layer, Network

INPUT = "input"
"""The name by which nodes take the network's input."""

NO_BITS = {"name", "inputs", "scale", "offset"}
"""Fields of nodes that decide no bit by themselves (those of :class:`Scores`; another's offset is an array)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """Nodes in topological order, the last one :class:`Scores` or :class:`Output`.

    Members
    -------
    name : letters, digits, - and _
    input : the codes of an image
    signed : whether images are signed numbers of ``input.bases.bits`` bits; the sign bit is inverted on entry, so
        code = number + 2**(bits - 1)
    nodes : in order, each after the nodes that it takes from
    classes : one name per class, none where the last node is Output
    training : what is known of how it was trained (JSON values), for people; it changes no bit
    """

    name: str
    input: Codes
    signed: bool = False
    nodes: tuple[Node, ...]
    classes: tuple[str, ...] = ()
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        object.__setattr__(self, "classes", tuple(self.classes))
        if not (isinstance(self.name, str) and self.name.replace("-", "_").isidentifier()):
            raise NetworkError("name", "letters, digits, - and _, a letter first", shown(self.name))
        for where, name in (("name", self.name), *(("classes", name) for name in self.classes)):
            limits.check_name(where, name)
        limits.check_shape(INPUT, self.input.shape)
        if self.signed and self.input.bases.kind != "planes":
            raise NetworkError("signed", "bit-planes as input codes", f"{self.input.bases.kind} bases")
        self._check_order()
        self._connect()
        self._check_end()

    def _check_order(self) -> None:
        if not self.nodes:
            raise NetworkError("nodes", "at least one node", 0)
        limits.check_nodes(len(self.nodes))
        known = [INPUT]
        for index, node in enumerate(self.nodes):
            if node.name in known:
                raise NetworkError("nodes", "names that differ", f"{node.name} twice")
            for name in node.inputs:
                if name not in known:
                    raise NetworkError(f"{node.name}.inputs", "names of nodes before it", repr(name))
            if isinstance(node, Table) and index:
                raise NetworkError(node.name, "a table as the first node at most", f"node {index + 1}")
            known.append(node.name)

    def _connect(self) -> None:
        """All edges, and thresholds within the range of what they cut."""
        edges: dict[str, Edge] = {INPUT: self.input}
        nodes = []
        for node in self.nodes:
            arriving = [edges[name] for name in node.inputs]
            if isinstance(node, Threshold) and isinstance(arriving[0], Integers):
                node.output(*arriving)
                node = node.within(arriving[0])
            edge = node.output(*arriving)
            if isinstance(edge, Integers) and max(-edge.least, edge.greatest) >= 1 << 47:
                raise NetworkError(node.name, "values below 2**47", max(-edge.least, edge.greatest))
            limits.check_shape(node.name, edge.shape)
            edges[node.name] = edge
            nodes.append(node)
        object.__setattr__(self, "nodes", tuple(nodes))
        object.__setattr__(self, "_edges", edges)

    def _check_end(self) -> None:
        last = self.nodes[-1]
        taken = {name for node in self.nodes for name in node.inputs}
        for node in self.nodes[:-1]:
            if isinstance(node, Scores | Output):
                raise NetworkError(node.name, "one output, the last node", f"{last.name} behind it")
            if node.name not in taken:
                raise NetworkError(node.name, "a node that takes its output", "none")
        if not isinstance(last, Scores | Output):
            raise NetworkError(last.name, "scores or output as the last node", last.kind)
        classes = self.edges[last.name].shape[2] if isinstance(last, Scores) else 0
        if len(self.classes) != classes:
            raise NetworkError("classes", f"{classes} names, one per score", len(self.classes))

    # -- what is where ------------------------------------------------------------------------------------------

    @property
    def edges(self) -> Mapping[str, Edge]:
        """The output of each node by its name, and the input."""
        found: Mapping[str, Edge] = self._edges  # type: ignore[attr-defined]
        return found

    def arriving(self, node: Node) -> tuple[Edge, ...]:
        """The edges that a node takes."""
        return tuple(self.edges[name] for name in node.inputs)

    @cached_property
    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """Who takes the output of each node (and the input), in order; more than one is a fork."""
        return {name: tuple(node for node in self.nodes if name in node.inputs) for name in self.edges}

    @property
    def input_shape(self) -> Shape:
        """(H, W, C) of an image."""
        return self.input.shape

    @property
    def output(self) -> Edge:
        """What the last node hands out."""
        return self.edges[self.nodes[-1].name]

    @property
    def binary_macs(self) -> int:
        """XNOR-and-count operations for one image."""
        return sum(self.binary_macs_of(node) for node in self.nodes)

    def binary_macs_of(self, node: Node) -> int:
        """XNOR-and-count operations of one node for one image."""
        if not isinstance(node, Conv):
            return 0
        height, width, channels = self.edges[node.name].shape
        bases = node.weight_bases.count * node.input_bases.count
        return height * width * channels * node.dot_length * bases

    @property
    def weight_bits(self) -> int:
        """Bits of all weight codes."""
        return sum(node.weights.size * node.weight_bases.bits for node in self.nodes if isinstance(node, Conv))

    # -- digest -------------------------------------------------------------------------------------------------

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides a bit; equal digests mean equal scores on every image.

        That of :attr:`abc_hw.network.Network.digest` where the graph is a chain.
        """
        try:
            return chain_of(self).digest
        except NetworkError:
            return self._sha256()

    def _sha256(self) -> str:
        sha = hashlib.sha256()
        places = {name: index for index, name in enumerate(self.edges)}
        sha.update(json.dumps(["input", _plain(self.input.bases), self.input.shape, self.signed]).encode())
        for node in self.nodes:
            sha.update(json.dumps([node.kind, [places[name] for name in node.inputs]]).encode())
            for field in dataclasses.fields(node):
                value = getattr(node, field.name)
                if isinstance(value, np.ndarray):
                    sha.update(json.dumps([field.name, value.shape]).encode() + value.tobytes())
                elif field.name not in NO_BITS and not isinstance(value, ScaleForm):
                    sha.update(json.dumps([field.name, _plain(value)]).encode())
        return sha.hexdigest()


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if isinstance(value, Bases) else value


# -- chains -------------------------------------------------------------------------------------------------


def graph_of(network: Network) -> Graph:
    """The chain as a graph: for each layer a convolution of its name, and what follows it as ``name.threshold``,
    ``name.pool`` or ``name.scores``. The digests are equal, and :func:`chain_of` gives the chain back."""
    nodes = tuple(node for nodes in network.nodes_by_layer for node in nodes)
    return Graph(
        name=network.name, input=network.input, nodes=nodes, classes=network.classes,
        training=network.training,
    )


def chain_of(graph: Graph) -> Network:
    """The graph as a chain of fused layers: convolution, threshold and max-pool one after the other, scores last.

    Layers have the names of their convolutions, with _ for a dot. The max-pool may stand before or behind the
    threshold, which is the same. The scale that makes scores real
    numbers stays behind, for a layer has none.

    Raises
    ------
    NetworkError : naming the first node that no layer holds, and the reason
    """
    if graph.signed:
        raise NetworkError("signed", "unsigned images in a chain of layers", "signed ones")
    layers: list[Layer] = []
    rest = list(graph.nodes)
    shape = graph.input.shape
    while rest:
        conv = rest.pop(0)
        if not isinstance(conv, Conv):
            raise NetworkError(conv.name, "a convolution here in a chain of layers", conv.kind)
        if len(graph.consumers[conv.inputs[0]]) > 1:
            raise NetworkError(conv.name, "an input of its own in a chain of layers", f"fork {conv.inputs[0]}")
        follow: list[Node] = [conv]
        while rest and not isinstance(rest[0], Conv):
            if rest[0].inputs != (follow[-1].name,):
                expected = f"{follow[-1].name} as input in a chain of layers"
                raise NetworkError(rest[0].name, expected, ", ".join(rest[0].inputs))
            follow.append(rest.pop(0))
        name = conv.name.replace(".", "_")
        while name in {layer.name for layer in layers}:
            name += "_"
        layers.append(_layer(name, conv, follow[1:], shape))
        shape = layers[-1].out_shape
    return Network(name=graph.name, layers=tuple(layers), classes=graph.classes, training=graph.training)


def _layer(name: str, conv: Conv, follow: list[Node], shape: Shape) -> Layer:
    """The fused layer of a convolution on a map of ``shape`` and of all nodes up to the next one."""
    sides = conv.padding
    if len(set(sides)) > 1:
        raise NetworkError(f"{conv.name}.padding", "the same on all sides in a fused layer", sides)
    if sides[0] and conv.padding_code != 0:
        raise NetworkError(f"{conv.name}.padding_code", "0 in a fused layer", conv.padding_code)
    if conv.stride[0] != conv.stride[1]:
        raise NetworkError(f"{conv.name}.stride", "the same in both directions in a fused layer", conv.stride)
    if conv.groups != 1:
        raise NetworkError(f"{conv.name}.groups", "1 in a fused layer", conv.groups)
    pool, thresholds, bias = 1, None, None
    for node in follow:
        if isinstance(node, Threshold) and thresholds is None:
            thresholds = node.thresholds
        elif isinstance(node, MaxPool) and pool == 1:
            pool = _square(node)
        elif isinstance(node, Scores) and len(follow) == 1:
            bias = node.bias
        else:
            raise NetworkError(node.name, f"threshold, max_pool or scores behind {conv.name}", node.kind)
    return Layer(
        name=name, in_shape=shape, kernel=conv.kernel, stride=conv.stride[0],
        padding=sides[0], weight_bases=conv.weight_bases, input_bases=conv.input_bases, weights=conv.weights,
        alpha=conv.alpha, alpha_scale=conv.alpha_scale, beta=conv.beta, beta_scale=conv.beta_scale, pool=pool,
        thresholds=thresholds, bias=bias,
    )


def _square(pool: MaxPool) -> int:
    """The side of a pool that a fused layer has."""
    side = pool.size[0]
    if pool.size != pool.stride or pool.size[1] != side or any(pool.padding) or pool.least is not None:
        found = f"size {pool.size}, stride {pool.stride}, padding {pool.padding}"
        raise NetworkError(pool.name, "squares side by side without padding in a fused layer", found)
    return side
