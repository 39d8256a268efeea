"""What a netlist takes, from the number of its cells by type."""

from collections.abc import Mapping


def luts(cells: Mapping[str, int]) -> int:
    """Look-up tables of four inputs (LUT4 + 2 x CCU2C on ECP5, with ALU cells on Gowin), of up to six on xc7; RAMs
    made of them not counted."""
    return sum(
        number * (2 if cell == "CCU2C" else 1) for cell, number in cells.items()
        if cell in ("CCU2C", "SB_LUT4", "ALU") or cell.startswith("LUT")
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
