"""An image on another ground than those of the training: told, and turned round unless the user says otherwise."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import done
from PIL import Image

from abc_hw import data, load
from abc_hw.boards.host import run as runner
from abc_hw.boards.host.run import Run
from abc_hw.cli.draw import facts
from abc_hw.cli.polarity import ground_of
from abc_hw.data.ground import common_ground, grounds
from abc_hw.data.published import GROUNDS
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
