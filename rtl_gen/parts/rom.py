"""Constant memories."""

from collections.abc import Sequence

from amaranth.hdl import Const, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["Rom", "pack_fields"]


def pack_fields(fields: Sequence[tuple[int, int]]) -> int:
    """One word of (value, width) fields, the first in the lowest bits; negative values as two's complement."""
    word = shift = 0
    for value, width in fields:
        word |= (int(value) & ((1 << width) - 1)) << shift
        shift += width
    return word


class Rom(wiring.Component):
    """Words fixed at generation; ``data`` is the word at the ``addr`` of ``latency`` cycles before.

    Behind the memory stands a register of its own: block memories are slow to answer.

    A memory of one word is a constant and has an ``addr`` that nothing reads.

    Parameters
    ----------
    width : bits of a word
    words : contents, non-negative integers
    """

    latency = 2

    def __init__(self, *, width: int, words: Sequence[int]) -> None:
        if not words:
            raise ValueError("A memory must have at least one word")
        self._width = width
        self._words = tuple(words)
        super().__init__({"addr": In(range(max(len(words), 2))), "data": Out(unsigned(width))})

    @property
    def depth(self) -> int:
        return len(self._words)

    @property
    def width(self) -> int:
        return self._width

    @property
    def constant(self) -> bool:
        """Are all words the same, so that no memory is needed?"""
        return len(set(self._words)) == 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.constant:
            m.d.comb += self.data.eq(Const(self._words[0], self._width))
            return m
        m.submodules.memory = memory = Memory(shape=unsigned(self._width), depth=self.depth, init=self._words)
        read = memory.read_port()
        register = Signal(self._width, name="word", reset_less=True)
        m.d.sync += register.eq(read.data)
        m.d.comb += [read.addr.eq(self.addr), self.data.eq(register)]
        return m
