"""Trainings in several processes: the same numbers as in one, but for rounding."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import abc_hw, done, refused

from abc_hw.data import Split
from abc_hw.training import loop
from abc_hw.training.batches import Place, augment_images, training_batches, validation_batches

TWO = ("--accelerator", "cpu", "--devices", 2, "--strategy", "ddp_fork")
RUN = ("train", "--model", "mlp", "--width", 0.1, "-M", 2, "-N", 2, "--epochs", 2, "--integer-epochs", 1,
       "--augment", "crop")  # fmt: skip


def numbers(folder: Path) -> dict[str, torch.Tensor]:
    state = torch.load(folder / loop.LAST, weights_only=True)["state_dict"]
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def test_two_processes_train_as_one_and_one_goes_on_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done(*RUN, "--out", tmp_path / "one")
    done(*RUN, "--out", tmp_path / "two", *TWO)
    one = numbers(tmp_path / "one")
    two = numbers(tmp_path / "two")
    step = loop.ABCTraining.training_step

    def cut(self: loop.ABCTraining, batch: Any, index: int) -> torch.Tensor:
        if self.current_epoch == 1:
            raise RuntimeError("power cut")
        return step(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(loop.ABCTraining, "training_step", cut)
        assert "power cut" in str(abc_hw(*RUN, "--out", tmp_path / "cut", *TWO).exception)
    done(*RUN, "--out", tmp_path / "cut", "--resume")
    resumed = numbers(tmp_path / "cut")
    for name, expected in one.items():
        for found in (two[name], resumed[name]):
            assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5), name
    assert any(not torch.equal(two[name], expected) for name, expected in one.items()), "they are not the same run"


def test_shares_of_batches_are_those_of_one_process() -> None:
    split = Split(np.arange(50, dtype=np.uint8).reshape(50, 1, 1, 1), np.arange(50))
    whole = [labels.tolist() for _, labels in training_batches(split, 16, seed=3)]
    parts = [[labels.tolist() for _, labels in training_batches(split, 16, 3, Place(r, 4))] for r in range(4)]
    assert [list(itertools.chain(*shares)) for shares in zip(*parts, strict=True)] == whole
    assert [len(labels) for labels in whole] == [16, 16, 16]
    seen = [labels.tolist() for r in range(4) for _, labels in validation_batches(split, Place(r, 4))]
    assert sorted(itertools.chain(*seen)) == list(range(50))


def test_images_are_moved_as_one_process_moves_them() -> None:
    images = torch.randint(0, 256, (6, 9, 8, 2), dtype=torch.uint8)
    torch.manual_seed(5)
    whole = augment_images(images, "flip-crop")
    for rank in range(3):
        torch.manual_seed(5)
        part = augment_images(images[2 * rank : 2 * rank + 2], "flip-crop", Place(rank, 3))
        assert torch.equal(part, whole[2 * rank : 2 * rank + 2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--devices", 3), "batch: expected a multiple of the 3 processes, found 64"),
        (("--devices", "many"), "machines: expected what Lightning can train on, found"),
        (("--accelerator", "abacus"), "machines: expected what Lightning can train on, found"),
        (("--strategy", "no_such"), "machines: expected what Lightning can train on, found"),
    ],
)
def test_what_cannot_train_is_refused(tmp_path: Path, options: tuple[object, ...], message: str) -> None:
    assert message in refused("train", "--out", tmp_path / "run", "--accelerator", "cpu", *options)
