"""The sum of two streams of integers."""

import dataclasses

import numpy as np
from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray
from abc_hw.network.edges import Integers

from ..parts.arith import ceil_div, extend, range_shape
from ..parts.flow import Flow, in_order
from ..parts.memory_plan import MemoryPlan
from ..parts.moments import Moments, in_turn
from ..parts.stream import code_stream

__all__ = ["Add", "AddPlan"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AddPlan:
    """The sum of two maps.

    Members
    -------
    one, other : what arrives, of equal shape
    lanes : numbers of a transfer, the same for both
    """

    one: Integers
    other: Integers
    lanes: int

    @property
    def shapes(self) -> tuple[Shape, Shape]:
        """Of the numbers that arrive."""
        one, other = (range_shape(edge.least, edge.greatest) for edge in (self.one, self.other))
        return one, other

    @property
    def o_shape(self) -> Shape:
        """Of a sum."""
        return range_shape(
            int((self.one.low + self.other.low).min()), int((self.one.high + self.other.high).max())
        )

    @property
    def transfers(self) -> int:
        """Of an image."""
        height, width, channels = self.one.shape
        return height * width * ceil_div(channels, self.lanes)

    @property
    def memories(self) -> list[MemoryPlan]:
        """None."""
        return []

    @property
    def latency(self) -> int:
        """Cycles from the later of two transfers to their sum."""
        return 1

    @property
    def flow(self) -> Flow:
        """From either input: a register holds a sum."""
        return in_order(self.transfers, 1)

    def moments(self, one: IntArray, other: IntArray) -> Moments:
        """When pairs are taken and sums offered, if nobody behind waits."""
        taken = in_turn(np.maximum(one, other))
        return Moments(taken, taken + self.latency)

    @property
    def cycles(self) -> int:
        """Cycles per image: one for each transfer."""
        return self.transfers


class Add(wiring.Component):
    """Adds two streams, transfer by transfer; waits for the later one.

    Equals the golden function ``add``. Lanes past the last channel carry what the sum of theirs is.

    Members
    -------
    i_one, i_other : In, streams of integers;  o : Out, stream of their sums
    """

    def __init__(self, plan: AddPlan) -> None:
        self._plan = plan
        one, other = plan.shapes
        super().__init__({
            "i_one": In(code_stream(plan.lanes, one)),
            "i_other": In(code_stream(plan.lanes, other)),
            "o": Out(code_stream(plan.lanes, plan.o_shape)),
        })

    @property
    def plan(self) -> AddPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        filled, take = Signal(), Signal()
        m.d.comb += [
            take.eq(self.i_one.valid & self.i_other.valid & (~filled | self.o.ready)),
            self.i_one.ready.eq(take),
            self.i_other.ready.eq(take),
            self.o.valid.eq(filled),
        ]
        with m.If(self.o.ready):
            m.d.sync += filled.eq(0)
        with m.If(take):
            m.d.sync += filled.eq(1)
            for lane in range(self._plan.lanes):
                total = self.i_one.payload[lane] + self.i_other.payload[lane]
                m.d.sync += self.o.payload[lane].eq(extend(total, self._plan.o_shape))
        return m
