"""What a netlist takes, from the number of its cells by type."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

ALONE = "flip-flop alone"
"""Among the cells of an iCE40 a flip-flop whose logic cell gives its look-up table to nothing else."""


def luts(cells: Mapping[str, int]) -> int:
    """Look-up tables of four inputs (LUT4 + 2 x CCU2C on ECP5, with ALU cells on Gowin, with what ``ALONE`` counts
    on iCE40), of up to six on xc7; RAMs made of them not counted."""
    return sum(
        number * (2 if cell == "CCU2C" else 1) for cell, number in cells.items()
        if cell in ("CCU2C", "SB_LUT4", "ALU", ALONE) or cell.startswith("LUT")
    )


def flip_flops(cells: Mapping[str, int]) -> int:
    """Flip-flops."""
    return _beginning(cells, ("TRELLIS_FF", "SB_DFF", "FD", "DFF"))


def distributed(cells: Mapping[str, int]) -> int:
    """RAMs of look-up tables."""
    return _beginning(cells, ("TRELLIS_DPR", "RAM16S"))


def block_rams(cells: Mapping[str, int]) -> int:
    """Block RAMs, large memories not counted."""
    kinds = ("DP16KD", "PDPW16KD", "SB_RAM40", "SPX9", "DPB", "DPX", "SDPB", "SDPX", "pROM")
    return _beginning(cells, kinds) + cells.get("SP", 0)


def multipliers(cells: Mapping[str, int]) -> int:
    """Hardware multipliers."""
    return _beginning(cells, ("MULT", "SB_MAC16"))


def _beginning(cells: Mapping[str, int], names: tuple[str, ...]) -> int:
    return sum(number for cell, number in cells.items() if cell.startswith(names))


def alone(cells: Mapping[str, Any]) -> list[str]:
    """Names of the flip-flops of an iCE40 that share a logic cell with no look-up table, of a netlist's cells as
    Yosys writes them: they take one by themselves."""
    users = Counter(
        bit for cell in cells.values() for port, bits in cell["connections"].items()
        if cell["port_directions"][port] == "input" for bit in bits
    )
    tables = {cell["connections"]["O"][0] for cell in cells.values() if cell["type"] == "SB_LUT4"}
    return [
        name for name, cell in cells.items() if cell["type"].startswith("SB_DFF")
        for fed in [cell["connections"]["D"][0]] if fed not in tables or users[fed] != 1
    ]
