"""Trainings that start from a checkpoint or from the integers of a network file."""

from pathlib import Path

import pytest
import torch

from abc_hw import data
from abc_hw.errors import InputError
from abc_hw.network import files
from abc_hw.sim import fast
from abc_hw.training import loop, lowering, starting
from abc_hw.training.checkpoints import Trained
from abc_hw.training.objective import Objective
from abc_hw.training.quantised import evaluate_integer, quantise
from abc_hw.training.recipes import TrainingConfig, build_model, config_for


def short(**changes: object) -> TrainingConfig:
    usual = {"epochs": 4, "integer_epochs": 1, "kind": "residual", "M": 2, "N": 2}
    return config_for("digits", **{**usual, **changes})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Path]:
    """A training on residual bases, and its network file."""
    folder = tmp_path_factory.mktemp("trained")
    made = loop.train(short(), folder, progress=False)
    network = lowering.to_network(made.model, name="digits", classes=made.classes, training=made.record)
    files.save(network, folder / "network.safetensors")
    return made, folder


def test_a_training_goes_on_from_a_checkpoint(trained: tuple[Trained, Path], tmp_path: Path) -> None:
    source = trained[1] / "model.ckpt"
    config = short(epochs=1, start=str(source), lr=1e-6)
    after = loop.train(config, tmp_path, progress=False)
    assert after.accuracy["validation"] >= trained[0].accuracy["validation"] - 0.05
    assert (after.config.start, after.record["start"]) == (str(source), "model.ckpt")
    moved = after.model.blocks["conv2"].layer.weight - trained[0].model.blocks["conv2"].layer.weight
    assert 0 < moved.abs().max() < 1e-3


def test_other_counts_and_kinds_take_what_fits_them(trained: tuple[Trained, Path]) -> None:
    dataset = data.load("digits")
    model = build_model(short(kind="abc", M=1, N=1), dataset.shape, 10)
    before = model.blocks["fc1"].layer.input_bases.v.clone()
    starting.start_from(model, trained[1] / "model.ckpt", dataset.train)
    source = trained[0].model
    for name in ("conv1", "conv2", "fc1", "fc2"):
        assert torch.equal(model.blocks[name].layer.weight, source.blocks[name].layer.weight)
    assert torch.equal(model.blocks["conv1"].norm.running_var, source.blocks["conv1"].norm.running_var)
    assert torch.equal(model.blocks["fc1"].layer.input_bases.v, before)
    same = build_model(short(), dataset.shape, 10)
    starting.start_from(same, trained[1] / "model.ckpt", dataset.train)
    assert torch.equal(same.blocks["fc1"].layer.input_bases.v, source.blocks["fc1"].layer.input_bases.v)


def test_the_integers_of_a_network_file_come_back(trained: tuple[Trained, Path]) -> None:
    dataset = data.load("digits")
    path = trained[1] / "network.safetensors"
    model = build_model(short(), dataset.shape, 10)
    starting.start_from(model, path, dataset.train)
    network = files.load(path)
    for mine, theirs in zip(quantise(model), quantise(trained[0].model), strict=True):
        assert torch.equal(mine.signs, theirs.signs)
        ratios = mine.alpha.double() / theirs.alpha.double()
        assert torch.allclose(ratios, ratios[:, :1].expand_as(ratios))  # each channel up to a factor
    test = dataset.test
    right = [
        float((scores.argmax(1) == test.labels).mean())
        for scores in (evaluate_integer(model, test.images), fast.run(network, test.images))
    ]
    assert abs(right[0] - right[1]) < 0.03


def test_a_network_file_teaches_as_it_would_be_started_from(trained: tuple[Trained, Path]) -> None:
    dataset = data.load("digits")
    path = trained[1] / "network.safetensors"
    teacher = Objective(short(teacher=str(path)), dataset.train, dataset.classes).teacher
    assert teacher is not None
    model = build_model(short(), dataset.shape, 10)
    starting.start_from(model, path, dataset.train)
    images = torch.from_numpy(dataset.test.images[:50]).permute(0, 3, 1, 2)
    assert torch.equal(teacher(images), model.eval()(images))
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    with pytest.raises(InputError, match=r"safetensors: expected a teacher of 2 classes on images 8x8x1"):
        Objective(short(teacher=str(path)), dataset.train, ("a", "b"))


def test_what_does_not_fit_is_refused_by_name(trained: tuple[Trained, Path], tmp_path: Path) -> None:
    dataset = data.load("digits")
    model = build_model(short(model="mlp"), dataset.shape, 10)
    with pytest.raises(InputError, match=r"model\.ckpt: expected layers fc1 256x64, .*, found conv1 16x1x3x3, "):
        starting.start_from(model, trained[1] / "model.ckpt", dataset.train)
    with pytest.raises(InputError, match=r"none\.ckpt: expected a checkpoint, found no such file"):
        loop.train(short(start="none.ckpt"), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()
    network = files.load(trained[1] / "network.safetensors")
    network.training.clear()
    files.save(network, tmp_path / "bare.safetensors")
    with pytest.raises(InputError, match=r"bare\.safetensors: expected a record of the network's training"):
        starting.start_from(build_model(short(), dataset.shape, 10), tmp_path / "bare.safetensors", dataset.train)


def test_weights_on_several_bases_of_the_paper_do_not_come_back(tmp_path: Path) -> None:
    dataset = data.load("digits")
    config = short(kind="abc", M=3)
    model = build_model(config, dataset.shape, 10)
    record = config.model_dump(mode="json")
    network = lowering.to_network(model, name="n", classes=dataset.classes, training=record)
    files.save(network, tmp_path / "n.safetensors")
    with pytest.raises(InputError, match=r"n\.safetensors: conv1: expected weights on residual bases, or on one"):
        starting.start_from(model, tmp_path / "n.safetensors", dataset.train)
