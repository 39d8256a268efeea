"""The command line: what its commands make, say and return."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import TINY, abc_hw, done, refused

from abc_hw.cli.main import EXAMPLES
from abc_hw.network import files
from abc_hw.rtl_gen.emit import manifest
from abc_hw.sim import diagnosis, runner
from abc_hw.sim.runner import LayerComparison, SimulationResult
from abc_hw.training.loop import ABCTraining
from abc_hw.training.recipes import RECIPES

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*treespec, LeafSpec.*:FutureWarning",  # Lightning's own use of a torch class
)


# -- help ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [command.__name__ for command in EXAMPLES])
def test_help_shows_an_example(command: str) -> None:
    assert f"abc-hw {command}" in done(command, "--help")


def test_version() -> None:
    assert re.fullmatch(r"abc-hw \d+\.\d+\.\d+\n", done("--version"))


# -- what the commands make ---------------------------------------------------------------------------------


def test_training_writes_a_checkpoint_and_tells_both_accuracies(trained: Path, tmp_path: Path) -> None:
    assert (trained / "model.ckpt").is_file()
    said = done("train", "-M", "1", "-N", "1", "--model", "mlp", "--epochs", "2", "--out", tmp_path)
    epochs = re.findall(r"epoch (\d) of 2: \d+\.\d s, loss \d+\.\d{4}, validation \d+\.\d\d %\n", said)
    assert epochs == ["1", "2"], "without a terminal each epoch leaves a line"
    assert re.search(r"validation accuracy +\d+\.\d\d %", said)
    assert re.search(r"test accuracy +\d+\.\d\d %", said)
    assert f"checkpoint: {tmp_path / 'model.ckpt'}" in said


def test_bases_can_be_given_for_each_layer(tmp_path: Path) -> None:
    done("train", "--model", "mlp", "-M", "3,2,1", "-N", "8,3,2", "--epochs", "1", "--out", tmp_path)
    done("export", tmp_path / "model.ckpt", "-o", tmp_path / "network.safetensors")
    layers = files.load(tmp_path / "network.safetensors").layers
    assert [layer.weight_bases.count for layer in layers] == [3, 2, 1]
    assert [layer.input_bases.count for layer in layers] == [8, 3, 2]


def test_an_interrupted_training_goes_on_and_ends_as_if_nothing_had_happened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["-M", "1", "-N", "1", "--epochs", "3", "--integer-epochs", "1"]
    done("train", *options, "--out", tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(ABCTraining, "on_validation_epoch_end", _interrupting(ABCTraining.on_validation_epoch_end))
        result = abc_hw("train", *options, "--out", tmp_path / "cut")
    assert result.exit_code == 130
    assert f"go on with: abc-hw train --resume --out {tmp_path / 'cut'}" in result.stderr
    assert not (tmp_path / "cut" / "model.ckpt").exists()
    done("train", "--resume", "--out", tmp_path / "cut")
    for name in ("whole", "cut"):
        done("export", tmp_path / name / "model.ckpt", "-o", tmp_path / f"{name}.safetensors")
    assert files.load(tmp_path / "cut.safetensors").digest == files.load(tmp_path / "whole.safetensors").digest


def _interrupting(ending: Callable[[Any], None]) -> Callable[[Any], None]:
    def ends(module: Any) -> None:
        if module.current_epoch == 1:
            raise KeyboardInterrupt
        ending(module)

    return ends


def test_export_keeps_how_the_network_was_trained(trained: Path) -> None:
    network = files.load(trained / "network.safetensors")
    assert network.name == "digits-lenet"
    assert network.training["dataset"] == "digits"
    assert network.training["M"] == 2
    assert 0 < network.training["accuracy"]["test"] <= 1


def test_info_lists_layers_and_sums(trained: Path) -> None:
    said = done("info", trained / "network.safetensors")
    network = files.load(trained / "network.safetensors")
    for layer in network.layers:
        assert layer.name in said
        assert f"{layer.binary_macs:,}" in said
    assert f"{network.binary_macs:,}" in said
    assert network.digest in said
    codes = sum(layer.weights.size * 2 for layer in network.layers)  # M = 2: three levels, two bits
    assert f"{codes:,}" in said


def test_info_of_a_description(tmp_path: Path) -> None:
    assert "tiny: 8 x 8 x 1 pixels in, 3 classes out" in done("info", TINY)


def test_all_evaluators_give_the_same_scores(trained: Path) -> None:
    said = done(
        "evaluate", trained / "network.safetensors", "--onnx", trained / "network.onnx",
        "--checkpoint", trained / "model.ckpt",
    )
    assert "on 359 test images" in said
    accuracy = files.load(trained / "network.safetensors").training["accuracy"]["test"]
    assert said.count(f"{100 * accuracy:.2f} %") == 3
    assert said.count("0 of 3,590") == 2


def test_scores_of_another_network_are_a_mismatch(trained: Path, tmp_path: Path) -> None:
    done("train", "-M", "1", "-N", "1", "--epochs", "1", "--out", tmp_path)
    done("export", tmp_path / "model.ckpt", "-o", tmp_path / "other.safetensors")
    result = abc_hw("evaluate", tmp_path / "other.safetensors", "--onnx", trained / "network.onnx")
    assert result.exit_code == 1
    assert re.search(r"error: \d+ scores differ from those of the fast path", result.stderr)


def test_generate_writes_verilog_and_shows_the_cycles(trained: Path, tmp_path: Path) -> None:
    output = tmp_path / "lenet.v"
    said = done("generate", trained / "network.safetensors", "-o", output, "--cycles", "2000", "--name", "lenet")
    assert re.search(r"^module lenet\(", output.read_text(), re.MULTILINE)
    cycles = int(re.search(r"an image every ([\d,]+) cycles", said)[1].replace(",", ""))  # type: ignore[index]
    assert 1000 < cycles <= 2000


def test_generate_with_several_pixels_at_the_input(tmp_path: Path) -> None:
    made = tmp_path / "tiny.v"
    done("generate", "example:tiny", "--input-px", "3", "-o", str(made))
    assert "// i          ready/valid, 3 pixels x 1 channels x 8 bits" in made.read_text()
    told = manifest.read(made.with_suffix(".json")).stream("i")
    assert (told.px, told.lanes, told.bits, told.transfers) == (3, 1, 24, 8 * 3)
    done("simulate", str(made.with_suffix(".json")), "--images", "2", "--simulator", "icarus")
    message = refused("generate", "example:tiny", "--input-px", "9", "-o", str(made))
    assert message == "input-px: expected 1 to 8, found 9"


def test_generate_without_training_keeps_the_folding_of_the_description(tmp_path: Path) -> None:
    said = done("generate", TINY, "-o", tmp_path / "tiny.v")
    assert re.search(r"conv1 +3 +2 ", said)
    assert re.search(r"dense2 +8 +1 +1 +2 ", said)
    assert (tmp_path / "tiny.v").is_file()


def test_a_folding_file_takes_the_place_of_the_description(tmp_path: Path) -> None:
    folding = tmp_path / "folding.toml"
    folding.write_text("[conv1]\nsimd = 1\npe = 4\nmp = 2\nnp = 8\n")
    said = done("generate", TINY, "--folding", folding, "-o", tmp_path / "tiny.v")
    assert re.search(r"conv1 +1 +4 +2 +8 ", said)


@pytest.mark.parametrize(("simulator", "name", "begins"), [
    ("verilator", "waves", b"$version"), ("icarus", "waves.vcd", b"$date"),
])
def test_simulate_finds_no_bit_that_differs(
    tiny: Path, tmp_path: Path, simulator: str, name: str, begins: bytes
) -> None:
    waves, folder = tmp_path / name, tmp_path / "work"
    said = done(
        "simulate", tiny, "--random", "--images", 3, "--simulator", simulator, "--stalls", 0.2, "--waves", waves,
        "--work-dir", folder,
    )
    for stream in ("conv1", "dense2", "output"):
        assert re.search(rf"{stream} +[1-9][\d,]* +0 *\n", said)
    assert waves.read_bytes().startswith(begins)
    for viewer in (".gtkw", ".sucl"):
        listed = waves.with_suffix(viewer).read_text()
        assert all(f"harness.dut.{port}__valid" in listed for port in ("i", "o", "conv1.o", "dense2.o"))
    assert os.access(folder / "rerun.sh", os.X_OK)
    if simulator == "icarus":
        again = subprocess.run([folder / "rerun.sh"], capture_output=True, text=True, check=True, timeout=300)
        assert re.search(r"^output: [1-9]\d* bits compared, 0 differ$", again.stdout, re.MULTILINE)


def test_waves_are_of_a_kind_that_there_is(tiny: Path, tmp_path: Path) -> None:
    said = refused("simulate", tiny, "--random", "--waves", tmp_path / "waves.png")
    assert said == f"waves: expected a name that ends in .vcd from verilator, found {tmp_path / 'waves.png'}"


def test_simulate_shows_test_images_to_a_trained_network(trained: Path) -> None:
    said = done("simulate", trained / "network.safetensors", "--images", "5")
    assert re.search(r"cycles between images: [\d,.]+, bound [\d,]+ \(1\.00\d\d of it\)", said)
    assert re.search(r"accuracy: [\d.]+ % of these images", said)


@pytest.mark.parametrize(("finished", "why"), [(True, "differs from the golden model"), (False, "did not end")])
def test_a_simulation_that_fails_is_a_mismatch(
    tiny: Path, monkeypatch: pytest.MonkeyPatch, finished: bool, why: str
) -> None:
    result = SimulationResult(
        layers=[LayerComparison(name="conv1", bits_compared=100, bits_differing=int(finished))],
        scores=np.zeros((3, 3), np.int64), labels=np.zeros(3, np.int64), cycles_between_images=[9, 9] * finished,
        latency=9, latencies=[5, 5, 5] * finished, planned=5, bound=9, finished=finished,
    )
    monkeypatch.setattr(runner, "simulate", lambda *_, **__: result)
    place = diagnosis.Place("conv1", "scale", 1, (2, 3), 0, 7, 5)
    monkeypatch.setattr(diagnosis, "locate", lambda *_, **__: place)
    outcome = abc_hw("simulate", tiny, "--random", "--images", "3")
    assert outcome.exit_code == 1
    assert outcome.stderr == f"error: the simulation {why}\n"
    told = "first difference: conv1, scale: image 1, pixel (2, 3), channel 0: expected 7, found 5"
    assert (told in outcome.stdout) == finished


def test_demo_goes_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RECIPES, "digits", {"epochs": 2, "integer_epochs": 1})
    said = done("demo", "--images", "4", "--out", tmp_path / "demo")
    assert len(set(re.findall(r"accuracy, (?:PyTorch|golden model|Verilog in Verilator) +(.*?) *\n", said))) == 1
    for stream in ("conv1", "conv2", "fc1", "fc2", "output"):
        assert re.search(rf"bits of {stream} +[1-9][\d,]* compared +0 differ", said)
    assert "bound (1.00" in said
    for name in ("model.ckpt", "network.safetensors", "network.onnx", "accelerator.v"):
        assert (tmp_path / "demo" / name).is_file()
        assert str(tmp_path / "demo" / name) in said
