"""Synthesised netlists of an accelerator, for simulation in place of its Verilog."""

from __future__ import annotations

from pathlib import Path

from abc_hw.errors import InputError
from abc_hw.rtl_gen.emit.yosys import run_yosys
from abc_hw.writing import temporary_folder

DP16KD = Path(__file__).parent / "dp16kd.v"
"""A model of the ECP5's block memory; Yosys has none."""

TARGETS = {
    # Memories that Yosys may make what it likes of are LUT memories here.
    "ecp5": ("synth_ecp5 -nobram -nowidelut -abc9", ["+/ecp5/cells_sim.v", str(DP16KD)]),
    "ecp5-slices": ("synth_ecp5 -nobram -nowidelut -abc9", ["+/ecp5/cells_sim.v", str(DP16KD)]),
    "ice40": ("synth_ice40 -abc9", ["+/ice40/cells_sim.v"]),
}


def synthesised(verilog: str, *, top: str, target: str) -> str:
    """What ``verilog`` becomes in the cells of ``target`` (a key of ``TARGETS``), one flat module named ``top``.

    Every cell is replaced by its model, so that any simulator reads the result.

    Raises
    ------
    InputError
        if the target is unknown.
    """
    if target not in TARGETS:
        raise InputError(f"netlist: expected {', '.join(TARGETS)}, found {target}")
    synthesis, models = TARGETS[target]
    with temporary_folder() as folder:
        source, netlist, result = (folder / name for name in ("design.v", "netlist.v", "result.v"))
        source.write_text(verilog)
        run_yosys(f"read_verilog {source}", f"{synthesis} -top {top}", f"write_verilog -noattr {netlist}")
        run_yosys(
            f"read_verilog {netlist}", *(f"read_verilog -overwrite {model}" for model in models),
            f"hierarchy -top {top}", "proc", "flatten", "opt_clean", f"write_verilog -noattr {result}",
        )
        return result.read_text()

