"""What the commands show: tables on standard output, progress and errors on standard error."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from abc_hw.errors import InputError

PIPED_WIDTH = 160
"""Columns of what goes into a file or pipe, so that no table is cut there."""

Update = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


def out() -> Console:
    """Standard output."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


def err() -> Console:
    """Standard error."""
    return Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PIPED_WIDTH)


def visible(text: str) -> str:
    """Text with whatever a terminal would obey, or not show, in the form ``\\x1b``."""
    return "".join(
        letter.encode("unicode_escape").decode() if unicodedata.category(letter)[0] == "C" else letter
        for letter in text
    )


def say(line: str) -> None:
    """Print one line as it is, however long."""
    out().print(visible(line), markup=False, soft_wrap=True)


def complain(message: str) -> None:
    """Print ``error: ...`` on one line of standard error."""
    err().print(f"error: {visible(' '.join(message.split()))}", markup=False, soft_wrap=True)


def complain_with_log(message: str) -> None:
    """The first line of the message as :func:`complain` prints it, then the others, which a program wrote."""
    summary, *log = message.split("\n")
    complain(summary)
    for line in log:
        err().print(visible(line.expandtabs()), markup=False, soft_wrap=True)


class _PlainTable(Table):
    """Cells are shown as they are: nothing in them is markup or a command to the terminal."""

    def add_row(self, *cells: Any, style: Any = None, end_section: bool = False) -> None:
        plain = (Text(visible(cell)) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*plain, style=style, end_section=end_section)


def table(*columns: str) -> Table:
    """An empty table; a column whose name starts with ``>`` is aligned to the right."""
    titled = any(name.strip(">") for name in columns)
    made = _PlainTable(box=box.SIMPLE_HEAD if titled else box.SIMPLE, show_header=titled, pad_edge=False)
    for name in columns:
        made.add_column(
            name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold"
        )
    return made


def show(title: str, made: Table) -> None:
    """Print a table under its title."""
    console = out()
    console.print(visible(title), style="bold", markup=False, soft_wrap=True)
    console.print(made)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Update]:
    """A bar with elapsed time while the block runs; it moves by steps once the block calls the update."""
    console = err()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        task = bars.add_task(what, total=None)

        def update(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield update


def percent(share: float) -> str:
    """A share of 1 as people read it."""
    return f"{100 * share:.2f} %"


def need(extra: str, *modules: str) -> None:
    """InputError unless the modules, which the extra of that name brings, are installed."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"{name}: expected this package installed, found none: pip install 'abc-hw[{extra}]'")
