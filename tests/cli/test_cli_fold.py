"""``abc-hw fold`` and the folding files that it writes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_line import abc_hw
from places import EXAMPLES

from abc_hw import sources
from abc_hw.cli.inputs import load_folding
from abc_hw.network import description
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.cost.devices import DEVICES
from abc_hw.rtl_gen.cost.estimate import estimate
from abc_hw.rtl_gen.cost.solver import Limits, Solver
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding

TINY = str(EXAMPLES / "tiny.toml")


def test_written_folding_reaches_the_speed_and_serves_generate(tmp_path: Path) -> None:
    path = tmp_path / "folding.toml"
    result = abc_hw("fold", TINY, "--device", "ecp5-25k", "--fps", "100000", "--clock", "50", "-o", str(path))
    assert result.exit_code == 0, result.output
    network, _ = description.load(TINY)
    foldings = fold(network, knobs=load_folding(path))
    assert AcceleratorPlan.of(network, foldings).cycles <= 50e6 / 100_000
    assert foldings == Solver(network, DEVICES["ecp5-25k"]).for_cycles(500)
    made = abc_hw("generate", TINY, "--folding", str(path), "-o", str(tmp_path / "tiny.v"))
    assert made.exit_code == 0, made.output
    for name, knobs in foldings.items():
        assert re.search(
            rf"// {name} .* {knobs.simd} +{knobs.pe} +{knobs.mp} +{knobs.np} ", (tmp_path / "tiny.v").read_text()
        )


@pytest.mark.parametrize(("source", "name", "rate"), [
    ("zoo:cnv-m2n2", "cnv-m2n2", 5_000),
    ("example:cnv-m1n1", "cnv-m1n1", 21_906),  # FINN's CNV on a ZC706
])
def test_fast_foldings_are_told_to_fit(source: str, name: str, rate: int) -> None:
    network, _ = sources.read(Path(source))
    knobs = load_folding(EXAMPLES / "foldings" / f"{name}-ecp5-85k-fast.toml")
    made = estimate(network, {layer: LayerFolding(**numbers) for layer, numbers in knobs.items()})
    device = DEVICES["ecp5-85k"]
    assert device.clock * 1e6 / made.cycles >= rate
    assert made.area.luts <= 0.95 * device.luts
    assert made.area.ffs <= device.luts
    assert made.area.brams <= 0.95 * device.brams


def test_fit_stays_within_the_budget_and_says_what_limits() -> None:
    result = abc_hw("fold", str(EXAMPLES / "digits-small.toml"), "--device", "ecp5-25k", "--budget", "0.15")
    assert result.exit_code == 0, result.output
    network, _ = description.load(EXAMPLES / "digits-small.toml")
    device = DEVICES["ecp5-25k"]
    cycles, foldings = Solver(network, device, Limits.of(device, 0.15)).best()
    assert f"an image every {cycles:,} cycles" in result.output
    made = estimate(network, foldings)
    assert made.area.luts <= 0.15 * device.luts
    assert f"{made.limiting} limits" in result.output
    assert re.search(r"next step: [\d,]+ cycles, [\d,.]+ images/s, for \+[\d,]+ LUTs", result.output)


@pytest.mark.parametrize(("options", "message"), [
    (["--device", "ecp5"], f"error: device: expected one of {', '.join(DEVICES)}, found ecp5"),
    (["--clock", "900"], "error: clock: expected up to 100 MHz, which whole accelerators reach in ecp5-85k, found "
                         "900; nearest that works: --clock 100"),
    (["--clock", "0"], "error: clock: expected up to"),
    (["--fps", "0"], "error: fps: expected above 0"),
    (["--cycles", "0"], "error: cycles: expected a number from 1, found 0"),
    (["--fps", "5", "--fit"], "error: fold: expected one of --fps, --cycles and --fit, found several"),
    (["--budget", "1.5"], "error: budget: expected a share above 0 and up to 1, found 1.5"),
    (["--cycles", "1"], "error: conv1: expected a target of at least 64 cycles per image"),
    (["--budget", "0.001"], "error: conv1: expected at most 83 LUTs of ecp5-85k for the network at "),
])
def test_refusals_in_one_line(options: list[str], message: str) -> None:
    result = abc_hw("fold", TINY, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.strip().count("\n") == 0
