"""What a netlist for ECP5 is eased by: as a whole, in a file, as a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ecp5_netlists import netlist, plain_sum, sums

from abc_hw.rtl_gen.emit import ease


def test_the_file_is_changed_in_place(tmp_path: Path) -> None:
    design = netlist(tmp_path, sums(5))
    assert ease.ease_file(tmp_path / "top.json").chains > 0
    ease.ease(design)
    assert json.loads((tmp_path / "top.json").read_text()) == design
    assert sorted(path.name for path in tmp_path.iterdir()) == ["top.il", "top.json"]
    assert ease.ease_file(tmp_path / "top.json") == (0, 0), "nothing is left to be done"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"modules": {"top": {"attributes": {"top": "1"}}}}'])
def test_what_is_no_netlist_is_told(tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "design.json"
    path.write_text(text)
    assert ease.main([str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert path.read_text() == text
    assert ease.main([str(tmp_path / "nowhere.json")]) == 2


def test_the_program_tells_how_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    netlist(tmp_path, plain_sum(5))
    assert ease.main([str(tmp_path / "top.json")]) == 0
    assert ease.main([str(tmp_path / "top.json")]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1] for line in told] == [
        "1 chains and 0 tables eased", "0 chains and 0 tables eased",
    ]
