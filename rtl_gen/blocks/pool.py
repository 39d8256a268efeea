"""Max-pool on a stream of level codes."""

import dataclasses
import itertools
from functools import cached_property, reduce

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray

from ..parts.arith import bits_of, ceil_div
from ..parts.delay import delayed
from ..parts.flow import Flow, in_order
from ..parts.loops import LoopNest, Loops
from ..parts.memory import Memory
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.memory_plan import MemoryPlan
from ..parts.moments import Moments, through_row
from ..parts.stream import CodeStream, MapShape
from ..parts.timing import Aside, Row, Taken

__all__ = ["MaxPool", "PoolPlan"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """The greatest of each square of pixels.

    Members
    -------
    shape : of the map that comes in
    side : of the square, and its stride
    i : what comes in; codes are unsigned. Its pixels divide the side, or the side divides them
    technology : of its memory
    """

    shape: MapShape
    side: int
    i: CodeStream
    technology: Technology = GENERIC

    def __post_init__(self) -> None:
        most = min(self.shape[:2])
        if self.side < 2 or self.side > most:
            raise ValueError(f"Pool side must be from 2 to {most}, not {self.side}")
        if self.i.px % self.side and self.side % self.i.px:
            raise ValueError(f"Pool side must divide, or be a multiple of, {self.i.px} pixels, not {self.side}")

    @property
    def o(self) -> CodeStream:
        """What leaves."""
        return dataclasses.replace(self.i, px=self.squares)

    @property
    def squares(self) -> int:
        """Squares of a transfer."""
        return max(self.i.px // self.side, 1)

    @property
    def along(self) -> int:
        """Groups of pixels in a row of a square."""
        return max(self.side // self.i.px, 1)

    @property
    def pixel_groups(self) -> int:
        """Groups of pixels of a row."""
        return ceil_div(self.shape[1], self.i.px)

    @property
    def square_groups(self) -> int:
        """Groups of squares of a row."""
        return ceil_div(self.o_shape[1], self.squares)

    @property
    def o_shape(self) -> MapShape:
        """Of the map that leaves."""
        height, width, channels = self.shape
        return height // self.side, width // self.side, channels

    @property
    def loops(self) -> Loops:
        """In which transfers come."""
        height, _, channels = self.shape
        words = self.i.channel_words(channels)
        return Loops({"row": height, "column": self.pixel_groups, "transfer": words})

    @cached_property
    def maxima(self) -> MemoryPlan:
        """A row of running maxima."""
        words = self.square_groups * self.loops.bounds["transfer"]
        return MemoryPlan(
            name="maxima", width=self.o.width, words=words, write="word", held=True, relayed=True,
            technology=self.technology,
        )

    @property
    def distances(self) -> tuple[int, int]:
        """Transfers from one of a square to the next of the same channels: within a row, and from row to row."""
        transfers = self.loops.bounds["transfer"]
        return transfers, transfers * (self.pixel_groups - self.along + 1)

    @property
    def remembered(self) -> int:
        """Maxima that are asked for again before they can be read: how long ago the oldest of them was found."""
        return max((one for one in self.distances if one <= self.maxima.latency + 1), default=0)

    @property
    def memories(self) -> list[MemoryPlan]:
        return [self.maxima]

    @property
    def latency(self) -> int:
        """Cycles from the last transfer of a square to its maximum."""
        return self.maxima.latency + 1

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per transfer that comes."""
        return self.loops.steps

    @cached_property
    def found(self) -> Flow:
        """A maximum is found with the last transfer of its square; while it waits there nothing more is taken."""
        words, side = self.loops.bounds["transfer"], self.side
        down, across = np.arange(self.o_shape[0]), np.arange(self.square_groups)
        last = (down[:, None] * side + side - 1) * self.pixel_groups + (across + 1) * self.along - 1
        need = (last[:, :, None] * words + np.arange(words) + 1).reshape(-1).astype(np.int64)
        return Flow(self.loops.steps, need, need)

    @cached_property
    def flow(self) -> Flow:
        """One maximum waits beside the one that has been found."""
        return self.found.then(in_order(self.found.outputs, 1))

    def moments(self, offered: IntArray) -> Moments:
        """When transfers are taken and offered, if nobody behind waits."""
        return through_row(offered, self.latency, self.flow)

    def timing(self, after: Taken) -> Taken:
        """When transfers are taken, with ``after`` behind it."""
        return Row(Aside(after).take, self.latency, self.found).take

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        return {
            "one": 1, "word": self.o.width, "lanes": self.o.lanes * self.o.px,
            "neighbours": self.i.width - self.o.width, "address": bits_of(self.maxima.words),
            "loops": sum(map(bits_of, self.loops.counted)), "side": bits_of(self.side) * 2,
        }


class MaxPool(wiring.Component):
    """Greatest code of each ``side`` x ``side`` square of pixels; rows and columns left over are dropped.

    Of pixels that come at once, those of one square are compared first.

    Equals :func:`abc_hw.sim.golden.max_pool`. One row of running maxima lies in memory; each transfer reads its
    entry, takes the maximum and writes it back, and the last pixel of a square hands it on::

        i --> read --> max --+----------+--> o, at the last pixel of a square
                ^            |          |
                +-- memory <-+--> aside +

    A maximum that nobody takes is put aside; where another is found before it has gone, all stands still. Two
    registers tell whether something moves, however far ``o.ready`` comes. Takes one transfer per cycle as long as
    ``o`` is ready.

    Parameters
    ----------
    plan : of what squares
    """

    def __init__(self, plan: PoolPlan) -> None:
        self._plan = plan
        super().__init__({"i": In(plan.i.signature), "o": Out(plan.o.signature)})

    @property
    def plan(self) -> PoolPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, late = self._plan, self._plan.maxima.latency
        m.submodules.maxima = memory = Memory(plan.maxima)
        moves, accepted = Signal(), Signal()
        m.d.comb += [self.i.ready.eq(moves), accepted.eq(self.i.valid & moves)]
        address, turns, fresh, beside, closing, kept = self._position(m, accepted)

        def later(value: Value, name: str, cycles: int, *, reset_less: bool = True) -> Value:
            return delayed(m, value, cycles, name=name, reset_less=reset_less, enable=moves)

        # When the memory's word is there, and a cycle after that:
        codes = later(self._neighbours(address), "codes", late)
        there = later(accepted, "there", late, reset_less=False)
        result = Signal(plan.o.width, reset_less=True)
        before = self._before(m, memory.data, result, later(beside, "beside", late), there & moves)
        found = [
            Mux(~later(fresh, "fresh", late) & (old > code), old, code)
            for code, old in zip(self._fields(codes), self._fields(before), strict=True)
        ]
        with m.If(there & moves):
            m.d.sync += result.eq(Cat(found))
        m.d.comb += [
            memory.addr.eq(address),
            memory.en.eq(moves),
            memory.write.addr.eq(self._address(
                m, later(accepted, "place", late + 1, reset_less=False) & moves, later(turns, "turns", late + 1),
                "written_at",
            )),
            memory.write.data.eq(result),
            memory.write.en.eq(later(accepted & kept, "written", late + 1, reset_less=False)),
        ]
        self._hand_on(m, moves, result, later(accepted & kept & closing, "closed", late + 1, reset_less=False))
        return m

    def _hand_on(self, m: Module, moves: Signal, result: Value, there: Value) -> None:
        """``result``, where it is ``there``, or what was put aside before it."""
        aside, waits = Signal(self._plan.o.width, reset_less=True), Signal()
        m.d.comb += [
            self.o.valid.eq(there | waits),
            self.o.payload.eq(Mux(waits, aside, result)),
            moves.eq(~(waits & there)),
        ]
        m.d.sync += waits.eq(self.o.valid & ~self.o.ready)
        with m.If(~waits):
            m.d.sync += aside.eq(result)

    def _neighbours(self, address: Value) -> Value:
        """The greatest codes of the pixels of each square that have just come; 0 of squares that are not there."""
        plan = self._plan
        each, rest = plan.i.px // plan.squares, plan.o_shape[1] - (plan.square_groups - 1) * plan.squares
        first = (plan.square_groups - 1) * plan.loops.bounds["transfer"]
        last = address >= first if first else Const(1)
        found: list[Value] = []
        for square, lane in itertools.product(range(plan.squares), range(plan.i.lanes)):
            codes = [
                Value.cast(self.i.payload[plan.i.place(square * each + pixel, lane)]) for pixel in range(each)
            ]
            code = reduce(lambda one, other: Mux(one > other, one, other), codes)
            found.append(Mux(last, 0, code) if square >= rest else code)
        return Cat(found)

    def _before(self, m: Module, read: Value, result: Value, beside: Value, shifts: Value) -> Value:
        """The maxima so far of the square that a transfer belongs to: the memory's, or those that have just been
        found."""
        history = [result]
        for ago in range(2, self._plan.remembered + 1):
            history.append(delayed(m, history[-1], 1, name=f"result_{ago}", enable=shifts))
        in_row, from_row = (
            history[distance - 1] if distance <= len(history) and self._plan.remembered else read
            for distance in self._plan.distances
        )
        return Mux(beside, in_row, from_row) if self._plan.along > 1 else from_row

    def _fields(self, word: Value) -> list[Value]:
        width = self._plan.i.shape.width
        return [word[start : start + width] for start in range(0, self._plan.o.width, width)]

    def _address(self, m: Module, step: Value, turns: Value, name: str) -> Signal:
        """Address of the maxima of a transfer: one further with each ``step``, if its ``turns`` say no other:
        (back to the first channels of the square's next pixel, to the row's first square)."""
        address = Signal(range(max(self._plan.maxima.words, 2)), name=name)
        words = self._plan.loops.bounds["transfer"]
        back, home = turns
        with m.If(step):
            m.d.sync += address.eq(Mux(home, 0, address + Mux(back, 1 - words, 1)))
        return address

    def _position(self, m: Module, accepted: Value) -> tuple[Signal, Value, Value, Value, Value, Value]:
        """Of the transfer coming in: address of its maxima, and how that of the next one differs; is it first of
        its square; has it one before it in the square's row; is it the last; is it in a square at all?"""
        plan, side, along = self._plan, self._plan.side, self._plan.along
        m.submodules.nest = nest = LoopNest(plan.loops)
        row, column, transfer = (nest.ends[nest.loops.level(name)] for name in ("row", "column", "transfer"))
        m.d.comb += nest.step.eq(accepted)
        x_in, y_in = Signal(range(along)), Signal(range(side))
        x_last, y_last = x_in == along - 1, y_in == side - 1
        turns = Cat(transfer & ~x_last, column)
        address = self._address(m, accepted, turns, "address")
        with m.If(accepted & transfer):  # the pixels are complete
            m.d.sync += x_in.eq(Mux(x_last | column, 0, x_in + 1))
        with m.If(accepted & column):  # the row is complete
            m.d.sync += y_in.eq(Mux(y_last | row, 0, y_in + 1))
        over: list[Value] = []
        if plan.pixel_groups > plan.square_groups * along:  # pixels behind the last square
            over.append(Signal(name="x_over"))
            with m.If(accepted & transfer & x_last & (address == plan.maxima.words - 1)):
                m.d.sync += over[-1].eq(1)
            with m.If(accepted & column):
                m.d.sync += over[-1].eq(0)
        if plan.shape[0] % side:
            over.append(self._below(m, accepted & column & y_last, accepted & row))
        fresh, kept = (x_in == 0) & (y_in == 0), ~Cat(over).any() if over else Const(1)
        return address, turns, fresh, x_in != 0, x_last & y_last, kept

    def _below(self, m: Module, squares_end: Value, image_ends: Value) -> Signal:
        """Is the row below the last row of squares?"""
        rows = self._plan.o_shape[0]
        below, left = Signal(name="y_over"), Signal(range(rows), init=rows - 1)
        with m.If(squares_end):
            m.d.sync += [left.eq(left - 1), below.eq(left == 0)]
        with m.If(image_ends):
            m.d.sync += [left.eq(rows - 1), below.eq(0)]
        return below
