"""Folders of class folders of image files, with ``train`` and ``test`` above them or without."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..errors import InputError
from .images import Pixels, read_image
from .parts import Dataset, Split, check_classes, hold_out, number, split
from .reading import Reading

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What the folders of the parts are called, in small or large letters."""

CLUTTER = ("thumbs.db", "desktop.ini", "__macosx")
"""What systems leave in folders; so are names that start with a dot."""


def read_folder(folder: Path, reading: Reading) -> Dataset:
    """The data set in a folder, named after it.

    It holds a folder of each class, or folders ``train`` and ``test``, and perhaps ``val``, that do; with ``val``
    but no ``test`` that is the test part. All files below a class folder are images of it.

    Raises
    ------
    InputError : no such layout, a file that is no image, images of several sizes, classes that not all parts have
    """
    name = folder.resolve().name
    places = {part: _folder_named(folder, names) for part, names in PARTS.items()}
    if places["test"] is None:
        places["test"], places["validation"] = places["validation"], None
    if places["train"] is None and places["test"] is None:
        classes, everything = _read_part(folder, reading, None)
        train_rows, test_rows = hold_out(
            name, classes, everything.labels, reading.test_share, reading.split_seed
        )
        return split(name, classes, everything[train_rows], everything[test_rows])
    if places["train"] is None or places["test"] is None:
        wanted, there = ("test", "train") if places["test"] is None else ("train", "test")
        raise InputError(f"{folder}: expected a folder {wanted} beside {there}, found none")
    classes, train = _read_part(places["train"], reading, None)
    parts = {
        part: _read_part(place, reading, train.images.shape[1:], classes)[1]
        for part in ("test", "validation") if (place := places[part]) is not None
    }
    if any(part.images.shape[3] != train.images.shape[3] for part in parts.values()):  # grey here, colours there
        train, parts = _coloured(train), {name: _coloured(part) for name, part in parts.items()}
    check_classes(name, classes, train.labels, parts["test"].labels)
    return split(name, classes, train, parts["test"], validation=parts.get("validation"))


def _folder_named(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((path for path in _entries(folder) if path.is_dir() and path.name.lower() in names), None)


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder}: expected a readable folder, found {error.strerror}") from None
    return [path for path in found if not path.name.startswith(".") and path.name.lower() not in CLUTTER]


def _files(folder: Path) -> Iterator[Path]:
    for path in _entries(folder):
        if path.is_dir() and not path.is_symlink():
            yield from _files(path)
        else:
            yield path


def _read_part(
    folder: Path, reading: Reading, shape: tuple[int, ...] | None, classes: tuple[str, ...] | None = None
) -> tuple[tuple[str, ...], Split]:
    """The classes in order (or as given) and all images of one part, of one size: that of ``shape``, if given."""
    folders = {path.name: path for path in _entries(folder) if path.is_dir()}
    if not folders:
        raise InputError(f"{folder}: expected a folder for each class, found none")
    if classes is None:
        classes, _ = number(list(folders))
    elif strangers := [text for text in folders if text not in classes]:
        raise InputError(f"{folders[strangers[0]]}: expected a class of the training images, found another")
    images: list[Pixels] = []
    labels: list[int] = []
    first: Path | None = None
    for label, text in enumerate(classes):
        before = len(images)
        for path in _files(folders[text]) if text in folders else ():
            pixels = read_image(path, reading)
            shape = pixels.shape if shape is None else shape
            if pixels.shape[:2] != tuple(shape[:2]):
                expected, found = (" x ".join(map(str, sides[:2])) for sides in (shape, pixels.shape))
                whose = "the training images" if first is None else str(first)
                raise InputError(
                    f"{path}: expected {expected} pixels, as {whose} (or --resize), found {found}"
                )
            first = first or path
            images.append(pixels)
            labels.append(label)
        if text in folders and len(images) == before:
            raise InputError(f"{folders[text]}: expected images, found none")
    if len({pixels.shape[2] for pixels in images}) > 1:
        images = [np.broadcast_to(pixels, (*pixels.shape[:2], 3)) for pixels in images]
    return classes, Split(np.stack(images), np.array(labels, np.int64))


def _coloured(part: Split) -> Split:
    return Split(np.ascontiguousarray(np.broadcast_to(part.images, (*part.images.shape[:3], 3))), part.labels)
