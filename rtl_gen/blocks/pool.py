"""Max-pool on a stream of level codes."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..parts.arith import ceil_div
from ..parts.loops import LoopNest
from ..parts.stream import code_stream

__all__ = ["MaxPool"]


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
    shape : (height, width, channels) of the input
    side : of the square, and its stride
    lanes : codes per transfer
    code : shape of a code, unsigned
    """

    def __init__(self, *, shape: tuple[int, int, int], side: int, lanes: int, code: Shape) -> None:
        height, width, channels = shape
        if side < 2 or side > min(height, width):
            raise ValueError(f"Pool side must be from 2 to {min(height, width)}, not {side}")
        self._height, self._width, self._side, self._lanes = height, width, side, lanes
        self._transfers = ceil_div(channels, lanes)
        super().__init__({"i": In(code_stream(lanes, code)), "o": Out(code_stream(lanes, code))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        accepted, leaving = Signal(), Signal()
        address, fresh, closing, dropped = self._position(m, accepted)
        m.submodules.maxima = memory = Memory(
            shape=unsigned(len(Value.cast(self.i.payload))), depth=self._depth, init=[]
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
        width = len(word) // self._lanes
        return [word[lane * width : (lane + 1) * width] for lane in range(self._lanes)]

    @property
    def _depth(self) -> int:
        return (self._width // self._side) * self._transfers

    def _position(self, m: Module, accepted: Value) -> tuple[Signal, Value, Value, Value]:
        """Of the transfer coming in: address of its maxima; is it first of its square, last, left over?"""
        side, transfers = self._side, self._transfers
        m.submodules.nest = nest = LoopNest([self._height, self._width, transfers])
        m.d.comb += nest.step.eq(accepted)
        base, address = Signal(range(max(self._depth, 2))), Signal(range(max(self._depth, 2)))
        x_in, y_in = Signal(range(side)), Signal(range(side))
        x_over, y_over = Signal(), Signal()
        last_square = (self._width // side - 1) * transfers
        squares_done = Signal(range(self._height // side + 1))
        with m.If(accepted):
            m.d.sync += address.eq(address + 1)
            with m.If(nest.ends[2]):  # the pixel is complete
                with m.If(x_in == side - 1):
                    m.d.sync += [x_in.eq(0), base.eq(base + transfers), address.eq(base + transfers)]
                    with m.If(base == last_square):
                        m.d.sync += [x_over.eq(1), base.eq(0), address.eq(0)]
                with m.Else():
                    m.d.sync += [x_in.eq(x_in + 1), address.eq(base)]
            with m.If(nest.ends[1]):  # the row is complete
                m.d.sync += [x_in.eq(0), x_over.eq(0), base.eq(0), address.eq(0)]
                with m.If(y_in == side - 1):
                    m.d.sync += [y_in.eq(0), squares_done.eq(squares_done + 1)]
                    with m.If(squares_done == self._height // side - 1):
                        m.d.sync += y_over.eq(1)
                with m.Else():
                    m.d.sync += y_in.eq(y_in + 1)
            with m.If(nest.ends[0]):  # the image is complete
                m.d.sync += [y_in.eq(0), y_over.eq(0), squares_done.eq(0)]
        fresh = (x_in == 0) & (y_in == 0)
        closing = (x_in == side - 1) & (y_in == side - 1)
        return address, fresh, closing, x_over | y_over
