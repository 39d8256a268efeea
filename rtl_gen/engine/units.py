# amaranth: UnusedElaboratable=no
"""The plan of each unit of a graph's accelerator, and the streams on both sides of it."""

from collections.abc import Sequence

from abc_hw.network.edges import Integers
from abc_hw.network.fused import Fused
from abc_hw.network.graph import INPUT, Graph
from abc_hw.network.nodes import Add as AddNode
from abc_hw.network.nodes import MaxPool, Node, SumPool, Threshold

from ..blocks.add import AddPlan
from ..blocks.correction import Correction, CorrectionPlan
from ..blocks.even import line_of
from ..blocks.pointwise import PointwisePlan
from ..blocks.search import SearchPlan, is_searched
from ..blocks.window_pool import WindowPoolPlan
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.stream import CodeStream
from .layer import LayerPlan
from .lowering import Unit

__all__ = ["OtherPlan", "UnitPlan", "first_of_input", "stream_out", "streams_in", "unit_plan"]

OtherPlan = CorrectionPlan | PointwisePlan | SearchPlan | WindowPoolPlan | AddPlan
"""Of a unit that is no convolution."""

UnitPlan = LayerPlan | OtherPlan


def unit_plan(unit: Unit, lanes: int, technology: Technology = GENERIC) -> OtherPlan:
    """The plan of a unit that is no convolution, and whose first input comes with so many lanes."""
    does, edge = unit.does, unit.arriving[0]
    if isinstance(does, Correction):
        assert isinstance(edge, Integers)
        assert isinstance(unit.edge, Integers)
        return CorrectionPlan(correction=does, edge=edge, o_edge=unit.edge, lanes=lanes, technology=technology)
    if isinstance(does, AddNode):
        one, other = unit.arriving
        assert isinstance(one, Integers)
        assert isinstance(other, Integers)
        return AddPlan(one=one, other=other, lanes=lanes)
    if isinstance(does, MaxPool | SumPool):
        return WindowPoolPlan(node=does, edge=edge, lanes=lanes, technology=technology)
    if isinstance(does, Threshold) and is_searched(does):
        assert isinstance(edge, Integers)
        line = line_of(does, edge)
        if line is not None:
            return PointwisePlan(node=line, edge=edge, lanes=lanes, technology=technology)
        return SearchPlan(node=does, edge=edge, lanes=lanes, technology=technology)
    assert isinstance(does, Node)
    return PointwisePlan(node=does, edge=edge, lanes=lanes, technology=technology)


def first_of_input(units: Sequence[Unit], graph: Graph) -> Unit | None:
    """The first convolution that images reach with as many channels as they have: it decides their lanes."""
    reached = {INPUT}
    for unit in units:
        if unit.inputs[0] in reached:
            if isinstance(unit.does, Fused):
                return unit
            if unit.edge.shape[2] == graph.input_shape[2]:
                reached.add(unit.name)
    return None


def stream_out(plan: UnitPlan) -> CodeStream:
    """What leaves a unit."""
    return plan.o if isinstance(plan, LayerPlan) else CodeStream(plan.lanes, plan.o_shape)


def streams_in(plan: UnitPlan) -> list[CodeStream]:
    """What a unit takes."""
    if isinstance(plan, LayerPlan):
        return [plan.i]
    if isinstance(plan, AddPlan):
        return [CodeStream(plan.lanes, shape) for shape in plan.shapes]
    return [CodeStream(plan.lanes, plan.i_shape)]
