"""Tables that commands measure and write into the pages of docs/."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from benchmarks import pages

DOCS = pages.ROOT / "docs"
MEASURED = [page for page in sorted(DOCS.glob("*.md")) if pages.BEGIN in page.read_text()]

PRINTS = "python -c \"print('seconds: 1'); print('| a | b |'); print('|---|---|'); print('| {} | 2 |')\""


def page_with(*commands: str) -> str:
    old = "| a | b |\n|---|---|\n| 0 | 0 |\n"
    return f"before\n\n{pages.BEGIN}\n" + "\n".join(commands) + f"\n-->\n{old}\n{pages.END}\nbehind\n"


def test_rows_of_all_commands_come_into_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(page_with(PRINTS.format(1), PRINTS.format(3)))
    assert pages.measure(page, "") == []
    text = page.read_text()
    assert "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 2 |\n\nMeasured of `" in text
    assert "| 0 | 0 |" not in text
    assert text.startswith("before\n")
    assert text.endswith("behind\n")
    assert pages.measure(page, "") == []  # and again
    assert len(list(pages.tables(page.read_text()))) == 1


@pytest.mark.parametrize(("command", "says"), [
    ("python -c 'raise SystemExit(3)'", "ended with 3"), ("python -c 'print(1)'", "Expected a table"),
])
def test_what_fails_leaves_the_old_table(command: str, says: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(before := page_with(PRINTS.format(1), command))
    assert says in " ".join(pages.measure(page, ""))
    assert page.read_text() == before


def test_only_tables_whose_commands_are_meant(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(before := page_with(PRINTS.format(1)))
    assert pages.measure(page, "benchmarks.array") == []
    assert page.read_text() == before


@pytest.mark.parametrize("page", MEASURED, ids=lambda page: page.stem)
def test_every_command_has_its_program_and_options(page: Path) -> None:
    """And every table has rows, of its command."""
    text = page.read_text()
    found = list(pages.tables(text))
    assert len(found) == text.count(pages.BEGIN) == text.count(pages.END) > 0
    for table in found:
        assert re.search(r"^Measured of `\w+(-dirty)?`; Yosys ", table.text, re.MULTILINE), table.commands
        for command in table.commands:
            python, flag, module, *arguments = shlex.split(command)
            assert (python, flag) == ("python", "-m")
            source = (pages.ROOT / module.replace(".", "/")).with_suffix(".py").read_text()
            for option in arguments:
                assert not option.startswith("--") or f'"{option}"' in source, command


def test_the_list_names_the_commands(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["pages", "performance", "--list"])
    assert pages.main() == 0
    assert capsys.readouterr().out.splitlines() == [
        command for table in pages.tables((DOCS / "performance.md").read_text()) for command in table.commands
    ]
