"""What a tensor of an imported graph stands for: the real number behind the integer on an edge of the network.

The real number of channel c is a rising or falling function of the integer, kept as :class:`Steps` in exact
rational arithmetic: multiplications, additions and ReLUs cost nothing until a quantiser makes thresholds of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

from .quantisers import ALWAYS, NEVER, Cut, Quantiser

__all__ = ["Affine", "Clip", "Steps", "thresholds_of"]

Factors = tuple[Fraction, ...]
"""One number for each channel, or one for all."""

ONE, ZERO = Fraction(1), Fraction(0)


def _pick(values: Factors, channel: int) -> Fraction:
    return values[channel if len(values) > 1 else 0]


def _combine(first: Factors, second: Factors) -> list[tuple[Fraction, Fraction]]:
    count = max(len(first), len(second))
    return [(_pick(first, channel), _pick(second, channel)) for channel in range(count)]


@dataclasses.dataclass(frozen=True)
class Affine:
    """``factor[c] x + offset[c]``."""

    factor: Factors
    offset: Factors

    def apply(self, x: Fraction, channel: int) -> Fraction:
        return _pick(self.factor, channel) * x + _pick(self.offset, channel)

    def then(self, after: Affine) -> Affine:
        """This one, then ``after``."""
        return Affine(
            tuple(a * b for a, b in _combine(self.factor, after.factor)),
            tuple(a + b for a, b in _combine(
                tuple(a * b for a, b in _combine(self.offset, after.factor)), after.offset
            )),
        )


@dataclasses.dataclass(frozen=True)
class Clip:
    """``min(max(x, low), high)``; None for no limit."""

    low: Fraction | None
    high: Fraction | None

    def apply(self, x: Fraction, channel: int) -> Fraction:
        del channel
        x = x if self.low is None else max(x, self.low)
        return x if self.high is None else min(x, self.high)


@dataclasses.dataclass(frozen=True)
class Steps:
    """Functions one after the other, from the integer of an edge to the real number."""

    steps: tuple[Affine | Clip, ...] = ()

    def then(self, step: Affine | Clip) -> Steps:
        if isinstance(step, Affine) and self.steps and isinstance(last := self.steps[-1], Affine):
            return Steps((*self.steps[:-1], last.then(step)))
        return Steps((*self.steps, step))

    def apply(self, x: Fraction, channel: int) -> Fraction:
        """The real number that the integer ``x`` of a channel stands for."""
        for step in self.steps:
            x = step.apply(x, channel)
        return x

    @property
    def affine(self) -> Affine | None:
        """The whole as one affine function, where it is one."""
        if not self.steps:
            return Affine((ONE,), (ZERO,))
        (first, *more) = self.steps
        return first if isinstance(first, Affine) and not more else None

    def slope(self, channel: int) -> int:
        """1: rises with the integer, -1: falls, 0: constant."""
        sign = 1
        for step in self.steps:
            if isinstance(step, Affine):
                factor = _pick(step.factor, channel)
                sign *= (factor > 0) - (factor < 0)
        return sign

    def pull_back(self, cut: Cut, channel: int) -> tuple[Cut, int]:
        """The cut of ``sign x`` at which that of the real number lies: (cut, sign), sign 1 or -1."""
        above = True  # the real number's cut asks for x above it, or for x below
        for step in reversed(self.steps):
            at = cut.at
            if at is None:
                break
            if isinstance(step, Clip):
                cut = _through_clip(step, cut, above)
                continue
            factor, offset = _pick(step.factor, channel), _pick(step.offset, channel)
            if not factor:
                cut = ALWAYS if _holds(cut, offset, above) else NEVER
                break
            cut = Cut((at - offset) / factor, cut.inclusive)
            above = above == (factor > 0)
        if above or cut.at is None:
            return cut, 1 if above else -1
        return Cut(-cut.at, cut.inclusive), -1


def _holds(cut: Cut, x: Fraction, above: bool) -> bool:
    """Is ``x`` above the cut (or below it)?"""
    return cut.holds(x) if above or cut.at is None else Cut(-cut.at, cut.inclusive).holds(-x)


def _through_clip(clip: Clip, cut: Cut, above: bool) -> Cut:
    """The cut of what is clipped: the same, unless it lies outside the clip's limits."""
    sure, last = (clip.low, clip.high) if above else (clip.high, clip.low)
    if sure is not None and _holds(cut, sure, above):  # even the limit on the far side holds
        return ALWAYS
    return NEVER if last is not None and not _holds(cut, last, above) else cut


def thresholds_of(
    quantisers: Sequence[Quantiser], steps: Steps, channel: int, low: int, high: int
) -> tuple[list[int], int]:
    """Integer thresholds of a channel: code = ``#{t : sign x >= t}`` for the integers x of low..high.

    Thresholds lie within the bounds of ``sign x``: the lower for "always", one above the upper for "never".

    Parameters
    ----------
    quantisers : one for each channel, or one for all
    steps : from the integer to what is quantised
    low, high : of the integer

    Returns
    -------
    ascending thresholds, and the sign (1 or -1) of the channel
    """
    quantiser = quantisers[channel if len(quantisers) > 1 else 0]
    pulled = [steps.pull_back(cut, channel)[0] for cut in quantiser.cuts]
    sign = steps.slope(channel) or 1
    if sign < 0:
        low, high = -high, -low
    found = []
    for cut in pulled:
        least = cut.least_integer()
        if least is None:
            least = low if cut.inclusive else high + 1
        found.append(min(max(least, low), high + 1))
    return sorted(found), sign
