"""Data sets from arrays: in .npz files, in memory, or behind a ``torch.utils.data.Dataset``."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..reading import check_regular
from ..validation import shown
from .features import Features
from .images import Pixels, adapt
from .parts import Dataset, Labels, Split, check_classes, check_labels, hold_out, number, split
from .reading import Reading

Array = npt.NDArray[Any]
Pair = tuple[Any, Any]

MOST_BYTES = 1 << 32
"""That the arrays of one file may unpack to."""

WHOLE = ("images", "labels"), ("x", "y"), ("X", "y"), ("data", "labels")
DIVIDED = (
    {"train": ("train_images", "train_labels"), "test": ("test_images", "test_labels"),
     "validation": ("val_images", "val_labels")},
    {"train": ("x_train", "y_train"), "test": ("x_test", "y_test"), "validation": ("x_val", "y_val")},
    {"train": ("X_train", "y_train"), "test": ("X_test", "y_test"), "validation": ("X_val", "y_val")},
)
"""Names of arrays: images and labels of the whole set, or of its parts."""


def from_arrays(
    train: Pair, test: Pair | None = None, *, validation: Pair | None = None, classes: Sequence[str] | None = None,
    name: str = "arrays", reading: Reading | None = None, features: Features | None = None,
) -> Dataset:
    """A data set from arrays (of NumPy, or what NumPy turns into arrays).

    Parameters
    ----------
    train, test, validation : images and labels each; without ``test`` a share of each class is held out. Images
        are [B, H, W], [B, H, W, C], or [B, C, H, W] where only that can be meant: whole numbers 0..255, or these
        over 255. Numbers [B, features] of floating point become codes. Labels are numbers or names
    classes : names of the classes 0, 1, ...; None: the labels themselves in order
    reading : size, grey, invert, and how the test is held out
    features : edges of the codes; None: fitted to the training numbers

    Raises
    ------
    InputError : anything else; the line starts with ``name``
    """
    reading = reading or Reading()
    given = {part: pair for part, pair in (("train", train), ("test", test), ("validation", validation)) if pair}
    arrays = {part: (np.asarray(pair[0]), _flat(np.asarray(pair[1]), name)) for part, pair in given.items()}
    for part, (array, texts) in arrays.items():
        if len(array) != len(texts):
            raise InputError(f"{name}: expected {len(array)} {part} labels, one per image, found {len(texts)}")
    named, labels = _labels(name, {part: texts for part, (_, texts) in arrays.items()}, classes)
    images = {part: array for part, (array, _) in arrays.items()}
    if "test" in images:
        check_classes(name, named, labels["train"], labels["test"])
    else:
        rows = hold_out(name, named, labels["train"], reading.test_share, reading.split_seed)
        everything = images["train"], labels["train"]
        for part, chosen in zip(("train", "test"), rows, strict=True):
            images[part], labels[part] = (array[chosen] for array in everything)
    numbers = images["train"]
    if features is None and numbers.ndim == 2 and numbers.dtype.kind == "f":
        _finite(numbers, name)
        features = Features.fit(tuple(f"feature {i}" for i in range(numbers.shape[1])), numbers.astype(np.float64))
    parts = {
        part: Split(adapt(as_images(array, f"{name}: {part}", features), reading), labels[part])
        for part, array in images.items()
    }
    return split(
        name, named, parts["train"], parts["test"], validation=parts.get("validation"), features=features
    )


def from_torch(
    train: Iterable[Any], test: Iterable[Any] | None = None, *, classes: Sequence[str] | None = None,
    name: str = "own", reading: Reading | None = None,
) -> Dataset:
    """A data set from ``torch.utils.data.Dataset`` objects, or any others that give (image, label).

    Images are Pillow's, arrays [H, W] or [H, W, C], or tensors [C, H, W], of whole numbers 0..255 or of these over
    255 (as ``ToTensor`` gives them, without normalisation). Other parameters and errors as :func:`from_arrays`;
    ``classes`` is by default what ``train.classes`` says.
    """
    if classes is None and (said := getattr(train, "classes", None)) is not None:
        classes = [str(text) for text in said]
    pairs = [_collect(part, name) for part in (train, test) if part is not None]
    return from_arrays(*pairs, classes=classes, name=name, reading=reading)


def _collect(items: Any, name: str) -> tuple[Array, Array]:
    images: list[Array] = []
    labels: list[Array] = []
    indices = range(len(items)) if hasattr(items, "__len__") else None
    for item in items if indices is None else (items[index] for index in indices):
        image, label = item
        array = np.asarray(image)
        if array.ndim == 3 and type(image).__module__.partition(".")[0] == "torch":
            array = array.transpose(1, 2, 0)
        if images and array.shape != images[0].shape:
            raise InputError(
                f"{name}: expected images of shape {images[0].shape}, found {array.shape} at {len(images)}"
            )
        images.append(array)
        labels.append(np.asarray(label))
    if not images:
        raise InputError(f"{name}: expected images, found none")
    return np.stack(images), np.stack(labels)


# -- arrays -------------------------------------------------------------------------------------------------


def as_images(images: Array, where: str, features: Features | None = None) -> Pixels:
    """Images uint8 [B, H, W, C] from arrays as :func:`from_arrays` takes them; InputError for others."""
    if features is not None:
        if images.ndim != 2:
            raise InputError(f"{where}: expected numbers [rows, features], found shape {images.shape}")
        _finite(images, where)
        return features.codes(images.astype(np.float64))
    if images.ndim == 2:
        images = images[:, None, None, :]
    elif images.ndim == 3:
        images = images[..., None]
    elif images.ndim != 4:
        raise InputError(f"{where}: expected images [B, H, W] or [B, H, W, C], found shape {images.shape}")
    elif images.shape[1] in (1, 3) and images.shape[3] not in (1, 2, 3, 4):
        images = images.transpose(0, 2, 3, 1)
    if 0 in images.shape:
        raise InputError(f"{where}: expected at least one image, found shape {images.shape}")
    if images.dtype.kind == "f":
        _finite(images, where)
        scale = 255 if images.max() <= 1 else 1
        whole = np.rint(images.astype(np.float64) * scale)
        if np.abs(whole - images * scale).max() > 1e-3:
            found = f"values from {images.min():.4g} to {images.max():.4g}"
            raise InputError(f"{where}: expected whole numbers 0..255, or these over 255, found {found}")
        images = whole.astype(np.int64)
    if images.dtype.kind not in "biu":
        raise InputError(f"{where}: expected whole numbers 0..255, found {images.dtype}")
    if images.dtype != np.uint8 and (images.min() < 0 or images.max() > 255):
        raise InputError(f"{where}: expected whole numbers 0..255, found {images.min()} to {images.max()}")
    return np.ascontiguousarray(images.astype(np.uint8))


def _finite(values: Array, where: str) -> None:
    if values.dtype.kind not in "fiu":
        raise InputError(f"{where}: expected numbers, found {values.dtype}")
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0][0])
        raise InputError(f"{where}: expected finite numbers, found {shown(values[row].flat[0])} in row {row}")


def _flat(labels: Array, where: str) -> Array:
    labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.ndim != 1 or labels.dtype.kind not in "biuSU":
        raise InputError(
            f"{where}: expected labels [B] of whole numbers or names, found {labels.dtype} {labels.shape}"
        )
    return labels.astype(str) if labels.dtype.kind == "S" else labels


def _labels(
    where: str, given: dict[str, Array], classes: Sequence[str] | None
) -> tuple[tuple[str, ...], dict[str, Labels]]:
    if classes is None:
        classes, _ = number([str(label) for label in np.unique(given["train"]).tolist()])
    elif all(labels.dtype.kind in "biu" for labels in given.values()):
        for part, numbers in given.items():
            check_labels(f"{where}: {part}", numbers.astype(np.int64), len(classes))
        return tuple(classes), {part: numbers.astype(np.int64) for part, numbers in given.items()}
    index = {text: label for label, text in enumerate(classes)}
    found = {}
    for part, texts in given.items():
        named = [str(text) for text in texts.tolist()]
        if strangers := sorted(set(named) - set(index)):
            known = "classes of the training images"
            raise InputError(f"{where}: {part}: expected {known}, found {shown(strangers[0])}")
        found[part] = np.array([index[text] for text in named], np.int64)
    return tuple(classes), found


# -- files --------------------------------------------------------------------------------------------------


def read_npz(path: Path, reading: Reading, features: Features | None = None) -> Dataset:
    """The data set in an .npz file: arrays ``images`` and ``labels``, or those of the parts (:data:`DIVIDED`), and
    perhaps ``classes``, the names.

    Raises
    ------
    InputError : as :func:`from_arrays`, and for a file that is none or holds Python objects
    """
    arrays = load_file(path)
    classes = [str(text) for text in arrays["classes"].ravel().tolist()] if "classes" in arrays else None
    for names in DIVIDED:
        pairs = {p: (arrays[i], arrays[k]) for p, (i, k) in names.items() if i in arrays and k in arrays}
        if {"train", "test"} <= set(pairs):
            return from_arrays(**pairs, classes=classes, name=str(path), reading=reading, features=features)
    for images, labels in WHOLE:
        if images in arrays and labels in arrays:
            pair = arrays[images], arrays[labels]
            return from_arrays(pair, classes=classes, name=str(path), reading=reading, features=features)
    raise InputError(
        f"{path}: expected arrays images and labels, or train_images, train_labels, test_images and test_labels, "
        f"found {', '.join(arrays) or 'none'}"
    )


def read_images_file(
    path: Path, shape: tuple[int, int, int], features: Features | None = None
) -> tuple[Pixels, Labels | None]:
    """Images [B, H, W, C] of ``shape`` in an .npy or .npz file, and their labels if it has them.

    Raises
    ------
    InputError : as :func:`load_file`, or images of another shape
    """
    arrays = load_file(path)
    names = [(images, labels) for images, labels in WHOLE if images in arrays]
    if not names and len(arrays) != 1:
        raise InputError(f"{path}: expected arrays images and labels, found {', '.join(arrays) or 'none'}")
    key, label_key = names[0] if names else (next(iter(arrays)), "labels")
    images = as_images(arrays[key], str(path), features if arrays[key].dtype.kind == "f" else None)
    if images.shape[1:] != shape:
        expected, found = (" x ".join(map(str, sides)) for sides in (shape, images.shape[1:]))
        raise InputError(f"{path}: expected images of {expected}, as the network wants, found {found}")
    if label_key not in arrays:
        return images, None
    labels = _flat(arrays[label_key], str(path))
    if labels.dtype.kind not in "biu" or len(labels) != len(images):
        found = f"{len(labels)} {labels.dtype}"
        raise InputError(f"{path}: expected {len(images)} whole numbers as labels, found {found}")
    return images, labels.astype(np.int64)


def load_file(path: Path) -> dict[str, Array]:
    """The arrays in an .npz file by name, or the one in an .npy file; InputError if it is neither."""
    check_regular(path, "NumPy arrays")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                size = sum(entry.file_size for entry in packed.infolist())
            if size > MOST_BYTES:
                raise InputError(f"{path}: expected arrays of at most {MOST_BYTES:,} bytes, found {size:,}")
        with path.open("rb") as file:
            found = np.load(file, allow_pickle=False)
            arrays = {name: found[name] for name in found.files} if hasattr(found, "files") else {path.stem: found}
    except InputError:
        raise
    except Exception as error:  # foreign bytes make the reader fail in many ways
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        if "allow_pickle" in reason:
            reason = "Python objects or another file"
        raise InputError(f"{path}: expected NumPy arrays, found {reason}") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise InputError(f"{path}: expected NumPy arrays, found another file: {shown(name)}")
    return arrays
