"""From one number of lanes to another."""

import dataclasses
import math
from functools import reduce

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray

from ..parts.flow import Flow, in_order
from ..parts.moments import Moments, in_turn, last_needed
from ..parts.stream import CodeStream, MapShape
from ..parts.timing import Places, Taken

__all__ = ["AdapterPlan", "LaneAdapter", "Narrow", "Widen"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdapterPlan:
    """From one number of lanes to any other.

    Where neither divides the other the codes pass through their greatest common divisor of lanes.

    Members
    -------
    shape : of the map that passes
    i, o : the streams on either side
    """

    shape: MapShape
    i: CodeStream
    o: CodeStream

    def __post_init__(self) -> None:
        counts = (("channels", self.shape[2]), ("input lanes", self.i.lanes), ("output lanes", self.o.lanes))
        for name, value in counts:
            if value < 1:
                raise ValueError(f"The number of {name} must be a positive integer, not {value}")
        if self.i.px != self.o.px or self.i.shape != self.o.shape:
            raise ValueError(f"A lane adapter must change nothing but lanes, not {self.i} to {self.o}")

    @property
    def needed(self) -> bool:
        """Do the streams differ?"""
        return self.i.lanes != self.o.lanes

    @property
    def _common(self) -> CodeStream:
        return dataclasses.replace(self.i, lanes=math.gcd(self.i.lanes, self.o.lanes))

    @property
    def narrow(self) -> "AdapterPlan | None":
        """The part that splits transfers."""
        if self.i.lanes == self._common.lanes:
            return None
        return dataclasses.replace(self, o=self._common)

    @property
    def widen(self) -> "AdapterPlan | None":
        """The part that joins them."""
        if self.o.lanes == self._common.lanes:
            return None
        return dataclasses.replace(self, i=self._common)

    @property
    def ragged(self) -> bool:
        """Of a part that only splits or only joins: do the pieces of a group of pixels leave its last transfer
        unfilled?"""
        few, many = sorted((self.i, self.o), key=lambda one: one.lanes)
        return few.channel_words(self.shape[2]) % (many.lanes // few.lanes) > 0

    @property
    def cycles(self) -> int:
        """Least cycles between maps: transfers of the stream with the fewest lanes that they pass through."""
        narrowest = self._common if self.needed else self.o
        return narrowest.transfers(self.shape)

    @property
    def latency(self) -> int:
        """Cycles from the transfer that completes one of ``o`` to it."""
        return (self.narrow is not None) + (self.widen is not None)

    @property
    def flow(self) -> Flow:
        """Each part holds the transfer that it splits, or the one that it has joined."""
        parts = [part._part_flow for part in (self.narrow, self.widen) if part is not None]
        return reduce(Flow.then, parts, in_order(self.i.transfers(self.shape), 0))

    def timing(self, after: Taken) -> Taken:
        """When transfers are taken, with ``after`` behind it."""
        for part in (self.widen, self.narrow):
            if part is not None:
                after = Places(after, part._part_flow).take
        return after

    def moments(self, offered: IntArray) -> Moments:
        """When transfers are taken and offered, if nobody behind waits."""
        taken, given = None, offered
        for part in (self.narrow, self.widen):
            if part is not None:
                done = part._part_moments(given)
                taken, given = done.taken if taken is None else taken, done.given
        return Moments(offered if taken is None else taken, given)

    def _part_moments(self, offered: IntArray) -> Moments:
        """Of a part that only splits or only joins."""
        last = last_needed(self._part_flow, len(offered))
        if self.i.lanes < self.o.lanes:
            taken = in_turn(offered)
            return Moments(taken, taken[last] + 1)
        given = in_turn(offered[last] + 1)
        return Moments(given[np.flatnonzero(np.diff(last, prepend=-1))] - 1, given)

    @property
    def _part_flow(self) -> Flow:
        """Of a part that only splits or only joins."""
        groups, channels = self.i.pixel_groups(self.shape), self.shape[2]
        inputs, outputs = self.i.channel_words(channels), self.o.channel_words(channels)
        piece = np.arange(outputs)
        if self.i.lanes > self.o.lanes:
            within = piece // (self.i.lanes // self.o.lanes) + 1
        else:
            within = np.minimum((piece + 1) * (self.o.lanes // self.i.lanes), inputs)
        need = (np.arange(groups)[:, None] * inputs + within).reshape(-1).astype(np.int64)
        return Flow(groups * inputs, need, need)

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with."""
        if not self.needed:
            return {}
        common, words = self._common.lanes, self._common.channel_words(self.shape[2])
        counted = sum(part.ragged for part in (self.narrow, self.widen) if part is not None)
        narrow, widen = self.narrow is not None, self.widen is not None
        return {
            "one": narrow + widen, "narrowed": self.i.width * narrow, "widened": self.o.width * widen,
            "pieces": self.i.lanes // common - narrow + self.o.lanes // common - widen,
            "pixel bits": counted * (words - 1).bit_length(),
        }


class _Pieces(wiring.Component):
    """What splits transfers into pieces, or joins pieces to transfers; of each pixel by itself.

    Parameters
    ----------
    plan : both streams, of which the lanes of one divide those of the other
    """

    def __init__(self, plan: AdapterPlan) -> None:
        self._plan = plan
        self._whole, self._piece = sorted((plan.i, plan.o), key=lambda one: -one.lanes)
        if self._whole.lanes % self._piece.lanes:
            raise ValueError(f"Lanes of a piece must divide {self._whole.lanes}, not {self._piece.lanes}")
        super().__init__({"i": In(plan.i.signature), "o": Out(plan.o.signature)})

    @property
    def _pieces(self) -> int:
        """Of a transfer."""
        return self._whole.lanes // self._piece.lanes

    def _pixel_end(self, m: Module, step: Value) -> Value:
        """Does a group of pixels end with a piece that does not end a whole transfer? Counted with ``step``."""
        if not self._plan.ragged:
            return Const(0)
        per_pixel = self._piece.channel_words(self._plan.shape[2])
        piece = Signal(range(per_pixel))
        ends = piece == per_pixel - 1
        with m.If(step):
            m.d.sync += piece.eq(Mux(ends, 0, piece + 1))
        return ends


class Narrow(_Pieces):
    """Splits transfers into such of fewer lanes, which divide theirs; of each pixel by itself.

    Pieces that hold only lanes past the last channel are dropped.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        held = Signal.like(self.i.payload, reset_less=True)
        filled = Signal()
        step, within = self.o.valid & self.o.ready, Signal(range(self._pieces))
        last = (within == self._pieces - 1) | self._pixel_end(m, step)
        with m.If(step):
            m.d.sync += within.eq(Mux(last, 0, within + 1))
        size, width = (one.width // one.px for one in (plan.i, plan.o))  # bits of a pixel
        pixels = [held.as_value()[start : start + size] for start in range(0, plan.i.width, size)]
        m.d.comb += [
            self.o.valid.eq(filled),
            self.o.payload.eq(Cat(pixel[:width] for pixel in pixels)),
            self.i.ready.eq(~filled | (last & self.o.ready)),
        ]
        # Payload is taken whether there is one or not, so that its many registers wait for no valid from afar.
        with m.If(~filled | self.o.ready):
            m.d.sync += held.eq(Mux(
                ~filled | last, self.i.payload.as_value(), Cat((pixel >> width)[:size] for pixel in pixels)
            ))
        with m.If(self.i.ready):
            m.d.sync += filled.eq(self.i.valid)
        return m


class Widen(_Pieces):
    """Joins transfers into such of more lanes, a multiple of theirs; of each pixel by itself.

    A pixel's last transfer is filled up with code 0. Sustains one input transfer per cycle.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        filled = Signal()
        step = self.i.valid & self.i.ready
        turn = Signal(self._pieces, init=1)  # one-hot: the lanes that a piece goes into wait for no comparison
        ends = self._pixel_end(m, step)
        last = turn[-1] | ends
        joined = Signal.like(self.o.payload, reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~filled | self.o.ready), self.o.valid.eq(filled), self.o.payload.eq(joined),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += filled.eq(0)
        with m.If(step):
            m.d.sync += [filled.eq(last), turn.eq(Mux(ends, 1, turn.rotate_left(1)))]
        # As in Narrow, lanes take whatever is there. None but those of the first piece wait for ready: in any
        # other turn nothing is filled, so ready is high.
        for index in range(self._pieces):
            lanes = Cat(
                joined[plan.o.place(pixel, index * plan.i.lanes + lane)]
                for pixel in range(plan.i.px) for lane in range(plan.i.lanes)
            )
            with m.If(turn[index] & self.i.ready if index == 0 else turn[index]):
                m.d.sync += lanes.eq(self.i.payload.as_value())
            if index and plan.ragged:
                with m.Elif(turn[0] & self.i.ready):
                    m.d.sync += lanes.eq(0)
        return m


class LaneAdapter(wiring.Component):
    """Wires, a :class:`Narrow`, a :class:`Widen`, or one behind the other.

    Parameters
    ----------
    plan : both streams
    """

    def __init__(self, plan: AdapterPlan) -> None:
        self._plan = plan
        super().__init__({"i": In(plan.i.signature), "o": Out(plan.o.signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node = wiring.flipped(self.i)
        if self._plan.narrow:
            m.submodules.narrow = narrow = Narrow(self._plan.narrow)
            wiring.connect(m, node, narrow.i)
            node = narrow.o
        if self._plan.widen:
            m.submodules.widen = widen = Widen(self._plan.widen)
            wiring.connect(m, node, widen.i)
            node = widen.o
        wiring.connect(m, node, wiring.flipped(self.o))
        return m
