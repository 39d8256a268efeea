"""Rules that layers and nodes share: each gives the value in its kept form, or refuses it on one line."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import NetworkError
from ..validation import shown
from . import limits

MAX_MAGNITUDE = 1 << 46
"""Accumulators and biases are smaller than this; every number of float64 up to 2**53 is exact."""


def sides(where: str, value: Any, count: int, *, least: int = 1) -> tuple[int, ...]:
    """``count`` integers of at least ``least`` as a tuple.

    Raises
    ------
    NetworkError : anything else; a single number and NumPy's integers are told what is meant
    """
    if isinstance(value, int | np.integer):
        meant = ", ".join([str(value)] * count)
        raise NetworkError(where, f"{count} integers, such as ({meant})", f"the single number {value}")
    found = tuple(value)
    if any(isinstance(side, np.generic) for side in found):
        plain = tuple(side.item() if isinstance(side, np.generic) else side for side in found)
        raise NetworkError(where, f"integers of Python, such as {plain}", "NumPy's")
    if len(found) != count or any(type(side) is not int or side < least for side in found):
        kind = "positive integers" if least == 1 else f"integers >= {least}"
        raise NetworkError(where, f"{count} {kind}", found)
    return found


def integer(where: str, value: Any, *, least: int | None = None) -> int:
    """An integer of at least ``least``; NetworkError for anything else."""
    if isinstance(value, np.integer):
        raise NetworkError(where, f"an integer of Python, such as int({value})", "NumPy's")
    if type(value) is not int or (least is not None and value < least):
        raise NetworkError(where, "an integer" if least is None else f"an integer >= {least}", repr(value))
    return value


def frozen(where: str, values: Any, dtype: type) -> npt.NDArray[Any]:
    """The integers as an array of ``dtype`` that cannot be changed; NetworkError where one does not fit it."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu":
        raise NetworkError(where, "integers", f"{array.dtype}")
    kept: npt.NDArray[Any] = array.astype(dtype, order="C")
    if not np.array_equal(kept, array):
        if dtype is np.uint8 and array.min() == -1:
            raise NetworkError(where, "codes (of one basis: 0 for -1 and 1 for +1)", "values of -1")
        raise NetworkError(where, f"values that fit {np.dtype(dtype)}", f"values up to {array.max()}")
    kept.setflags(write=False)
    return kept


def name(where: str, value: Any) -> str:
    """Lower-case identifiers joined by dots; NetworkError for anything else."""
    if not (isinstance(value, str) and value.islower() and all(part.isidentifier() for part in value.split("."))):
        raise NetworkError(where, "lower-case identifiers joined by dots", shown(value))
    limits.check_name(where, value)
    return value


def check_bias(where: str, bias: Any) -> None:
    """NetworkError unless every integer is below the greatest magnitude."""
    far = (bias <= -MAX_MAGNITUDE) | (bias >= MAX_MAGNITUDE)
    if far.any():
        raise NetworkError(where, "values below 2**46", int(bias[far][0]))
