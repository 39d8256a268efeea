"""What a recipe can be made of: stages, teachers, averages, decay, clamps and covered images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import done, refused
from torch.nn import functional

from abc_hw import data
from abc_hw.errors import InputError
from abc_hw.training import descent, loop
from abc_hw.training.batches import GREY, Place, augment_images
from abc_hw.training.layers import abc_layers
from abc_hw.training.models import ABCNet, reestimate_batch_norm
from abc_hw.training.objective import Objective
from abc_hw.training.recipes import build_model


def short(**changes: Any) -> loop.TrainingConfig:
    return loop.config_for("digits", **{"model": "mlp", "epochs": 2, "integer_epochs": 0, "batch": 256, **changes})


def train(config: loop.TrainingConfig, folder: Path, **options: Any) -> loop.Trained:
    return loop.train(config, folder, progress=False, accelerator="cpu", **options)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> loop.Trained:
    return train(short(kind="float"), tmp_path_factory.mktemp("teacher"))


# -- the objective ------------------------------------------------------------------------------------------


def test_a_teacher_s_scores_are_learned_beside_the_labels(teacher: loop.Trained) -> None:
    config = short(teacher=str(teacher.checkpoint), teacher_share=0.25, temperature=3.0)
    objective = Objective(config, data.load("digits").train, teacher.classes)
    scores = torch.randn(4, 10, generator=torch.Generator().manual_seed(1))
    labels, images = torch.tensor([3, 1, 4, 1]), torch.randint(0, 256, (4, *teacher.in_shape), dtype=torch.uint8)
    wanted = teacher.model(images.permute(0, 3, 1, 2)).softmax(1)
    target = (teacher.model(images.permute(0, 3, 1, 2)) / 3).softmax(1)
    kl = (target * (target.log() - (scores / 3).log_softmax(1))).sum(1).mean()
    expected = 0.75 * functional.cross_entropy(scores, labels) + 0.25 * 9 * kl
    torch.testing.assert_close(objective(scores, labels, images), expected)
    assert not torch.equal(wanted, target)


def test_a_teacher_is_of_the_same_images_and_classes(teacher: loop.Trained) -> None:
    with pytest.raises(InputError, match="expected a teacher of 2 classes on images 8x8x1, found 10 classes"):
        Objective(short(teacher=str(teacher.checkpoint)), data.load("digits").train, ("a", "b"))


def test_a_missing_teacher_is_told_before_training(tmp_path: Path) -> None:
    said = refused("train", "--set", "teacher=none.ckpt", "--out", tmp_path / "run")
    assert "none.ckpt: expected a checkpoint, found no such file" in said


# -- how it descends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD")])
def test_every_parameter_has_one_optimizer_and_layers_decay(name: str, kind: str) -> None:
    config = short(optimizer=name, weight_decay=0.01, shift_rate=0.5, lr=0.1, kind="residual")
    model = build_model(config, (8, 8, 1), 10)
    optimizer = descent.optimizer_for(model, config)
    assert type(optimizer).__name__ == kind
    groups = optimizer.param_groups
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in groups)
    trained = {name: rates.pop(id(p)) for name, p in model.named_parameters() if p.requires_grad}
    assert not rates
    for path, (rate, decay) in trained.items():
        assert rate == (0.05 if path.endswith(("input_bases.v", "input_bases.beta")) else 0.1), path
        assert decay == (0.01 if path.endswith("layer.weight") else 0.0), path


def test_the_rate_rises_over_the_warm_up_and_falls_to_nothing() -> None:
    config = short(lr=1.0, warm_up=4)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = descent.rate_over_steps(optimizer, config, 100)
    assert [schedule.lr_lambdas[0](step) for step in (0, 1, 100)] == pytest.approx(
        [0.25, 0.5 * 0.5 * (1 + math.cos(math.pi / 100)), 0.0]
    )


def test_weights_are_clamped_at_a_quantile_of_a_laplacian() -> None:
    model = build_model(short(), (8, 8, 1), 10)
    layer = abc_layers(model)[0]
    with torch.no_grad():
        layer.weight.copy_(torch.distributions.Laplace(0.0, 2.0).sample(layer.weight.shape))
    before = layer.weight.detach().clone()
    limit = before.abs().mean(1, keepdim=True) * math.log(1 / 0.2)
    descent.clamp_weights(model, 0.9)
    torch.testing.assert_close(layer.weight, before.clamp(-limit, limit))
    assert 0.05 < float((layer.weight != before).float().mean()) < 0.25  # about a tenth beyond either end


# -- stages and averages ------------------------------------------------------------------------------------


def test_weights_stay_in_full_precision_in_the_first_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    whole = ABCNet.forward

    def watched(model: ABCNet, x: torch.Tensor) -> torch.Tensor:
        first = abc_layers(model)[0]
        if model.training and torch.is_grad_enabled():
            seen.append(bool(first.approximate_weight() is first.weight))
        return whole(model, x)

    monkeypatch.setattr(ABCNet, "forward", watched)
    train(short(epochs=3, float_epochs=1, integer_epochs=1), tmp_path)
    third = len(seen) // 3
    assert seen == [True] * third + [False] * 2 * third


def test_a_run_with_an_average_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config = short(epochs=3, integer_epochs=1, average=0.9, clamp=0.95, cutout=3, optimizer="adamw")
    whole = train(config, tmp_path / "whole")

    class EnoughError(Exception):
        """In the second epoch."""

    told = []

    def stop(epoch: Any) -> None:
        told.append(epoch)
        if len(told) == 2:
            raise EnoughError

    with pytest.raises(EnoughError):
        train(config, tmp_path / "cut", on_epoch=stop)
    resumed = train(config, tmp_path / "cut", resume=True)
    ours, theirs = whole.model.state_dict(), resumed.model.state_dict()
    for name, tensor in ours.items():
        assert torch.equal(tensor, theirs[name]), name
    plain = train(config.model_copy(update={"average": 0.0}), tmp_path / "plain").model.state_dict()
    assert not torch.equal(plain["blocks.fc1.layer.weight"], ours["blocks.fc1.layer.weight"])


# -- images -------------------------------------------------------------------------------------------------


def test_a_grey_square_covers_a_part_of_each_image_wherever_it_is_shared_to() -> None:
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 100, (64, 12, 10, 3), dtype=np.uint8))
    torch.manual_seed(5)
    covered = augment_images(images, "none", cutout=4)
    hidden = (covered == GREY).all(3)
    assert torch.equal(covered[~hidden], images[~hidden])
    for image in hidden:  # a rectangle of at most 4 by 4 pixels, less what lies outside
        rows, columns = (image.any(axis).nonzero().flatten() for axis in (1, 0))
        assert 1 <= len(rows) <= 4
        assert 1 <= len(columns) <= 4
        assert int(image.sum()) == len(rows) * len(columns)
    assert len({tuple(image.nonzero()[0].tolist()) for image in hidden}) > 16
    torch.manual_seed(5)
    half = augment_images(images[32:], "none", Place(1, 2), cutout=4)
    assert torch.equal(half, covered[32:])


# -- on the command line ------------------------------------------------------------------------------------


def test_settings_are_fields_of_the_configuration(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done("train", "--model", "mlp", "--epochs", 1, "--set", "average=0.5", "--set", "optimizer=sgd",
         "--set", "lr=0.05", "--out", out)
    said = (out / "run.toml").read_text()
    assert 'optimizer = "sgd"' in said
    assert "average = 0.5" in said
    assert "found 'speed'" in refused("train", "--set", "speed", "--out", out)


def test_batch_norm_s_last_statistics_are_of_images_as_training_sees_them(tmp_path: Path) -> None:
    config = short(cutout=4, epochs=1)
    trained = train(config, tmp_path)
    train_part = data.load("digits").train
    chosen = np.random.default_rng(config.seed).permutation(len(train_part))
    norm = next(block.norm for block in trained.model if block.norm is not None)
    told = norm.running_mean.clone()
    found = []
    for side in (4, 0):
        torch.manual_seed(config.seed)
        parts = np.array_split(chosen, math.ceil(len(chosen) / 256))
        seen = (augment_images(torch.from_numpy(train_part.images[part]), "none", cutout=side) for part in parts)
        reestimate_batch_norm(trained.model, (images.permute(0, 3, 1, 2) for images in seen))
        found.append(norm.running_mean.clone())
    assert torch.equal(told, found[0])
    assert not torch.allclose(told, found[1])
