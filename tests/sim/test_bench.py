"""The benches for users: the example as a user runs it, and what the scoreboard tells."""

from __future__ import annotations

import dataclasses
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cocotb_tools.check_results import get_results
from command_line import done
from places import EXAMPLES, ROOT

from abc_hw import load
from abc_hw.errors import InputError
from abc_hw.network import Network
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.emit.manifest import Manifest
from abc_hw.rtl_gen.emit.manifest_entries import of_accelerator
from abc_hw.rtl_gen.engine.design import make_accelerator
from abc_hw.sim import golden
from abc_hw.sim.bench import DifferenceError, Received, Scoreboard, burst_stalls, random_stalls
from abc_hw.sim.simulators import cocotb_runner


@pytest.fixture
def users_folder(tmp_path: Path) -> Path:
    """The example, copied out of the repository, beside packages of the user's own."""
    shutil.copytree(EXAMPLES / "cocotb", tmp_path / "mine", ignore=shutil.ignore_patterns("build", "__pycache__"))
    (tmp_path / "mine" / "sim").mkdir()
    (tmp_path / "mine" / "sim" / "__init__.py").write_text("raise RuntimeError('a package of the user')\n")
    return tmp_path / "mine"


def example(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "run.py", *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False, timeout=600,
    )


def test_the_example_is_short() -> None:
    assert len((EXAMPLES / "cocotb" / "test_top.py").read_text().splitlines()) <= 25


def test_the_example_passes_in_icarus(users_folder: Path) -> None:
    ran = example(users_folder)
    assert ran.returncode == 0, ran.stdout
    assert "TESTS=2 PASS=2 FAIL=0" in ran.stdout


@pytest.mark.long
def test_the_example_passes_in_verilator_and_by_make(users_folder: Path) -> None:
    ran = example(users_folder, "verilator")
    assert ran.returncode == 0, ran.stdout
    for simulator in ("icarus", "verilator"):
        made = subprocess.run(
            ["make", f"SIM={simulator}", f"SIM_BUILD=made_{simulator}"], cwd=users_folder, capture_output=True,
            env=os.environ | {"PYTHONPATH": str(ROOT)}, text=True, check=False, timeout=600,
        )
        assert made.returncode == 0, made.stdout
        assert get_results(users_folder / "results.xml") == (2, 0)


@pytest.mark.long
def test_a_changed_weight_fails_the_example(users_folder: Path) -> None:
    done("generate", "example:tiny", "-o", users_folder / "right.v")
    text = (users_folder / "right.v").read_text()
    word = re.search(r"(module accelerator_conv1_weights\(.*?)= (\d+)'h([0-9a-f]+);", text, re.DOTALL)
    assert word is not None
    wrong = f"{text[: word.start()]}{word[1]}= {word[2]}'h{int(word[3], 16) ^ 255:x};{text[word.end() :]}"
    run = (users_folder / "run.py").read_text()
    (users_folder / "wrong.v").write_text(wrong)
    (users_folder / "run.py").write_text(run.replace('sources=["accelerator.v"', 'sources=["wrong.v"'))
    ran = example(users_folder)
    assert ran.returncode == 1
    assert re.search(r"image \d+, class \d+: expected score -?\d+, found -?\d+", ran.stdout)


@pytest.mark.long
def test_weights_are_loaded_by_a_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done("generate", "example:tiny", "--weights", "loaded", "-o", "accelerator.v")
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with cocotb_runner("icarus") as runner:
        runner.build(sources=["accelerator.v"], hdl_toplevel="accelerator", timescale=("1ns", "1ps"))
        results = runner.test(test_module="loading_bench", hdl_toplevel="accelerator", test_dir=tmp_path)
    assert get_results(results) == (1, 0)


# -- the scoreboard by itself -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def design() -> tuple[Network, Manifest]:
    network = load("example:tiny")
    accelerator = make_accelerator(network, fold(network))
    return network, of_accelerator(accelerator, name="accelerator", source="example:tiny")


def test_the_first_difference_is_told(design: tuple[Network, Manifest]) -> None:
    network, told = design
    board = Scoreboard(told)
    images = board.random_images(3, seed=1)
    trace = golden.run(network, images)
    board.check(images, Received(trace.scores, trace.classes))
    scores = trace.scores.copy()
    scores[1, 2] += 1
    scores[2, 0] += 1
    wrong = int(scores[1, 2])
    with pytest.raises(DifferenceError, match=f"image 1, class 2: expected score {wrong - 1}, found {wrong}"):
        board.check(images, Received(scores, trace.classes))
    classes = trace.classes.copy()
    classes[2] = (classes[2] + 1) % 3
    with pytest.raises(DifferenceError, match=f"image 2: expected class {trace.classes[2]}, found {classes[2]}"):
        board.check(images, Received(trace.scores, classes))


def test_another_network_is_refused(design: tuple[Network, Manifest]) -> None:
    network, told = design
    layer = network.layers[0]
    changed = dataclasses.replace(layer, weights=layer.weight_bases.levels - 1 - layer.weights)
    other = dataclasses.replace(network, layers=(changed, *network.layers[1:]))
    with pytest.raises(InputError, match=r"accelerator: expected the network with digest .*, found tiny with"):
        Scoreboard(told, other)
    Scoreboard(told.model_copy(update={"weights": "loaded"}), other)


def test_stalls() -> None:
    bursts = burst_stalls(2, 1)
    assert [next(bursts) for _ in range(6)] == [False, False, True] * 2
    draws = random_stalls(0.25, seed=1)
    assert np.mean([next(draws) for _ in range(4000)]) == pytest.approx(0.25, abs=0.03)
    with pytest.raises(InputError, match="stalls: expected a share from 0 to below 1, found 1"):
        next(random_stalls(1, seed=1))
