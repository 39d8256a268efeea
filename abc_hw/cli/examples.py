"""``examples``: what comes with the program to start from, and a copy of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from abc_hw.errors import InputError
from abc_hw.sources import DESCRIPTION_SUFFIX, EXAMPLE_PREFIX, EXAMPLES
from abc_hw.writing import copy, filled_folder

from .console import record, say, show, table

OTHERS = {
    "cocotb": "a design of one's own around an accelerator, with its bench: cocotb's runner and Make",
    "foldings": "foldings of the large networks of the zoo, for the FPGAs of boards",
    "abc_net.ipynb": "a notebook from a float network to Verilog",
}
"""What the folder of examples has besides descriptions of networks."""


def examples(
    name: Annotated[str | None, typer.Argument(help="One of the list, to copy.", show_default="list them")] = None,
    to: Annotated[Path | None, typer.Argument(help="The file or folder to make.", show_default="its name")] = None,
) -> None:
    """List the examples that come with the program, or copy one to start from."""
    if name is not None:
        made = copied(name, to)
        record(example=name, path=made)
        say(f"{name}: {made}")
        return
    found = contents()
    record(examples=found)
    shown = table("example", "what it is")
    for each, what in found.items():
        shown.add_row(each, what)
    show("abc-hw examples NAME FOLDER copies one; example:NAME stands for a network where one is wanted", shown)


def contents() -> dict[str, str]:
    """Every example's name, descriptions of networks first, with what it is."""
    described = {
        file.name: _first_line(file) for file in sorted(EXAMPLES.glob(f"*{DESCRIPTION_SUFFIX}"))
    }
    return {**described, **OTHERS}


def _first_line(description: Path) -> str:
    with description.open(encoding="utf-8") as text:
        return text.readline().removeprefix("#").strip().rstrip(".:")


def copied(name: str, to: Path | None) -> Path:
    """Copy an example; returns where it is now.

    Raises
    ------
    InputError : no example of that name, or there is something at that place already
    """
    plain = name.removeprefix(EXAMPLE_PREFIX)
    known = next((each for each in (plain, f"{plain}{DESCRIPTION_SUFFIX}") if each in contents()), None)
    if known is None:
        raise InputError(f"example: expected one of {', '.join(contents())}, found {name!r}")
    source, target = EXAMPLES / known, to or Path(known)
    if source.is_file():
        target = target / known if target.is_dir() else target
    if target.exists():
        raise InputError(f"{target}: expected a place where nothing is yet, found a {_what(target)}")
    if source.is_file():
        copy(source, target)
        return target
    with filled_folder(target) as folder:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", "build"), dirs_exist_ok=True)
    return target


def _what(path: Path) -> str:
    return "folder" if path.is_dir() else "file"
