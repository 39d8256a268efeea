"""Thresholds that are evenly spaced: a multiplication in their place."""

import dataclasses
from functools import lru_cache
from typing import ClassVar

import numpy as np

from abc_hw.network import IntArray
from abc_hw.network.edges import Edge, Integers
from abc_hw.network.nodes import EXACT, Requantise, Threshold

__all__ = ["Line", "line_of"]

MOST_SHIFT = 40
ROUNDS = 80
"""Of the search for a slope; each leaves two thirds."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """As :class:`abc_hw.network.nodes.Requantise`, with factors of any size.

    Members
    -------
    factor, offset : int64 [C], products below 2**52
    shift, low, high : of the node
    """

    kind: ClassVar[str] = Requantise.kind
    factor: IntArray
    offset: IntArray
    shift: int
    low: int
    high: int

    def output(self, edge: Edge) -> Integers:
        """Any number of the range."""
        return Integers(np.array(self.low), np.array(self.high), edge.shape)


@lru_cache(maxsize=256)
def line_of(node: Threshold, edge: Integers) -> Line | None:
    """What gives the same number as the code for every integer that arrives; None where there is nothing.

    There is one if every channel's thresholds are where a straight line reaches 1, 2, 3, ..., as they are if a
    number was divided and rounded; the shift is the least of which all channels have a factor.

    Parameters
    ----------
    node : codes ascend with numbers
    edge : what arrives
    """
    stairs = [
        _Stairs(row, int(low), int(high))
        for row, low, high in zip(node.thresholds, edge.low, edge.high, strict=True)
    ]
    slopes = [one.slope() for one in stairs]
    if None in slopes:
        return None
    for shift in range(MOST_SHIFT + 1):
        found = [one.line(slope, shift) for one, slope in zip(stairs, slopes, strict=True) if slope is not None]
        lines = [line for line in found if line is not None]
        if len(lines) == len(stairs):
            factor, offset = np.array(lines, np.int64).T
            return Line(factor=factor, offset=offset, shift=shift, low=0, high=node.bases.levels - 1)
    return None


class _Stairs:
    """The codes of one channel: a line must be at ``least`` or above at each ``at``, and below ``least + 1`` at
    each integer before the next step."""

    def __init__(self, thresholds: IntArray, low: int, high: int) -> None:
        codes = np.arange(1, len(thresholds) + 1)
        starts = np.clip(thresholds, low, high + 1)
        reached = starts <= high
        self._at = np.concatenate([[low], starts[reached]])  # where a code begins
        self._code = np.concatenate([[0], codes[reached]])
        before = starts > low
        self._last = np.concatenate([starts[before] - 1, [high]])  # where a code is still
        self._below = np.concatenate([codes[before], [len(thresholds) + 1]])
        self._most = max(abs(low), abs(high), 1) + len(thresholds)
        # Below code 0 and above the greatest one the result is cut off.
        self._at, self._code = self._at[self._code > 0], self._code[self._code > 0]
        within = self._below <= len(thresholds)
        self._last, self._below = self._last[within], self._below[within]

    def _room(self, slope: float) -> float:
        """Between the least and the greatest offset of lines with a slope."""
        least = np.max(self._code - slope * self._at, initial=-np.inf)
        return float(np.min(self._below - slope * self._last, initial=np.inf) - least)

    def slope(self) -> float | None:
        """One whose lines have the most room, which rises to it and falls behind it; None where none has any."""
        if not len(self._at) or not len(self._last):
            return 0.0
        low, high = 0.0, float(len(self._code) + len(self._below))
        for _ in range(ROUNDS):
            one, other = low + (high - low) / 3, high - (high - low) / 3
            if self._room(one) < self._room(other):
                low = one
            else:
                high = other
        return (low + high) / 2 if self._room((low + high) / 2) > 0 else None

    def line(self, slope: float, shift: int) -> tuple[int, int] | None:
        """(factor, offset) of a line near that slope, in parts of ``2**shift``; None where there is none."""
        for factor in sorted({int(np.floor(slope * 2.0**shift)), int(np.ceil(slope * 2.0**shift))}):
            if (factor + (1 << shift)) * self._most >= EXACT:
                continue
            least = max((int(number) for number in (self._code << shift) - factor * self._at), default=None)
            most = min((int(number) for number in (self._below << shift) - 1 - factor * self._last), default=None)
            if least is None or most is None:
                return factor, least if least is not None else most if most is not None else 0
            if least <= most:
                return factor, (least + most) // 2
        return None
