"""Look-up tables of a netlist for ECP5 without levels that nobody needs.

What ABC has mapped it goes through once more, and lets a table read other tables where that saves it an input
(``&mfs``), as long as no path gets longer than the longest one of the design, which may be a sum of many bits. So
a memory of 16 words, each column of which needs one look-up table of four inputs, ends in five levels of them.
Here each table reads what comes first of all from which its bit can be computed, four signals at most. No table
is added; those that nobody reads any more leave.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any

from .pins import Cell, readers

__all__ = ["flatten"]

TABLE, PINS, OUT = "LUT4", "ABCD", "Z"

LEVELS = {"CCU2C": 3, "TRELLIS_DPR16X4": 2}
"""How many levels what other cells give counts as; nothing where it is a register or a pin."""

KEPT_CUTS = 8
"""Of the sets of signals that a table's bit can be computed from, those that the next tables look at."""

VARIABLES = (0xAAAA, 0xCCCC, 0xF0F0, 0xFF00)
"""What four inputs are, in each of the rows of a table."""

Cut = frozenset[int]


def flatten(module: dict[str, Any]) -> int:
    """Change the tables of a flat module of a netlist; how many read other signals. Of the same depth, a table's
    own inputs are preferred."""
    cells: dict[str, Cell] = module["cells"]
    tables = {cell["connections"][OUT][0]: cell for cell in cells.values() if cell["type"] == TABLE}
    depths = {
        bit: LEVELS[cell["type"]] for cell in cells.values() if cell["type"] in LEVELS
        for pin, bits in cell["connections"].items() if cell["port_directions"][pin] == "output" for bit in bits
    }
    cuts: dict[int, list[Cut]] = {}
    changed: dict[int, list[int]] = {}
    inputs = {out: frozenset(bit for bit in _read(cell) if isinstance(bit, int)) for out, cell in tables.items()}
    for out in TopologicalSorter({out: own & tables.keys() for out, own in inputs.items()}).static_order():
        own = inputs[out]
        known = sorted(_cuts(own, cuts), key=lambda cut: (_depth(cut, depths), cut != own, sorted(cut)))
        cuts[out] = [frozenset([out]), *known[:KEPT_CUTS]]
        depths[out] = 1 + _depth(known[0], depths)
        if known[0] != own:
            changed[out] = sorted(known[0])
    functions = {
        out: _function(out, dict(zip(bits, VARIABLES, strict=False)), tables) for out, bits in changed.items()
    }
    for out, bits in changed.items():
        pins = [[bit] for bit in bits] + [["0"]] * (len(PINS) - len(bits))
        tables[out]["connections"] |= dict(zip(PINS, pins, strict=True))
        tables[out]["parameters"]["INIT"] = f"{functions[out]:016b}"
    _without_unread(module)
    return len(changed)


def _read(cell: Cell) -> list[Any]:
    """What a table reads."""
    return [cell["connections"][pin][0] for pin in PINS]


def _depth(bits: Cut, depths: Mapping[int, int]) -> int:
    """Levels up to the last of these bits."""
    return max((depths.get(bit, 0) for bit in bits), default=0)


def _cuts(own: Cut, cuts: Mapping[int, list[Cut]]) -> set[Cut]:
    """Sets of at most four signals from which those that a table reads, themselves such a set, can be computed."""
    found: set[Cut] = {frozenset()}
    for bit in own:
        joined = {one | way for one, way in itertools.product(found, cuts.get(bit, [frozenset([bit])]))}
        found = {cut for cut in joined if len(cut) <= len(PINS)}
    return found


def _function(bit: Any, known: dict[Any, int], tables: Mapping[int, Cell]) -> int:
    """A bit in each row of a table, of what the signals that are known are there."""
    if not isinstance(bit, int):
        return 0xFFFF if bit == "1" else 0
    if bit not in known:
        inputs = [_function(one, known, tables) for one in _read(tables[bit])]
        init = int(tables[bit]["parameters"]["INIT"], 2)
        known[bit] = sum(
            1 << row for row in range(1 << len(PINS))
            if init >> sum((one >> row & 1) << index for index, one in enumerate(inputs)) & 1
        )
    return known[bit]


def _without_unread(module: dict[str, Any]) -> None:
    """Take away tables that neither a pin nor a port reads, until there is none."""
    cells: dict[str, Cell] = module["cells"]
    uses = readers(module)
    names = {cell["connections"][OUT][0]: name for name, cell in cells.items() if cell["type"] == TABLE}
    unread = [out for out in names if not uses[out]]
    while unread:
        for bit in _read(cells.pop(names[unread.pop()])):
            uses[bit] -= 1
            if not uses[bit] and bit in names:
                unread.append(bit)
