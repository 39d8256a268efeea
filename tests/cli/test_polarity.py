"""An image on another ground than those of the training: told, and turned round unless the user says otherwise."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import abc_hw, done
from PIL import Image

from abc_hw import data, load
from abc_hw.boards.host import run as runner
from abc_hw.boards.host.run import Run
from abc_hw.cli import hardware
from abc_hw.cli.draw import facts
from abc_hw.cli.polarity import ground_of
from abc_hw.data.ground import common_ground, grounds
from abc_hw.data.published import GROUNDS
from abc_hw.errors import InputError
from abc_hw.network import Network
from abc_hw.sim import fast

NETWORK = "zoo:digits-lenet-m3n3"


@pytest.fixture(scope="module")
def network() -> Network:
    return load(NETWORK)


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The images that a board gets, which answers them as it should."""
    sent: list[np.ndarray] = []

    def run(network: Network, images: np.ndarray, **_: Any) -> Run:
        sent.append(images)
        scores = fast.run(network, images)
        return Run(scores=scores, seconds=1.0, resent=0)

    monkeypatch.setattr(runner, "run", run)
    return sent


def test_a_digit_black_on_white_is_the_digit(
    network: Network, board: list[np.ndarray], tmp_path: Path
) -> None:
    test = data.load("digits").test
    index = int(np.flatnonzero(test.labels == 1)[0])
    paths = [tmp_path / "white.png", tmp_path / "black.png"]
    for path, pixels in zip(paths, (test.images[index], 255 - test.images[index]), strict=True):
        Image.fromarray(pixels[..., 0]).save(path)
    said = done("run", NETWORK, *paths, "--port", "/dev/null")
    assert said.startswith(
        f"{paths[1]}: on bright ground, digits-lenet-m3n3 was trained on dark: inverted\n"
    )
    assert (board[0] == test.images[[index, index]]).all()
    said = done("run", NETWORK, *paths, "--port", "/dev/null", "--no-invert")
    assert said.startswith(f"{paths[1]}: on bright ground, digits-lenet-m3n3 was trained on dark\n")
    assert (board[1][1] == 255 - test.images[index]).all()


@pytest.fixture
def bright(tmp_path: Path) -> Path:
    """The test images of digits, black on white, with their labels."""
    test = data.load("digits").test
    np.savez(tmp_path / "bright.npz", images=255 - test.images, labels=test.labels)
    return tmp_path / "bright.npz"


def test_whole_sets_are_evaluated_and_simulated_on_the_networks_ground(
    bright: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = json.loads(done("evaluate", NETWORK, "--json"))["accuracy"]
    told = f"{bright}: images on bright ground, digits-lenet-m3n3 was trained on dark"
    assert done("evaluate", NETWORK, "--images-file", bright).startswith(f"{told}: inverted\n")
    found = json.loads(done("evaluate", NETWORK, "--images-file", bright, "--json"))
    assert (found["accuracy"], found["ground"], found["inverted"]) == (right, "dark", [str(bright)])
    found = json.loads(done("evaluate", NETWORK, "--images-file", bright, "--invert", "--json"))
    assert found["accuracy"] == right
    assert done("evaluate", NETWORK, "--images-file", bright, "--no-invert").startswith(f"{told}\n")
    found = json.loads(done("evaluate", NETWORK, "--images-file", bright, "--no-invert", "--json"))
    assert found["inverted"] == []
    assert found["accuracy"]["fast path"] < 0.5

    def run(network: Network, images: np.ndarray, *_: Any, **__: Any) -> None:
        raise InputError(f"{bool(images[:, 0].mean() < 64)} of {len(images)}")

    monkeypatch.setattr(hardware, "run", run)
    for more, line in (((), f"{told}: inverted\n"), (("--no-invert",), f"{told}\n")):
        result = abc_hw("simulate", NETWORK, "--images-file", bright, "--images", 3, *more)
        assert (result.stdout, result.stderr) == (line, f"error: {not more} of 3\n")


def test_the_file_says_which_ground_it_was(network: Network) -> None:
    def trained(**record: Any) -> str:
        return ground_of(dataclasses.replace(network, training=record))

    assert ground_of(network) == "dark"
    assert trained(dataset="digits", reading={"invert": True}) == "bright"
    assert trained(dataset="photos") == "any"
    assert trained(dataset="digits", data={"ground": "bright"}) == "bright"
    assert not facts(network, "golden")["dark"]
    turned = dataclasses.replace(network, training={"data": {"ground": "bright"}})
    assert facts(turned, "golden")["dark"]


def test_grounds_of_images() -> None:
    digits = data.load("digits").train.images
    assert common_ground(digits) == GROUNDS["digits"] == "dark"
    assert common_ground(255 - digits) == "bright"
    noise = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 3), dtype=np.uint8)
    assert common_ground(noise) == "any"
    assert grounds(np.concatenate([digits[:1], 255 - digits[:1]])) == ["dark", "bright"]
    assert common_ground(np.zeros((5, 8, 8, 1), np.uint8)) == common_ground(digits[:0]) == "any"
