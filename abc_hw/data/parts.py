"""What a data set is: images and labels in three parts, and the rules that they keep."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from .features import Features
from .ground import common_ground

if TYPE_CHECKING:
    from .reading import Reading

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

VALIDATION_SHARE = 1 / 20
"""Part of the training images that is held back for validation."""

SPLIT_SEED = 1711
"""Decides which images are held back, the same ones for ever."""

FEWEST = 3
"""Training images that a data set has at least: one is held back, and batch norm needs two."""

SHOWN = 5
"""Names that a message lists at most."""


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images uint8 [count, H, W, C] and their classes int64 [count]."""

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: npt.NDArray[np.int64] | slice) -> Split:
        return Split(self.images[index], self.labels[index])


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set in three parts; ``validation`` was taken from the training images.

    ``features`` says how numbers became codes, if the set is a table; its images are 1 x 1 x features then.
    ``source`` and ``reading`` are where it was loaded from and how, if it was.
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    features: Features | None = None
    source: str | None = None
    reading: Reading | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of an image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels

    @cached_property
    def facts(self) -> dict[str, Any]:
        """What a trained network keeps of its data, JSON values.

        ``digest`` is the SHA-256 over classes, images and labels of all parts, ``train``, ``validation`` and
        ``test`` count images, ``ground`` is :func:`~abc_hw.data.ground.common_ground` of the training images.
        """
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        sha = hashlib.sha256(json.dumps(self.classes).encode())
        for name, part in parts.items():
            sha.update(json.dumps([name, part.images.shape]).encode())
            sha.update(np.ascontiguousarray(part.images).data)
            sha.update(part.labels.astype("<i8").tobytes())
        counts = {name: len(part) for name, part in parts.items()}
        return {"digest": sha.hexdigest(), **counts, "ground": common_ground(self.train.images)}


def split(
    name: str, classes: Sequence[str], train: Split, test: Split, *, validation: Split | None = None,
    features: Features | None = None,
) -> Dataset:
    """A data set; without ``validation``, one of 20 training images, drawn once and for all, is held back for it.

    Raises
    ------
    InputError : labels that no class has, images of several sizes, fewer than :data:`FEWEST` training images,
        no test image, or training images of one class only; the line starts with ``name``
    """
    if len(train) < FEWEST:
        raise InputError(f"{name}: expected at least {FEWEST} training images, found {len(train)}")
    for part in filter(None, (test, validation)):
        if not len(part):
            raise InputError(f"{name}: expected at least one test image, found none")
        if part.images.shape[1:] != train.images.shape[1:]:
            sizes = (" x ".join(map(str, images.shape[1:])) for images in (train.images, part.images))
            expected, found = sizes
            raise InputError(f"{name}: expected test images of {expected}, as the training images, found {found}")
    for part in filter(None, (train, test, validation)):
        check_labels(name, part.labels, len(classes))
    if len(present := np.unique(train.labels)) < 2:
        raise InputError(
            f"{name}: expected training images of at least 2 classes, found only {classes[present[0]]!r}"
        )
    if validation is None:
        order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
        held_back = math.ceil(VALIDATION_SHARE * len(train))
        validation, train = train[np.sort(order[:held_back])], train[np.sort(order[held_back:])]
    return Dataset(
        name=name, classes=tuple(classes), train=train, validation=validation, test=test, features=features
    )


def check_labels(where: str, labels: Labels, classes: int) -> None:
    """InputError unless all labels are 0 .. classes - 1."""
    for outside in (labels.max(initial=0), labels.min(initial=0)):
        if not 0 <= outside < classes:
            raise InputError(f"{where}: expected labels below {classes}, found {outside}")


def check_classes(name: str, classes: Sequence[str], train: Labels, test: Labels) -> None:
    """InputError unless training and test images show the same classes, ``classes[label]``."""
    for labels, others, part, other in ((train, test, "test", "training"), (test, train, "training", "test")):
        if missing := sorted(set(labels.tolist()) - set(others.tolist())):
            names = ", ".join(repr(classes[label]) for label in missing[:SHOWN])
            more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
            raise InputError(
                f"{name}: expected {part} images of every class of the {other} images, found none of {names}{more}"
            )


def hold_out(name: str, classes: Sequence[str], labels: Labels, share: float, seed: int) -> tuple[Labels, Labels]:
    """Which are for training and which for the test: ``share`` of each class, at least one, drawn by ``seed``.

    Raises
    ------
    InputError : a class has a single image, or none
    """
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(labels), bool)
    for label, text in enumerate(classes):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise InputError(
                f"{name}: expected at least 2 images of each class, one of them for the test, "
                f"found {len(members)} of {text!r}"
            )
        count = min(len(members) - 1, max(1, round(share * len(members))))
        chosen[rng.permutation(members)[:count]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def number(texts: Sequence[str]) -> tuple[tuple[str, ...], Labels]:
    """Class names in order, whole numbers by value and others by letters, and the label of each text."""
    names = sorted(set(texts), key=lambda text: (0, int(text), text) if _is_whole(text) else (1, 0, text))
    index = {text: label for label, text in enumerate(names)}
    return tuple(names), np.array([index[text] for text in texts], np.int64)


def _is_whole(text: str) -> bool:
    return text.removeprefix("-").isdecimal()
