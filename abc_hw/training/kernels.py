"""The functions that a training step spends its time in, one pass over memory each where a compiler is at hand.

Every function here is plain PyTorch without gradients of its own. A :class:`Fused` one runs as it is, and within
:func:`compiling` through ``torch.compile`` on all but small tensors; where that fails, as it is. Codes and values
are the same either way, sums differ by the rounding of their order.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

LEAST = 1 << 13
"""Elements from which on a call is worth its overhead when compiled."""

RIDGE = 1e-6
"""Added to the diagonal of the normalised Gram matrix: decides alpha where two bases are equal."""

REFINEMENTS = 2
"""How often residual signs are cut anew with refined coefficients."""

_on = False  # for all threads: backward may run in another one


@contextlib.contextmanager
def compiling(on: bool = True) -> Iterator[None]:
    """Within the block the fused functions are compiled; that takes some ten seconds at their first calls."""
    global _on
    before, _on = _on, on
    try:
        with torch._dynamo.config.patch(recompile_limit=64):  # a kernel for each number of bases and each type
            yield
    finally:
        _on = before


@contextlib.contextmanager
def own_symbols() -> Iterator[None]:
    """Within the block extensions are loaded with symbols that no other one sees, whatever the process had set.

    Kernels of ``torch.compile`` all export ``kernel``; loaded with ``RTLD_GLOBAL``, as pyosys leaves the process
    that imports it, each would call the first one's.
    """
    if sys.platform == "win32":  # its libraries share no symbols
        yield
        return
    before = sys.getdlopenflags()
    sys.setdlopenflags(before & ~os.RTLD_GLOBAL)
    try:
        yield
    finally:
        sys.setdlopenflags(before)


class Fused:
    """A function whose first argument is a large tensor, called like the function."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self.plain = plain
        self._compiled: Callable[..., Any] | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor, *arguments: Any) -> Any:
        """What the function returns, without gradients and outside of autocast."""
        with torch.autocast(x.device.type, enabled=False):
            if x.numel() < LEAST or not _on or self.plain is self._compiled:
                return self.plain(x, *arguments)
            # torch.compile would make kernels of their own for views of tensors of other shapes
            x = x.new_empty(0).set_(x.untyped_storage(), x.storage_offset(), x.size(), x.stride())
            with own_symbols():
                if self._compiled is None:
                    self._compiled = self._compile(x, *arguments)
                return self._compiled(x, *arguments)

    def _compile(self, *example: Any) -> Callable[..., Any]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # torch's use of its own old functions
                compiled: Callable[..., Any] = torch.compile(self.plain, dynamic=True)
                compiled(*example)
        except Exception as error:  # no compiler, or one that fails, shows in many ways
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            logging.getLogger("abc_hw").warning("training runs slower, for torch.compile failed: %s", reason)
            return self.plain
        return compiled


# -- memory order -------------------------------------------------------------------------------------------


def is_channels_last(x: Tensor) -> bool:
    """Whether the channels of x lie innermost in memory."""
    return x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)


def order(channels_last: bool) -> torch.memory_format:
    """The memory format with the channels innermost, or outermost."""
    return torch.channels_last if channels_last else torch.contiguous_format


def in_order(x: Tensor) -> Tensor:
    """All elements of x, [n], in the order in which they lie in memory."""
    return x.permute(0, 2, 3, 1).reshape(-1) if is_channels_last(x) else x.reshape(-1)


def ordered_like(flat: Tensor, x: Tensor) -> Tensor:
    """``flat``, with as many elements as x, in the shape of x and in memory as x."""
    if not is_channels_last(x):
        return flat.view(x.shape)
    batch, channels, height, width = x.shape
    return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)


def rows_of(weight: Tensor) -> Tensor:
    """A weight [C_out, ...] as [C_out, K], each row in the order in which it lies in memory."""
    return in_order(weight).view(weight.shape[0], -1)


# -- steps --------------------------------------------------------------------------------------------------


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def _steps(
    x: Tensor, breaks: Tensor, t: Tensor, values: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """Value of each x [n] between the ascending ``t``, and how many of the ascending ``breaks`` it reaches.

    The value is of ``dtype``, or as x.
    """
    wide = _wide(x)
    cells = torch.zeros_like(x, dtype=torch.int32)
    for edge in breaks.unbind():
        cells = cells + (wide >= edge)
    value = values[0].expand_as(wide)
    for number, edge in enumerate(t.unbind(), 1):
        value = torch.where(wide >= edge, values[number], value)
    return value.to(x.dtype if dtype is None else dtype), cells.to(torch.uint8)


def _steps_backward(
    grad: Tensor, cells: Tensor, slopes: Tensor, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor]:
    """grad times the slope of each cell [n], and for each of the breaks the sum of grad where it is reached.

    The first is of ``dtype``, or as grad.
    """
    wide = _wide(grad)
    number = cells.to(wide.dtype)
    slope = slopes[0].expand_as(wide)
    sums = []
    for edge in range(1, slopes.numel()):
        reached = number >= edge
        slope = torch.where(reached, slopes[edge], slope)
        sums.append(torch.where(reached, wide, 0.0).sum())
    return (wide * slope).to(grad.dtype if dtype is None else dtype), torch.stack(sums)


def _rounded(x: Tensor, step: float, reach: int) -> tuple[Tensor, Tensor]:
    """``step * clip(floor(x / step + 1/2), -reach, reach - 1)``, float32 or wider, and where it is not clipped.

    ``step`` is a power of two.
    """
    steps = torch.floor(_wide(x) * (1 / step) + 0.5)
    value = steps.clamp(-reach, reach - 1)
    return value * step, (steps == value).to(torch.uint8)


def _rounded_backward(grad: Tensor, inside: Tensor, dtype: torch.dtype) -> Tensor:
    """grad where it was not clipped, as ``dtype``."""
    return torch.where(inside > 0, _wide(grad), 0.0).to(dtype)


steps = Fused(_steps)
steps_backward = Fused(_steps_backward)
rounded = Fused(_rounded)
rounded_backward = Fused(_rounded_backward)

# -- weights ------------------------------------------------------------------------------------------------


def _solve(gram: Sequence[Sequence[Tensor]], products: Sequence[Tensor]) -> list[Tensor]:
    """x of ``gram x = products`` for many small positive definite systems side by side, by L D L^T."""
    count = len(products)
    lower = [[products[0]] * count for _ in range(count)]
    diagonal: list[Tensor] = []
    for row in range(count):
        for column in range(row + 1):
            value = gram[row][column]
            for k in range(column):
                value = value - lower[row][k] * lower[column][k] * diagonal[k]
            if column == row:
                diagonal.append(value)
            else:
                lower[row][column] = value / diagonal[column]
    forward: list[Tensor] = []
    for row in range(count):
        value = products[row]
        for k in range(row):
            value = value - lower[row][k] * forward[k]
        forward.append(value)
    solution = [forward[row] / diagonal[row] for row in range(count)]
    for row in reversed(range(count)):
        for k in range(row + 1, count):
            solution[row] = solution[row] - lower[k][row] * solution[k]
    return solution


def _fit(rows: Tensor, columns: Sequence[Tensor], channel_wise: bool) -> list[Tensor]:
    """Coefficients of the columns [C, K] in the least squares fit to rows [C, K]: each [C, 1], or [1, 1]."""
    over = (1,) if channel_wise else (0, 1)
    gram: list[list[Tensor]] = []
    for row, one in enumerate(columns):
        gram.append([(one * other).mean(over, keepdim=True).double() for other in columns[: row + 1]])
        gram[row][row] = gram[row][row] + RIDGE
    products = [(rows * column).mean(over, keepdim=True).double() for column in columns]
    return [alpha.to(rows.dtype) for alpha in _solve(gram, products)]


def _signs(x: Tensor) -> Tensor:
    return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)


def _cut(rows: Tensor, coefficients: Sequence[Tensor]) -> list[Tensor]:
    rest, cut = rows, []
    for coefficient in coefficients:
        cut.append(_signs(rest))
        rest = rest - coefficient * cut[-1]
    return cut


def residual_cut(rows: Tensor, count: int) -> list[Tensor]:
    """The residual signs of rows [C, K] (:func:`abc_hw.training.binarize.residual_signs`), in the type of rows."""
    rest, cut = rows, []
    for _ in range(count):
        cut.append(_signs(rest))
        rest = rest - rest.abs().mean(1, keepdim=True) * cut[-1]
    for _ in range(REFINEMENTS if count > 1 else 0):
        alpha = torch.cat(_fit(rows, cut, True), 1).abs().sort(dim=1, descending=True).values
        cut = _cut(rows, alpha.split(1, 1))
    return cut


def _approximation(
    rows: Tensor, u: Tensor, residual: bool, groups: tuple[int, ...], channel_wise: bool
) -> Tensor:
    """``sum_m alpha_m B_m`` of rows [C, K] with bases of their kind, those of one group with equal alpha."""
    if residual:
        cut = residual_cut(rows, len(groups))
    else:
        deviation, mean = torch.std_mean(rows, correction=0)
        centred = rows - mean
        cut = [_signs(centred + shift * deviation) for shift in u.to(rows.dtype).unbind()]
    columns = []
    for group in range(max(groups) + 1):
        column, *others = (basis for basis, of in zip(cut, groups, strict=True) if of == group)
        columns.append(sum(others, start=column))
    value, *others = (a * c for a, c in zip(_fit(rows, columns, channel_wise), columns, strict=True))
    return sum(others, start=value)


approximation = Fused(_approximation)
