"""Bases of +-1 and the integers that weigh them.

A *basis* is a tensor of +-1 with an integer coefficient; a value is stored as a *code* that stands for all its
bases at once (:class:`Bases`). Which integers a coefficient may be says its :class:`ScaleForm`. Source: Lin, Zhao,
Pan, "Towards Accurate Binary Convolutional Neural Network", arXiv 1711.11294, equations 1 to 12.
"""

from __future__ import annotations

import dataclasses
import itertools
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import NetworkError
from .codings import CODINGS

IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

BasesKind = str
"""A key of :data:`abc_hw.network.codings.CODINGS`."""

ScaleKind = Literal["fixed", "csd", "pow2"]

MAX_BASES = 8
"""Most bases a value may have; a code then fits one byte in either encoding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bases:
    """How a code stands for ``count`` bases of +-1.

    ``thermometer``: codes 0..count; basis n is +1 where ``code > n`` (the bases of one real number cut at
    ordered thresholds). ``planes``: codes 0..2**count - 1; basis n is +1 where bit n of the code is 1.
    Code 0 is every basis at -1 in both, which is also what padding means.
    """

    kind: BasesKind
    count: int

    def __post_init__(self) -> None:
        if self.kind not in CODINGS:
            raise NetworkError("bases.kind", " or ".join(CODINGS), repr(self.kind))
        if type(self.count) is not int or not 1 <= self.count <= MAX_BASES:
            raise NetworkError("bases.count", f"an integer from 1 to {MAX_BASES}", repr(self.count))

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return CODINGS[self.kind].levels(self.count)

    @property
    def bits(self) -> int:
        """Bits that hold a code."""
        return (self.levels - 1).bit_length()

    def expand(self, codes: npt.NDArray[Any]) -> BoolArray:
        """Bases of ``codes`` (any shape) as booleans, True for +1, in a new last axis of ``count``."""
        index = np.arange(self.count)
        return np.asarray(CODINGS[self.kind].basis(np.asarray(codes)[..., None], index), np.bool_)

    def values(self, coefficients: npt.NDArray[Any]) -> IntArray:
        """Sum of coefficient x basis for each code: ``[..., count] -> [..., levels]``."""
        signs = np.where(self.expand(np.arange(self.levels)), 1, -1)
        return np.asarray(coefficients, np.int64) @ signs.T.astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaleForm:
    """Which integers a coefficient may be, hence what multiplies by it in hardware.

    ``fixed``: signed ``bits``-bit integers (a multiplier). ``csd``: sums of at most ``terms`` signed powers of
    two 2**0 .. 2**(bits-1) (shift-and-add). ``pow2``: one such term (a shift).
    """

    kind: ScaleKind = "csd"
    bits: int = 6
    terms: int = 2

    def __post_init__(self) -> None:
        if self.kind not in ("fixed", "csd", "pow2"):
            raise NetworkError("scale.kind", "fixed, csd or pow2", repr(self.kind))
        if type(self.bits) is not int or not 1 <= self.bits <= 16:
            raise NetworkError("scale.bits", "an integer from 1 to 16", repr(self.bits))
        if type(self.terms) is not int or not 1 <= self.terms <= 4:
            raise NetworkError("scale.terms", "an integer from 1 to 4", repr(self.terms))
        if self.kind == "pow2" and self.terms != 1:
            object.__setattr__(self, "terms", 1)

    @cached_property
    def allowed(self) -> IntArray:
        """Every integer of this form, ascending."""
        if self.kind == "fixed":
            half = 1 << (self.bits - 1)
            return np.arange(-half, max(half, 2), dtype=np.int64)
        return np.array(sorted(_power_sums(self.bits, self.terms)), np.int64)

    def allows(self, values: npt.NDArray[Any]) -> BoolArray:
        """Elementwise: can this form hold the value?"""
        return np.isin(values, self.allowed)

    def terms_of(self, value: int) -> tuple[tuple[int, int], ...]:
        """The (sign, shift) terms whose sum is ``value``, fewest first; ``csd`` and ``pow2`` only."""
        return _power_sums(self.bits, self.terms)[int(value)]


@lru_cache
def _power_sums(bits: int, terms: int) -> dict[int, tuple[tuple[int, int], ...]]:
    sums: dict[int, tuple[tuple[int, int], ...]] = {0: ()}
    powers = [(sign, shift) for shift in range(bits) for sign in (1, -1)]
    for count in range(1, terms + 1):
        for chosen in itertools.combinations(powers, count):
            sums.setdefault(sum(sign << shift for sign, shift in chosen), chosen)
    return sums
