"""Carry chains of a netlist for ECP5 without what nextpnr puts at their ends.

A chain of CCU2C cells takes its carry from fabric through a slice that nextpnr adds, also where that carry is a
constant, and gives the last carry to fabric through another, also where nobody reads it (pack.cc of nextpnr-ecp5,
``split_carry_chain``): four look-up tables and a longer path for every adder. Neither is needed where the last
carry is left without a net and the first position makes the first carry itself. A chain whose positions are odd in
number has room for that; one that begins with such a position, as
:func:`abc_hw.rtl_gen.parts.popcount_rows.ccu2c_row` builds them, has it already.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from .pins import Cell, readers

__all__ = ["OPEN", "ease_chains"]

Pins = dict[str, list[Any]]

OPEN = ["x"]
"""A pin without a net: nextpnr knows every pin of a CCU2C, and this bit as none."""

FALSE = ["0"]
TRUE = ["1"]


def ease_chains(module: dict[str, Any]) -> int:
    """Change the chains of a flat module of a netlist; how many are others."""
    uses = readers(module)
    return sum(_eased(chain, uses) for chain in _chains(module["cells"].values(), uses))


def _chains(cells: Any, uses: Counter[Any]) -> Iterator[list[Cell]]:
    """Chains that begin with a constant carry, each as its cells; those whose carries are read between two cells
    are left out."""
    slices = [cell for cell in cells if cell["type"] == "CCU2C"]
    follow = {
        bit: cell for cell in slices for bit in cell["connections"].get("CIN", []) if isinstance(bit, int)
    }
    for cell in slices:
        if cell["connections"].get("CIN") not in (FALSE, TRUE):
            continue
        chain = [cell]
        while (carry := _carry_out(chain[-1])) in follow and uses[carry] == 1:
            chain.append(follow[carry])
        if isinstance(carry, int) and not uses[carry]:
            yield chain


def _carry_out(cell: Cell) -> Any:
    """The bit of a slice's last carry; x if it has none."""
    return (cell["connections"].get("COUT") or OPEN)[0]


def _read(bits: list[Any], uses: Counter[Any]) -> bool:
    """Whether somebody reads what a pin gives."""
    return any(isinstance(bit, int) and uses[bit] for bit in bits)


def _eased(chain: list[Cell], uses: Counter[Any]) -> bool:
    """Change a chain whose last carry nobody reads."""
    chain[-1]["connections"]["COUT"] = OPEN
    carry = chain[0]["connections"]["CIN"]
    if not _ignores_carry(_half(chain[0], 0), uses):
        if _read(chain[-1]["connections"]["S1"], uses):
            return True
        halves = [_half(cell, side) for cell in chain for side in (0, 1)]
        for place, half in enumerate([_maker(carry), *halves[:-1]]):
            _put(chain[place // 2], place % 2, half)
    chain[0]["connections"]["CIN"] = OPEN
    return True


Half = tuple[Pins, str, str]
"""One of the two positions of a slice: its pins (``A`` to ``D`` and ``S``), its table and whether it injects."""


def _half(cell: Cell, side: int) -> Half:
    pins = {pin: cell["connections"][f"{pin}{side}"] for pin in "ABCDS"}
    return pins, cell["parameters"][f"INIT{side}"], cell["parameters"][f"INJECT1_{side}"]


def _put(cell: Cell, side: int, half: Half) -> None:
    pins, table, inject = half
    cell["connections"] |= {f"{pin}{side}": bits for pin, bits in pins.items()}
    cell["parameters"] |= {f"INIT{side}": table, f"INJECT1_{side}": inject}


def _maker(carry: list[Any]) -> Half:
    """The position whose carry out is this constant: its table gives 0, its smaller table the constant."""
    table = "0" * 12 + ("1111" if carry == TRUE else "0000")
    return {"A": TRUE, "B": TRUE, "C": TRUE, "D": TRUE, "S": OPEN}, table, "NO"


def _ignores_carry(half: Half, uses: Counter[Any]) -> bool:
    """Whether nothing that is read depends on the carry in: not the carry out, for the table gives 0 for all that
    its pins can be, and not the sum, which nobody reads."""
    pins, table, inject = half
    if _read(pins["S"], uses):
        return False
    fixed = {index: pins[pin] for index, pin in enumerate("ABCD") if pins[pin] in (FALSE, TRUE)}
    rows = [
        row for row in range(16) if all((bits == TRUE) == bool(row >> index & 1) for index, bits in fixed.items())
    ]
    return inject.strip() == "NO" and all(table[-1 - row] == "0" for row in rows)
