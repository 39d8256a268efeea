"""Weights that come over a stream: the network as its design sees it, and what fills the memories."""

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cached_property

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray, Layer, Network

from ..parts.arith import ceil_div
from ..parts.ram import LOAD_BITS

__all__ = ["ImageGate", "Loader", "UnknownWeights", "load_layout", "parts", "with_unknown_weights"]


def load_layout(shapes: Iterable[tuple[int, int]]) -> data.StructLayout:
    """Payload of the stream that loads memories of these (width, depth): ``LOAD_BITS`` bits of a word, fewer where
    no word has as many, and whether they are the ``first`` of all."""
    return data.StructLayout({"data": min(LOAD_BITS, max(width for width, _ in shapes)), "first": 1})



UNDER_WAY_BITS = 8
"""Of the number of images that may be under way at once."""


class UnknownWeights(Layer):
    """A layer whose weights may become any others: its bounds hold for all of them."""

    @cached_property
    def acc_bounds(self) -> tuple[IntArray, IntArray]:
        """Least and greatest value of acc per channel, over all inputs and all weights: two int64 [C_out]."""
        weights, inputs = self.weight_bases.values(self.alpha), self.input_bases.values(self.beta)
        products = weights[:, :, None] * inputs
        return self.dot_length * products.min(axis=(1, 2)), self.dot_length * products.max(axis=(1, 2))


def with_unknown_weights(network: Network) -> Network:
    """``network`` with its layers as :class:`UnknownWeights`."""
    layers = (
        UnknownWeights(**{field.name: getattr(layer, field.name) for field in dataclasses.fields(layer)})
        for layer in network.layers
    )
    return dataclasses.replace(network, layers=tuple(layers))


def parts(words: Iterable[int], width: int) -> list[int]:
    """Words of a memory as what loads it: each in parts of ``LOAD_BITS`` bits, the lowest first."""
    mask = (1 << LOAD_BITS) - 1
    return [word >> shift & mask for word in words for shift in range(0, width, LOAD_BITS)]


class Loader(wiring.Component):
    """Fills memories from a stream: memory by memory, word by word, part by part.

    Parameters
    ----------
    shapes : (width, depth) of each memory

    Members
    -------
    i : In, stream of :func:`load_layout`; a part that is ``first`` begins anew, whatever came before
    idle : In(1), nobody reads the memories; without it nothing is taken
    addr, data : Out, what writes all the memories;  en : Out, a bit for each part of a word of each memory
    loaded : Out(1), every part came and is written
    """

    def __init__(self, shapes: Sequence[tuple[int, int]]) -> None:
        if not shapes:
            raise ValueError("There must be at least one memory")
        self._shapes = tuple(shapes)
        super().__init__({
            "i": In(stream.Signature(load_layout(self._shapes))),
            "idle": In(1),
            "addr": Out(range(max(depth for _, depth in shapes))),
            "data": Out(unsigned(LOAD_BITS)),
            "en": Out(unsigned(sum(self.counts))),
            "loaded": Out(1),
        })

    @property
    def counts(self) -> list[int]:
        """Parts of a word, of each memory."""
        return [ceil_div(width, LOAD_BITS) for width, _ in self._shapes]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counts = self.counts
        depths = [depth for _, depth in self._shapes]
        memory = Signal(range(len(depths)))
        addr = Signal(range(max(depths)))
        part = Signal(range(max(counts)))
        at_start = Signal(init=1)
        complete = Signal()

        last_part = part == Array(Const(count - 1, part.shape()) for count in counts)[memory]
        last_word = last_part & (addr == Array(Const(depth - 1, addr.shape()) for depth in depths)[memory])
        last = last_word & (memory == len(depths) - 1)
        again = self.i.valid & self.i.payload.first & ~at_start
        taken = self.i.valid & self.i.ready & (self.i.payload.first | ~at_start)
        m.d.comb += self.i.ready.eq(self.idle & ~again)
        with m.If(again & self.idle):
            m.d.sync += [at_start.eq(1), memory.eq(0), addr.eq(0), part.eq(0)]
        with m.If(taken):
            m.d.sync += [
                at_start.eq(last),
                complete.eq(last),
                part.eq(Mux(last_part, 0, part + 1)),
                addr.eq(Mux(last_word, 0, addr + last_part)),
                memory.eq(Mux(last, 0, memory + last_word)),
            ]
        m.d.sync += self.loaded.eq(complete & ~taken)

        m.d.sync += [
            self.data.eq(self.i.payload.data),
            self.addr.eq(addr),
            self.en.eq(Cat(
                taken & (memory == index) & (part == place)
                for index, count in enumerate(counts) for place in range(count)
            )),
        ]
        return m


class ImageGate(wiring.Component):
    """Holds images back, but never in their middle, and counts those under way.

    It stands in the handshake of their stream; the payload goes past it.

    Parameters
    ----------
    transfers : of an image

    Members
    -------
    i_valid : In, i_ready : Out, before it;  o_valid : Out, o_ready : In, behind it
    allowed : In(1), may the next image begin?
    done : In(1), an image is done
    idle : Out(1), no image is under way, and none begins in the next cycle
    """

    def __init__(self, transfers: int) -> None:
        self._transfers = transfers
        super().__init__({
            "i_valid": In(1), "i_ready": Out(1), "o_valid": Out(1), "o_ready": In(1), "allowed": In(1),
            "done": In(1), "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        place = Signal(range(max(self._transfers, 2)))
        at_last = place == self._transfers - 1
        under_way = Signal(UNDER_WAY_BITS)
        passing = Signal()  # the gate is open
        passes = self.o_valid & self.o_ready
        inside = Mux(passes, ~at_last, place != 0)
        m.d.comb += [
            self.o_valid.eq(self.i_valid & passing),
            self.i_ready.eq(self.o_ready & passing),
            self.idle.eq((under_way == 0) & ~passing),
        ]
        m.d.sync += under_way.eq(under_way + (passes & (place == 0)) - self.done)
        with m.If(passes):
            m.d.sync += place.eq(Mux(at_last, 0, place + 1))
        with m.If(~self.o_valid | self.o_ready):
            m.d.sync += passing.eq(inside | (self.allowed & ~under_way[1:].all()))
        return m
