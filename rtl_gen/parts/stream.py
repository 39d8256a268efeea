"""Streams of codes: payload, and adapters between numbers of lanes.

A pixel of ``channels`` codes travels as ``ceil(channels / lanes)`` transfers of ``lanes`` codes, lowest channel
first; lanes past the last channel carry code 0.
"""

import math

from amaranth.hdl import Cat, Module, Mux, Shape, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .arith import ceil_div

__all__ = ["LaneAdapter", "Narrow", "Widen", "code_stream"]


def code_stream(lanes: int, shape: Shape) -> stream.Signature:
    """Signature of a stream of ``lanes`` codes per transfer."""
    return stream.Signature(data.ArrayLayout(shape, lanes))


class Narrow(wiring.Component):
    """Splits transfers of ``i_lanes`` codes into transfers of ``o_lanes``; ``o_lanes`` divides ``i_lanes``.

    Pieces that hold only lanes past the last channel are dropped.
    """

    def __init__(self, *, channels: int, i_lanes: int, o_lanes: int, shape: Shape) -> None:
        if i_lanes % o_lanes:
            raise ValueError(f"Output lanes must divide the {i_lanes} input lanes, not {o_lanes}")
        self._channels = channels
        self._i_lanes, self._o_lanes = i_lanes, o_lanes
        super().__init__({"i": In(code_stream(i_lanes, shape)), "o": Out(code_stream(o_lanes, shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pieces = self._i_lanes // self._o_lanes
        per_pixel = ceil_div(self._channels, self._o_lanes)
        held = Signal.like(self.i.payload)
        filled = Signal()
        piece = Signal(range(per_pixel))  # within the pixel
        within = Signal(range(pieces))  # within the held transfer
        pixel_end = piece == per_pixel - 1
        last = (within == pieces - 1) | pixel_end
        width = len(self.o.payload.as_value())
        m.d.comb += [
            self.o.valid.eq(filled),
            self.o.payload.eq(held.as_value()[:width]),
            self.i.ready.eq(~filled | (last & self.o.ready)),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += held.eq(held.as_value() >> width)
            m.d.sync += piece.eq(Mux(pixel_end, 0, piece + 1))
            m.d.sync += within.eq(Mux(last, 0, within + 1))
            with m.If(last):
                m.d.sync += filled.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [held.eq(self.i.payload), filled.eq(1)]
        return m


class Widen(wiring.Component):
    """Joins transfers of ``i_lanes`` codes into transfers of ``o_lanes``; ``i_lanes`` divides ``o_lanes``.

    A pixel's last transfer is filled up with code 0. Sustains one input transfer per cycle.
    """

    def __init__(self, *, channels: int, i_lanes: int, o_lanes: int, shape: Shape) -> None:
        if o_lanes % i_lanes:
            raise ValueError(f"Input lanes must divide the {o_lanes} output lanes, not {i_lanes}")
        self._channels = channels
        self._i_lanes, self._o_lanes = i_lanes, o_lanes
        super().__init__({"i": In(code_stream(i_lanes, shape)), "o": Out(code_stream(o_lanes, shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pieces = self._o_lanes // self._i_lanes
        per_pixel = ceil_div(self._channels, self._i_lanes)
        filled = Signal()
        piece = Signal(range(per_pixel))  # within the pixel
        within = Signal(range(pieces))  # within the transfer being joined
        pixel_end = piece == per_pixel - 1
        last = (within == pieces - 1) | pixel_end
        m.d.comb += [self.i.ready.eq(~filled | self.o.ready), self.o.valid.eq(filled)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += filled.eq(0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += piece.eq(Mux(pixel_end, 0, piece + 1))
            m.d.sync += within.eq(Mux(last, 0, within + 1))
            m.d.sync += filled.eq(last)
            for index in range(pieces):
                lanes = Cat(self.o.payload[index * self._i_lanes + lane] for lane in range(self._i_lanes))
                with m.If(within == index):
                    m.d.sync += lanes.eq(self.i.payload.as_value())
                with m.Elif(within == 0):
                    m.d.sync += lanes.eq(0)
        return m


class LaneAdapter(wiring.Component):
    """From ``i_lanes`` to ``o_lanes`` codes per transfer, for any two numbers of lanes.

    Where neither divides the other the codes pass through their greatest common divisor of lanes.

    Parameters
    ----------
    channels : codes of a pixel
    i_lanes, o_lanes : codes per transfer on either side
    shape : of a code (or score)
    """

    def __init__(self, *, channels: int, i_lanes: int, o_lanes: int, shape: Shape) -> None:
        for name, value in (("channels", channels), ("input lanes", i_lanes), ("output lanes", o_lanes)):
            if value < 1:
                raise ValueError(f"The number of {name} must be a positive integer, not {value}")
        self._channels = channels
        self._i_lanes, self._o_lanes, self._shape = i_lanes, o_lanes, shape
        super().__init__({"i": In(code_stream(i_lanes, shape)), "o": Out(code_stream(o_lanes, shape))})

    @property
    def cycles_per_pixel(self) -> int:
        """Least cycles between pixels that the adapter can sustain."""
        return ceil_div(self._channels, math.gcd(self._i_lanes, self._o_lanes)
                        if self._i_lanes % self._o_lanes else self._o_lanes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        common = math.gcd(self._i_lanes, self._o_lanes)
        node = wiring.flipped(self.i)
        if self._i_lanes != common:
            m.submodules.narrow = narrow = Narrow(
                channels=self._channels, i_lanes=self._i_lanes, o_lanes=common, shape=self._shape
            )
            wiring.connect(m, node, narrow.i)
            node = narrow.o
        if self._o_lanes != common:
            m.submodules.widen = widen = Widen(
                channels=self._channels, i_lanes=common, o_lanes=self._o_lanes, shape=self._shape
            )
            wiring.connect(m, node, widen.i)
            node = widen.o
        wiring.connect(m, node, wiring.flipped(self.o))
        return m

