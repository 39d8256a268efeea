"""The command line's one line and exit code 2 for each unusable input, with nothing written."""

from __future__ import annotations

import gc
import json
import re
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch
from command_line import TINY, refused

Tensor = npt.NDArray[Any]

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*treespec, LeafSpec.*:FutureWarning",  # Lightning's own use of a torch class
)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- unusable network files ---------------------------------------------------------------------------------


def with_tensor(data: bytes, name: str, change: Callable[[Tensor], Tensor | None]) -> bytes:
    """A network file with one tensor changed or, where the change gives None, taken out."""
    tensors: dict[str, Any] = safetensors.numpy.load(data)
    changed = change(tensors.pop(name))
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    kept = tensors if changed is None else tensors | {name: changed}
    return safetensors.numpy.save(kept, header["__metadata__"])


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "cut": (lambda data: data[:-7], r"expected a whole \.safetensors file"),
    "empty": (lambda data: b"", r"expected a whole \.safetensors file"),
    "foreign": (lambda data: b"\x89PNG and so on", r"expected a whole \.safetensors file"),
    "another program's": (
        lambda data: safetensors.numpy.save({"weight": np.zeros(3, np.float32)}),
        "expected metadata abc_hw, found none",
    ),
    "wrong shape": (
        lambda data: with_tensor(data, "conv1.alpha", lambda alpha: alpha[:, :1].copy()),
        r"conv1\.alpha: expected shape \(4, 2\), found \(4, 1\)",
    ),
    "thresholds out of order": (
        lambda data: with_tensor(data, "conv1.thresholds", lambda thresholds: thresholds[:, ::-1].copy()),
        r"conv1\.thresholds: expected ascending values",
    ),
    "a tensor less": (
        lambda data: with_tensor(data, "dense2.bias", lambda bias: None),
        r"dense2\.bias: expected a tensor of shape \(3,\), found none",
    ),
    "edited": (lambda data: with_tensor(data, "dense2.bias", lambda bias: bias + 1), "edited or damaged"),
}
"""What is wrong with a file, how it comes about, and what the message says of it."""


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("command", ["info", "evaluate", "generate", "simulate"])
def test_a_file_that_is_no_network_is_refused(tiny: Path, tmp_path: Path, fault: str, command: str) -> None:
    spoil, message = BROKEN[fault]
    tiny.write_bytes(spoil(tiny.read_bytes()))
    before = contents(tmp_path)
    output = ["-o", tmp_path / "accelerator.v"] if command == "generate" else []
    line = refused(command, tiny, *output)
    assert line.startswith(f"{tiny}: ")
    assert re.search(message, line)
    assert contents(tmp_path) == before


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.safetensors"
    assert refused("info", path) == f"{path}: expected a network file, found No such file or directory"


# -- unusable checkpoints -----------------------------------------------------------------------------------


def test_weights_that_are_no_numbers_are_refused(trained: Path, tmp_path: Path) -> None:
    checkpoint = torch.load(trained / "model.ckpt", weights_only=True)
    checkpoint["state_dict"]["model.blocks.conv2.layer.weight"][0, 0, 0, 0] = float("nan")
    torch.save(checkpoint, tmp_path / "model.ckpt")
    before = contents(tmp_path)
    outputs = ["-o", tmp_path / "network.safetensors", "--onnx", tmp_path / "network.onnx"]
    line = refused("export", tmp_path / "model.ckpt", *outputs)
    assert line.startswith(f"{tmp_path / 'model.ckpt'}: conv2.layer.weight: expected finite numbers, found nan")
    assert contents(tmp_path) == before


def test_a_file_that_is_no_checkpoint_is_refused(trained: Path, tmp_path: Path) -> None:
    whole = (trained / "model.ckpt").read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"foreign"):
        (tmp_path / "model.ckpt").write_bytes(data)
        line = refused("export", tmp_path / "model.ckpt", "-o", tmp_path / "network.safetensors")
        assert line.startswith(f"{tmp_path / 'model.ckpt'}: expected a checkpoint")
    assert list(tmp_path.iterdir()) == [tmp_path / "model.ckpt"]


def test_a_checkpoint_that_would_run_code_is_refused_without_advice_to_run_it(tmp_path: Path) -> None:
    torch.save({"abc_hw": {"format": 1}, "other": Path("x")}, tmp_path / "model.ckpt")
    line = refused("export", tmp_path / "model.ckpt", "-o", tmp_path / "network.safetensors")
    assert line.endswith("found a file that torch cannot load: it is damaged, or holds more than plain tensors")
    assert "weights_only" not in line


# -- unusable options ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-M", "0"], "M: expected a number from 1, or one per layer as in 3,2,2, found '0'"),
        (["-N", "3,0,2,2"], "N: expected a number from 1, or one per layer as in 3,2,2, found '3,0,2,2'"),
        (["-M", "two"], "M: expected a number from 1, or one per layer as in 3,2,2, found 'two'"),
        (["-M", "3,2"], "M: expected one number or 4, one per layer, found 2"),
        (["-M", "9"], "9"),
        (["--dataset", "letters"], "dataset: expected one of digits, mnist, fashion-mnist, cifar-10, or a "),
        (["--model", "resnet"], "model: expected one of mlp, lenet, seed-lenet, vgg, vgg-tiny, vgg-small, cnv, "),
        (["--scale", "float"], "scale: "),
        (["--epochs", "0"], "epochs: "),
        (["--lr", "-1"], "lr: "),
        (["--epochs", "many"], "Invalid value for '--epochs'"),
        (["--dataset", "mnist", "--data-dir", "nowhere"], "expected this file in the data folder, found none"),
    ],
)
def test_training_options_that_cannot_be(tmp_path: Path, options: list[str], message: str) -> None:
    assert message in refused("train", *options, "--out", tmp_path / "run")
    assert not (tmp_path / "run" / "model.ckpt").exists()


def test_a_run_is_resumed_only_as_it_was_begun(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    before = contents(tmp_path)
    line = refused("train", "--resume", "--out", tmp_path / "run", "-M", "3")
    assert line.startswith("M: expected 2, as ")
    assert "last.ckpt" in refused("train", "--resume", "--out", tmp_path / "nowhere")
    assert "out: expected" in refused("train", "--resume")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("key", ["M", "N"])
def test_a_description_without_bases_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "none.toml"
    path.write_text(re.sub(rf"^{key} = 2", f"{key} = 0", TINY.read_text(), flags=re.MULTILINE))
    line = refused("generate", path, "-o", tmp_path / "none.v")
    assert line.startswith(f"{path}: {key}: expected ")
    assert line.endswith("found 0")
    assert not (tmp_path / "none.v").exists()


@pytest.mark.parametrize(
    ("folding", "message"),
    [
        ("[conv1]\npe = 5", "conv1.folding.pe: expected 1 to 4, found 5"),
        ("[conv1]\nsimd = 4", "nearest that fits: 3"),
        ("[conv1]\nmp = 0", "conv1.mp: expected greater than or equal to 1, found 0"),
        ("[conv9]\npe = 1", "folding: expected the layers conv1, dense2, found conv9"),
        ("[conv1]\nlanes = 1", "conv1.lanes: expected no such field, found 1"),
        ("conv1 = 1", "conv1: expected a valid dictionary"),
        ("conv1 =", "expected TOML"),
    ],
)
@pytest.mark.parametrize("command", ["generate", "simulate"])
def test_a_folding_that_does_not_fit_is_refused(
    tiny: Path, tmp_path: Path, folding: str, message: str, command: str
) -> None:
    path = tmp_path / "folding.toml"
    path.write_text(folding)
    before = contents(tmp_path)
    output = ["-o", tmp_path / "accelerator.v"] if command == "generate" else ["--random"]
    assert message in refused(command, tiny, "--folding", path, *output)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("cycles", [0, 1])
def test_cycles_that_cannot_be_reached_are_refused(tiny: Path, tmp_path: Path, cycles: int) -> None:
    assert f"found {cycles}" in refused("generate", tiny, "--cycles", cycles, "-o", tmp_path / "accelerator.v")
    assert not (tmp_path / "accelerator.v").exists()


def test_a_module_name_that_verilog_does_not_know_is_refused(tiny: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Amaranth's, that the accelerator was made in vain
        line = refused("generate", tiny, "--name", "2fast", "-o", tmp_path / "accelerator.v")
        gc.collect()
    assert line == "name: expected letters, digits and _, a letter first, found '2fast'"
    assert not (tmp_path / "accelerator.v").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--images", "0"], "images: expected a number from 1, found 0"),
        (["--images", "some"], "images: expected a number from 1 or all, found 'some'"),
        (["--images", "all", "--simulator", "icarus"], "images: expected a number beside --simulator, found all"),
        (["--images", "all", "--random"], "images: expected a number beside --random, found all"),
        (["--random", "--stalls", "1.5"], "stalls: expected a share from 0 to 0.9, found 1.5"),
        (["--random", "--simulator", "spice"], "simulator: expected verilator or icarus, found spice"),
        (["--random", "--seed", "-1"], "seed: expected a number from 0, found -1"),
        ([], "dataset: expected --dataset, as the network names no data set of its own, found none"),
    ],
)
def test_simulation_options_that_cannot_be(tiny: Path, options: list[str], message: str) -> None:
    assert message in refused("simulate", tiny, *options)


def test_more_images_than_there_are() -> None:
    line = refused("simulate", "example:digits-small", "--images", "360", "--dataset", "digits")
    assert "expected 1 to 359, the test images of digits, found 360" in line


@pytest.mark.parametrize(
    ("simulator", "program"), [("icarus", "iverilog"), ("verilator", "make")]
)
def test_a_missing_simulator_is_named(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulator: str, program: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    before = contents(tmp_path)
    line = refused("simulate", tiny, "--random", "--simulator", simulator)
    assert line.startswith(f"simulator: expected {program} on PATH, found none")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("command", ["evaluate", "simulate"])
def test_images_of_another_size_are_refused(tmp_path: Path, command: str) -> None:
    path = tmp_path / "wide.toml"
    path.write_text(TINY.read_text().replace("[8, 8, 1]", "[10, 8, 1]"))
    line = refused(command, path, "--dataset", "digits")
    assert line == (
        "digits: expected images of 10 x 8 x 1, as the network takes (or --resize, --grey), found 8 x 8 x 1"
    )


# -- places that cannot be written --------------------------------------------------------------------------


PLACES = {
    "in a file": "file/out",
    "in no folder": "none/out",
    "on a folder": "folder",
    "in a folder that takes no files": "/proc/out",
}


@pytest.mark.parametrize("place", PLACES)
def test_an_output_that_cannot_be_written_is_refused(trained: Path, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    before = contents(tmp_path)
    output = tmp_path / PLACES[place]
    network, checkpoint = trained / "network.safetensors", trained / "model.ckpt"
    for command in (
        ["export", checkpoint, "-o", output],
        ["export", checkpoint, "-o", tmp_path / "good", "--onnx", output],
        ["generate", network, "-o", output],
        ["simulate", network, "--waves", output],
    ):
        assert refused(*command).startswith(f"{output}: expected a file that can be written, found ")
    assert contents(tmp_path) == before
    assert not output.is_file()


def test_a_run_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for command in ("train", "demo"):
        line = refused(command, "--out", tmp_path / "file" / "run")
        assert line.startswith(f"{tmp_path / 'file' / 'run'}: expected a folder that can be written, found ")
    assert (tmp_path / "file").read_text() == "not a folder"


# -- missing packages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("torch", "train", ["train"]),
        ("lightning", "train", ["export", "model.ckpt"]),
        ("torch", "train", ["demo"]),
        ("sklearn", "train", ["evaluate", TINY, "--dataset", "digits"]),
        ("onnxruntime", "test", ["evaluate", TINY, "--onnx", "network.onnx"]),
        ("cocotb", "sim", ["simulate", TINY, "--random"]),
        ("cocotb", "sim", ["demo"]),
    ],
)
def test_a_missing_package_is_named_with_its_extra(
    monkeypatch: pytest.MonkeyPatch, package: str, extra: str, arguments: list[object]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    line = refused(*arguments)
    assert line == f"{package}: expected this package installed, found none: pip install 'abc-hw[{extra}]'"
