"""Max-pool on a stream of level codes."""

import dataclasses
from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.arith import bits_of
from ..parts.flow import Flow
from ..parts.loops import LoopNest, Loops
from ..parts.rom import MemoryPlan
from ..parts.stream import CodeStream, MapShape

__all__ = ["MaxPool", "PoolPlan"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PoolPlan:
    """The greatest of each square of pixels.

    Members
    -------
    shape : of the map that comes in
    side : of the square, and its stride
    i : what comes in, and so what leaves; codes are unsigned
    """

    shape: MapShape
    side: int
    i: CodeStream

    def __post_init__(self) -> None:
        most = min(self.shape[:2])
        if self.side < 2 or self.side > most:
            raise ValueError(f"Pool side must be from 2 to {most}, not {self.side}")

    @property
    def o(self) -> CodeStream:
        """What leaves."""
        return self.i

    @property
    def o_shape(self) -> MapShape:
        """Of the map that leaves."""
        height, width, channels = self.shape
        return height // self.side, width // self.side, channels

    @property
    def loops(self) -> Loops:
        """In which transfers come."""
        height, width, channels = self.shape
        return Loops({"row": height, "column": width, "transfer": self.i.channel_words(channels)})

    @cached_property
    def maxima(self) -> MemoryPlan:
        """A row of running maxima."""
        words = self.o_shape[1] * self.loops.bounds["transfer"]
        return MemoryPlan(name="maxima", width=self.i.width, words=words)

    @property
    def memories(self) -> list[MemoryPlan]:
        return [self.maxima]

    @property
    def latency(self) -> int:
        """Cycles from the last transfer of a square to its maximum."""
        return 1

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per transfer that comes."""
        return self.loops.steps

    @property
    def flow(self) -> Flow:
        """A maximum comes with the last transfer of its square; while it waits nothing more is taken."""
        height, width, _ = self.shape
        words, side = self.loops.bounds["transfer"], self.side
        down, along = np.arange(height // side), np.arange(width // side)
        last = (down[:, None] * side + side - 1) * width + along * side + side - 1
        need = (last[:, :, None] * words + np.arange(words) + 1).reshape(-1).astype(np.int64)
        return Flow(height * width * words, need, need)

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        return {
            "one": 1, "word": self.i.width, "lanes": self.i.lanes, "address": bits_of(self.maxima.words),
            "loops": sum(map(bits_of, self.loops.counted)), "side": bits_of(self.side) * 2,
        }


class MaxPool(wiring.Component):
    """Greatest code of each ``side`` x ``side`` square of pixels; rows and columns left over are dropped.

    Equals :func:`abc_hw.sim.golden.max_pool`. One row of running maxima lies in memory; each transfer reads its
    entry, takes the maximum and writes it back, and the last pixel of a square hands it on::

        i --> read --> max --+--> o, at the last pixel of a square
                ^            |
                +-- memory <-+

    Takes one transfer per cycle as long as ``o`` is ready.

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
        accepted, leaving = Signal(), Signal()
        address, fresh, closing, dropped = self._position(m, accepted)
        m.submodules.maxima = memory = Memory(
            shape=unsigned(self._plan.maxima.width), depth=self._plan.maxima.words, init=[]
        )
        write, read = memory.write_port(), memory.read_port()

        held, held_address = Signal.like(self.i.payload), Signal.like(address)
        held_fresh, held_closing, filled = Signal(), Signal(), Signal()
        forwarded, forward = Signal.like(self.i.payload), Signal()
        before = Mux(forward, forwarded, read.data)
        maxima = [
            Mux(~held_fresh & (old > code), old, code)
            for code, old in zip(map(Value.cast, held), self._fields(before), strict=True)
        ]
        m.d.comb += [
            leaving.eq(filled & (~held_closing | self.o.ready)),
            self.i.ready.eq(~filled | leaving),
            accepted.eq(self.i.valid & self.i.ready),
            read.addr.eq(address),
            read.en.eq(accepted),
            write.addr.eq(held_address),
            write.data.eq(Cat(maxima)),
            write.en.eq(leaving),
            self.o.valid.eq(filled & held_closing),
            self.o.payload.eq(Cat(maxima)),
        ]
        with m.If(leaving):
            m.d.sync += filled.eq(0)
        with m.If(accepted):
            m.d.sync += [
                filled.eq(~dropped), held.eq(self.i.payload), held_address.eq(address),
                held_fresh.eq(fresh), held_closing.eq(closing),
                # The memory's word is being written in this cycle: take it from here.
                forwarded.eq(Cat(maxima)), forward.eq(leaving & (held_address == address)),
            ]
        return m

    def _fields(self, word: Value) -> list[Value]:
        width = self._plan.i.shape.width
        return [word[lane * width : (lane + 1) * width] for lane in range(self._plan.i.lanes)]

    def _position(self, m: Module, accepted: Value) -> tuple[Signal, Value, Value, Value]:
        """Of the transfer coming in: address of its maxima; is it first of its square, last, left over?"""
        side, depth, (rows, columns, _) = self._plan.side, self._plan.maxima.words, self._plan.o_shape
        m.submodules.nest = nest = LoopNest(self._plan.loops)
        row, column, transfer = (nest.ends[nest.loops.level(name)] for name in ("row", "column", "transfer"))
        transfers = self._plan.loops.bounds["transfer"]
        m.d.comb += nest.step.eq(accepted)
        base, address = Signal(range(max(depth, 2))), Signal(range(max(depth, 2)))
        x_in, y_in = Signal(range(side)), Signal(range(side))
        x_over, y_over = Signal(), Signal()
        last_square = (columns - 1) * transfers
        squares_done = Signal(range(rows + 1))
        with m.If(accepted):
            m.d.sync += address.eq(address + 1)
            with m.If(transfer):  # the pixel is complete
                with m.If(x_in == side - 1):
                    m.d.sync += [x_in.eq(0), base.eq(base + transfers), address.eq(base + transfers)]
                    with m.If(base == last_square):
                        m.d.sync += [x_over.eq(1), base.eq(0), address.eq(0)]
                with m.Else():
                    m.d.sync += [x_in.eq(x_in + 1), address.eq(base)]
            with m.If(column):  # the row is complete
                m.d.sync += [x_in.eq(0), x_over.eq(0), base.eq(0), address.eq(0)]
                with m.If(y_in == side - 1):
                    m.d.sync += [y_in.eq(0), squares_done.eq(squares_done + 1)]
                    with m.If(squares_done == rows - 1):
                        m.d.sync += y_over.eq(1)
                with m.Else():
                    m.d.sync += y_in.eq(y_in + 1)
            with m.If(row):  # the image is complete
                m.d.sync += [y_in.eq(0), y_over.eq(0), squares_done.eq(0)]
        fresh = (x_in == 0) & (y_in == 0)
        closing = (x_in == side - 1) & (y_in == side - 1)
        return address, fresh, closing, x_over | y_over
