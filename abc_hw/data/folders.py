"""Folders of class folders of image files, with ``train`` and ``test`` above them or without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from ..errors import InputError
from .images import Pixels, read_image
from .parts import Dataset, Split, check_classes, hold_out, number, split
from .reading import Reading
from .tables import read_listing

PARTS = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}
"""What the folders of the parts are called, in small or large letters."""

LISTINGS = ("trainLabels.csv", "train_labels.csv")
"""Tables of the classes of the images in ``train``, by the names of their files."""

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
    listing = next((folder / file for file in LISTINGS if (folder / file).is_file()), None)
    if listing is not None and places["train"] is not None:
        return _read_listed(name, places["train"], listing, reading)
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
    listed: list[tuple[Path, int]] = []
    for label, text in enumerate(classes):
        files = list(_files(folders[text])) if text in folders else []
        if text in folders and not files:
            raise InputError(f"{folders[text]}: expected images, found none")
        listed += [(path, label) for path in files]
    return classes, _read_files(listed, reading, shape)


def _read_files(listed: Sequence[tuple[Path, int]], reading: Reading, shape: tuple[int, ...] | None) -> Split:
    """Images of one size, that of ``shape`` if given, with their labels."""
    images: list[Pixels] = []
    for path, _ in listed:
        pixels = read_image(path, reading)
        if pixels.shape[:2] != tuple((shape or pixels.shape)[:2]):
            expected, found = (" x ".join(map(str, sides[:2])) for sides in (shape or (), pixels.shape))
            whose = str(listed[0][0]) if images else "the training images"
            raise InputError(f"{path}: expected {expected} pixels, as {whose} (or --resize), found {found}")
        shape = shape or pixels.shape
        images.append(pixels)
    if len({pixels.shape[2] for pixels in images}) > 1:
        images = [np.broadcast_to(pixels, (*pixels.shape[:2], 3)) for pixels in images]
    return Split(np.stack(images), np.array([label for _, label in listed], np.int64))


def _read_listed(name: str, folder: Path, listing: Path, reading: Reading) -> Dataset:
    """Images whose classes stand in a table beside them, of which a part is held out: Kaggle's CIFAR-10."""
    files = {path.stem: path for path in _entries(folder)}
    pairs = read_listing(listing)
    for key, _ in pairs:
        if key not in files:
            raise InputError(f"{listing}: expected an image of each name in {folder}, found none of {key!r}")
    classes, labels = number([text for _, text in pairs])
    listed = [(files[key], int(label)) for (key, _), label in zip(pairs, labels, strict=True)]
    everything = _read_files(listed, reading, None)
    rows = hold_out(name, classes, everything.labels, reading.test_share, reading.split_seed)
    return split(name, classes, *(everything[chosen] for chosen in rows))


def _coloured(part: Split) -> Split:
    return Split(np.ascontiguousarray(np.broadcast_to(part.images, (*part.images.shape[:3], 3))), part.labels)
