"""Published image data sets, from the files in which they are published.

``digits`` comes with scikit-learn. The others are read from a folder, or downloaded once into the user's cache.
In a folder MNIST and Fashion-MNIST are IDX files (plain or gzip, under any of the names they go by) or Kaggle's
tables, CIFAR-10 is its binary or its Python version; they lie in the set's own folder, in torchvision's, or right
there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..reading import check_regular
from ..registry import Registry
from .ground import Ground
from .packed import read_cifar_pickle, unpack
from .parts import SPLIT_SEED, Dataset, Split, split
from .tables import read_pixel_tables

Load = Callable[[Path | None], Dataset]

# -- digits -------------------------------------------------------------------------------------------------


def _digits(data_dir: Path | None) -> Dataset:
    """1,797 handwritten digits of 8 x 8 pixels; one fifth of them, drawn once, is the test set."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8, 1)
    everything = Split(pixels, labels.astype(np.int64))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(everything))
    held_back = len(everything) // 5
    return split("digits", _digit_names(), everything[order[held_back:]], everything[order[:held_back]])


def _digit_names() -> tuple[str, ...]:
    return tuple(str(digit) for digit in range(10))


# -- IDX files ----------------------------------------------------------------------------------------------

TORCHVISION = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST"}
"""The folders that torchvision makes."""


def read_idx(path: Path, dimensions: int) -> npt.NDArray[np.uint8]:
    """The uint8 array of an IDX file (gzip if its name ends in .gz) of that many dimensions.

    Raises
    ------
    InputError : not such a file, or not of the length that its header announces.
    """
    magic = bytes([0, 0, 8, dimensions])
    header = 4 + 4 * dimensions

    def size(head: bytes) -> int:
        if head[:4] != magic:
            raise InputError(
                f"{path}: expected an IDX file of {dimensions}-d bytes ({magic.hex()}), found {head[:4].hex()}"
            )
        return header + math.prod(_sides(head, header))

    content = unpack(path, "an IDX file", header, size)
    shape = _sides(content, header)
    if not math.prod(shape):
        raise InputError(f"{path}: expected at least one image or label, found none: {shape}")
    if len(content) != header + math.prod(shape):
        raise InputError(f"{path}: expected {header + math.prod(shape)} bytes for {shape}, found {len(content)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _sides(head: bytes, header: int) -> tuple[int, ...]:
    return tuple(int(side) for side in np.frombuffer(head[4:header].ljust(header - 4, b"\0"), ">u4"))


def idx_files(folder: Path, stem: str) -> Iterator[Path]:
    """Where the file that is published as ``stem`` may lie in a folder, and under which names."""
    dotted = stem.replace("-idx", ".idx")
    yield from (folder / stem, folder / f"{stem}.gz", folder / dotted, folder / f"{dotted}.gz")
    yield from (folder / stem / stem, folder / dotted / dotted)


def idx_split(file: Callable[[str], Path], part: str) -> Split:
    """One part, ``train`` or ``t10k``, from the files that ``file`` finds for their published names."""
    paths = file(f"{part}-images-idx3-ubyte"), file(f"{part}-labels-idx1-ubyte")
    images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
    if len(images) != len(labels):
        raise InputError(f"{paths[1]}: expected {len(images)} labels, one per image, found {len(labels)}")
    return Split(images[..., None], labels.astype(np.int64))


def has_idx(folder: Path) -> bool:
    """Do the files of MNIST lie in that folder?"""
    return any(path.is_file() for path in idx_files(folder, "train-images-idx3-ubyte"))


def _idx_dataset(name: str, classes: tuple[str, ...], url: str, checksums: dict[str, str]) -> Load:
    def load_idx(data_dir: Path | None) -> Dataset:
        if data_dir is None:
            def fetched(stem: str) -> Path:
                return Path(_download(name, f"{url}{stem}.gz", checksums[stem])[0])

            return split(name, classes, idx_split(fetched, "train"), idx_split(fetched, "t10k"))
        folders = data_dir / name, data_dir / TORCHVISION[name] / "raw", data_dir
        folder = next(filter(has_idx, folders), None)
        for place in folders if folder is None else ():
            tables = place / f"{name}_train.csv", place / f"{name}_test.csv"
            if tables[0].is_file():
                return split(name, classes, *read_pixel_tables(tables, len(classes)))
        return idx_folder(name, classes, folder or folders[0])

    return load_idx


def idx_folder(name: str, classes: Sequence[str], folder: Path) -> Dataset:
    """The data set whose four IDX files lie in that folder."""
    def found(stem: str) -> Path:
        return _existing(*idx_files(folder, stem))

    return split(name, classes, idx_split(found, "train"), idx_split(found, "t10k"))


# -- CIFAR-10 -----------------------------------------------------------------------------------------------

CIFAR_URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
CIFAR_MD5 = "c32a1d4ab5d03f1284b67883e8d87530"
CIFAR_FOLDER = "cifar-10-batches-bin"
CIFAR_PYTHON_FOLDER = "cifar-10-batches-py"
CIFAR_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def read_cifar(path: Path) -> Split:
    """One file of CIFAR-10: its binary version's records of a label byte and 3 planes of 32 x 32 bytes, or, if its
    name does not end in .bin, the pickle of its Python version, from which no code is run.

    Raises
    ------
    InputError : no such file, or not a whole number of records with labels 0 to 9.
    """
    record = 1 + 3 * 32 * 32
    check_regular(path, "a CIFAR-10 binary file")
    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path}: expected a CIFAR-10 binary file, found {error}") from error
    if path.suffix == ".bin":
        if not content.size or content.size % record:
            raise InputError(f"{path}: expected a multiple of {record} bytes, found {content.size}")
        records = content.reshape(-1, record)
        planes, labels = records[:, 1:], records[:, 0].astype(np.int64)
    else:
        planes, labels = read_cifar_pickle(path, content.tobytes(), record - 1)
    if labels.max() >= len(CIFAR_CLASSES) or labels.min() < 0:
        raise InputError(f"{path}: expected labels below {len(CIFAR_CLASSES)}, found {labels.max()}")
    images = planes.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Split(np.ascontiguousarray(images), labels)


def cifar_suffix(folder: Path) -> str | None:
    """What the names of CIFAR-10's files in that folder end in; None if they are not there."""
    return next((suffix for suffix in (".bin", "") if (folder / f"data_batch_1{suffix}").is_file()), None)


def cifar_folder(name: str, folder: Path) -> Dataset:
    """The data set whose six files, of the binary or the Python version, lie in that folder."""
    suffix = cifar_suffix(folder)
    suffix = ".bin" if suffix is None else suffix
    batches = [read_cifar(_existing(folder / f"data_batch_{number}{suffix}")) for number in range(1, 6)]
    train = Split(np.concatenate([b.images for b in batches]), np.concatenate([b.labels for b in batches]))
    return split(name, CIFAR_CLASSES, train, read_cifar(_existing(folder / f"test_batch{suffix}")))


def _cifar(data_dir: Path | None) -> Dataset:
    if data_dir is None:
        members = [Path(member) for member in _download("cifar-10", CIFAR_URL, CIFAR_MD5, tar=True)]
        return cifar_folder("cifar-10", next(m.parent for m in members if m.name == "test_batch.bin"))
    folders = data_dir / CIFAR_FOLDER, data_dir / CIFAR_PYTHON_FOLDER, data_dir
    return cifar_folder("cifar-10", next((f for f in folders if cifar_suffix(f) is not None), folders[0]))


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

DATASETS: Registry[Load] = Registry("dataset", "abc_hw.datasets", {
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
})
"""name -> function from the data folder (None: download) to the data set"""

GROUNDS: dict[str, Ground] = {"digits": "dark", "mnist": "dark", "fashion-mnist": "dark", "cifar-10": "any"}
"""The common ground of their training images, for networks whose file does not say it."""
