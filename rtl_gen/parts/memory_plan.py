"""What a memory is, and what it becomes: words, how they are written, when they come, what holds them."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import cached_property, reduce
from operator import and_, or_

import numpy as np
from amaranth.hdl import unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from .arith import ceil_div
from .delay import chosen_cycles, chosen_gates
from .memory_mapping import GENERIC, LOAD_BITS, Mapped, Technology, WriteKind, map_memory, parts_of

__all__ = ["LOAD_BITS", "MemoryPlan", "Slice", "pack_fields", "write_signature"]

Contents = Callable[[], Sequence[int]]
"""The words of a memory, non-negative, evaluated when they are needed."""

LOOKED_AT_WORDS, LOOKED_AT_BITS, LOOKED_AT_WIDTH = 64, 16_384, 4096
"""Contents are looked at for bits that are the same in all words up to so many words, or bits in all, of words
that are not wider."""

TABLE_WORDS = 64
"""Words of a bank of a memory of look-up tables; choosing among more would take too many gates in a cycle."""

LOOKED_UP = 256
"""Columns of a table in logic that share a register of the address. Tables of very wide words lie all over the
chip; gates that all of them shared had wires all over it."""


def pack_fields(fields: Sequence[tuple[int, int]]) -> int:
    """One word of (value, width) fields, the first in the lowest bits; negative values as two's complement."""
    word = shift = 0
    for value, width in fields:
        word |= (int(value) & ((1 << width) - 1)) << shift
        shift += width
    return word


@dataclasses.dataclass(frozen=True)
class Slice:
    """Neighbouring bits of all banks side by side that one block, or half of it, holds."""

    start: int
    end: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """What a memory is, and what it becomes.

    Members
    -------
    width : bits of a word
    words : how many
    contents : of a memory that is not written
    write : ``none``; ``word``: whole words through a port of their own; ``parts``: ``LOAD_BITS`` bits at a time
        through the port that reads, so that memories of one port will do
    settled : must a word that is read and written (``word``) at once be the old one? Otherwise it can be anything
    held : has it an enable, without which nothing moves between address and word?
    registered : has it a register at its output? Without one it answers late in its cycle
    relayed : does logic of several levels take its word? Then a register lies between that logic and blocks, whose
        places on the chip are given and may be far from it
    technology : what it can be made of
    large : has one of the part's large memories been set aside for it?
    plain : the same with the same latency, in plain words of the language and as one array
    name : in reports

    Raises
    ------
    ValueError
        if there is no word, or there are contents and they are written, or there are neither.
    """

    width: int
    words: int
    contents: Contents | None = None
    write: WriteKind = "none"
    settled: bool = False
    held: bool = False
    registered: bool = True
    relayed: bool = False
    technology: Technology = GENERIC
    large: bool = False
    plain: bool = False
    name: str = "memory"

    def __post_init__(self) -> None:
        if self.words < 1:
            raise ValueError(f"A memory must have at least one word, not {self.words}")
        if (self.contents is None) == (self.write == "none"):
            raise ValueError("A memory must have contents or be written, one of the two")
        if self.held and self.write == "parts":
            raise ValueError("A memory that is written in parts must have no enable")

    # -- contents -------------------------------------------------------------------------------------------

    @cached_property
    def values(self) -> tuple[int, ...]:
        """The words of a memory that is not written."""
        values = tuple(int(word) for word in self.contents()) if self.contents else ()
        if self.contents and len(values) != self.words:
            raise ValueError(f"There must be {self.words} words, not {len(values)}")
        return values

    @property
    def _looked_at(self) -> bool:
        few = self.words <= LOOKED_AT_WORDS or self.bits <= LOOKED_AT_BITS
        return self.contents is not None and few and 0 < self.width <= LOOKED_AT_WIDTH

    @cached_property
    def kept(self) -> tuple[int, ...]:
        """Bits of a word that are stored, in order: those that are not the same in all words, as far as contents
        are looked at. Where the synthesiser decides it is all of them or none: what reads the words shall not see
        constants, which it would have to compare with others."""
        if not self._looked_at:
            return tuple(range(self.width))
        varying = reduce(or_, self.values) & ~reduce(and_, self.values)
        mask = varying if self.technology.cells or not varying else (1 << self.width) - 1
        return tuple(bit for bit in range(self.width) if mask >> bit & 1)

    @cached_property
    def columns(self) -> int:
        """Of the bits that are stored, those that differ from each other, as far as contents are looked at."""
        if not self._looked_at or not self.kept:
            return len(self.kept)
        size = ceil_div(self.width, 8)
        table = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in self.values), np.uint8)
        bits = np.unpackbits(table.reshape(-1, size), axis=1, bitorder="little")
        return int(np.unique(np.packbits(bits[:, list(self.kept)], axis=0), axis=1).shape[1])

    @property
    def bits(self) -> int:
        return self.width * self.words

    # -- what it becomes ------------------------------------------------------------------------------------

    @cached_property
    def mapped(self) -> Mapped:
        """What it goes into."""
        return map_memory(
            self.technology, width=len(self.kept), words=self.words, write=self.write, settled=self.settled,
            large=self.large,
        )

    @property
    def bank_words(self) -> int:
        """Words of a bank."""
        if self.mapped.kind in ("block", "large"):
            return self.mapped.unit[1]
        return TABLE_WORDS if self.mapped.kind == "distributed" and self.registered else self.words

    @property
    def banks(self) -> int:
        """Blocks, or memories of look-up tables, that lie behind each other in depth."""
        return ceil_div(self.words, self.bank_words)

    @property
    def in_cells(self) -> bool:
        """Is it made of cells of its technology, or of banks, not left to the synthesiser as one array?"""
        return not self.plain and (self.mapped.kind in ("block", "large") or self.banks > 1)

    @property
    def latency(self) -> int:
        """Cycles from ``addr`` to its word; with ``held``, of those with ``en``."""
        return 1 + self.registered + self.relays + chosen_cycles(self.banks)

    @property
    def relays(self) -> int:
        """Registers in plain logic behind blocks that have one of their own; a choice among banks has its own."""
        own = self.registered and self.mapped.kind == "block" and self.technology.output_register
        return int(self.relayed and own and self.banks == 1)

    @property
    def in_logic(self) -> bool:
        """Is it a table in logic?"""
        return self.mapped.kind == "logic" and self.write == "none"

    @property
    def lookups(self) -> int:
        """Registers of the address, of a table in logic with so many columns that each part of it has its own.
        Few words have many columns that are the same: there one gate for them is worth its wires."""
        if not self.in_logic or not self.registered or self.held or self.plain:
            return 1
        if 4 * self.columns < 3 * len(self.kept):
            return 1
        return max(len(self.kept) // LOOKED_UP, 1)

    @property
    def gates(self) -> int:
        """Gates of four inputs that choose a bank's word, each with a register."""
        return chosen_gates(self.banks) * len(self.kept)

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """What each unit of a block holds, of all banks side by side, as many as fill ``mapped.cells``; of look-up
        tables whole words of a bank."""
        width = len(self.kept)
        unit = width if self.mapped.kind == "distributed" else self.mapped.unit[0]
        ends = [width] if self.write != "parts" else np.cumsum(parts_of(width)).tolist()
        if self.write == "none":
            borders = [0, self.banks * width]
        else:
            borders = [0, *(bank * width + end for bank in range(self.banks) for end in ends)]
        return tuple(
            Slice(start, min(start + unit, border))
            for last, border in itertools.pairwise(borders) for start in range(last, border, unit)
        )


def write_signature(plan: MemoryPlan) -> wiring.Signature:
    """What writes a memory: the word at ``addr`` where ``en`` is 1.

    Of a memory that is written in parts ``en`` has a bit for each of them, the lowest first, of which at most one
    is 1, and ``data`` is as wide as a part.
    """
    whole = plan.write == "word"
    return wiring.Signature({
        "addr": Out(range(max(plan.words, 2))),
        "data": Out(unsigned(plan.width if whole else LOAD_BITS)),
        "en": Out(1 if whole else ceil_div(plan.width, LOAD_BITS)),
    })
