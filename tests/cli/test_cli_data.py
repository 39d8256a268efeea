"""Data of one's own through the commands: trained on, exported, evaluated, simulated, run."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import abc_hw, done, refused
from PIL import Image

from abc_hw import ABCLinear, config_for, data, export, fold, load, simulate, train
from abc_hw.boards.host.run import Run
from abc_hw.cli.inputs import Wanted
from abc_hw.network import Network, files
from abc_hw.sim import fast

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*treespec, LeafSpec.*:FutureWarning",  # Lightning's own use of a torch class
)

NETWORK = "zoo:digits-lenet-m3n3"
SHORT = ("-M", "1", "-N", "1", "--epochs", "3", "--integer-epochs", "1", "--batch", "16", "--lr", "0.01")


def blots(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Images 6 x 6, bright on the left (class 0) or on the right."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 80, (count, 6, 6), dtype=np.uint8)
    labels = np.arange(count) % 2
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 3] += 120
    return images, labels


def write_folder(folder: Path, count: int = 60) -> Path:
    for index, (image, label) in enumerate(zip(*blots(count), strict=True)):
        place = folder / ("left", "right")[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.stack([image] * 3, -1) ^ np.uint8(1)).resize((9, 9)).save(place / f"{index:02}.png")
    return folder


def write_npz(path: Path, count: int = 60) -> Path:
    images, labels = blots(count)
    np.savez(path, images=images, labels=labels, classes=["left", "right"])
    return path


def write_csv(path: Path, count: int = 80) -> Path:
    values = np.random.default_rng(0).normal(size=(count, 5))
    lines = [",".join([*map(repr, row), "up" if row[0] > 0 else "down"]) for row in values.tolist()]
    path.write_text("\n".join(["a,b,c,d,e,class", *lines, ""]))
    return path


@pytest.mark.parametrize("kind", ["folder", "npz", "csv"])
def test_own_data_go_through_train_evaluate_and_simulate(tmp_path: Path, kind: str) -> None:
    writer = {"folder": write_folder, "npz": write_npz, "csv": write_csv}[kind]
    source = writer(tmp_path / ("blots" if kind == "folder" else f"blots.{kind}"))
    options = ("--resize", "6x6", "--grey", "--test-share", "0.3") if kind == "folder" else ()
    out = tmp_path / "run"
    said = done("train", "--dataset", source, "--model", "mlp", "--width", "0.05", *SHORT, *options, "--out", out)
    assert "test accuracy" in said
    path = tmp_path / "network.safetensors"
    done("export", out / "model.ckpt", "-o", path)
    network = files.load(path)
    assert network.name == "blots-mlp"
    assert network.classes == (("down", "up") if kind == "csv" else ("left", "right"))
    assert network.input_shape == ((1, 1, 5) if kind == "csv" else (6, 6, 1))
    accuracy = f"{100 * network.training['accuracy']['test']:.2f} %"
    assert accuracy in done("evaluate", path)  # read again as for the training
    assert "18 test images" in done("evaluate", path, "--dataset", source) or kind != "folder"
    simulated = done("simulate", path, "--images", 3, "--simulator", "icarus")
    assert "accuracy: " in simulated


def test_a_data_set_of_torch_goes_the_same_way(tmp_path: Path) -> None:
    """From Python: trained on, evaluated, simulated."""

    class Blots(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
        classes = ("left", "right")

        def __init__(self, count: int, seed: int) -> None:
            self.images, self.labels = blots(count, seed)

        def __len__(self) -> int:
            return len(self.labels)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.from_numpy(self.images[index])[None] / 255, int(self.labels[index])

    source = data.from_torch(Blots(60, 0), Blots(20, 1), name="blots")
    model = torch.nn.Sequential(
        torch.nn.Flatten(),
        ABCLinear(36, 2, M=1, N=8, activation_kind="pixels", bias=True, common_scale=True),
    )
    config = config_for("blots", epochs=2, integer_epochs=1, batch=16, lr=0.01)
    trained = train(config, tmp_path / "run", model=model, dataset=source)
    example = torch.zeros(1, 1, 6, 6, dtype=torch.uint8)
    network = export(trained.model, example, name="blots", classes=source.classes, training=trained.record)
    right = fast.run(network, source.test.images).argmax(1) == source.test.labels
    assert right.mean() == trained.accuracy["test"]
    result = simulate(network, source.test.images[:3], foldings=fold(network, cycles=200), simulator="icarus")
    assert result.ok, result.layers


def test_files_of_images_are_evaluated(tmp_path: Path) -> None:
    test = data.load("digits").test
    np.savez(tmp_path / "some.npz", images=test.images[:50], labels=test.labels[:50])
    assert "50 test images" in done("evaluate", NETWORK, "--images-file", tmp_path / "some.npz")
    np.save(tmp_path / "bare.npy", test.images[:5, ..., 0])
    assert refused("evaluate", NETWORK, "--images-file", tmp_path / "bare.npy") == (
        f"{tmp_path}/bare.npy: expected labels beside the images, found none"
    )
    assert refused("simulate", NETWORK, "--images", 6, "--images-file", tmp_path / "bare.npy") == (
        f"images: expected 1 to 5, the test images of {tmp_path}/bare.npy, found 6"
    )
    np.savez(tmp_path / "far.npz", images=test.images[:5], labels=np.arange(5) + 6)
    assert refused("evaluate", NETWORK, "--images-file", tmp_path / "far.npz") == (
        f"{tmp_path}/far.npz: expected labels from 0 to 9, found 6 to 10"
    )
    both = ("--images-file", tmp_path / "far.npz", "--dataset", "digits")
    assert refused("evaluate", NETWORK, *both) == "images-file: expected no data set beside it, found both"


def test_images_are_read_as_for_the_training_but_for_what_is_said() -> None:
    network = dataclasses.replace(load(NETWORK), training={"reading": {"size": [5, 5], "background": "red"}})
    assert Wanted().reading(network) == data.Reading(size=(5, 5), background="red")
    asked = Wanted(resize=True, invert=True, background="white", grey=True).reading(network)
    assert asked == data.Reading(size=(8, 8), background="white", invert=True, grey=True)


def test_images_are_made_fit_for_the_network_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.png"
    Image.new("LA", (16, 16), (200, 0)).save(path)
    assert refused("run", NETWORK, "--simulate", path, "--resize").startswith(f"{path}: expected opaque pixels")
    assert refused("run", NETWORK, "--simulate", path, "--background", "black") == (
        f"{path}: expected 8 x 8 pixels (or --resize), found 16 x 16"
    )
    sent: list[np.ndarray] = []

    def board(network: Network, images: np.ndarray, **options: object) -> Run:
        sent.append(images)
        return Run(scores=fast.run(network, images), seconds=1.0, resent=0)

    monkeypatch.setattr("abc_hw.boards.host.run.run", board)
    done("run", NETWORK, "--simulate", path, "--resize", "--background", "black", "--invert")
    np.testing.assert_array_equal(sent[0], np.full((1, 8, 8, 1), 255))
    np.savez(tmp_path / "some.npz", images=np.arange(128).reshape(2, 8, 8), labels=[0, 0])
    said = done("run", NETWORK, "--simulate", "--images", 2, "--images-file", tmp_path / "some.npz")
    assert sorted(image.min() for image in sent[1]) == [0, 64]
    assert "accuracy: " in said


def test_data_that_do_not_fit_the_network_are_refused(tmp_path: Path) -> None:
    source = write_npz(tmp_path / "blots.npz")
    assert refused("evaluate", NETWORK, "--dataset", source) == (
        f"{source}: expected images of 8 x 8 x 1, as the network takes (or --resize, --grey), found 6 x 6 x 1"
    )
    assert refused("evaluate", NETWORK, "--dataset", source, "--resize") == (
        f"{source}: expected the network's classes 0, 1, 2, 3, 4, 5, 6, 7, found 'left'"
    )
    images, labels = blots(60)
    np.savez(source, images=images, labels=labels + 3)  # classes 3 and 4, by their numbers
    assert "12 test images" in done("evaluate", NETWORK, "--dataset", source, "--resize")


@pytest.mark.parametrize(("options", "message"), [
    (("--resize", "6"), "resize: expected HEIGHTxWIDTH, such as 28x28, found '6'"),
    (("--resize", "0x6"), "resize: expected HEIGHTxWIDTH, such as 28x28, found '0x6'"),
    (("--test-share", "1"), "images: test_share: expected less than 1, found 1.0"),
    (("--split-seed", "-1"), "images: split_seed: expected greater than or equal to 0, found -1"),
    (("--dataset", "pets/"), "pets: expected a folder, .npz or .csv file, found none"),
    (("--dataset", "pets"), "dataset: expected one of digits, mnist, fashion-mnist, cifar-10, or a folder, .npz "
     "or .csv file, found 'pets'"),
])
def test_options_that_cannot_be(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    assert refused("train", *options, "--out", tmp_path / "run") == message
    assert not (tmp_path / "run").exists()


def test_what_is_wrong_with_the_images_is_told_before_training(tmp_path: Path) -> None:
    images, labels = blots(12)
    np.savez(
        tmp_path / "set.npz", x_train=images, y_train=labels, x_test=np.zeros((2, 5, 6), np.uint8), y_test=[0, 1]
    )
    result = abc_hw("train", "--dataset", tmp_path / "set.npz", "--out", tmp_path / "run")
    assert result.stderr == (
        f"error: {tmp_path}/set.npz: expected test images of 6 x 6 x 1, as the training images, found 5 x 6 x 1\n"
    )
    assert not (tmp_path / "run").exists()
