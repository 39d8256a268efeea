"""Files that unpack to more than they are: read no further than they say they go, and no code of theirs is run."""

from __future__ import annotations

import gzip
import io
import pickle
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..reading import check_regular

MOST_BYTES = 1 << 30
"""That one file may unpack to."""


def unpack(path: Path, what: str, header: int, size: Callable[[bytes], int]) -> bytes:
    """The contents of a file (gzip if its name ends in .gz), one byte more at most than it says they are.

    Parameters
    ----------
    what : the file is, for messages
    header : how many bytes tell the size
    size : how many bytes they announce for the whole

    Raises
    ------
    InputError : not readable, no gzip file, or announced as larger than :data:`MOST_BYTES`
    """
    check_regular(path, what)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            head = file.read(header)
            announced = size(head)
            if announced > MOST_BYTES:
                raise InputError(f"{path}: expected {what} of at most {MOST_BYTES:,} bytes, found {announced:,}")
            return head + file.read(announced - len(head) + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: expected {what}, found {error}") from error


# -- CIFAR-10's Python version ------------------------------------------------------------------------------


class _Inert:
    """Stands for whatever a pickle names: it keeps what it is given and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _stand_in(*arguments: Any) -> _Inert:
    return _Inert()


class _Reader(pickle.Unpickler):
    """Knows the three names with which NumPy's arrays were pickled, and calls none of them."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("numpy.core.multiarray", "_reconstruct"): _stand_in,
            ("numpy._core.multiarray", "_reconstruct"): _stand_in,
            ("numpy", "ndarray"): _Inert,
            ("numpy", "dtype"): _Inert,
            ("_codecs", "encode"): lambda text, encoding: text.encode("latin1"),
        }
        if (module, name) not in known:
            raise InputError(f"expected arrays and plain values only, found {module}.{name}")
        return known[module, name]


def read_cifar_pickle(
    path: Path, content: bytes, pixels: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Pixels [count, pixels] and labels of one file of CIFAR-10's Python version; no code of the file is run.

    Raises
    ------
    InputError : not such a file; the line starts with the path
    """
    try:
        found = _Reader(io.BytesIO(content), encoding="bytes").load()
        said = {key.decode() if isinstance(key, bytes) else key: value for key, value in found.items()}
        _, shape, _, _, data = said["data"].state
        planes = np.frombuffer(data, np.uint8).reshape(shape)
        labels = np.array(said["labels"], np.int64)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # foreign bytes make the reader fail in many ways
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: expected a file of CIFAR-10's Python version, found {reason}") from None
    if planes.ndim != 2 or planes.shape[1] != pixels or labels.shape != planes.shape[:1] or not len(labels):
        raise InputError(
            f"{path}: expected rows of {pixels} pixels with a label each, found {planes.shape} and {labels.shape}"
        )
    return planes, labels
