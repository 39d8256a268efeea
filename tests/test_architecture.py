"""Pages name files that are there, and things that are in them; no file and no function is too long to be read."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from places import ROOT

PAGES = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
ROOMS = "rtl_gen|sim|boards|abc_hw|tests|benchmarks|examples|docs"
PATH = re.compile(rf"(?<![\w/.-])((?:{ROOMS})/[\w./-]*\w)")

MOST_LINES, MOST_OF_A_FUNCTION = 400, 60


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    named = {path for code in re.findall(r"`([^`\n]+)`", page.read_text()) for path in PATH.findall(code)}
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_the_table_of_places() -> None:
    """What a row names behind a file's name stands in that file."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"`([\w./]+)`: `(\w+)`", text)
    assert len(named) >= 12
    for path, name in named:
        assert re.search(rf'(def |class |^ +"){name}\b', (ROOT / path).read_text(), re.MULTILINE), (path, name)


def sources() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / path for path in done.stdout.splitlines()]


def test_files_are_short() -> None:
    """Those of tests apart, of which each test is read by itself."""
    code = (path for path in sources() if path.relative_to(ROOT).parts[0] != "tests")
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in code}
    assert {path: lines for path, lines in long.items() if lines > MOST_LINES} == {}


def functions(path: Path) -> Iterator[tuple[str, int]]:
    """Of a file: name and lines of each function, signature and docstring apart."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) is not None else node.body
            if body:
                yield node.name, (body[-1].end_lineno or 0) - body[0].lineno + 1


def test_functions_are_short() -> None:
    long = [
        (str(path), name, lines) for path in sources() for name, lines in functions(path)
        if lines > MOST_OF_A_FUNCTION
    ]
    assert long == []
