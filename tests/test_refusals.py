"""Refusals that no other test meets: the line that a user reads, and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from command_line import refused
from onnx import helper
from torch import nn

from abc_hw.conversion import Normalise, convert
from abc_hw.data import Features
from abc_hw.data.arrays import as_images, read_images_file
from abc_hw.data.tables import read_pixel_tables
from abc_hw.errors import InputError

DIGITS = "zoo:digits-lenet-m3n3"
FEATURES = Features(names=("a", "b"), low=(0.0, 0.0), high=(1.0, 1.0))


def said(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as found:
        call()
    assert "\n" not in str(found.value)
    return str(found.value)


# -- data ---------------------------------------------------------------------------------------------------


def test_features_of_another_shape() -> None:
    assert said(lambda: as_images(np.ones((4, 2, 2)), "x", FEATURES)) == (
        "x: expected numbers [rows, features], found shape (4, 2, 2)"
    )
    assert said(lambda: as_images(np.ones((4, 3)), "x", FEATURES)) == "features: expected 2 a row, found (3,)"


def test_labels_of_an_images_file(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, images=np.zeros((4, 8, 8), np.uint8), labels=np.zeros(3, int))
    assert said(lambda: read_images_file(path, (8, 8, 1))) == (
        f"{path}: expected 4 whole numbers as labels, found 3 int64"
    )


def test_a_published_set_as_a_table_without_pixels(tmp_path: Path) -> None:
    path = tmp_path / "train.csv"
    path.write_text("label,a,b\n1,0.5,2\n")
    assert said(lambda: read_pixel_tables([path], 10)) == (
        f"{path}: expected columns of pixels, 0 to 255, found others"
    )


# -- models -------------------------------------------------------------------------------------------------


def test_normalisation_without_numbers() -> None:
    assert said(lambda: Normalise([], 1.0)) == "mean: expected one finite number, or one per channel, found []"
    assert said(lambda: Normalise(0.5, float("nan"))) == (
        "std: expected one finite number, or one per channel, found nan"
    )


IMAGES = torch.full((32, 1, 4, 4), 200, dtype=torch.uint8)


def test_activations_without_end() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2))
    model[0].weight.data.fill_(3e38)
    assert said(lambda: convert(model, M=1, N=1, calibration=[IMAGES])).endswith(
        "expected finite activations, found nan or inf"
    )


# -- commands -----------------------------------------------------------------------------------------------


def test_fast_simulation_of_some_images() -> None:
    assert refused("simulate", DIGITS, "--fast", "--images", "3") == (
        "fast: expected --images all beside it, found 3"
    )


def test_resuming_nothing() -> None:
    assert refused("train", "--resume") == (
        "out: expected the folder of the run that is to be resumed, found none"
    )


def test_a_model_of_other_images_beside_a_network(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    given, scores = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3]) for name in ("given", "scores")
    )
    node = helper.make_node("Identity", ["given"], ["scores"])
    graph = helper.make_graph([node], "tiny", [given], [scores])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    images = tmp_path / "images.npz"
    np.savez(images, images=np.zeros((2, 8, 8), np.uint8), labels=[0, 1])
    assert refused("evaluate", DIGITS, "--images-file", images, "--onnx", path) == (
        f"{path}: expected input image of shape (8, 8, 1), found given [3]"
    )
