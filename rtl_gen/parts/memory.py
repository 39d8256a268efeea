"""The one memory: ROM, RAM, rows of windows, queues, pool rows, coefficients, weights fixed and loaded."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from functools import cached_property, reduce
from operator import and_, or_

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import memory as storage
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .arith import ceil_div
from .delay import chosen, chosen_cycles, chosen_gates, copied, delayed
from .memory_cells import Unit, storage_attributes
from .memory_mapping import GENERIC, LOAD_BITS, Mapped, Technology, WriteKind, map_memory, parts_of

__all__ = ["LOAD_BITS", "Memory", "MemoryPlan", "Slice", "pack_fields", "write_signature"]

Contents = Callable[[], Sequence[int]]
"""The words of a memory, non-negative, evaluated when they are needed."""

LOOKED_AT_WORDS, LOOKED_AT_BITS, LOOKED_AT_WIDTH = 64, 16_384, 4096
"""Contents are looked at for bits that are the same in all words up to so many words, or bits in all, of words
that are not wider."""

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
    relayed : does logic take its word? Then a register lies between that logic and blocks, whose places on the
        chip are given and may be far from it
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
    def banks(self) -> int:
        """Blocks that lie behind each other in depth."""
        return self.mapped.deep if self.mapped.kind in ("block", "large") else 1

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
    def lookups(self) -> int:
        """Registers of the address, of a table in logic with so many columns that each part of it has its own.
        Few words have many columns that are the same: there one gate for them is worth its wires."""
        in_logic = self.mapped.kind == "logic" and self.write == "none" and self.registered
        if not in_logic or self.held or self.plain or 4 * self.columns < 3 * len(self.kept):
            return 1
        return max(len(self.kept) // LOOKED_UP, 1)

    @property
    def gates(self) -> int:
        """Gates of four inputs that choose a bank's word, each with a register."""
        return chosen_gates(self.banks) * len(self.kept)

    @cached_property
    def slices(self) -> tuple[Slice, ...]:
        """What each unit of a block holds, of all banks side by side; as many as fill ``mapped.cells``."""
        width, unit = len(self.kept), self.mapped.unit[0]
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


class Memory(wiring.Component):
    """Words that are fixed or written.

    ::

        addr --+--> bank 0, output register --+
               +--> bank 1, output register --+--> tree of registered choices --> data
               +--> ...

    A word that was written can be read from the next cycle on. Of a memory whose words are all the same nothing is
    left, and nobody reads ``addr``. Written in parts, ``data`` does not follow ``addr`` while ``write.en`` is not
    0.

    Parameters
    ----------
    plan : all there is to know

    Members
    -------
    addr : In;  data : Out, the word at the ``addr`` of ``plan.latency`` cycles before
    en : In(1), with ``plan.held``: cycles without it do not count
    write : In, where it is written, :func:`write_signature`
    """

    def __init__(self, plan: MemoryPlan) -> None:
        self._plan = plan
        super().__init__({
            "addr": In(range(max(plan.words, 2))),
            "data": Out(unsigned(plan.width)),
            **({"en": In(1)} if plan.held else {}),
            **({} if plan.write == "none" else {"write": In(write_signature(plan))}),
        })

    @property
    def plan(self) -> MemoryPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        same = plan.values[0] if plan.contents and len(plan.kept) < plan.width else 0  # bits that are not stored
        if not plan.kept:
            m.d.comb += self.data.eq(same)
            return m
        in_blocks = plan.mapped.kind in ("block", "large") and not plan.plain
        word = self._in_blocks(m) if in_blocks else self._as_array(m)
        place = {bit: index for index, bit in enumerate(plan.kept)}
        m.d.comb += self.data.eq(Cat(
            word[place[bit]] if bit in place else Const(same >> bit & 1, 1) for bit in range(plan.width)
        ))
        return m

    @property
    def _enable(self) -> Value | None:
        return self.en if self._plan.held else None

    @property
    def _address(self) -> Value:
        """Of the port that reads."""
        if self._plan.write != "parts":
            return self.addr
        return Mux(self.write.en.any(), self.write.addr, self.addr)

    def _kept_bits(self, word: int) -> int:
        plan = self._plan
        if len(plan.kept) == plan.width:
            return word
        return sum((word >> bit & 1) << index for index, bit in enumerate(plan.kept))

    # -- as one array ---------------------------------------------------------------------------------------

    def _as_array(self, m: Module) -> Value:
        """The memory as the language has them; the synthesiser is told the kind, but where it decides."""
        plan = self._plan
        if plan.lookups > 1:
            return self._looked_up(m)
        width = len(plan.kept)
        # Logic looks up an address that stands still beside it; a block's word waits at its output.
        in_logic = plan.mapped.kind == "logic" and plan.write == "none"
        before, behind = (plan.latency - 1, 0) if in_logic else (0, plan.latency - 1)
        address = delayed(m, self._address, before, name="address", enable=self._enable)
        whole = width if plan.write != "parts" else width // LOAD_BITS * LOAD_BITS
        words: list[Value] = []
        for start, end in ((0, whole), (whole, width)):
            if start == end:
                continue
            size = min(end - start, LOAD_BITS)
            kind = "any" if plan.plain else plan.mapped.kind
            attributes = storage_attributes(kind, settled=plan.settled or plan.write == "none")
            memory = storage.Memory(
                shape=unsigned(end - start), depth=max(plan.words, 2), attrs=attributes,
                init=[self._kept_bits(word) for word in plan.values],
            )
            m.submodules[f"{kind}{'_rest' if start else ''}_array"] = memory
            read = memory.read_port()
            m.d.comb += read.addr.eq(address)
            if plan.held:
                m.d.comb += read.en.eq(self.en)
            if plan.write == "word":
                write = memory.write_port()
                m.d.comb += [
                    write.addr.eq(self.write.addr), write.data.eq(self.write.data), write.en.eq(self.write.en)
                ]
            elif plan.write == "parts":
                write = memory.write_port(granularity=size)
                m.d.comb += [
                    read.en.eq(~self.write.en.any()),
                    write.addr.eq(address),
                    write.data.eq(self.write.data[:size].replicate((end - start) // size)),
                    write.en.eq(self.write.en[start // LOAD_BITS :]),
                ]
            words.append(delayed(m, read.data, behind, name="word", enable=self._enable))
        # A bit is found faster in a signal than in a joined word, which is looked through for each of its bits.
        return words[0] if len(words) == 1 else Cat(words)

    def _looked_up(self, m: Module) -> Value:
        """A table in logic, in parts with a register of the address each."""
        plan, words = self._plan, [self._kept_bits(word) for word in self._plan.values]
        address = delayed(m, self.addr, plan.latency - 2, name="address")
        found: list[Value] = []
        for part, own in enumerate(copied(m, address, plan.lookups, name="own_address", reset_less=True)):
            start, end = (len(plan.kept) * place // plan.lookups for place in (part, part + 1))
            m.submodules[f"table{part}"] = memory = storage.Memory(
                shape=unsigned(end - start), depth=max(plan.words, 2),
                attrs=storage_attributes("logic", settled=True),
                init=[word >> start & ((1 << (end - start)) - 1) for word in words],
            )
            read = memory.read_port()
            m.d.comb += read.addr.eq(own)
            found.append(read.data)
        whole = Signal(len(plan.kept), name="table_word")
        m.d.comb += whole.eq(Cat(found))
        return whole

    # -- in blocks ------------------------------------------------------------------------------------------

    def _in_blocks(self, m: Module) -> Value:
        """The memory in blocks of the technology's kind, banks side by side."""
        plan = self._plan
        low = (plan.mapped.unit[1] - 1).bit_length()
        address, units = self._address, self._units()
        written = self._written(m) if plan.write != "none" else None
        row: list[Value] = []
        for first in range(0, len(units), plan.mapped.ports):
            cell = plan.technology.make(units[first : first + plan.mapped.ports])
            m.submodules[f"block{first // plan.mapped.ports}"] = cell
            for index, port in enumerate(cell.ports, first):
                m.d.comb += port.addr.eq(address[:low])
                if plan.held:
                    m.d.comb += port.en.eq(self.en)
                if written is not None:
                    self._write_unit(m, port, plan.slices[index], written, low)
                row.append(port.data)
        word = self._chosen_bank(m, Cat(row), address[low:])
        word = delayed(m, word, plan.relays, name="relay", enable=self._enable)
        if written is None or not plan.settled or plan.write != "word":
            return word
        # A write waits a cycle: its word is read in the other's place, and the word before it while it waits.
        just, word_of_it = written[2] & (written[0] == address), written[1]
        just = delayed(m, just, plan.latency, name="just_written", enable=self._enable)
        word_of_it = delayed(m, word_of_it, plan.latency, name="written_word", enable=self._enable)
        return Mux(just, word_of_it, word)

    def _chosen_bank(self, m: Module, row: Value, bank: Value) -> Value:
        plan, width = self._plan, len(self._plan.kept)
        words = [row[index * width : (index + 1) * width] for index in range(plan.banks)]
        if len(words) == 1:
            return words[0]
        turns = Cat(bank == index for index in range(plan.banks))
        late = delayed(m, turns, 1 + plan.registered, name="bank", enable=self._enable)
        return chosen(m, late, words, "choice", self._enable)

    def _units(self) -> list[Unit]:
        """One for each slice."""
        plan, width = self._plan, len(self._plan.kept)
        deep = plan.mapped.unit[1]
        values = [self._kept_bits(word) for word in plan.values]
        depth = min(deep, plan.words)
        rows = [
            sum(word << (bank * width) for bank, word in enumerate(values[place::deep])) for place in range(depth)
        ]
        return [
            Unit(
                width=one.end - one.start, depth=depth, shape=plan.mapped.unit,
                kind="large" if plan.mapped.kind == "large" else "block", write=plan.write, held=plan.held,
                registered=plan.registered, contents=None if plan.contents is None else np.array(
                    [row >> one.start & ((1 << (one.end - one.start)) - 1) for row in rows], np.int64),
            )
            for one in plan.slices
        ]

    def _written(self, m: Module) -> tuple[Value, Value, Value]:
        """(address, data, enables) of what is written."""
        written = self.write.addr, self.write.data, self.write.en
        if not self._plan.settled or self._plan.write != "word":
            return written
        names = ("waiting_addr", "waiting_data", "waiting_en")
        addr, data, en = (
            delayed(m, value, 1, name=name, reset_less=name != "waiting_en")
            for value, name in zip(written, names, strict=True)
        )
        return addr, data, en

    def _write_unit(
        self, m: Module, port: wiring.PureInterface, one: Slice, written: tuple[Value, Value, Value], low: int
    ) -> None:
        plan, (addr, data, en) = self._plan, written
        bank, start = divmod(one.start, plan.width)
        here = en if plan.write == "word" else en[start // LOAD_BITS]
        if plan.banks > 1:
            here = here & (addr[low:] == bank)
        if plan.write == "parts":
            start %= LOAD_BITS
        else:
            m.d.comb += port.w_addr.eq(addr[:low])
        m.d.comb += [port.w_data.eq(data[start : start + one.end - one.start]), port.w_en.eq(here)]
