"""Carry chains of a netlist for ECP5 without what nextpnr puts at their ends.

A chain of CCU2C cells takes its carry from fabric through a slice that nextpnr adds, also where that carry is a
constant, and gives the last carry to fabric through another, also where nobody reads it (pack.cc of nextpnr-ecp5,
``split_carry_chain``): four look-up tables and a longer path for every adder. Neither is needed where the last
carry is left without a net and the first position makes the first carry itself. A chain whose positions are odd in
number has room for that; one that begins with such a position, as
:func:`abc_hw.rtl_gen.parts.popcount_rows.ccu2c_row` builds them, has it already.

    python -m abc_hw.rtl_gen.emit.carries design.json

changes a netlist of Yosys (``write_json``) in place. The logic stays what it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from abc_hw import writing

__all__ = ["OPEN", "ease", "ease_file", "main"]

Cell = dict[str, Any]
Pins = dict[str, list[Any]]

OPEN = ["x"]
"""A pin without a net: nextpnr knows every pin of a CCU2C, and this bit as none."""

FALSE = ["0"]
TRUE = ["1"]


def ease_file(path: Path) -> int:
    """Change the netlist in a file; how many chains are others. The file is whole at any time."""
    netlist = json.loads(path.read_text())
    changed = ease(netlist)
    if changed:
        writing.write(path, json.dumps(netlist).encode())
    return changed


def ease(netlist: dict[str, Any]) -> int:
    """Change the top module of a flat netlist; how many chains are others."""
    changed = 0
    for module in netlist["modules"].values():
        if int(module.get("attributes", {}).get("top", "0"), 2):
            uses = _uses(module)
            changed += sum(_eased(chain, uses) for chain in _chains(module["cells"].values(), uses))
    return changed


def _uses(module: dict[str, Any]) -> Counter[Any]:
    """How many pins and ports read each bit."""
    uses: Counter[Any] = Counter()
    for cell in module["cells"].values():
        for pin, bits in cell["connections"].items():
            if cell["port_directions"][pin] != "output":
                uses.update(bits)
    for port in module["ports"].values():
        uses.update(port["bits"])
    return uses


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


OTHER_FORM = (KeyError, TypeError, AttributeError)
"""What JSON that is no netlist ends in: its members are not those that are looked for."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0: changed, or nothing to be changed; 2: no netlist."""
    parser = argparse.ArgumentParser(
        prog="python -m abc_hw.rtl_gen.emit.carries",
        description="Ease the carry chains of a flat ECP5 netlist, before nextpnr places it.",
    )
    parser.add_argument("netlist", type=Path, help="of Yosys' write_json; changed in place")
    path = parser.parse_args(arguments).netlist
    try:
        print(f"{path}: {ease_file(path)} chains eased")
    except (OSError, ValueError, *OTHER_FORM) as error:
        print(f"{path}: expected a netlist of Yosys' write_json, found {error!r}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
