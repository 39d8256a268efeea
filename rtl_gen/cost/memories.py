"""What a memory becomes in a device: block RAM, look-up tables used as RAM, or plain logic.

Follows the choice of Yosys' ``memory_libmap`` with the cell descriptions of each family: every cell that can hold
the memory has a cost, so has plain logic, and the cheapest is taken.
"""

import dataclasses
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

__all__ = ["FAMILIES", "Mapped", "MemoryCells", "map_memory"]

ROM_BIT_COST = 1 / 16
"""Cost of a bit of a constant memory in logic; that of a writable one is 1."""

MUX_COST = 0.5
"""Cost of a two-way multiplexer for a bit, behind a memory that takes several cells in depth."""

EMULATION_COST = 2
READ_FIRST_SCORE = 6
"""A block RAM that gives no promise for a word being read and written at once gets registers and a comparison."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryCells:
    """A kind of cell that holds memories.

    Members
    -------
    kind : of what it is made
    address_bits : at a width of one
    widths : word widths, narrowest first; each but the first halves the depth
    least : index of the narrowest width that a writable memory can have
    cost : of a cell
    byte : bits that are written together; 0 for a whole word
    constant : can it hold a memory that is never written?
    """

    kind: Literal["block", "distributed"]
    address_bits: int
    widths: Sequence[int]
    cost: int
    least: int = 0
    byte: int = 0
    constant: bool = True


_TRELLIS = [
    MemoryCells(kind="distributed", address_bits=4, widths=(4,), cost=4, constant=False),
    MemoryCells(kind="block", address_bits=14, widths=(1, 2, 4, 9, 18), cost=128, byte=9),
    MemoryCells(kind="block", address_bits=14, widths=(1, 2, 4, 9, 18, 36), cost=128, byte=9, least=3),
]

FAMILIES: dict[str, Sequence[MemoryCells]] = {
    "ecp5": _TRELLIS,
    "ice40": [MemoryCells(kind="block", address_bits=11, widths=(2, 4, 8, 16), cost=64, byte=1)],
}
"""Memory cells by device family."""


@dataclasses.dataclass(frozen=True)
class Mapped:
    """Where a memory goes, in how many cells (0 in logic), and how many of them lie behind each other in depth."""

    kind: Literal["block", "distributed", "logic"]
    cells: int = 0
    deep: int = 1


@lru_cache(maxsize=1 << 16)
def map_memory(
    family: str, *, width: int, words: int, writable: bool, settled: bool = True
) -> Mapped:
    """Mapping of a memory with one synchronous read port and, if ``writable``, one write port.

    Parameters
    ----------
    family : a key of ``FAMILIES``
    width : bits of a word, of which none is constant; 0 for no memory at all
    settled : must a word that is read and written at once be the old one?
    """
    if width < 1 or words < 2:
        return Mapped("logic")
    best, cheapest = Mapped("logic"), float(int(width * words * (1 if writable else ROM_BIT_COST)))
    for cells in FAMILIES[family]:
        if cells.constant or writable:
            cost, mapped = _geometry(cells, width, words, writable, settled)
            if cost < cheapest:
                best, cheapest = mapped, float(int(cost))
    return best


def _geometry(
    cells: MemoryCells, width: int, words: int, writable: bool, settled: bool
) -> tuple[float, Mapped]:
    """The cheapest arrangement of one kind of cell: (cost, mapping)."""
    score = 1 + (READ_FIRST_SCORE if writable and settled and cells.kind == "block" else 0)
    found: list[tuple[float, int, Mapped]] = []
    for index, unit in enumerate(cells.widths):
        if writable and index < cells.least:
            continue
        deep = -(-words // (1 << (cells.address_bits - index if len(cells.widths) > 1 else cells.address_bits)))
        together = (min(cells.byte, unit) or unit) if writable else 1
        bits = deep * (-(-width // together) * together)
        count = -(-bits // unit)
        cost = cells.cost * count + MUX_COST * (deep - 1) * width + EMULATION_COST * score
        if writable and deep > 1:
            cost += MUX_COST * deep
        found.append((cost, index, Mapped(cells.kind, count, deep)))
    cost, _, mapped = min(found, key=lambda one: one[:2])
    return cost, mapped
