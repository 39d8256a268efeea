"""Every option of the generator: Verilog that lints clean and equals the golden model bit for bit."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from opinion import lint
from random_networks import random_images
from rtl_cases import BASIS_COUNTS, Case, sweep, whole_windows

from abc_hw.rtl_gen.emit.verilog import generate
from abc_hw.rtl_gen.parts.matches import LayerNumbers
from abc_hw.sim.runner import simulate
from abc_hw.sim.running import run_bench

CASES = sweep()
WITH_VERILATOR = CASES[5::9]


def test_sweep_meets_every_option() -> None:
    assert {(case.M, case.N) for case in CASES} == {(m, n) for m in BASIS_COUNTS for n in BASIS_COUNTS}
    assert {(c.kernel, c.stride, c.form.kind) for c in CASES} == {
        (kernel, stride, kind) for kernel in (1, 3, 5) for stride in (1, 2) for kind in ("fixed", "csd", "pow2")
    }
    assert any(c.padding for c in CASES)
    assert any(not c.padding for c in CASES)
    assert any(c.shape[2] % c.simd for c in CASES if c.simd < c.shape[2]), "channels that simd does not divide"
    assert any(c.simd > c.shape[2] for c in CASES), "several columns at once"
    assert any(c.kernel * c.shape[2] % c.simd for c in CASES if c.simd > c.shape[2]), "columns left over"
    assert any(c.channels % c.pe for c in CASES), "channels that pe does not divide"
    assert any(c.M % c.mp for c in CASES)
    assert any(c.N % c.np for c in CASES)
    assert {c.px for c in CASES} >= {1, 2, 3, 4, 7}
    absent = [c for c in CASES if c.network().layers[0].conv_shape[1] % c.px]
    assert any(c.pool > 1 for c in absent), "rows that px does not divide, pooled"
    assert any(c.stride > 1 for c in absent)
    assert any(c.pool > 1 and c.px % c.pool and c.pool % c.px for c in CASES), "pixels that the pool cannot take"
    assert all(c.simd == c.kernel**2 * c.shape[2] for c in whole_windows())
    assert any(c.shape[0] % c.kernel for c in whole_windows()), "images that begin in different row banks"
    layers = [layer for case in CASES for layer in case.network().layers]
    assert any((layer.alpha < 0).any() for layer in layers)
    assert any((layer.beta < 0).any() for layer in layers)
    bounded = [layer for layer in layers if layer.thresholds is not None]
    assert any((layer.thresholds == layer.acc_bounds[0][:, None]).any() for layer in bounded)
    assert any((layer.thresholds == layer.acc_bounds[1][:, None] + 1).any() for layer in bounded)


@pytest.mark.parametrize("case", [*CASES, *whole_windows()], ids=str)
def test_every_option(case: Case, tmp_path: Path) -> None:
    """One generated accelerator for lint, Icarus and, now and then, Verilator."""
    network = case.network()
    images = random_images(np.random.default_rng(case.seed), network, 4)
    result = simulate(
        network, images, foldings=case.foldings(), simulator="icarus", stalls=0.3, seed=case.seed,
        work_dir=tmp_path,
    )
    assert result.ok, result.layers
    assert {layer.name for layer in result.layers} >= {"dense", "output"}
    assert all(layer.bits_compared for layer in result.layers)
    opinion = lint(tmp_path / "accelerator.v")
    assert (opinion.returncode, opinion.stderr) == (0, "")
    if case in WITH_VERILATOR:
        assert seen_by(tmp_path, "verilator") == json.loads((tmp_path / "result.json").read_text())


def seen_by(folder: Path, simulator: str) -> object:
    """What another simulator shows of what lies in the folder: bits, scores and cycles."""
    kept = (folder / "result.json").read_bytes()
    (folder / "result.json").unlink()
    run_bench(folder, simulator, kind=None)
    found = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_bytes(kept)
    return found


def test_a_changed_weight_is_noticed() -> None:
    """The comparison can fail: one flipped bit in the weight memory of the Verilog shows in the layer's stream."""
    case = next(case for case in CASES if case.kernel == 3)
    network = case.network()
    images = random_images(np.random.default_rng(1), network, 4)

    def flip_first_weight(text: str) -> str:
        word = re.search(r"(module accelerator_conv_weights\(.*?)= (\d+)'h([0-9a-f]+);", text, re.DOTALL)
        assert word is not None
        flipped = f"{word[1]}= {word[2]}'h{int(word[3], 16) ^ 1:x};"
        return f"{text[: word.start()]}{flipped}{text[word.end() :]}"

    result = simulate(network, images, foldings=case.foldings(), simulator="icarus", mutate=flip_first_weight)
    assert not result.ok
    assert {layer.name for layer in result.layers if layer.bits_differing} >= {"conv"}


@pytest.mark.parametrize("case", CASES[::5], ids=str)
def test_extreme_accumulators_fit(case: Case) -> None:
    """The accumulator's width holds the exact least and greatest value, and the threshold above them."""
    numbers = LayerNumbers(case.network().layers[0])
    (least, greatest), thresholds = numbers.bounds, numbers.thresholds
    assert (thresholds >= least[:, None]).all()
    assert (thresholds <= greatest[:, None] + 1).all()


def test_generation_is_deterministic() -> None:
    case = CASES[7]
    assert generate(case.network(), case.foldings()) == generate(case.network(), case.foldings())
