"""Yosys as a program: the one on PATH, or the one in the pyosys wheel.

A Yosys error ends its process; so whatever a user's design can upset runs in one of its own. ``python -m
abc_hw.rtl_gen.emit.yosys`` is the wheel's Yosys with as much of the usual command line as is used here and by
Amaranth's build scripts.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import abc_hw

__all__ = [
    "for_synthesis", "main", "run_module", "run_yosys", "search_path", "with_copies", "with_free_collisions",
    "without_field_names", "without_ram_contents",
]


def search_path() -> str:
    """``PYTHONPATH`` with which ``python -m abc_hw.rtl_gen.emit.yosys`` is found from anywhere."""
    source = str(Path(abc_hw.__file__).resolve().parents[1])
    return os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))


def run_yosys(*commands: str) -> str:
    """Run ``commands`` one after the other on an empty design; returns what Yosys printed.

    Raises
    ------
    RuntimeError
        if Yosys fails; the message has the end of what it printed.
    """
    native = shutil.which("yosys")
    program = [native] if native else [sys.executable, "-m", "abc_hw.rtl_gen.emit.yosys"]
    return _run(*program, "-p", "; ".join(commands))


def run_module(module: str, *arguments: str) -> str:
    """Run a module of this package that uses the wheel's Yosys; returns what it printed, raises as
    :func:`run_yosys`."""
    return _run(sys.executable, "-m", module, *arguments)


def _run(*command: str) -> str:
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": search_path()}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"Yosys failed at: {(done.stdout + done.stderr).strip()[-1500:]}")
    return done.stdout


def for_synthesis(rtlil: str) -> str:
    """A design as Amaranth writes it, with all that its signals and memories are marked with: what Yosys
    synthesises, for boards, netlists and measurements alike."""
    changed = without_ram_contents(without_first_values(rtlil))
    return with_copies(with_free_collisions(without_field_names(changed)))


UNREAD = "attribute \\unread_at_first 1\n"


def without_first_values(rtlil: str) -> str:
    """A design as Amaranth writes it, but registers marked ``unread_at_first`` begin with anything.

    Amaranth gives every register a first value. For that Yosys keeps also a register that holds a constant from
    the second cycle on; it makes one of all there are in the accelerator, and its wire reaches over the chip.
    """
    return re.sub(
        r"(?<=\n)(?:  attribute [^\n]*\n)+(?=  wire )",
        lambda marks: re.sub(r"  attribute \\init [^\n]*\n", "", marks[0]) if UNREAD in marks[0] else marks[0],
        rtlil,
    )


def _by_module(rtlil: str, change: Callable[[str], str]) -> str:
    """A design each module of which is changed by itself."""
    return "".join(change(module) for module in re.split(r"(?<=\nend\n)", rtlil))


def without_field_names(rtlil: str) -> str:
    """A design as Amaranth writes it, with ``name__3`` for every wire ``name[3]``.

    Amaranth names the fields of a layout so. Yosys's ABC9 passes call bit 3 of ``name`` the same and, where both
    are at an end of logic, stop with a failed assertion (0.70).
    """
    return re.sub(r"(?<=\S)\[(\d+)\]", r"__\1", rtlil)


def with_copies(rtlil: str) -> str:
    """A design as Amaranth writes it, but registers whose signal is marked ``keep`` stay as many as there are.

    Amaranth marks only the wire, and Yosys makes one register of all that hold the same.
    """
    return _by_module(rtlil, _marked)


def _marked(module: str) -> str:
    wires = set(re.findall(r"attribute \\keep 1\n(?:  attribute [^\n]*\n)*  wire [^\\\n]*(\\\S+)\n", module))
    if not wires:
        return module
    return re.sub(
        r"  cell \$dff \S+\n(?:    [^\n]*\n)*?    connect \\Q (\\\S+)\n  end\n",
        lambda cell: f"  attribute \\keep 1\n{cell[0]}" if cell[1] in wires else cell[0], module,
    )


def with_free_collisions(rtlil: str) -> str:
    """A design as Amaranth writes it, but what memories marked ``no_rw_check`` give is anything for a word that is
    read and written at once.

    Yosys minds the mark where it joins a register to a port, not at ports that have one, which Amaranth's do; for
    them it puts registers for every word that is written and a multiplexer beside block RAMs that promise nothing.
    """
    return _by_module(rtlil, _freed)


def _freed(module: str) -> str:
    marked = set(re.findall(
        r"attribute \\no_rw_check 1\n(?:  attribute [^\n]*\n)*  memory [^\\\n]*(\\\S+)\n", module
    ))
    return re.sub(
        r"  cell \$memrd_v2 \S+\n\s+parameter \\MEMID \"\\(\S+)\"\n.*?\n  end\n",
        lambda cell: re.sub(
            r"(?<=COLLISION_X_MASK )(\d+)'0+", lambda mask: f"{mask[1]}'{'1' * int(mask[1])}", cell[0],
        ) if cell[1] in marked else cell[0], module, flags=re.DOTALL,
    )


def without_ram_contents(rtlil: str) -> str:
    """A design as Amaranth writes it, but memories that are written have no contents to begin with.

    Amaranth gives every memory contents. No memory that is written here is read before; without contents it may be
    any memory, also one that comes up unknown.
    """
    return _by_module(rtlil, _forget)


def _forget(module: str) -> str:
    written = set(re.findall(r"cell \$memwr_v2 \S+\n\s+parameter \\MEMID (\S+)", module))
    return re.sub(
        r"(?:  attribute [^\n]*\n)*  cell \$meminit_v2 \S+\n\s+parameter \\MEMID (\S+)\n.*?\n  end\n",
        lambda cell: "" if cell[1] in written else cell[0], module, flags=re.DOTALL,
    )


def main() -> None:
    """Run commands, then a script of commands."""
    from .libyosys import ys

    parser = argparse.ArgumentParser(prog="python -m abc_hw.rtl_gen.emit.yosys")
    parser.add_argument("-q", action="store_true", help="say nothing")
    parser.add_argument("-l", metavar="FILE", help="a log of what the script says")
    parser.add_argument("-p", metavar="COMMANDS", default="", help="commands with ; between them")
    parser.add_argument("script", nargs="?")
    options = parser.parse_args()
    design = ys.Design()
    for command in filter(None, (part.strip() for part in options.p.split(";"))):
        ys.Pass.call(design, command)
    if options.script:
        log = f" -o {options.l}" if options.l else ""
        quiet = " -q" if options.q else ""
        ys.Pass.call(design, f"tee{quiet}{log} script {options.script}")


if __name__ == "__main__":
    main()
