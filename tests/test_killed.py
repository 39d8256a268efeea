"""Commands killed at random moments: nothing is half-written, nothing is lost but the current epoch."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from abc_hw import writing, zoo
from abc_hw.network import files
from abc_hw.training.checkpoints import load_checkpoint

pytestmark = pytest.mark.long

MOMENTS = int(os.environ.get("ABC_HW_KILLS", "50"))
"""How often each command is killed."""

RUN = "from abc_hw import zoo; from abc_hw.cli.main import main; import pathlib, sys; {setting}; main()"

SMALL = ("-M", "1", "-N", "1", "--integer-epochs", "1")


def started(*arguments: object, zoo_folder: Path | None = None) -> subprocess.Popen[str]:
    setting = f"zoo.FOLDER = pathlib.Path({str(zoo_folder)!r})" if zoo_folder else "pass"
    return subprocess.Popen(
        [sys.executable, "-c", RUN.format(setting=setting), *map(str, arguments)], start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def finished(*arguments: object, zoo_folder: Path | None = None) -> float:
    """Run a command to its end, which must be a good one; its seconds."""
    begin = time.monotonic()
    process = started(*arguments, zoo_folder=zoo_folder)
    said, _ = process.communicate()
    assert process.returncode == 0, said
    return time.monotonic() - begin


def killed(seconds: float, *arguments: object, zoo_folder: Path | None = None) -> bool:
    """Run a command for so long; did it have to be killed?"""
    process = started(*arguments, zoo_folder=zoo_folder)
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    assert process.returncode == 0, said
    return False


def kill_often(run: Callable[[float], bool], seconds: float, check: Callable[[], None]) -> int:
    """Kill at moments spread over a whole run, check after each; how often there was something to kill."""
    moments = random.Random(5)
    kills = 0
    for _ in range(MOMENTS):
        kills += run(moments.uniform(0, seconds))
        check()
    return kills


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob(f"{writing.PARTIAL}*")]


def test_training_loses_the_current_epoch_at_most(tmp_path: Path) -> None:
    options = (*SMALL, "--epochs", 8 * MOMENTS)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    start = finished("train", *SMALL, "--epochs", 1, "--out", tmp_path / "start")
    seconds = start + (finished("train", *options, "--out", whole) - start) / MOMENTS
    epochs = [-1]

    def run(moment: float) -> bool:
        resume = ("--resume",) if (cut / "last.ckpt").exists() else options
        return killed(moment, "train", *resume, "--out", cut)

    def check() -> None:
        if (cut / "last.ckpt").exists():
            load_checkpoint(cut / "last.ckpt", to_resume=True)
            epochs.append(torch.load(cut / "last.ckpt", weights_only=True)["epoch"])
            assert epochs[-1] >= epochs[-2]
        if (cut / "model.ckpt").exists():
            load_checkpoint(cut / "model.ckpt")

    kills = kill_often(run, seconds, check)
    finished("train", "--resume", "--out", cut)
    ends = [load_checkpoint(folder / "model.ckpt").model.state_dict() for folder in (whole, cut)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    assert not leftovers(cut)
    print(f"\ntrain: {kills} kills, epochs {epochs[1:]}")


def test_a_sweep_goes_on(tmp_path: Path) -> None:
    options = ("sweep", "abc:1/1", "abc:2/2", "float", "--epochs", 4, "--integer-epochs", 1, "--out")
    seconds = finished(*options, tmp_path / "whole")
    kills = kill_often(lambda moment: killed(moment, *options, tmp_path / "cut"), seconds / 2, lambda: None)
    finished(*options, tmp_path / "cut")
    tables = [(tmp_path / name / "table.md").read_text() for name in ("whole", "cut")]
    assert tables[0] == tables[1]
    assert not leftovers(tmp_path / "cut")
    print(f"\nsweep: {kills} kills")


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two trained models."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (1, 2):
        finished("train", *SMALL, "--epochs", 2, "--seed", seed, "--out", folder / f"{seed}")
    return [folder / f"{seed}" / "model.ckpt" for seed in (1, 2)]


def test_an_export_is_the_old_file_or_the_new_one(checkpoints: list[Path], tmp_path: Path) -> None:
    output = tmp_path / "network.safetensors"
    seconds = [finished("export", checkpoint, "-o", output) for checkpoint in checkpoints]
    known = set()
    for checkpoint in checkpoints:
        finished("export", checkpoint, "-o", output)
        known.add(files.load(output).digest)
    turn = 0

    def run(moment: float) -> bool:
        nonlocal turn
        turn += 1
        return killed(moment, "export", checkpoints[turn % 2], "-o", output)

    def check() -> None:
        assert files.load(output).digest in known

    kills = kill_often(run, max(seconds), check)
    finished("export", checkpoints[0], "-o", output)
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    print(f"\nexport: {kills} kills")


def test_an_addition_to_the_zoo_is_whole_or_none(
    checkpoints: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [finished("zoo", "add", checkpoint, "mine", zoo_folder=tmp_path) for checkpoint in checkpoints]
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    turn = 0

    def run(moment: float) -> bool:
        nonlocal turn
        turn += 1
        return killed(moment, "zoo", "add", checkpoints[turn % 2], "mine", zoo_folder=tmp_path)

    def check() -> None:
        assert zoo.card("mine").digest == zoo.load("mine").digest

    kills = kill_often(run, max(seconds), check)
    finished("zoo", "add", checkpoints[0], "mine", zoo_folder=tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "mine.safetensors"]
    print(f"\nzoo add: {kills} kills")


def test_a_build_is_the_old_one_or_the_new_one(tmp_path: Path) -> None:
    options = ("build", "example:tiny", "--board", "icebreaker", "--out", tmp_path)
    seconds = finished(*options)
    names = sorted(path.name for path in tmp_path.iterdir())
    bitstream = (tmp_path / "top.bin").read_bytes()
    builds: list[bytes] = []

    def check() -> None:
        builds.append((tmp_path / "top.bin").read_bytes())
        assert builds[-1] == bitstream

    kills = kill_often(lambda moment: killed(moment, *options), seconds, check)
    finished(*options)
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    assert (tmp_path / "top.bin").read_bytes() == bitstream
    print(f"\nbuild: {kills} kills")
