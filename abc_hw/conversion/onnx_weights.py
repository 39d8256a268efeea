"""Quantised weights of others as bases of +-1: whole numbers, and what they are multiplied by."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..network.bases import MAX_BASES, Bases, CodeArray, IntArray, ScaleForm

__all__ = ["ALPHA_FORM", "BasisForm", "Weights", "as_bases"]

ALPHA_FORM = ScaleForm(kind="csd", bits=8, terms=2)
"""The powers of two, and the numbers one below them, that weights are sums of."""


@dataclasses.dataclass(frozen=True)
class Weights:
    """A tensor of whole numbers and their scale, of any shape: the real weight is ``whole scale``.

    Members
    -------
    whole : int64
    scale : float64, of the same number of axes, broadcast against ``whole``
    """

    whole: IntArray
    scale: npt.NDArray[np.float64]

    def permuted(self, axes: Any) -> Weights:
        """With its axes in another order."""
        scale = np.broadcast_to(self.scale, self.whole.shape)
        return Weights(self.whole.transpose(axes), scale.transpose(axes))

    def reshaped(self, shape: Any) -> Weights:
        return Weights(self.whole.reshape(shape), np.broadcast_to(self.scale, self.whole.shape).reshape(shape))

    def scales(self, axis: int, where: str) -> tuple[Fraction, ...]:
        """The scale of each output channel, which ``axis`` counts.

        Raises
        ------
        InputError
            if the scale is not the same for all weights of a channel, or not positive.
        """
        spread = np.broadcast_to(self.scale, self.whole.shape)
        rows = np.moveaxis(spread, axis, 0).reshape(self.whole.shape[axis], -1)
        if (rows != rows[:, :1]).any():
            raise InputError(f"{where}: expected one weight scale per output channel, found several in one")
        if not (np.isfinite(rows) & (rows > 0)).all():
            raise InputError(f"{where}: expected positive weight scales, found {rows.min()}")
        return tuple(Fraction(float(row[0])) for row in rows)


@dataclasses.dataclass(frozen=True)
class BasisForm:
    """``factor whole = sum_m alpha[m] B_m`` for every weight.

    Members
    -------
    bases : planes of M bits, bit m of a code is basis m
    alpha : one for each basis, the same in all channels
    codes : uint8, of the weights' shape
    """

    bases: Bases
    alpha: tuple[int, ...]
    factor: int
    codes: CodeArray


def as_bases(whole: IntArray, where: str) -> BasisForm:
    """The fewest bases of this kind that give all weights.

    +-1 is one basis. Numbers up to +-(2**(n-1) - 1), which n bits hold in a narrow range, are half the sum of n
    bases with alpha 1, 2, 4 .. 2**(n-2) and 2**(n-1) - 1; so {-1, 0, 1} is two equal bases. Others of n bits, with
    -2**(n-1) or unsigned, are half the sum of n bit-planes and one basis that is always the same.

    Raises
    ------
    InputError
        if they need more bases than there may be.
    """
    low, high = int(whole.min()), int(whole.max())
    if set(np.unique(whole)) <= {-1, 1}:
        return BasisForm(_planes(1), (1,), 1, (whole > 0).astype(np.uint8))
    bits = max(abs(low), abs(high), 1).bit_length() + 1
    if low >= -((1 << (bits - 1)) - 1) and bits <= MAX_BASES:
        return _symmetric(whole, bits)
    offset = low if low >= 0 or bits > MAX_BASES else -(1 << (bits - 1))
    planes = max((high - offset).bit_length(), 1)
    # 2 whole = sum of planes + constant: the constant's basis is always +1
    constant = 2 * offset + (1 << planes) - 1
    alphas = (*(1 << plane for plane in range(planes)), constant)
    if planes + 1 > MAX_BASES or not ALPHA_FORM.allows(np.array(alphas)).all():
        raise InputError(
            f"{where}: expected weights that at most {MAX_BASES} bases hold, such as {MAX_BASES} bits in a "
            f"narrow range, found {low} .. {high}"
        )
    codes = (whole - offset).astype(np.uint8) | np.uint8(1 << planes)
    return BasisForm(_planes(planes + 1), alphas, 2, codes)


def _planes(count: int) -> Bases:
    return Bases(kind="planes", count=count)


def _symmetric(whole: IntArray, bits: int) -> BasisForm:
    """``2 whole = sum_(m < bits - 1) 2**m B_m + (2**(bits-1) - 1) B_last``."""
    top = (1 << (bits - 1)) - 1
    last = whole > 0
    rest = 2 * whole - np.where(last, top, -top)  # odd, within -top .. top
    codes = ((rest + top) // 2 | last.astype(np.int64) << (bits - 1)).astype(np.uint8)
    return BasisForm(_planes(bits), (*(1 << plane for plane in range(bits - 1)), top), 2, codes)
