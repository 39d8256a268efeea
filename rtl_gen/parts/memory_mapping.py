"""What a memory becomes in a technology, and who decides it: block RAM, look-up tables as RAM, or plain logic.

Every kind of cell that can hold a memory has a cost, in look-up tables; so has plain logic; the cheapest is
taken, and :class:`abc_hw.rtl_gen.parts.memory.Memory` makes just that. The costs of cells are those of Yosys'
descriptions.
"""

import dataclasses
from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

from abc_hw.registry import Registry

from .arith import ceil_div
from .delay import chosen_gates
from .memory_cells import CellMaker, PlainCell
from .memory_ecp5 import Dp16kd

__all__ = [
    "ECP5", "GENERIC", "GOWIN", "ICE40", "LOAD_BITS", "TECHNOLOGIES", "Kind", "Mapped", "MemoryCells",
    "Technology", "WriteKind", "map_memory", "parts_of",
]

Kind = Literal["block", "distributed", "large", "logic", "any"]
"""Block RAM, look-up tables as RAM, a large memory of one port, plain logic; any: the synthesiser decides."""

WriteKind = Literal["none", "word", "parts"]
"""Never written; a whole word through a port of its own; ``LOAD_BITS`` bits through the port that also reads."""

LOAD_BITS = 16
"""Bits that are written at once where a memory is written in parts."""

MUX_COST = 0.5
"""Cost of a two-way multiplexer for a bit, behind look-up tables that lie behind each other in depth."""

CONTROL_COST = 2
"""Of anything that is not plain logic."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryCells:
    """A kind of cell that holds memories.

    Members
    -------
    kind : of what it is made
    shapes : (bits of a word, words) that it can have, narrowest first
    cost : of a cell
    wide : further shapes where one port only reads and the other only writes
    ports : of a cell, each of which can read and write a half of it by itself
    constant : can it hold a memory that is never written?
    writable : how it can be written
    """

    kind: Kind
    shapes: tuple[tuple[int, int], ...]
    cost: int
    wide: tuple[tuple[int, int], ...] = ()
    ports: int = 1
    writable: tuple[WriteKind, ...] = ("word", "parts")
    constant: bool = True

    @property
    def bits(self) -> int:
        """The most that a cell holds."""
        return max(width * words for width, words in self.shapes + self.wide)


@dataclasses.dataclass(frozen=True)
class Technology:
    """What memories can be made of.

    Members
    -------
    name : in messages and reports
    cells : none: the synthesiser decides
    output_register : have blocks a register at their output?
    rom_bit : cost of a bit of a constant memory in logic; that of a writable one is 1
    make : makes a block memory. An ASIC's macro comes in here, with its shapes in ``cells``: see
        :class:`abc_hw.rtl_gen.parts.memory_cells.MemoryCell`
    """

    name: str
    cells: tuple[MemoryCells, ...] = ()
    make: CellMaker = PlainCell
    output_register: bool = False
    rom_bit: float = 1 / 16

    def bits_of(self, kind: Kind) -> int:
        """The most that a cell of this kind holds; 0 where there is none."""
        return max((cells.bits for cells in self.cells if cells.kind == kind), default=0)


GENERIC = Technology("generic")

_NARROW = ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024))
_TABLES = MemoryCells(kind="distributed", shapes=((4, 16),), cost=4, constant=False)

ECP5 = Technology("ecp5", (
    _TABLES, MemoryCells(kind="block", shapes=_NARROW, wide=((36, 512),), ports=2, cost=128),
), Dp16kd, output_register=True)
GOWIN = Technology("gowin", (
    _TABLES, MemoryCells(kind="block", shapes=(*_NARROW, (36, 512)), cost=128),
))
ICE40 = Technology("ice40", (
    MemoryCells(kind="block", shapes=((2, 2048), (4, 1024), (8, 512), (16, 256)), cost=64),
    MemoryCells(kind="large", shapes=((16, 16384),), cost=0, writable=("parts",), constant=False),
), rom_bit=1 / 12)  # 64 thresholds of 30 bits take 160 to 210 look-up tables, whose multiplexers have no cells

TECHNOLOGIES: Registry[Technology] = Registry("target", "abc_hw.memories", {
    "generic": GENERIC, "ecp5": GENERIC, "ecp5-slices": ECP5, "ice40": ICE40, "gowin": GOWIN, "lut6": GENERIC,
    "asic": GENERIC,
})
"""By target, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`; only ``ecp5-slices`` has vendor cells."""


@dataclasses.dataclass(frozen=True)
class Mapped:
    """Where a memory goes.

    Members
    -------
    kind : into what
    cells : how many; 0 in logic and where the synthesiser decides
    deep : banks that lie behind each other in depth
    unit : (bits of a word, words) of a cell, or of its half
    ports : units in a cell
    """

    kind: Kind
    cells: int = 0
    deep: int = 1
    unit: tuple[int, int] = (0, 0)
    ports: int = 1


def parts_of(width: int) -> list[int]:
    """Bits of the parts in which a word is written, the lowest first."""
    return [min(LOAD_BITS, width - start) for start in range(0, width, LOAD_BITS)]


@lru_cache(maxsize=1 << 16)
def map_memory(
    technology: Technology, *, width: int, words: int, write: WriteKind = "none", settled: bool = False,
    large: bool = False,
) -> Mapped:
    """Where a memory with one synchronous port for reading goes.

    Parameters
    ----------
    technology : what there is
    width : bits of a word, of which none is constant; 0 for no memory at all
    write : how it is written
    settled : must a word that is read and written at once be the old one?
    large : has one of the part's large memories been set aside for it?
    """
    if width < 1 or (words < 2 and write == "none"):
        return Mapped("logic")
    if not technology.cells:
        return Mapped("any")
    logic = width * words * (technology.rom_bit if write == "none" else 1)
    found = [(int(logic), Mapped("logic"))]
    for cells in technology.cells:
        suits = cells.constant if write == "none" else write in cells.writable
        if suits and (cells.kind == "large") == large:
            found += _arrangements(cells, width, words, write, settled)
    if large and len(found) > 1:
        return found[1][1]
    return min(found, key=lambda one: (one[0], one[1].deep))[1]


def _arrangements(
    cells: MemoryCells, width: int, words: int, write: WriteKind, settled: bool
) -> Iterator[tuple[int, Mapped]]:
    """(cost, mapping) of each way to lay the memory out in one kind of cell."""
    shapes = [(shape, 1) for shape in cells.shapes]
    if write == "word":
        shapes += [(shape, 1) for shape in cells.wide]
    elif cells.ports > 1:
        shapes += [((bits, depth // cells.ports), cells.ports) for bits, depth in cells.shapes]
    for (bits, depth), ports in shapes:
        deep = ceil_div(words, depth)
        if write == "none":
            units = ceil_div(deep * width, bits)  # banks lie side by side
        else:
            units = deep * sum(ceil_div(part, bits) for part in (parts_of(width) if write == "parts" else [width]))
        count = ceil_div(units, ports)
        behind = MUX_COST * (deep - 1) if cells.kind == "distributed" else chosen_gates(deep)
        cost = cells.cost * count + behind * width + CONTROL_COST
        if settled and write == "word" and cells.kind == "block":
            cost += 2 * width + (words - 1).bit_length()  # a write that waits, and its word in the other's place
        yield int(cost), Mapped(cells.kind, count, deep, (bits, depth), ports)
