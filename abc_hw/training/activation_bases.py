"""Modules that turn the real input of a layer into activation bases of +-1, and their integer coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..network import MAX_BASES, Bases, ScaleForm
from .binarize import lloyd_max, step_groups, straight_through, sum_of_steps, to_integers

PIXEL_BITS = 8

MAX_RESIDUAL = 4
"""Most residual activation bases: 15 thresholds."""


class _LearnedBases(nn.Module):
    """Thresholds 0.5 - v and coefficients beta that are learned, and beta's integers.

    Members
    -------
    v : learned, one number for each step from level to level
    beta : learned, [N]
    scale : the form of the integers that beta becomes
    integer : whether ``forward`` uses those integers (times one positive scale) in the place of beta
    """

    bases: Bases

    def __init__(self, t: Tensor, beta: Tensor, scale: ScaleForm | None) -> None:
        super().__init__()
        self.v = nn.Parameter(0.5 - t)
        self.beta = nn.Parameter(beta)
        self.scale = scale or ScaleForm()
        self.integer = False
        self.window = 0.5 if t.numel() > 1 else 1.0

    @property
    def t(self) -> Tensor:
        """The thresholds 0.5 - v, in no particular order."""
        return 0.5 - self.v

    @property
    def order(self) -> Tensor:
        """int64 [N]: the bases in the order in which a level code holds them."""
        raise NotImplementedError

    def _steps(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        """Thresholds, and half the height of the step at each."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``sum_n beta_n (A_n + 1)`` in the shape of x, and the constant -sum_n beta_n that it lacks."""
        grouped, groups = self._grouped_beta()
        beta = grouped[groups]
        if self.integer:
            integers, scale, sign = self.integers()
            beta = straight_through(beta, (sign * scale * integers).to(beta))
        return sum_of_steps(x, *self._steps(beta), self.window), -beta.sum()

    def _grouped_beta(self) -> tuple[Tensor, Tensor]:
        """The coefficients that differ, and which of them each basis has."""
        return self.beta, torch.arange(self.beta.numel(), device=self.beta.device)

    @torch.no_grad()
    def integers(self) -> tuple[Tensor, Tensor, int]:
        """beta ~ sign x scale x integers: int64 [N], a positive float64 [1], and +-1.

        N = 1 gives integer 1 and carries beta's sign apart (it goes to alpha); otherwise the sign is +1.
        """
        beta, groups = self._grouped_beta()
        sizes = groups.bincount().double()
        integers, scale = to_integers(beta.double().unsqueeze(0), self.scale, gram=sizes.diag().unsqueeze(0))
        if self.beta.numel() == 1:
            return integers[0].abs(), scale, int(integers)
        return integers[0, groups], scale, 1

    def extra_repr(self) -> str:
        return f"N={self.beta.numel()}"


class ThresholdBases(_LearnedBases):
    """N bases ``A_n = +1 where clip(x + v_n, 0, 1) >= 0.5, else -1`` of one real input x (equations 7 and 8).

    v and beta, [N] each, start at the Lloyd-Max levels of a unit Gaussian (cut at 0 if ``rectified``). With
    ``tie_steps`` the first and the last of three bases, in the order of their thresholds, both weigh the mean
    of their beta.
    """

    def __init__(
        self, N: int, *, scale: ScaleForm | None = None, rectified: bool = False, tie_steps: bool = False
    ) -> None:
        check_count("N", N)
        super().__init__(*lloyd_max(N, rectified=rectified), scale)
        self.bases = Bases(kind="thermometer", count=N)
        self.tie_steps = tie_steps

    @property
    def order(self) -> Tensor:
        """By ascending threshold."""
        return torch.argsort(self.t.detach(), stable=True)

    def _steps(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        return self.t, beta

    def _grouped_beta(self) -> tuple[Tensor, Tensor]:
        groups = step_groups(self.t, self.tie_steps)
        sizes = groups.bincount()
        sums = self.beta.new_zeros(sizes.numel()).index_add(0, groups, self.beta)
        return sums / sizes, groups


class ResidualBases(_LearnedBases):
    """N bases whose signs are the bits of a level: 2**N levels ``sum_n beta_n A_n`` of one real input x.

    Level j is where j of the 2**N - 1 thresholds are at most x; A_n is +1 where bit n of j is 1, so that the last
    basis is the sign of x, the one before it that of what it leaves, and so on. v starts at the Lloyd-Max
    thresholds of a unit Gaussian (cut at 0 if ``rectified``), beta at the least squares fit to its levels. The
    gradients are those of :func:`~abc_hw.training.binarize.sum_of_steps`, whose steps are differences of levels.
    """

    def __init__(self, N: int, *, scale: ScaleForm | None = None, rectified: bool = False) -> None:
        check_count("N", N)
        if N > MAX_RESIDUAL:
            raise InputError(f"N: expected at most {MAX_RESIDUAL} residual activation bases, found {N}")
        bases = Bases(kind="planes", count=N)
        t, halves = lloyd_max(bases.levels - 1, rectified=rectified)
        signs = torch.from_numpy(bases.expand(np.arange(bases.levels))) * 2.0 - 1
        levels = torch.cat([torch.zeros(1), 2 * halves.cumsum(0)])
        super().__init__(t, (signs * levels.unsqueeze(1)).mean(0), scale)  # the columns of signs are orthogonal
        self.bases = bases
        self.halves: Tensor
        self.register_buffer("halves", signs.diff(dim=0) / 2, persistent=False)

    @property
    def order(self) -> Tensor:
        """As they are."""
        return torch.arange(self.beta.numel())

    def _steps(self, beta: Tensor) -> tuple[Tensor, Tensor]:
        return self.t.sort(stable=True).values, self.halves @ beta


class Unquantised(nn.Module):
    """``relu(x)`` in full precision: no bases, for comparison with networks that have them."""

    integer = False

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """``relu(x)``, which lacks nothing."""
        return functional.relu(x), x.new_zeros(())


class PixelBases(nn.Module):
    """The 8 bit-planes of a uint8 pixel as bases with beta_b = 2^b: the value is (2 x - 255) / 255.

    Takes uint8 tensors, or other tensors that hold the integers 0..255.

    Members
    -------
    padding : the pixel that padding is, int64 [1], or one for each channel;  pads_with_0 : is it 0 in all?
    normalisation : mean, std and size of the float model that the layer came from, JSON values; for people
    """

    bases = Bases(kind="planes", count=PIXEL_BITS)
    order = torch.arange(PIXEL_BITS)
    scale = ScaleForm(kind="pow2", bits=PIXEL_BITS)

    def __init__(self) -> None:
        super().__init__()
        self.integer = False
        self.normalisation: dict[str, Any] = {}
        self.padding: Tensor
        self.pad_with([0])

    def pad_with(self, pixels: Sequence[int]) -> None:
        """Padding is this pixel from now on, one number or one for each channel; it goes into checkpoints where it
        is not 0."""
        self.pads_with_0 = not any(pixels)
        self.register_buffer("padding", torch.tensor(pixels), persistent=not self.pads_with_0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """2 x / 255, counted from that of padding, and the constants that it lacks, [1] or one for each channel;
        InputError for what is no pixel."""
        if x.dtype != torch.uint8:
            _check_pixels(x)
        value, lowest = x.to(torch.get_default_dtype()) * (2 / 255), self.padding * (2 / 255)
        if x.ndim == 4 and not self.pads_with_0:
            value = value - lowest.view(-1, 1, 1)
        return value, lowest.to(value) - 1.0

    def integers(self) -> tuple[Tensor, Tensor, int]:
        """int64 [8] powers of two, their scale 1/255, and the sign +1."""
        return 2 ** torch.arange(PIXEL_BITS), torch.tensor([1 / 255], dtype=torch.float64), 1

    def extra_repr(self) -> str:
        return "8 bit-planes"


def _check_pixels(x: Tensor) -> None:
    if not (x.dtype.is_floating_point or x.dtype in (torch.int16, torch.int32, torch.int64)):
        raise InputError(f"pixels: expected whole numbers 0..255, found {x.dtype}")
    whole = x if not x.dtype.is_floating_point else x.round()
    if not bool(((x == whole) & (x >= 0) & (x <= 255)).all()):
        found = f"values from {float(x.min()):.4g} to {float(x.max()):.4g}"
        raise InputError(f"pixels: expected whole numbers 0..255 without normalisation, found {found}")


InputBases = ThresholdBases | ResidualBases | PixelBases | Unquantised


def check_count(name: str, count: int) -> None:
    if type(count) is not int or not 1 <= count <= MAX_BASES:
        raise InputError(f"{name}: expected an integer from 1 to {MAX_BASES}, found {count!r}")
