"""Bases of +-1, their coefficients, and the straight-through functions that train them.

Equation numbers refer to Lin, Zhao, Pan, "Towards Accurate Binary Convolutional Neural Network",
arXiv 1711.11294. Everything here is a pure function of tensors; the modules stand in
:mod:`abc_hw.training.layers`.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import InputError
from ..network import Bases, ScaleForm
from ..network.codings import CODINGS
from . import kernels

# -- straight-through functions -----------------------------------------------------------------------------


def sign(x: Tensor) -> Tensor:
    """+1 where ``x >= 0``, else -1, in the type of ``x``; sign(0) = +1. No gradient."""
    return (x >= 0).to(x.dtype) * 2 - 1


class _StraightThroughSign(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: Tensor | float) -> Tensor:
        ctx.save_for_backward(x.abs() <= window)
        return sign(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside, None


def straight_through_sign(x: Tensor, window: Tensor | float = math.inf) -> Tensor:
    """Forward ``sign(x)``; gradient 1 where ``|x| <= window``, else 0 (window = inf is equation 3)."""
    return _StraightThroughSign.apply(x, window)


def straight_through(x: Tensor, value: Tensor) -> Tensor:
    """Forward ``value``; gradient 1 to ``x`` and none to ``value``."""
    return _Replace.apply(x, value)


class _Replace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, value: Tensor) -> Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return grads[0], None


class _SumOfSteps(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, t: Tensor, beta: Tensor, window: float) -> Tensor:
        # x lies in one of the cells between the edges of all windows and the thresholds: all that backward needs
        past = torch.nextafter(t + window, torch.full_like(t, math.inf))
        breaks, order = torch.cat([t - window, t, past]).sort()
        below, at, beyond = torch.argsort(order).view(3, -1, 1)  # the place of each among the breaks
        cells = torch.arange(breaks.numel() + 1, device=t.device)
        slopes = (((cells > below) & (cells <= beyond)) * beta.unsqueeze(1)).sum(0)
        sorted_t, order = t.sort()
        values = functional.pad((2 * beta)[order].cumsum(0), (1, 0))
        kind = x.device.type  # under autocast a convolution would convert the value anyway
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        flat, codes = kernels.steps(kernels.in_order(x), breaks, sorted_t, values, dtype)
        ctx.save_for_backward(codes, slopes, beta, below, at, beyond)
        ctx.channels_last, ctx.dtype = kernels.is_channels_last(x), x.dtype
        return kernels.ordered_like(flat, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        codes, slopes, beta, below, at, beyond = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=kernels.order(ctx.channels_last))
        flat, sums = kernels.steps_backward(kernels.in_order(grad), codes, slopes, ctx.dtype)
        sums = sums.to(beta)
        grad_t = -beta * (sums[below] - sums[beyond]).squeeze(1)
        return kernels.ordered_like(flat, grad), grad_t, 2 * sums[at].squeeze(1), None


def sum_of_steps(x: Tensor, t: Tensor, beta: Tensor, window: float) -> Tensor:
    """Activation bases in one sum, counted from the lowest level: ``sum_n beta_n (A_n + 1)``.

    ``A_n = +1 where x >= t_n, else -1``, which is equation 8 with ``t = 0.5 - v``. The value 0 is every basis
    at -1, so that zero padding of the result pads with level 0. The gradient to x is
    ``sum_n beta_n where t_n - window <= x <= t_n + window`` (equation 10 has window = 0.5), to t_n the negative of
    its term, summed over x, and to beta that of the sum.
    """
    return _SumOfSteps.apply(x, t, beta, window)


# -- weight bases and their coefficients --------------------------------------------------------------------


def spread_shifts(M: int) -> Tensor:
    """u_m = -1 + 2 (m - 1) / (M - 1) for m = 1..M, and 0 for M = 1 (equation 4)."""
    return torch.linspace(-1, 1, M) if M > 1 else torch.zeros(1)


def shifted_signs(weight: Tensor, u: Tensor) -> Tensor:
    """B_m = sign(W - mean(W) + u_m std(W)), ``[C_out, ...] -> [M, C_out, ...]`` (equation 4).

    Mean and standard deviation are those of the whole tensor and are not differentiated. The gradient to u
    passes where the argument of the sign is within half a standard deviation of 0; none goes to W.
    """
    fixed = weight.detach()
    deviation, mean = torch.std_mean(fixed.double(), correction=0)  # float64: no trace of the order of summation
    shifts = (u * deviation.to(u)).view(-1, *[1] * weight.ndim)
    return straight_through_sign((fixed - mean.to(fixed)) + shifts, 0.5 * deviation)


def residual_signs(weight: Tensor, u: Tensor) -> Tensor:
    """B_m = sign of what the bases before it leave of W, ``[C_out, ...] -> [M, C_out, ...]``, M = len(u).

    Greedy: basis m takes off its sign times the mean magnitude of the rest, channel by channel. Then the
    coefficients are refined by least squares, and the weights cut anew with them,
    :data:`~abc_hw.training.kernels.REFINEMENTS` times. All 2**M combinations of signs occur, and the last basis
    weighs least. Source: Guo et al., "Network Sketching", arXiv 1706.02021, algorithms 1 and 2. No gradient.
    float64 inside: no trace of the order of summation.
    """
    cut = kernels.residual_cut(weight.detach().flatten(1).double(), u.numel())
    return torch.stack(cut).to(weight).reshape(-1, *weight.shape)


def least_squares(weight: Tensor, bases: Tensor, *, channel_wise: bool = True) -> tuple[Tensor, Tensor]:
    """The alpha that minimises ``|W - sum_m alpha_m B_m|^2`` (equation 5), from the M x M Gram matrix.

    ``weight`` is [C_out, ...] and ``bases`` [M, C_out, ...]. Returns alpha [C_out, M] and the Gram matrix
    [C_out, M, M] divided by the number of weights, both float64, not differentiated. With ``channel_wise`` false
    one alpha serves all channels (both results then have one row).
    """
    rows = weight.shape[0] if channel_wise else 1
    flat = weight.detach().reshape(rows, -1)
    signs = bases.detach().reshape(bases.shape[0], rows, -1).transpose(0, 1)  # [rows, M, K]
    gram = (signs @ signs.transpose(1, 2)).double() / flat.shape[1]
    products = (signs @ flat.unsqueeze(2)).double() / flat.shape[1]
    ridge = kernels.RIDGE * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
    alpha: Tensor = torch.linalg.solve(gram + ridge, products).squeeze(2)
    return alpha, gram


def step_groups(keys: Tensor, tie: bool) -> Tensor:
    """Which bases share a coefficient: int64 [count], a number for each basis.

    With ``tie`` and three bases, those of the least and of the greatest key (threshold or shift) are 0 and the one
    between is 1: then the first and the last step from level to level are equal, and two bit-planes can stand
    for the three bases (:mod:`abc_hw.network.reencode`). Otherwise every basis has its own number.
    """
    if not tie or keys.numel() != 3:
        return torch.arange(keys.numel(), device=keys.device)
    groups = torch.zeros(3, dtype=torch.int64, device=keys.device)
    groups[torch.argsort(keys.detach(), stable=True)[1]] = 1
    return groups


def codes_of_bases(bases: Tensor, coding: str) -> tuple[Tensor, list[int]]:
    """Codes that stand for ``bases`` [M, ...] of +-1, and the order in which the code holds the bases.

    ``coding`` is a key of :data:`abc_hw.network.codings.CODINGS`. A sorted one, such as a thermometer, holds the
    basis that is most often +1 first; others keep their order. Returns codes [...] (int64) and a permutation of
    0..M-1.

    Raises
    ------
    InputError : no code stands for some of the bases, such as a thermometer's for bases that are not nested.
    """
    high, count = bases > 0, bases.shape[0]
    order = list(range(count))
    if CODINGS[coding].sorted:
        order = torch.argsort(high.flatten(1).sum(1), descending=True, stable=True).tolist()
    held = Bases(kind=coding, count=count)
    powers = 2 ** torch.arange(count)
    table = torch.full((1 << count,), -1)
    signs = torch.from_numpy(held.expand(np.arange(held.levels)))
    table[(signs * powers).sum(1)] = torch.arange(held.levels)
    codes = table[(high[order] * powers.view(-1, *[1] * (high.ndim - 1))).sum(0)]
    if bool((codes < 0).any()):
        raise InputError(f"weights: expected nested bases for a {coding} code, found others")
    return codes, order


# -- starting points ----------------------------------------------------------------------------------------


def lloyd_max(N: int, *, rectified: bool = False) -> tuple[Tensor, Tensor]:
    """Thresholds t [N], ascending, and beta [N] of the N + 1 levels with least squared error on a unit Gaussian.

    With ``rectified`` the Gaussian is cut at zero first (a ReLU stands before the bases). float32.
    """

    def density(z: float) -> float:
        return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) if math.isfinite(z) else 0.0

    def below(z: float) -> float:
        return 0.5 * (1 + math.erf(z / math.sqrt(2)))

    def mean(low: float, high: float) -> float:
        mass = below(high) - below(low)
        if rectified:
            low, high = max(low, 0.0), max(high, 0.0)
        return (density(low) - density(high)) / mass

    # start with cells of equal mass in the part of the Gaussian that is not cut off
    start = 0.5 if rectified else 0.0
    normal = torch.distributions.Normal(0.0, 1.0)
    shares = torch.tensor([start + (1 - start) * (n + 1) / (N + 1) for n in range(N)], dtype=torch.float64)
    t = normal.icdf(shares).tolist()
    for _ in range(2000):
        edges = [-math.inf, *t, math.inf]
        levels = [mean(low, high) for low, high in itertools.pairwise(edges)]
        t = [(low + high) / 2 for low, high in itertools.pairwise(levels)]
    beta = [(high - low) / 2 for low, high in itertools.pairwise(levels)]
    return torch.tensor(t, dtype=torch.float32), torch.tensor(beta, dtype=torch.float32)


# -- integers -----------------------------------------------------------------------------------------------


def to_integers(
    values: Tensor, form: ScaleForm, *, gram: Tensor | None = None, common: bool = False, candidates: int = 48
) -> tuple[Tensor, Tensor]:
    """``values ~ scale x integers`` with integers of ``form`` and a positive scale, free for each row.

    The scale is the best of ``candidates`` that put a row's greatest magnitude between 1/2 and 3/2 of the
    form's greatest integer, each refined by least squares; a single value becomes +-1.

    Parameters
    ----------
    values : float64 [rows, count]
    gram : float64 [rows or 1, count, count]; weighs the squared error when the values are coefficients of bases
        that are not orthogonal
    common : one scale for all rows

    Returns
    -------
    integers int64 [rows, count], scale float64 [rows] ([1] if ``common``)
    """
    rows, count = values.shape
    if gram is None:
        gram = torch.eye(count, dtype=values.dtype, device=values.device).expand(1, count, count)
    allowed = torch.from_numpy(form.allowed).to(values)
    peak = values.abs().amax(1)
    if count == 1:
        scale = values.abs().mean(0) if common else peak
        return torch.where(values >= 0, 1, -1), torch.where(scale > 0, scale, 1.0)
    if common:
        peak = peak.amax().expand(rows)
    peak = torch.where(peak > 0, peak, 1.0)
    tops = allowed.abs().max() * torch.linspace(0.5, 1.5, candidates).to(values)
    scaled = values * (tops.view(-1, 1, 1) / peak.view(1, -1, 1))  # [candidates, rows, count]
    integers = allowed[torch.bucketize(scaled, (allowed[1:] + allowed[:-1]) / 2)]
    weighted = (gram @ integers.unsqueeze(3)).squeeze(3)
    with_values, with_itself = (weighted * values).sum(2), (weighted * integers).sum(2)  # [candidates, rows]
    if common:
        with_values, with_itself = with_values.sum(1, keepdim=True), with_itself.sum(1, keepdim=True)
    usable = (with_values > 0) & (with_itself > 0)
    scale = torch.where(usable, with_values / torch.where(usable, with_itself, 1.0), 1.0)
    explained = torch.where(usable, with_values * scale, 0.0)  # |values|^2 less the squared error
    best = explained.argmax(0)  # [rows or 1]
    chosen = best.expand(rows)
    integers = integers[chosen, torch.arange(rows, device=values.device)]
    return integers.round().long(), scale.gather(0, best.unsqueeze(0)).squeeze(0)
