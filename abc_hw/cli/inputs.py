"""What the commands are given: networks, images, foldings."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydantic import RootModel

from abc_hw.data import Dataset, Features, Images, Labels, Reading, is_path, load
from abc_hw.data.arrays import read_images_file
from abc_hw.errors import InputError
from abc_hw.network import Graph, Network, description
from abc_hw.network.description import FoldingDescription
from abc_hw.reading import read_toml
from abc_hw.validation import shown, validate

from .console import need
from .polarity import set_on_its_ground

# -- options ------------------------------------------------------------------------------------------------

DatasetName = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="digits, mnist, fashion-mnist, cifar-10, or a folder of class folders, a .npz or .csv file.",
        show_default="digits",
    ),
]
SameDataset = Annotated[
    str | None,
    typer.Option(
        "--dataset", help="As for train: a name, a folder of class folders, a .npz or .csv file.",
        show_default="the one it was trained on",
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        help="Folder with the data set's files.", envvar="ABC_HW_DATA",
        show_default="downloads into the user's cache",
    ),
]
ImagesFile = Annotated[
    Path | None, typer.Option(help=".npy or .npz with images as the network takes them, and labels.")
]
Size = Annotated[str | None, typer.Option("--resize", help="Scale images to HEIGHTxWIDTH, such as 28x28.")]
Resize = Annotated[bool, typer.Option("--resize", help="Scale images to the size that the network takes.")]
Grey = Annotated[bool | None, typer.Option("--grey", help="Colours become grey.")]
Background = Annotated[
    str | None, typer.Option(help="Colour behind transparent pixels; without it such images are refused.")
]
Invert = Annotated[bool | None, typer.Option("--invert/--no-invert", help="Bright becomes dark.")]
LabelColumn = Annotated[
    str | None,
    typer.Option("--label", help="Column of a .csv file with the classes.", show_default="label, class or target"),
]
TestShare = Annotated[
    float | None,
    typer.Option(help="Share of each class held out where the data have no test part.", show_default="0.2"),
]
SplitSeed = Annotated[int | None, typer.Option(help="Decides which are held out.")]


def size_of(text: str | None) -> tuple[int, int] | None:
    """``"28x20"`` as (height, width); InputError if it says something else."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(len(side) < 6 and side.isdecimal() and int(side) for side in sides):
        raise InputError(f"resize: expected HEIGHTxWIDTH, such as 28x28, found {text!r}")
    return int(sides[0]), int(sides[1])


# -- foldings -----------------------------------------------------------------------------------------------


class FoldingFile(RootModel[dict[str, FoldingDescription]]):
    """A TOML file of one table per layer, each with some of simd, pe, mp, np and px."""


def load_folding(path: Path) -> description.Folding:
    """The knobs in a folding file, by layer name.

    Raises
    ------
    InputError : not readable, no TOML, or a knob that is no positive integer
    """
    found = validate(FoldingFile, read_toml(path, "a readable folding file"), str(path)).root
    return {name: knobs.model_dump(exclude_none=True) for name, knobs in found.items()}


# -- images -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which test images the user wants, and how they are to be read.

    Members
    -------
    dataset, data_dir : as :func:`abc_hw.data.load`; without a data set the one that the network was trained on
    images_file : an .npy or .npz file in its place
    resize : scale to the size that the network takes
    grey, background, invert, label : as :class:`abc_hw.data.Reading`; None: as for the training
    """

    dataset: str | None = None
    data_dir: Path | None = None
    images_file: Path | None = None
    resize: bool = False
    grey: bool | None = None
    background: str | None = None
    invert: bool | None = None
    label: str | None = None

    def reading(self, network: Network | Graph) -> Reading:
        """How images become pixels for that network: as they did for its training, but for what the user says.

        Raises
        ------
        InputError : the record of the training, or what the user says, cannot be
        """
        said = validate(Reading, network.training.get("reading", {}), "training.reading")
        size = network.input_shape[:2] if self.resize else None
        return said.but(
            size=size, grey=self.grey, background=self.background, invert=self.invert, label=self.label
        )

    def test_images(
        self, network: Network | Graph, *, labelled: bool = False
    ) -> tuple[str, Images, Labels | None]:
        """Where they come from, all test images [B, H, W, C] as the network takes them, and their labels if known.

        Labels of a published set with another number of classes are not: none of theirs is a class of it. Images
        on the opposite ground of the training's are inverted, which is told, unless ``invert`` says what they are.

        Raises
        ------
        InputError : neither data set nor file is known, their images or classes are not those of the network, or
            ``labelled`` and there are no labels; see also :func:`abc_hw.data.load`
        """
        name, images, labels = self._found(network, labelled=labelled)
        return name, set_on_its_ground(network, images, name, invert=self.invert), labels

    def _found(self, network: Network | Graph, *, labelled: bool) -> tuple[str, Images, Labels | None]:
        said = network.training.get("features")
        features = None if said is None else validate(Features, said, "training.features")
        if self.images_file is not None:
            return str(self.images_file), *self._in_file(self.images_file, network, features, labelled)
        name = self.dataset or network.training.get("dataset")
        if name is None:
            raise InputError(
                "dataset: expected --dataset, as the network names no data set of its own, found none"
            )
        found = named_dataset(str(name), self.data_dir, self.reading(network), features)
        _check_fit(network, str(name), found)
        if is_path(str(name)):
            return found.name, found.test.images, _labels_in(network, found)
        same = len(found.classes) == len(network.classes)
        if labelled and not same:
            raise InputError(
                f"{found.name}: expected {len(network.classes)} classes, which {network.name} tells apart, found "
                f"{len(found.classes)}"
            )
        return found.name, found.test.images, found.test.labels if same else None

    def _in_file(
        self, path: Path, network: Network | Graph, features: Features | None, labelled: bool
    ) -> tuple[Images, Labels | None]:
        if self.dataset is not None:
            raise InputError("images-file: expected no data set beside it, found both")
        images, labels = read_images_file(path, network.input_shape, features)
        if labelled and labels is None:
            raise InputError(f"{path}: expected labels beside the images, found none")
        if labels is not None and not 0 <= labels.min() <= labels.max() < len(network.classes):
            span = f"{labels.min()} to {labels.max()}"
            raise InputError(f"{path}: expected labels from 0 to {len(network.classes) - 1}, found {span}")
        return 255 - images if self.invert and features is None else images, labels


def _check_fit(network: Network | Graph, name: str, dataset: Dataset) -> None:
    if dataset.shape != network.input_shape:
        expected, found = (" x ".join(map(str, shape)) for shape in (network.input_shape, dataset.shape))
        raise InputError(
            f"{name}: expected images of {expected}, as the network takes (or --resize, --grey), found {found}"
        )


def _labels_in(network: Network | Graph, dataset: Dataset) -> Labels:
    """The test labels counted as the network counts its classes, which are told by name or by number."""
    index = {name: label for label, name in enumerate(network.classes)}
    if not set(dataset.classes) <= set(index):
        index = {str(label): label for label in range(len(network.classes))}
    strangers = [name for name in dataset.classes if name not in index]
    if strangers:
        raise InputError(
            f"{dataset.name}: expected the network's classes {', '.join(network.classes[:8])}, "
            f"found {strangers[0]!r}"
        )
    order = np.array([index[name] for name in dataset.classes], np.int64)
    return order[dataset.test.labels]


def named_dataset(
    name: str, data_dir: Path | None, reading: Reading | None = None, features: Features | None = None
) -> Dataset:
    """The data set of that name or place; see :func:`abc_hw.data.load`."""
    need_for_dataset(name, data_dir)
    return load(name, data_dir, reading, features=features)


def need_for_dataset(name: str, data_dir: Path | None) -> None:
    """InputError unless the packages are installed with which the data set is read."""
    if name == "digits":
        need("train", "sklearn")
    elif data_dir is None and not is_path(name):
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


def read_seeds(text: str) -> list[int]:
    """The seeds of an option; InputError unless they are numbers that differ."""
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts) or len({*map(int, parts)}) < len(parts):
        raise InputError(f"seeds: expected numbers from 0 that differ, as in 1,2,3, found {text!r}")
    return [int(part) for part in parts]


def some_images(
    network: Network | Graph, wanted: Wanted | None, count: int, seed: int
) -> tuple[Images, Labels | None]:
    """``count`` test images drawn by ``seed`` with their labels, or random codes without labels.

    Raises
    ------
    InputError : more images wanted than there are; see also :meth:`Wanted.test_images`
    """
    rng = np.random.default_rng(seed)
    if wanted is None:
        most = MAX_RANDOM // math.prod(network.input_shape)
        if count > most:
            raise InputError(f"images: expected at most {most} random images of this size, found {count}")
        from abc_hw.sim.expected import random_images

        return random_images(network, count, rng), None
    name, images, labels = wanted.test_images(network)
    if not 1 <= count <= len(images):
        raise InputError(f"images: expected 1 to {len(images)}, the test images of {name}, found {count}")
    chosen = rng.permutation(len(images))[:count]
    return images[chosen], None if labels is None else labels[chosen]
