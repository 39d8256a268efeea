"""What the commands show: tables on standard output, progress and errors on standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import inspect
import json
import sys
import time
import unicodedata
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
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


@dataclasses.dataclass
class Output:
    """How a command tells what it found.

    Members
    -------
    as_json : one JSON object of the facts on standard output, no text
    quiet : no text and no facts; the exit code, errors and files tell
    verbose : every stage and its seconds on standard error
    aside : text goes to standard error, for standard output carries a file
    facts : what the command recorded
    """

    as_json: bool = False
    quiet: bool = False
    verbose: bool = False
    aside: bool = False
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


_output = Output()


def record(**facts: Any) -> None:
    """Keep facts of this command for ``--json``: plain numbers, texts, lists and dicts of them."""
    _output.facts |= facts


def _plain(value: Any) -> Any:
    """Values that JSON has no word for: paths, records, and numbers and arrays of NumPy."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return value.tolist() if hasattr(value, "tolist") else str(value)


def text_aside() -> None:
    """From here to the end of the command all text goes to standard error."""
    _output.aside = True


def reports(command: Callable[..., None]) -> Callable[..., None]:
    """``command`` with the options --json, --quiet and --verbose, which every command that reports has."""
    signature = inspect.signature(command, eval_str=True)
    options = {
        "as_json": Annotated[bool, typer.Option("--json", help="One JSON object in place of tables.")],
        "quiet": Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing but errors.")],
        "verbose": Annotated[bool, typer.Option("--verbose", "-v", help="Tell every stage and its seconds.")],
    }

    @functools.wraps(command)
    def reporting(*arguments: Any, as_json: bool, quiet: bool, verbose: bool, **more: Any) -> None:
        global _output
        before, _output = _output, Output(as_json=as_json, quiet=quiet, verbose=verbose)
        try:
            command(*arguments, **more)
        finally:
            if as_json and _output.facts:
                stream = sys.stderr if _output.aside else sys.stdout
                stream.write(json.dumps(_output.facts, indent=2, default=_plain) + "\n")
            _output = before

    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in options.items()
    ]
    del reporting.__wrapped__  # typer would look there for the signature
    reporting.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*signature.parameters.values(), *more]
    )
    reporting.__annotations__ = {
        parameter.name: parameter.annotation for parameter in [*signature.parameters.values(), *more]
    }
    return reporting


def out() -> Console:
    """Where text goes: standard output, unless that is taken or nobody wants text."""
    stream = sys.stderr if _output.aside else sys.stdout
    return Console(
        file=stream, highlight=False, width=None if stream.isatty() else PIPED_WIDTH,
        quiet=_output.quiet or _output.as_json,
    )


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


def bars_wanted() -> bool:
    """Whether standard error is where someone sees a bar move."""
    return err().is_terminal and not _output.quiet


@contextlib.contextmanager
def progress(what: str) -> Iterator[Update]:
    """A bar with elapsed time while the block runs; it moves by steps once the block calls the update."""
    console = err()
    begun = time.monotonic()
    columns = TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not bars_wanted()) as bars:
        task = bars.add_task(what, total=None)

        def update(done: int, total: int) -> None:
            bars.update(task, completed=done, total=total)

        yield update
    if _output.verbose:
        console.print(f"{what}: {time.monotonic() - begun:.1f} s", markup=False)


def percent(share: float) -> str:
    """A share of 1 as people read it."""
    return f"{100 * share:.2f} %"


def need(extra: str, *modules: str) -> None:
    """InputError unless the modules, which the extra of that name brings, are installed."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"{name}: expected this package installed, found none: pip install 'abc-hw[{extra}]'")
