"""Kinds of bases: all that is particular to one way of cutting weights and activations, in one object each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..network import MAX_BASES
from ..network.bases import ScaleForm
from ..network.codings import CODINGS, Coding
from ..registry import Registry
from . import kernels
from .activation_bases import (
    PIXEL_BITS,
    InputBases,
    PixelBases,
    ResidualBases,
    ThresholdBases,
    Unquantised,
)
from .binarize import residual_signs, shifted_signs, step_groups

Approximation = Callable[[Tensor, Tensor, Sequence[int], bool], Tensor]
"""(weights [C, K], u, group of each basis, channel-wise) -> ``sum_m alpha_m B_m`` [C, K]"""


def _each_its_own(u: Tensor, tie: bool) -> Tensor:
    return torch.arange(u.numel(), device=u.device)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to cut weights and activations into bases; their coefficients are always least squares.

    Members
    -------
    coding : how a stored code stands for the bases of a weight, a key of :data:`abc_hw.network.codings.CODINGS`,
        which owns what golden model and hardware make of it
    weights : (weight [C_out, ...], u [M]) -> [M, C_out, ...] of +-1
    activations : (N, scale=, rectified=, tie_steps=) -> module of activation bases
    groups : (u [M], tie) -> which weight bases share a coefficient, int64 [M]
    counts : numbers M that it can have
    ties : whether ``tie_steps`` means something
    approximation : the weights of a step in one go, equal to the sum over bases; None: that sum is taken
    """

    coding: str
    weights: Callable[[Tensor, Tensor], Tensor]
    activations: Callable[..., Any]
    groups: Callable[[Tensor, bool], Tensor] = _each_its_own
    counts: range = range(1, MAX_BASES + 1)
    ties: bool = False
    approximation: Approximation | None = None

    @property
    def code(self) -> Coding:
        """The coding itself."""
        return CODINGS.find(self.coding)


def _compiled(residual: bool) -> Approximation:
    def approximation(rows: Tensor, u: Tensor, groups: Sequence[int], channel_wise: bool) -> Tensor:
        return kernels.approximation(rows, u, residual, tuple(groups), channel_wise)

    return approximation


def _residual_activations(N: int, *, scale: ScaleForm, rectified: bool, tie_steps: bool) -> ResidualBases:
    return ResidualBases(N, scale=scale, rectified=rectified)


KINDS: Registry[Kind] = Registry("kind", "abc_hw.kinds", {
    "abc": Kind(
        coding="thermometer", weights=shifted_signs, activations=ThresholdBases, groups=step_groups, ties=True,
        approximation=_compiled(residual=False),
    ),
    "residual": Kind(
        coding="planes", weights=residual_signs, activations=_residual_activations,
        approximation=_compiled(residual=True),
    ),
})
"""By the name that ``kind`` has in configurations and on the command line."""

FLOAT = "float"
"""The kind of weights and activations in full precision."""


def find_kind(field: str, name: str) -> Kind | None:
    """The kind of that name, None for :data:`FLOAT`; InputError, which starts with ``field``, for another name."""
    if name == FLOAT:
        return None
    if name not in KINDS:
        raise InputError(f"{field}: expected one of {', '.join(KINDS)} or {FLOAT}, found {name!r}")
    return KINDS[name]


def input_bases(
    kind: str, N: int, *, scale: ScaleForm, rectified: bool = False, tie_steps: bool = False
) -> InputBases:
    """The activation bases of that kind: one of :data:`KINDS`, ``pixels`` (N = 8), or ``float`` for none.

    Raises
    ------
    InputError : no such kind, or a count that the kind cannot have.
    """
    if kind in KINDS:
        made: InputBases = KINDS[kind].activations(N, scale=scale, rectified=rectified, tie_steps=tie_steps)
        return made
    if kind == FLOAT:
        return Unquantised()
    if kind != "pixels":
        raise InputError(f"activation_kind: expected {', '.join(KINDS)}, pixels or {FLOAT}, found {kind!r}")
    if N != PIXEL_BITS:
        raise InputError(f"N: expected {PIXEL_BITS} for a layer on {PIXEL_BITS}-bit pixels, found {N!r}")
    return PixelBases()
