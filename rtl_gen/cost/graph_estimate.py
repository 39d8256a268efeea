"""What the accelerator of a graph takes, before synthesis: cycles and block RAMs as they will be.

Look-up tables and flip-flops are told of convolutions, as those of chains of layers are; for the units between
them there are no coefficients.
"""

import dataclasses
from collections.abc import Mapping

from abc_hw.network import Graph, Network

from ..engine.accelerator import WeightSource
from ..engine.graph_plan import GraphPlan
from ..engine.layer import LayerPlan
from ..schedule import LayerFolding, useful
from .estimate import TARGETS, Area, Estimator, StoredMemory, estimate, total

__all__ = ["GraphEstimate", "UnitEstimate", "estimate_graph", "estimated_luts"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class UnitEstimate:
    """A unit, the buffers in front of it included.

    Members
    -------
    name, kind : of the unit
    folding : of a convolution
    cycles : per image, of the slowest part of it, lane adapters in front of it included
    area : LUTs and flip-flops of a convolution only
    memories : all of them
    """

    name: str
    kind: str
    folding: LayerFolding | None
    cycles: int
    area: Area
    memories: list[StoredMemory]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GraphEstimate:
    """An accelerator.

    Members
    -------
    plan : of the accelerator
    units : in topological order
    """

    plan: GraphPlan
    units: list[UnitEstimate]

    @property
    def area(self) -> Area:
        """Of all units; LUTs and flip-flops of the convolutions only."""
        return total(unit.area for unit in self.units)

    @property
    def useful(self) -> float:
        """Share of all XNOR gates and cycles that the network needs, :func:`abc_hw.rtl_gen.schedule.useful`."""
        return useful((layer.schedule for layer in self.plan.layers), self.plan.cycles)


def estimate_graph(graph: Graph, foldings: Mapping[str, LayerFolding], *, family: str = "ecp5") -> GraphEstimate:
    """
    Raises
    ------
    InputError
        if a folding does not fit.
    """
    plan = GraphPlan(network=graph, foldings=foldings, target=TARGETS[family])
    estimator = Estimator(graph, family)
    units = []
    for unit in plan.units:
        made = plan.plans[unit.name]
        takers = (unit.name, "output") if unit is plan.last else (unit.name,)
        buffers = [
            StoredMemory("buffer", memory) for (name, _), buffer in plan.between if name in takers
            for memory in buffer.memories
        ]
        if isinstance(made, LayerPlan):
            layer = estimator.layer(made)
            area, memories, folding = layer.area, layer.memories, made.folding
        else:
            memories, folding = [StoredMemory(unit.kind, memory) for memory in made.memories], None
            area = Area(brams=_blocks(memories))
        units.append(UnitEstimate(
            name=unit.name, kind=unit.kind, folding=folding, cycles=plan.rates[unit.name],
            area=area + Area(brams=_blocks(buffers)), memories=memories + buffers,
        ))
    return GraphEstimate(plan=plan, units=units)


def _blocks(memories: list[StoredMemory]) -> int:
    return sum(memory.mapped.cells for memory in memories if memory.mapped.kind == "block")


def estimated_luts(
    network: Network | Graph, foldings: Mapping[str, LayerFolding], family: str, weights: WeightSource = "rom"
) -> float:
    """Look-up tables of an accelerator; of a graph's those of its convolutions."""
    if isinstance(network, Graph):
        return estimate_graph(network, foldings, family=family).area.luts
    return estimate(network, foldings, family=family, weights=weights).area.luts
