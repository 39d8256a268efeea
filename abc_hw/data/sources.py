"""Where data come from: a name that is known, or the path of one's own."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from ..errors import InputError
from . import published
from .arrays import read_npz
from .features import Features
from .folders import read_folder
from .images import adapt
from .parts import Dataset, Split, check_classes, hold_out, number, split
from .reading import Reading
from .tables import Table, read_table

SUFFIXES = (".npz", ".csv")


def is_path(source: str) -> bool:
    """Is a place meant, not the name of a published data set?"""
    return source not in published.DATASETS and (
        Path(source).suffix.lower() in SUFFIXES or "/" in source or "\\" in source or Path(source).exists()
    )


def name_of(source: str) -> str:
    """What networks and folders are called that are made from this data: letters, digits, - and _."""
    if not is_path(source):
        return source
    stem = Path(source).resolve().name
    stem = stem[: -len(Path(stem).suffix)] if Path(stem).suffix.lower() in SUFFIXES else stem
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-") or "data"
    return safe if safe.replace("-", "_").isidentifier() else f"data-{safe}"


def load(
    source: str | Path, data_dir: Path | str | None = None, reading: Reading | None = None, *,
    features: Features | None = None,
) -> Dataset:
    """The data set of that name, one of :data:`~abc_hw.data.published.DATASETS`, or the one at that path.

    A path is a folder of class folders of images (:func:`~abc_hw.data.folders.read_folder`), an .npz file
    (:func:`~abc_hw.data.arrays.read_npz`), a .csv file or a folder with ``train.csv`` and ``test.csv``
    (:func:`~abc_hw.data.tables.read_table`), or a folder with the files of MNIST or CIFAR-10.

    Parameters
    ----------
    data_dir : folder that holds a published set's own folder (``mnist``, ``fashion-mnist``,
        ``cifar-10-batches-bin``, ...) or its files; None downloads them into the user's cache the first time
    reading : how images are turned into pixels
    features : edges of a table's codes; None: fitted to its training rows

    Raises
    ------
    InputError : an unknown name, a missing file, a truncated or foreign one, or no network; see also
        :func:`~abc_hw.data.parts.split`
    """
    reading = reading or Reading()
    found = _load(str(source), data_dir, reading, features)
    return dataclasses.replace(found, source=str(source), reading=reading)


def _load(text: str, data_dir: Path | str | None, reading: Reading, features: Features | None) -> Dataset:
    if text in published.DATASETS:
        return _adapted(published.DATASETS[text](None if data_dir is None else Path(data_dir)), reading)
    if not is_path(text):
        known = ", ".join(published.DATASETS)
        raise InputError(f"dataset: expected one of {known}, or a folder, .npz or .csv file, found {text!r}")
    path = Path(text)
    if not path.exists():
        raise InputError(f"{path}: expected a folder, .npz or .csv file, found none")
    if path.is_dir():
        return _read_directory(path, reading, features)
    if path.suffix.lower() == ".npz":
        return read_npz(path, reading, features)
    if path.suffix.lower() == ".csv":
        return _tables(path, read_table(path, reading.label), None, reading, features)
    raise InputError(f"{path}: expected a folder, .npz or .csv file, found another")


def _adapted(dataset: Dataset, reading: Reading) -> Dataset:
    def made(part: Split) -> Split:
        return Split(adapt(part.images, reading), part.labels)

    return dataclasses.replace(
        dataset, train=made(dataset.train), validation=made(dataset.validation), test=made(dataset.test)
    )


def _read_directory(path: Path, reading: Reading, features: Features | None) -> Dataset:
    if published.has_idx(path):
        labels = {int(label) for label in published.read_idx(_labels_of(path), 1).tolist()}
        return _adapted(published.idx_folder(path.resolve().name, _names(max(labels)), path), reading)
    if published.cifar_suffix(path) is not None:
        return _adapted(published.cifar_folder(path.resolve().name, path), reading)
    if (path / "train.csv").is_file():
        if not (path / "test.csv").is_file():
            raise InputError(f"{path}: expected test.csv beside train.csv, found none")
        train, test = (read_table(path / name, reading.label) for name in ("train.csv", "test.csv"))
        return _tables(path, train, test, reading, features)
    return read_folder(path, reading)


def _labels_of(path: Path) -> Path:
    candidates = list(published.idx_files(path, "train-labels-idx1-ubyte"))
    return next((file for file in candidates if file.is_file()), candidates[0])


def _names(greatest: int) -> tuple[str, ...]:
    return tuple(str(label) for label in range(max(10, greatest + 1)))


def _tables(
    path: Path, train: Table, test: Table | None, reading: Reading, features: Features | None
) -> Dataset:
    """The data set of one table, of which a part is held out, or of two with the same columns."""
    if test is not None and test.names != train.names:
        strange = sorted(set(train.names) ^ set(test.names)) or ["another order"]
        raise InputError(f"{test.path}: expected the columns of {train.path.name}, found otherwise: {strange[0]}")
    classes, labels = number(train.labels)
    if test is None:
        rows = hold_out(str(path), classes, labels, reading.test_share, reading.split_seed)
        train, test = (train[chosen] for chosen in rows)
    index = {text: label for label, text in enumerate(classes)}
    for text in test.labels:
        if text not in index:
            raise InputError(f"{test.path}: expected classes of the training rows, found {text!r}")
    if features is not None and features.names != train.names:
        raise InputError(f"{path}: expected the columns {', '.join(features.names[:5])} ..., found others")
    if features is None and not (train.is_pixels and test.is_pixels):
        features = Features.fit(train.names, train.values)
    parts = [
        Split(table.images(features).images, np.array([index[text] for text in table.labels], np.int64))
        for table in (train, test)
    ]
    check_classes(str(path), classes, parts[0].labels, parts[1].labels)
    dataset = split(str(path), classes, *parts, features=features)
    return dataset if features is not None else _adapted(dataset, reading)
