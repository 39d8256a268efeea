"""``examples``: what comes with the program, and copies of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import done, refused
from places import EXAMPLES

from abc_hw import load
from abc_hw.cli.examples import contents


def test_all_that_comes_with_the_program_is_listed() -> None:
    there = {path.name for path in EXAMPLES.iterdir() if path.suffix != ".sh"}
    assert there == contents().keys()
    assert json.loads(done("examples", "--json"))["examples"] == contents()
    assert "The smallest network with one of everything" in done("examples")


def test_a_copy_is_what_was_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert done("examples", "cocotb", "mybench") == "cocotb: mybench\n"
    made = {path.name: path.read_bytes() for path in (tmp_path / "mybench").iterdir()}
    assert made.keys() == {"Makefile", "run.py", "test_top.py", "top.v"}
    assert made == {name: (EXAMPLES / "cocotb" / name).read_bytes() for name in made}
    assert done("examples", "example:tiny") == "example:tiny: tiny.toml\n"
    assert load("tiny.toml").digest == load("example:tiny").digest
    assert done("examples", "tiny.toml", "mybench") == "tiny.toml: mybench/tiny.toml\n"


def test_nothing_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.toml").write_text("mine")
    for name, to, what in (("cocotb", "mine", "folder"), ("tiny", "mine.toml", "file")):
        line = refused("examples", name, tmp_path / to)
        assert line == f"{tmp_path / to}: expected a place where nothing is yet, found a {what}"
    assert (tmp_path / "mine.toml").read_text() == "mine"
    assert refused("examples", "vgg16").startswith("example: expected one of cnv-m1n1.toml, ")
