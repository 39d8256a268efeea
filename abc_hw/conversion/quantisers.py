"""Quantisers of other frameworks as cuts of the real line, in exact rational arithmetic.

A quantiser maps a real number to a code that ascends with it. All that hardware needs of it is where the code
steps up: a :class:`Cut` for each step. What stands between an integer accumulator and the quantiser (scales, batch
norm, ReLU) pulls the cuts back to the accumulator, where each becomes one integer threshold.

Meanings are those of QONNX's ``Quant``, ``BipolarQuant`` and ``MultiThreshold`` (fastmachinelearning/qonnx,
docs/qonnx-custom-ops).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from ..errors import InputError

__all__ = ["ALWAYS", "NEVER", "Cut", "Quantiser", "Rounding", "rounding_named"]

Rounding = Literal["half_even", "half_up", "half_down", "ceil", "floor", "up", "down"]

_ROUNDINGS: dict[str, Rounding] = {
    "ROUND": "half_even", "HALF_EVEN": "half_even", "HALF_UP": "half_up", "HALF_DOWN": "half_down", "CEIL": "ceil",
    "FLOOR": "floor", "UP": "up", "DOWN": "down",
}

HALF = Fraction(1, 2)


def rounding_named(name: str, where: str) -> Rounding:
    """The rounding that QONNX calls ``name``.

    Raises
    ------
    InputError
        if there is none; ``where`` is the node.
    """
    if name.upper() not in _ROUNDINGS:
        raise InputError(f"{where}: expected a rounding of {', '.join(_ROUNDINGS)}, found {name}")
    return _ROUNDINGS[name.upper()]


@dataclasses.dataclass(frozen=True)
class Cut:
    """``x >= at`` where ``inclusive``, otherwise ``x > at``; ``at`` None: never, or for ``inclusive`` always."""

    at: Fraction | None
    inclusive: bool

    def holds(self, x: Fraction) -> bool:
        """Is ``x`` above the cut?"""
        if self.at is None:
            return self.inclusive
        return x > self.at or (self.inclusive and x == self.at)

    def least_integer(self) -> int | None:
        """The least integer above the cut; None where every integer is, or none."""
        if self.at is None:
            return None
        least = math.ceil(self.at)
        return least if self.inclusive or least > self.at else least + 1


ALWAYS = Cut(None, True)
NEVER = Cut(None, False)


@dataclasses.dataclass(frozen=True)
class Quantiser:
    """A rising staircase: codes 0..``len(cuts)``, and the real number that each stands for.

    Members
    -------
    cuts : ascending, of the number that is quantised; the code counts those that hold
    step, start : the code stands for ``start + step code``, real
    zero_code : the code that stands for 0, None where none does
    """

    cuts: tuple[Cut, ...]
    step: Fraction
    start: Fraction

    @property
    def zero_code(self) -> int | None:
        code = -self.start / self.step
        return int(code) if code.denominator == 1 and 0 <= code <= len(self.cuts) else None

    def code(self, x: Fraction) -> int:
        """The code of a number."""
        return sum(cut.holds(x) for cut in self.cuts)

    @classmethod
    def uniform(
        cls, scale: Fraction, zero: Fraction, low: int, high: int, rounding: Rounding = "half_even"
    ) -> Quantiser:
        """``(round(clip(x / scale + zero, low, high)) - zero) scale``, codes from ``low`` on."""
        cuts = (_step_to(level, rounding) for level in range(low + 1, high + 1))
        back = tuple(Cut((cut.at - zero) * scale, cut.inclusive) for cut in cuts if cut.at is not None)
        return cls(back, scale, (low - zero) * scale)

    @classmethod
    def bipolar(cls, scale: Fraction) -> Quantiser:
        """``+scale`` where ``x >= 0``, otherwise ``-scale``."""
        return cls((Cut(Fraction(0), True),), 2 * scale, -scale)

    @classmethod
    def thresholds(cls, values: Sequence[Fraction], scale: Fraction, bias: Fraction) -> Quantiser:
        """``bias + scale #{t : x >= t}``."""
        return cls(tuple(Cut(value, True) for value in sorted(values)), scale, bias)


def _step_to(level: int, rounding: Rounding) -> Cut:
    """Where ``round(y)`` becomes at least ``level``."""
    if rounding == "floor":
        return Cut(Fraction(level), True)
    if rounding == "ceil":
        return Cut(Fraction(level - 1), False)
    if rounding == "down":  # towards zero
        return Cut(Fraction(level), True) if level > 0 else Cut(Fraction(level - 1), False)
    if rounding == "up":  # away from zero
        return Cut(Fraction(level - 1), False) if level > 0 else Cut(Fraction(level), True)
    # To the nearest; the middle belongs to the upper level where this is even, farther from or nearer to zero.
    upper = {"half_even": level % 2 == 0, "half_up": level > 0, "half_down": level <= 0}[rounding]
    return Cut(level - HALF, upper)
