"""What runs from node to node: maps of codes or of integers, and how windows lie on a map."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..errors import NetworkError
from .bases import Bases, IntArray

Shape = tuple[int, int, int]
"""(H, W, C)"""


@dataclasses.dataclass(frozen=True)
class Codes:
    """Codes of ``bases``, uint8, in a map of ``shape`` (H, W, C). They ascend with the number that was cut."""

    bases: Bases
    shape: Shape

    def __str__(self) -> str:
        return f"codes of {self.bases.count} {self.bases.kind} bases, {' x '.join(map(str, self.shape))}"


@dataclasses.dataclass(frozen=True, eq=False)
class Integers:
    """Integers of a map of ``shape`` (H, W, C), those of channel c within ``low[c]`` .. ``high[c]``.

    ``low`` and ``high`` are int64 [C], or one number for all channels. The bounds hold for every image; they need
    not be reached.
    """

    low: IntArray
    high: IntArray
    shape: Shape

    def __post_init__(self) -> None:
        for field in ("low", "high"):
            value = np.broadcast_to(np.asarray(getattr(self, field), np.int64), self.shape[2:])
            object.__setattr__(self, field, value)

    @property
    def least(self) -> int:
        """The least value of any channel."""
        return int(self.low.min())

    @property
    def greatest(self) -> int:
        """The greatest value of any channel."""
        return int(self.high.max())

    @property
    def bits(self) -> int:
        """Bits of a two's complement number that holds all values."""
        return max((-self.least - 1).bit_length() if self.least < 0 else 0, max(self.greatest, 0).bit_length()) + 1

    def __str__(self) -> str:
        return f"integers {self.least} .. {self.greatest}, {' x '.join(map(str, self.shape))}"


Edge = Codes | Integers

Padding = tuple[int, int, int, int]
"""Rows above and below, columns left and right."""


def swept(
    where: str, shape: Shape, size: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> tuple[int, int]:
    """(OH, OW): how many places a window has on a padded map.

    Raises
    ------
    NetworkError : a window larger than the padded map
    """
    rows, columns = shape[0] + sum(padding[:2]), shape[1] + sum(padding[2:])
    if size[0] > rows or size[1] > columns:
        raise NetworkError(where, f"at most the padded input {(rows, columns)}", size)
    return (rows - size[0]) // stride[0] + 1, (columns - size[1]) // stride[1] + 1
