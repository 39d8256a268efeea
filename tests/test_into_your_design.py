"""The page on designs of one's own: its instance fits what is generated, its pictures come from simulation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import done
from places import ROOT

PAGE = ROOT / "docs" / "into-your-design.md"


def test_the_instance_fits_what_is_generated(tmp_path: Path) -> None:
    block = re.search(r"```verilog\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    (tmp_path / "top.v").write_text(block[1])
    done("generate", "example:tiny", "--name", "core", "-o", tmp_path / "core.v")
    said = subprocess.run(
        ["iverilog", "-Wall", "-Wno-timescale", "-g2012", "-s", "top", "-o", "top.vvp", "top.v", "core.v"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )
    assert said.stderr == ""


def test_every_picture_has_its_source() -> None:
    pictures = re.findall(r"\]\((waves/\w+)\.svg\)", PAGE.read_text())
    assert len(pictures) == 4
    for picture in pictures:
        source = json.loads((ROOT / "docs" / f"{picture}.json").read_text())
        assert "<svg" in (ROOT / "docs" / f"{picture}.svg").read_text()
        rows = [row for row in source["signal"] if row]
        assert rows[0]["name"] == "clk"
        assert len({len(row["wave"]) for row in rows}) == 1


@pytest.mark.long
def test_pictures_are_what_simulation_gives(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "benchmarks.waves", str(tmp_path)], cwd=ROOT, check=True)
    for made in tmp_path.glob("*.json"):
        assert made.read_text() == (ROOT / "docs" / "waves" / made.name).read_text()
