"""What the commands are given: networks, images, foldings."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from pydantic import RootModel

from abc_hw.data import Dataset, Images, Labels, load
from abc_hw.errors import InputError
from abc_hw.network import Graph, Network, description
from abc_hw.network.description import FoldingDescription
from abc_hw.reading import read_toml
from abc_hw.validation import shown, validate

from .console import need


class FoldingFile(RootModel[dict[str, FoldingDescription]]):
    """A TOML file of one table per layer, each with some of simd, pe, mp and np."""


def load_folding(path: Path) -> description.Folding:
    """The knobs in a folding file, by layer name.

    Raises
    ------
    InputError : not readable, no TOML, or a knob that is no positive integer
    """
    found = validate(FoldingFile, read_toml(path, "a readable folding file"), str(path)).root
    return {name: knobs.model_dump(exclude_none=True) for name, knobs in found.items()}


def load_dataset(network: Network | Graph, name: str | None, data_dir: Path | None) -> Dataset:
    """The data set of that name, or the one that the network was trained on.

    Raises
    ------
    InputError : no name given and none in the network file; see also :func:`abc_hw.data.load`
    """
    name = name or network.training.get("dataset")
    if name is None:
        raise InputError("dataset: expected --dataset, as the network names no data set of its own, found none")
    return named_dataset(str(name), data_dir)


def named_dataset(name: str, data_dir: Path | None) -> Dataset:
    """The data set of that name; see :func:`abc_hw.data.load`."""
    need_for_dataset(name, data_dir)
    return load(name, data_dir)


def need_for_dataset(name: str, data_dir: Path | None) -> None:
    """InputError unless the packages are installed with which the data set is read."""
    if name == "digits":
        need("train", "sklearn")
    elif data_dir is None:
        need("train", "pooch")


LARGEST_NUMBER = 10**15
"""Of cycles, images and seeds that are given."""

MAX_RANDOM = 1 << 30
"""Pixels of random images."""


def check_number(name: str, number: int | None, least: int, most: int = LARGEST_NUMBER) -> None:
    """InputError for an option's number that is too small or too large; one that is not given is neither."""
    if number is not None and number < least:
        raise InputError(f"{name}: expected a number from {least}, found {number}")
    if number is not None and number > most:
        raise InputError(f"{name}: expected a number up to {most}, found {shown(number)}")


def some_images(
    network: Network, dataset: Dataset | None, count: int, seed: int
) -> tuple[Images, Labels | None]:
    """``count`` test images drawn by ``seed`` with their labels, or random codes without labels.

    Raises
    ------
    InputError : more images wanted than there are
    """
    rng = np.random.default_rng(seed)
    if dataset is None:
        most = MAX_RANDOM // math.prod(network.input_shape)
        if count > most:
            raise InputError(f"images: expected at most {most} random images of this size, found {count}")
        levels = network.layers[0].input_bases.levels
        return rng.integers(levels, size=(count, *network.input_shape), dtype=np.uint8), None
    test = dataset.test
    if not 1 <= count <= len(test):
        raise InputError(f"images: expected 1 to {len(test)}, the test images of {dataset.name}, found {count}")
    chosen = rng.permutation(len(test))[:count]
    return test.images[chosen], test.labels[chosen]
