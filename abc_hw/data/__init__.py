"""Image data sets as uint8 arrays, from the files in which they are published.

``digits`` comes with scikit-learn. The others are read from a folder, or downloaded once into the user's cache:
MNIST and Fashion-MNIST as IDX files (plain or gzip), CIFAR-10 in its binary version.
"""

from __future__ import annotations

import dataclasses
import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError

Images = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]

VALIDATION_SHARE = 1 / 20
"""Part of the training images that is held back for validation."""

SPLIT_SEED = 1711
"""Decides which images are held back, the same ones for ever."""


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
    """A data set in three parts; ``validation`` was taken from the published training images."""

    name: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of an image."""
        height, width, channels = self.train.images.shape[1:]
        return height, width, channels


def load(name: str, data_dir: Path | str | None = None) -> Dataset:
    """The data set of that name, one of :data:`DATASETS`.

    Parameters
    ----------
    data_dir : folder that holds the set's own folder (``mnist``, ``fashion-mnist``, ``cifar-10-batches-bin``);
        None downloads the files into the user's cache the first time

    Raises
    ------
    InputError : an unknown name, a missing file, a truncated or foreign one, or no network.
    """
    if name not in DATASETS:
        raise InputError(f"dataset: expected one of {', '.join(DATASETS)}, found {name!r}")
    return DATASETS[name](None if data_dir is None else Path(data_dir))


def _split(name: str, classes: tuple[str, ...], train: Split, test: Split) -> Dataset:
    for split in (train, test):
        if split.labels.max(initial=0) >= len(classes):
            raise InputError(f"{name}: expected labels below {len(classes)}, found {split.labels.max()}")
    order = np.random.default_rng(SPLIT_SEED).permutation(len(train))
    held_back = math.ceil(VALIDATION_SHARE * len(train))
    return Dataset(
        name=name, classes=classes, train=train[np.sort(order[held_back:])],
        validation=train[np.sort(order[:held_back])], test=test,
    )


# -- digits -------------------------------------------------------------------------------------------------


def _digits(data_dir: Path | None) -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels; one fifth of them, drawn once, is the test set."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    everything = Split(pixels, labels.astype(np.int64))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(everything))
    held_back = len(everything) // 5
    return _split("digits", _digit_names(), everything[order[held_back:]], everything[order[:held_back]])


def _digit_names() -> tuple[str, ...]:
    return tuple(str(digit) for digit in range(10))


# -- IDX files ----------------------------------------------------------------------------------------------


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The uint8 array of an IDX file (gzip if its name ends in .gz) of that many dimensions.

    Raises
    ------
    InputError : not such a file, or not of the length that its header announces.
    """
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected an IDX file, found {error}") from error
    magic = bytes([0, 0, 8, dimensions])
    if content[:4] != magic:
        found = content[:4].hex()
        raise InputError(f"{path}: expected an IDX file of {dimensions}-d bytes ({magic.hex()}), found {found}")
    header = 4 + 4 * dimensions
    shape = tuple(int(side) for side in np.frombuffer(content[4:header].ljust(header - 4, b"\0"), ">u4"))
    if len(content) != header + math.prod(shape) or not math.prod(shape):
        raise InputError(f"{path}: expected {header + math.prod(shape)} bytes for {shape}, found {len(content)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _idx_split(files: Callable[[str], Path], part: str) -> Split:
    paths = files(f"{part}-images-idx3-ubyte"), files(f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
    if len(images) != len(labels):
        raise InputError(f"{paths[1]}: expected {len(images)} labels, one per image, found {len(labels)}")
    return Split(images[..., None], labels.astype(np.int64))


def _idx_dataset(
    name: str, classes: tuple[str, ...], url: str, checksums: dict[str, str]
) -> Callable[[Path | None], Dataset]:
    def load_idx(data_dir: Path | None) -> Dataset:
        def file(stem: str) -> Path:
            if data_dir is not None:
                return _existing(data_dir / name / stem, data_dir / name / f"{stem}.gz")
            return Path(_download(name, f"{url}{stem}.gz", checksums[stem])[0])

        return _split(name, classes, _idx_split(file, "train"), _idx_split(file, "t10k"))

    return load_idx


# -- CIFAR-10 -----------------------------------------------------------------------------------------------

CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR_FOLDER = "cifar-10-batches-bin"
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_cifar(path: Path) -> Split:
    """One file of CIFAR-10's binary version: records of a label byte and 3 planes of 32 x 32 bytes.

    Raises
    ------
    InputError : no such file, or not a whole number of records with labels 0 to 9.
    """
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path}: expected a CIFAR-10 binary file, found {error}") from error
    record = 1 + 3 * 32 * 32
    if not content.size or content.size % record:
        raise InputError(f"{path}: expected a multiple of {record} bytes, found {content.size}")
    records = content.reshape(-1, record)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CIFAR_CLASSES):
        raise InputError(f"{path}: expected labels below {len(CIFAR_CLASSES)}, found {labels.max()}")
    images = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), labels)


def _cifar(data_dir: Path | None) -> Dataset:
    if data_dir is None:
        members = [Path(member) for member in _download("cifar-10", CIFAR_URL, CIFAR_MD5, tar=True)]
        folder = next(member.parent for member in members if member.name == "test_batch.bin")
    else:
        folder = data_dir / CIFAR_FOLDER
    batches = [read_cifar(_existing(folder / f"data_batch_{number}.bin")) for number in range(1, 6)]
    train = Split(np.concatenate([b.images for b in batches]), np.concatenate([b.labels for b in batches]))
    return _split("cifar-10", CIFAR_CLASSES, train, read_cifar(_existing(folder / "test_batch.bin")))


# -- files --------------------------------------------------------------------------------------------------


def _existing(*candidates: Path) -> Path:
    for path in candidates:
        if path.is_file():
            return path
    raise InputError(f"{candidates[0]}: expected this file in the data folder, found none")


def _download(name: str, url: str, md5: str, *, tar: bool = False) -> list[str]:
    import pooch

    folder = pooch.os_cache("abc-hw") / name
    try:
        found = pooch.retrieve(
            url, f"md5:{md5}", fname=url.rpartition("/")[2], path=folder, processor=pooch.Untar() if tar else None
        )
    except (OSError, ValueError) as error:  # no network, no room, a wrong checksum
        reason = str(error).splitlines()[0]
        way_out = f"{name}: expected to download {url} (or name a folder with its files)"
        raise InputError(f"{way_out}, found {reason}") from error
    return list(found) if tar else [str(found)]


# -- the data sets by name ----------------------------------------------------------------------------------

DATASETS: dict[str, Callable[[Path | None], Dataset]] = {
    "digits": _digits,
    "mnist": _idx_dataset(
        "mnist", _digit_names(), "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion-mnist": _idx_dataset(
        "fashion-mnist",
        ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
    "cifar-10": _cifar,
}
"""name -> function from the data folder (None: download) to the data set"""
