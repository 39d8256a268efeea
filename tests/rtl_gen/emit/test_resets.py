"""Resets: every kind in every kind of design, in the middle of images; lint; ports."""

from __future__ import annotations

from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from command_line import done, refused
from opinion import lint

from abc_hw.rtl_gen.emit import manifest
from abc_hw.sim.generated import check_generated
from abc_hw.sim.simulators import cocotb_runner

DESIGNS = {
    "loaded": ("example:tiny", "--constants", "loaded"), "axi": ("example:tiny", "--interface", "axi"),
    "layer": ("example:tiny", "--part", "layer:conv1"), "popcount": ("--part", "popcount", "--simd", "37"),
}
LONG = pytest.mark.long


def generated(folder: Path, *options: str) -> Path:
    done("generate", *options, "--name", "core", "-o", folder / "core.v")
    opinion = lint(folder / "core.v")
    assert (opinion.returncode, opinion.stderr) == (0, "")
    return folder / "core.json"


@pytest.mark.parametrize("kind", [*(pytest.param(kind, marks=LONG) for kind in ("sync", "async")), "async-low"])
def test_a_reset_acts_when_it_says(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = manifest.read(generated(tmp_path, "example:tiny", "--reset", kind))
    assert (told.reset, told.reset_active) == (("rst_n", 0) if kind == "async-low" else ("rst", 1))
    assert f"  input {told.reset};" in (tmp_path / "core.v").read_text()
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with cocotb_runner("icarus") as runner:
        runner.build(
            sources=[tmp_path / "core.v"], hdl_toplevel="core", build_dir=tmp_path, timescale=("1ns", "1ps")
        )
        results = runner.test(
            test_module="reset_bench", hdl_toplevel="core", test_dir=tmp_path, build_dir=tmp_path
        )
    assert get_results(results) == (1, 0)


@pytest.mark.parametrize("kind", ["sync", "async", "async-low"])
@pytest.mark.parametrize("design", ["popcount", *(pytest.param(name, marks=LONG) for name in list(DESIGNS)[:-1])])
def test_every_design_has_every_reset(tmp_path: Path, design: str, kind: str) -> None:
    """Its own bench resets it in the middle of an image."""
    assert check_generated(generated(tmp_path, *DESIGNS[design], "--reset", kind), simulator="icarus") is None


def test_what_is_no_reset(tmp_path: Path) -> None:
    said = refused("generate", "example:tiny", "--reset", "never", "-o", tmp_path / "core.v")
    assert said == "reset: expected sync, async, async-low, found never"
