"""Constant memories."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import cached_property, reduce
from operator import and_, or_

from amaranth.hdl import Const, Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["MemoryPlan", "Rom", "pack_fields"]

LOOKED_AT_BITS = 4096
"""Bits of a memory, above which its columns are not compared with each other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """A memory as the generator makes it.

    Members
    -------
    name : within its block
    width, words : bits of a word, and how many
    contents : of a memory that is not written; asked for when they are needed
    looked_at : are contents few enough to be looked at for what they have in common?
    settled : must a word that is read and written at once be the old one?
    """

    name: str
    width: int
    words: int
    contents: Callable[[], Sequence[int]] | None = None
    looked_at: bool = True
    settled: bool = True

    @property
    def writable(self) -> bool:
        return self.contents is None

    @property
    def bits(self) -> int:
        return self.width * self.words

    @property
    def latency(self) -> int:
        """Cycles from an address to its word."""
        return 2

    @cached_property
    def values(self) -> Sequence[int]:
        """The contents."""
        return self.contents() if self.contents is not None else ()

    @cached_property
    def _mask(self) -> int:
        """Bits that are not the same in all words."""
        if self.contents is None or not self.looked_at:
            return (1 << self.width) - 1
        return reduce(or_, self.values) & ~reduce(and_, self.values)

    @property
    def varying(self) -> int:
        """Bits of the word that are not the same in all words, where contents are looked at."""
        return self._mask.bit_count()

    @cached_property
    def columns(self) -> int:
        """Of those, the ones that differ from each other."""
        if self.contents is None or not self.looked_at or not self.varying or self.bits > LOOKED_AT_BITS:
            return self.varying
        return len({
            tuple(word >> bit & 1 for word in self.values) for bit in range(self.width) if self._mask >> bit & 1
        })


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
    plan : of a memory with contents
    """

    def __init__(self, plan: MemoryPlan) -> None:
        if not plan.values:
            raise ValueError("A memory must have at least one word")
        self._plan = plan
        super().__init__({"addr": In(range(max(plan.words, 2))), "data": Out(unsigned(plan.width))})

    @property
    def constant(self) -> bool:
        """Are all words the same, so that no memory is needed?"""
        return len(set(self._plan.values)) == 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.constant:
            m.d.comb += self.data.eq(Const(self._plan.values[0], self._plan.width))
            return m
        m.submodules.memory = memory = Memory(
            shape=unsigned(self._plan.width), depth=self._plan.words, init=self._plan.values
        )
        read = memory.read_port()
        register = Signal(self._plan.width, name="word", reset_less=True)
        m.d.sync += register.eq(read.data)
        m.d.comb += [read.addr.eq(self.addr), self.data.eq(register)]
        return m
