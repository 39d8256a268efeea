"""Pools of any size, stride and padding: the greatest, or the sum, of each window of a map.

Both are separable: a window's rows are reduced first, then its columns. So one unit, which reduces along one axis,
stands twice.
"""

import dataclasses
from functools import cached_property
from typing import Any

import numpy as np
from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray
from abc_hw.network.edges import Edge
from abc_hw.network.nodes import MaxPool, SumPool

from ..parts.arith import ceil_div
from ..parts.flow import Flow, in_order
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.memory_plan import MemoryPlan
from ..parts.moments import Moments, in_turn
from ..parts.stream import CodeStream, code_stream
from .buffer import Buffer, BufferPlan
from .pointwise import edge_shape
from .reduce import Reduce, ReducePlan

__all__ = ["WindowPool", "WindowPoolPlan"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class WindowPoolPlan:
    """A pool node on a map.

    Members
    -------
    node : MaxPool or SumPool
    edge : what arrives
    lanes : numbers of a transfer
    technology : what memories can be made of
    """

    node: MaxPool | SumPool
    edge: Edge
    lanes: int
    technology: Technology = GENERIC

    @property
    def i_shape(self) -> Shape:
        """Of a number that arrives."""
        return edge_shape(self.edge)

    @cached_property
    def o_edge(self) -> Edge:
        """What leaves."""
        return self.node.output(self.edge)

    @property
    def o_shape(self) -> Shape:
        """Of a result."""
        return edge_shape(self.o_edge)

    @property
    def words(self) -> int:
        """Transfers of a pixel."""
        return ceil_div(self.edge.shape[2], self.lanes)

    @cached_property
    def axes(self) -> tuple[ReducePlan, ReducePlan]:
        """Along the rows, then along the columns."""
        node, (height, width, _) = self.node, self.edge.shape
        top, bottom, left, right = node.padding
        common: dict[str, Any] = {
            "sums": isinstance(node, SumPool), "lanes": self.lanes, "o_shape": self.o_shape,
            "technology": self.technology,
        }
        along = ReducePlan(
            length=width, inner=self.words, outer=height, size=node.size[1], stride=node.stride[1], before=left,
            after=right, i_shape=self.i_shape, **common,
        )
        down = ReducePlan(
            length=height, inner=along.windows * self.words, outer=1, size=node.size[0], stride=node.stride[0],
            before=top, after=bottom, i_shape=self.o_shape, **common,
        )
        return along, down

    @property
    def cycles(self) -> int:
        """Cycles per image."""
        return max(axis.cycles for axis in self.axes)

    @property
    def latency(self) -> int:
        """Cycles from the transfer that completes a window to the window's, if nothing waits."""
        return sum(axis.latency for axis in self.axes) + (0 if self.queue is None else self.queue.latency)

    @property
    def queue_depth(self) -> int:
        """Transfers between the two: what the rows bring while the columns step through rows behind the map."""
        along, down = self.axes
        behind = (down.steps - down.length) * down.inner
        return ceil_div(behind * along.windows, along.steps) + 1 if behind else 0

    @property
    def queue(self) -> BufferPlan | None:
        """Between the two, where there is one."""
        if not self.queue_depth:
            return None
        stream = CodeStream(self.lanes, self.o_shape)
        return BufferPlan(stream=stream, depth=self.queue_depth, technology=self.technology)

    @property
    def memories(self) -> list[MemoryPlan]:
        """All there are."""
        banks = [axis.memory for axis in self.axes for _ in range(axis.banks) if axis.memory is not None]
        return banks + ([] if self.queue is None else self.queue.memories)

    @property
    def flow(self) -> Flow:
        """Rows, then columns, with the queue between."""
        along, down = (axis.flow for axis in self.axes)
        if self.queue_depth:
            along = along.then(in_order(along.outputs, self.queue_depth))
        return along.then(down)

    def moments(self, offered: IntArray) -> Moments:
        """When transfers are taken and windows offered, if nobody behind waits."""
        along, down = self.axes
        rows = along.moments(offered)
        between = rows.given if self.queue is None else in_turn(rows.given + self.queue.latency)
        return Moments(rows.taken, down.moments(between).given)

    @cached_property
    def turned(self) -> list[int]:
        """For each transfer of a pixel a bit for each lane whose order is turned round: least, not greatest."""
        least = self.node.least if isinstance(self.node, MaxPool) else None
        flags = np.zeros(self.words * self.lanes, bool)
        if least is not None:
            flags[: least.size] = least
        rows = flags.reshape(self.words, self.lanes)
        return [sum(int(flag) << lane for lane, flag in enumerate(row)) for row in rows]


class WindowPool(wiring.Component):
    """Reduces each window of a map.

    Equals the golden functions ``max_pool`` and ``sum_pool``. Where a channel takes its least number, its bits are
    inverted on the way in and out, which turns their order round.

    Members
    -------
    i : In, stream;  o : Out, stream
    """

    def __init__(self, plan: WindowPoolPlan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(code_stream(plan.lanes, plan.i_shape)), "o": Out(code_stream(plan.lanes, plan.o_shape)),
        })

    @property
    def plan(self) -> WindowPoolPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        along, down = self._plan.axes
        m.submodules.along = first = Reduce(along)
        m.submodules.down = second = Reduce(down)
        self._connect(m, "in", self.i, first.i)
        if self._plan.queue is not None:
            m.submodules.queue = queue = Buffer(self._plan.queue)
            wiring.connect(m, first.o, queue.i)
            wiring.connect(m, queue.o, second.i)
        else:
            wiring.connect(m, first.o, second.i)
        self._connect(m, "out", second.o, self.o)
        return m

    def _connect(self, m: Module, name: str, source: object, target: object) -> None:
        """One stream to another, with the order of some lanes turned round."""
        plan = self._plan
        turned: Value = Const(plan.turned[0], plan.lanes)
        if len(set(plan.turned)) > 1:
            place = Signal(range(plan.words), name=f"{name}_place")
            with m.If(source.valid & source.ready):  # type: ignore[attr-defined]
                m.d.sync += place.eq(Mux(place == plan.words - 1, 0, place + 1))
            chosen = Signal(plan.lanes, name=f"{name}_turned")
            with m.Switch(place):
                for index, flags in enumerate(plan.turned):
                    with m.Case(index):
                        m.d.comb += chosen.eq(flags)
            turned = chosen
        m.d.comb += [target.valid.eq(source.valid), source.ready.eq(target.ready)]  # type: ignore[attr-defined]
        for lane in range(plan.lanes):
            number = Value.cast(source.payload[lane])  # type: ignore[attr-defined]
            flipped = number ^ turned[lane].replicate(len(number))
            m.d.comb += Value.cast(target.payload[lane]).eq(flipped)  # type: ignore[attr-defined]
