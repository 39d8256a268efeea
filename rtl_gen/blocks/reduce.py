"""Windows along one axis of a map: the greatest, or the sum, of each."""

import dataclasses

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray

from ..parts.arith import ceil_div, extend
from ..parts.flow import Flow
from ..parts.memory import Memory
from ..parts.memory_mapping import Technology
from ..parts.memory_plan import MemoryPlan
from ..parts.moments import Moments, in_turn
from ..parts.stream import code_stream

__all__ = ["Reduce", "ReducePlan"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReducePlan:
    """Windows along one axis of a map.

    Members
    -------
    length : positions of the axis
    inner : transfers of each position
    outer : how often the axis is run through for an image
    size, stride : of the windows
    before, after : positions outside at either end, which count nothing
    sums : the sum of a window, or its greatest number
    lanes : numbers of a transfer
    i_shape, o_shape : of a number that arrives, and of a result
    technology : what memories can be made of
    """

    length: int
    inner: int
    outer: int
    size: int
    stride: int
    before: int
    after: int
    sums: bool
    lanes: int
    i_shape: Shape
    o_shape: Shape
    technology: Technology

    @property
    def windows(self) -> int:
        """Along the axis."""
        return (self.length + self.before + self.after - self.size) // self.stride + 1

    @property
    def banks(self) -> int:
        """Windows that overlap."""
        return ceil_div(self.size, self.stride)

    @property
    def steps(self) -> int:
        """Positions that are stepped through: those outside, behind the last, only as far as a window reaches."""
        return max(self.length, (self.windows - 1) * self.stride - self.before + self.size)

    @property
    def cycles(self) -> int:
        """Cycles per image."""
        return self.outer * self.steps * self.inner

    @property
    def latency(self) -> int:
        """Cycles from the transfer that completes a window to the window's."""
        return 1

    @property
    def memory(self) -> MemoryPlan | None:
        """The running results of a bank; a register where a position is one transfer."""
        if self.inner == 1:
            return None
        return MemoryPlan(
            width=self.lanes * self.o_shape.width, words=self.inner, write="word", held=True, registered=False,
            technology=self.technology, name="bank",
        )

    @property
    def flow(self) -> Flow:
        """A window comes with its last transfer, or the last of the axis; behind it nothing is taken."""
        last = np.arange(self.windows) * self.stride - self.before + self.size - 1
        within = np.minimum(last[:, None] * self.inner + np.arange(self.inner) + 1, self.length * self.inner)
        passes = np.arange(self.outer)[:, None] * self.length * self.inner
        need = (passes + within.reshape(1, -1)).reshape(-1).astype(np.int64)
        return Flow(self.outer * self.length * self.inner, need, need)

    def moments(self, offered: IntArray) -> Moments:
        """When transfers are taken and windows offered, if nobody behind waits."""
        passes = len(offered) // (self.length * self.inner)
        steps = np.full((passes, self.steps * self.inner), -1, np.int64)  # behind the axis at any time
        steps[:, : self.length * self.inner] = offered.reshape(passes, -1)
        taken = in_turn(steps.reshape(-1)).reshape(passes, self.steps, self.inner)
        closes = np.arange(self.windows) * self.stride - self.before + self.size - 1
        return Moments(taken[:, : self.length].reshape(-1), taken[:, closes].reshape(-1) + self.latency)


class Reduce(wiring.Component):
    """Reduces along one axis, position by position; windows that overlap have a bank of running results each.

    ::

        i --> read --> op --+--> o, at the last position of a window
                ^           |
                +-- bank <--+        banks: one for each window that is open at a time

    Takes a transfer in each cycle in which its output can move, but none at positions behind the axis' end.

    Members
    -------
    i : In, stream;  o : Out, stream
    """

    def __init__(self, plan: ReducePlan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(code_stream(plan.lanes, plan.i_shape)), "o": Out(code_stream(plan.lanes, plan.o_shape)),
        })

    @property
    def plan(self) -> ReducePlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        accepted, leaving, filled = Signal(), Signal(), Signal()
        place, real, wraps = self._position(m, accepted)
        held, held_place = Signal(plan.lanes * plan.o_shape.width), Signal.like(place)
        held_closing = Signal()
        number = Mux(real, self._arriving(), self._neutral)
        closings, results = [], []
        for bank in range(plan.banks):
            opens, is_open, closes = self._phase(m, bank, accepted & (place == plan.inner - 1), wraps)
            before = self._bank(m, bank, accepted, leaving, place, held_place)
            names = ("opens", "open", "closes")
            held_opens, held_open, held_closes = (Signal(name=f"{name}_{bank}") for name in names)
            result = self._op(held, before.read, held_opens)
            m.d.comb += [before.write.eq(result), before.enable.eq(leaving & held_open)]
            with m.If(accepted):
                m.d.sync += [held_opens.eq(opens), held_open.eq(is_open), held_closes.eq(closes)]
            closings.append(closes)
            results.append((held_closes, result))
        m.d.comb += [
            leaving.eq(filled & (~held_closing | self.o.ready)),
            accepted.eq((self.i.valid | ~real) & (~filled | leaving)),
            self.i.ready.eq(real & (~filled | leaving)),
            self.o.valid.eq(filled & held_closing),
        ]
        for closes, result in results:
            with m.If(closes):
                m.d.comb += self.o.payload.eq(result)
        with m.If(leaving):
            m.d.sync += filled.eq(0)
        with m.If(accepted):
            m.d.sync += [
                filled.eq(1), held.eq(number), held_place.eq(place), held_closing.eq(Cat(closings).any()),
            ]
        return m

    # -- numbers ----------------------------------------------------------------------------------------------

    def _arriving(self) -> Value:
        """The transfer, each number in the shape of a result."""
        return Cat(extend(self.i.payload[lane], self._plan.o_shape) for lane in range(self._plan.lanes))

    @property
    def _neutral(self) -> Value:
        """What changes no result: 0 for a sum, otherwise the least number."""
        shape = self._plan.o_shape
        least = 1 << (shape.width - 1) if shape.signed and not self._plan.sums else 0
        return Cat(Const(least, shape.width) for _ in range(self._plan.lanes))

    def _fields(self, word: Value) -> list[Value]:
        shape = self._plan.o_shape
        fields = [word[lane * shape.width :][: shape.width] for lane in range(self._plan.lanes)]
        return [field.as_signed() if shape.signed else field for field in fields]

    def _op(self, held: Value, before: Value, opens: Value) -> Value:
        """The running results with the held numbers in."""
        results = []
        for number, old in zip(self._fields(held), self._fields(before), strict=True):
            greater = Mux(old > number, old, number)
            joined = extend(number + old, self._plan.o_shape) if self._plan.sums else greater
            results.append(Mux(opens, number, joined)[: self._plan.o_shape.width])
        return Cat(results)

    # -- where -------------------------------------------------------------------------------------------------

    def _position(self, m: Module, accepted: Value) -> tuple[Signal, Value, Value]:
        """(transfer within the position, does the position exist, is it the axis' last)"""
        plan = self._plan
        place, position = Signal(range(plan.inner)), Signal(range(plan.steps))
        wraps = position == plan.steps - 1
        with m.If(accepted):
            m.d.sync += place.eq(Mux(place == plan.inner - 1, 0, place + 1))
            with m.If(place == plan.inner - 1):
                m.d.sync += position.eq(Mux(wraps, 0, position + 1))
        return place, position < plan.length, wraps

    def _phase(self, m: Module, bank: int, moves: Value, wraps: Value) -> tuple[Value, Value, Value]:
        """Of a bank's window at the position: (is it the window's first that exists, is it open, its last)."""
        plan = self._plan
        period = plan.banks * plan.stride
        start = (plan.before - bank * plan.stride) % period
        begun = bank * plan.stride <= plan.before and bank < plan.windows
        phase = Signal(range(period), init=start, name=f"phase_{bank}")
        running = Signal(init=begun, name=f"running_{bank}")  # a window of this pass, not one before the axis
        first = Signal(init=1, name=f"first_{bank}")
        with m.If(moves):
            m.d.sync += [phase.eq(Mux(wraps, start, Mux(phase == period - 1, 0, phase + 1))), first.eq(wraps)]
            m.d.sync += running.eq(Mux(wraps, int(begun), running | (phase == period - 1)))
        is_open = running & (phase < plan.size)
        return first | (phase == 0), is_open, is_open & (phase == plan.size - 1)

    def _bank(
        self, m: Module, bank: int, accepted: Value, leaving: Value, place: Signal, held_place: Signal
    ) -> "_Bank":
        """Running results of a bank: read as a transfer is taken, written as it leaves."""
        plan = self._plan
        width = plan.lanes * plan.o_shape.width
        found = _Bank(
            Signal(width, name=f"read_{bank}"), Signal(width, name=f"write_{bank}"), Signal(name=f"en_{bank}")
        )
        if plan.memory is None:  # the next transfer needs it in the next cycle: a register
            with m.If(found.enable):
                m.d.sync += found.read.eq(found.write)
            return found
        m.submodules[f"bank_{bank}"] = memory = Memory(plan.memory)
        m.d.comb += [
            memory.addr.eq(place), memory.en.eq(accepted), found.read.eq(memory.data),
            memory.write.addr.eq(held_place), memory.write.data.eq(found.write), memory.write.en.eq(found.enable),
        ]
        return found


@dataclasses.dataclass(frozen=True)
class _Bank:
    read: Signal
    write: Signal
    enable: Signal
