"""How a code stands for bases of +-1: all that is particular to one way of it, in software and in hardware."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from ..registry import Registry


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coding:
    """A way in which a code stands for ``count`` bases.

    Code 0 is every basis at -1, and codes ascend with the number that they stand for.

    Members
    -------
    levels : count -> how many codes there are, at most 256
    basis : (codes, n) -> where basis n is +1, integers or booleans; both are arrays of NumPy that fit each other
    hardware : the same of an Amaranth value, one bit
    sorted : the basis that is most often +1 is the first one
    """

    levels: Callable[[int], int]
    basis: Callable[[Any, Any], Any]
    hardware: Callable[[Any, int], Any]
    sorted: bool = False


CODINGS: Registry[Coding] = Registry("bases.kind", "abc_hw.codings", {
    "thermometer": Coding(
        levels=lambda count: count + 1, basis=lambda codes, n: codes > n, hardware=lambda code, n: code > n,
        sorted=True,
    ),
    "planes": Coding(
        levels=lambda count: 1 << count, basis=lambda codes, n: codes >> n & 1, hardware=lambda code, n: code[n],
    ),
})
"""By name: ``thermometer`` for bases of one number cut at ordered thresholds, ``planes`` for bits."""
