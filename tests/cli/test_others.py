"""``info`` of files that are no networks, runs from a file, and what a trained network says of its origin."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
from command_line import done, refused
from typer.testing import CliRunner

from abc_hw import data
from abc_hw.cli.main import app
from abc_hw.network import files
from abc_hw.training import checkpoints

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*treespec, LeafSpec.*:FutureWarning",  # Lightning's own use of a torch class
)

RUN = 'dataset = "digits"\nM = 1\nN = [8, 1, 1, 1]\nepochs = 2\ninteger_epochs = 1\n[reading]\ninvert = true\n'


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that a file describes, with what comes of it."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "wanted.toml").write_text(RUN)
    done("train", "--config", folder / "wanted.toml", "--seed", 3, "--out", folder)
    done("export", folder / "model.ckpt", "-o", folder / "a.safetensors", "--onnx", folder / "a.onnx")
    done("generate", folder / "a.safetensors", "-o", folder / "a.v")
    return folder


def test_a_run_keeps_its_configuration_and_is_made_from_it_again(trained: Path, tmp_path: Path) -> None:
    said = tomllib.loads((trained / "run.toml").read_text())
    assert (said["M"], said["N"], said["seed"], said["batch"]) == (1, [8, 1, 1, 1], 3, 64)
    assert (said["reading"]["invert"], said["reading"]["grey"]) == (True, False)
    done("train", "--config", trained / "run.toml", "--out", tmp_path / "again")
    assert (tmp_path / "again" / "run.toml").read_text() == (trained / "run.toml").read_text()
    first, second = (checkpoints.load_checkpoint(run / "model.ckpt") for run in (trained, tmp_path / "again"))
    assert first.accuracy == second.accuracy
    assert all((a == b).all() for a, b in zip(first.model.parameters(), second.model.parameters(), strict=True))


@pytest.mark.parametrize(("text", "message"), [
    ("speed = 3\n", "speed: expected no such field, found 3"),
    ("epochs = 0\n", "epochs: expected greater than or equal to 1, found 0"),
    ("M = \n", "expected TOML, found"),
])
def test_what_cannot_be_in_a_run(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "run.toml").write_text(text)
    assert message in refused("train", "--config", tmp_path / "run.toml")


def test_networks_say_what_they_were_trained_on_and_with(trained: Path) -> None:
    said = json.loads(done("info", trained / "a.safetensors", "--json"))["training"]
    assert {"python", "abc-hw", "torch", "lightning", "numpy"} == set(said["versions"])
    dataset = data.load("digits", reading=data.Reading(invert=True))
    assert said["data"] == dataset.facts
    assert (said["data"]["train"], said["data"]["ground"]) == (1366, "bright")
    assert data.load("digits").facts["digest"] != said["data"]["digest"]
    assert checkpoints.load_checkpoint(trained / "model.ckpt").origin["data"] == said["data"]
    assert files.load(trained / "a.safetensors").training == said


def test_a_run_does_not_go_on_with_other_data(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    short = ("--model", "mlp", "--width", 0.05, "-M", 1, "-N", 1, "--epochs", 1, "--batch", 8)

    def write_data() -> None:
        np.savez(tmp_path / "a.npz", images=rng.integers(256, size=(40, 6, 6), dtype=np.uint8), labels=[0, 1] * 20)

    write_data()
    done("train", "--dataset", tmp_path / "a.npz", *short, "--out", tmp_path / "run")
    done("train", "--resume", "--out", tmp_path / "run")
    write_data()
    said = refused("train", "--resume", "--out", tmp_path / "run")
    last = tmp_path / "run" / "last.ckpt"
    assert re.fullmatch(
        rf".*a\.npz: expected the data of digest [0-9a-f]{{16}}, as {re.escape(str(last))} was trained, "
        r"found [0-9a-f]{16}", said,
    )


def test_other_files_tell_what_they_are(trained: Path) -> None:
    for name, kind, following in (
        ("model.ckpt", "a checkpoint of a finished training", f"abc-hw export {trained}/model.ckpt -o"),
        ("last.ckpt", "a checkpoint of an epoch", f"abc-hw train --resume --out {trained}"),
        ("a.onnx", "a network that this program has exported", f"--onnx {trained}/a.onnx"),
        ("a.json", "the manifest of a generated module", f"abc-hw simulate {trained}/a.json"),
    ):
        said = json.loads(done("info", trained / name, "--json"))
        assert said["kind"] == kind
        (line,) = said["next"].values()
        assert following in line
        assert done("info", trained / name).startswith(f"{trained / name}: {kind}\n")


def test_other_files_are_no_networks(trained: Path, tmp_path: Path) -> None:
    assert refused("generate", trained / "a.onnx").endswith("an ONNX file, of which abc-hw import makes one")
    assert refused("evaluate", trained / "model.ckpt").endswith("a checkpoint, of which abc-hw export makes one")
    assert refused("simulate", trained / "a.v").endswith("expected a network file, found Verilog")
    for name in ("b.onnx", "b.ckpt", "b.json"):
        shutil.copy(trained / "a.v", tmp_path / name)
        assert refused("info", tmp_path / name).startswith(f"{tmp_path / name}: expected ")
        assert "b" in refused("info", tmp_path / "none" / name)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands(shell: str) -> None:
    words = {"COMP_WORDS": "abc-hw gen", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "abc-hw gen"}
    more = {"_TYPER_COMPLETE_FISH_ACTION": "get-args", "_ABC_HW_COMPLETE": f"complete_{shell}"}
    said = CliRunner().invoke(app, [], prog_name="abc-hw", env=words | more)
    assert "generate" in said.output
    assert "evaluate" not in said.output
