"""A stream of integers in a network: what convolutions give whole steps of, so that paths can be added exactly.

Values of the stream are whole multiples of :data:`STEP`; what a convolution adds lies within :data:`REACH` steps.
Sums of such values are exact in any arithmetic, so PyTorch, the golden model and hardware have the same ones.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..network import ScaleForm
from . import kernels
from .activation_bases import PIXEL_BITS, Unquantised
from .binarize import straight_through
from .models import ABCBlock, Block, Shape

STEP = 2.0**-4
"""What one step of the stream stands for."""

REACH = 128
"""What is added to the stream lies within -REACH .. REACH - 1 steps."""

FACTOR_BITS = 12
"""Powers of two in the factors that bring accumulators to the stream's step."""

def factor_form(scale: ScaleForm) -> ScaleForm:
    """The form of the factors beside coefficients of form ``scale``."""
    return ScaleForm(kind=scale.kind, bits=FACTOR_BITS, terms=scale.terms)


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        value, inside = kernels.rounded(kernels.in_order(x), STEP, REACH)
        ctx.save_for_backward(inside)
        ctx.channels_last, ctx.dtype = kernels.is_channels_last(x), x.dtype
        return kernels.ordered_like(value, x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (inside,) = ctx.saved_tensors
        grad = grads[0].contiguous(memory_format=kernels.order(ctx.channels_last))
        return kernels.ordered_like(kernels.rounded_backward(kernels.in_order(grad), inside, ctx.dtype), grad)


def round_to_stream(x: Tensor) -> Tensor:
    """``STEP * clip(floor(x / STEP + 1/2), -REACH, REACH - 1)``; the gradient is 1 where it is not clipped."""
    return _Round.apply(x)


def to_factors(values: Tensor, form: ScaleForm) -> tuple[Tensor, int]:
    """``values ~ factors * 2**-shift``: int64 [C] of ``form``, and one shift from 1 to 40.

    The greatest magnitude comes to lie near the form's greatest integer. ``values`` are float64 [C].
    """
    allowed = torch.from_numpy(form.allowed).to(values)
    peak = float(values.abs().max())
    shift = math.floor(math.log2(float(allowed.max()) / peak)) if peak > 0 else 1
    shift = min(max(shift, 1), 40)
    return allowed[torch.bucketize(values * 2.0**shift, (allowed[1:] + allowed[:-1]) / 2)].round().long(), shift


class StreamBlock(ABCBlock):
    """Convolution, max-pool and batch norm whose output is whole steps of the stream.

    In integer mode batch norm is frozen and its slope, together with the free scales of the integer coefficients,
    an integer of a scale form times a power of two, so that rounding is what a requantisation of integers does.

    Members
    -------
    overlapping : size, stride and padding of the max-pool, or None
    """

    def __init__(self, block: Block, in_shape: Shape, *, overlapping: tuple[int, int, int] | None, **options: Any):
        super().__init__(block, in_shape, last=False, **options)
        self.overlapping = overlapping
        self.quantised = options["kind"] != "float"

    def set_integer(self, on: bool) -> None:
        """Compute with integers and a frozen batch norm from now on, or no longer."""
        self.layer.set_integer(on)
        if self.norm is not None:
            self.norm.train(self.training and not on)

    def train(self, mode: bool = True) -> StreamBlock:
        """As of ``nn.Module``, but batch norm stays frozen in integer mode."""
        super().train(mode)
        if self.norm is not None and self.layer.integer:
            self.norm.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Real (of a first block: uint8) [B, C_in, H, W] -> whole steps of the stream, as real numbers."""
        x = self.layer(x)
        if self.overlapping is not None:
            x = functional.max_pool2d(x, *self.overlapping)
        if self.norm is None or not self.quantised:
            return x if self.norm is None else self.norm(x)
        if self.layer.integer and not self.norm.training:
            return round_to_stream(self._frozen(x))
        return round_to_stream(self.norm(x))

    def affine(self) -> tuple[Tensor, Tensor]:
        """Batch norm as ``a x + b``: float64 [C] each."""
        assert self.norm is not None  # every block of the stream has one
        norm = self.norm.state()
        a = norm["slope"] / (norm["variance"] + self.norm.eps).sqrt()
        return a, norm["bias"] - norm["mean"] * a

    def unit(self) -> Tensor:
        """What one accumulator step is worth in the layer's output: float64 [C_out]."""
        inputs = self.layer.input_bases
        assert not isinstance(inputs, Unquantised)  # such a layer has no integers
        return self.layer.integers()[2] * inputs.integers()[1]

    @torch.no_grad()
    def integers(self) -> tuple[Tensor, Tensor, int]:
        """Factors and offsets int64 [C] and the shift with which ``(acc factor + offset) >> shift`` is the output.

        Half a step is in the offsets.
        """
        a, b = self.affine()
        factors, shift = to_factors(a * self.unit() / STEP, factor_form(self.layer.scale))
        return factors, (b / STEP * 2.0**shift).round().long() + (1 << shift >> 1), shift

    def _frozen(self, x: Tensor) -> Tensor:
        """Batch norm with its slope rounded; gradients as if it were not."""
        norm = self.norm
        assert norm is not None  # checked by forward
        assert norm.running_mean is not None
        assert norm.running_var is not None
        slope = norm.slope / (norm.running_var + norm.eps).sqrt()
        factors, _, shift = self.integers()
        rounded = factors * (STEP * 2.0**-shift) / self.unit()
        offset = norm.bias - norm.running_mean * slope
        return x * straight_through(slope, rounded.to(slope)).view(-1, 1, 1) + offset.view(-1, 1, 1)


class StreamConv2d(StreamBlock):
    """``ABCConv2d`` and batch norm whose output is whole steps of the stream: what a module of one's own may add.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding : as ``nn.Conv2d``, one number for both directions
    M, N : numbers of bases; with pixels N is 8
    weight_kind, activation_kind : ``abc`` or ``residual``; activations may be ``pixels``, uint8 images
    pool : size, stride and padding of a max-pool before batch norm
    scale : form of the integers alpha and beta

    Raises
    ------
    InputError : a count, kind or size that cannot be.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0, *, M: int,
        N: int = PIXEL_BITS, weight_kind: str = "abc", activation_kind: str = "abc",
        pool: tuple[int, int, int] | None = None, scale: ScaleForm | None = None,
    ) -> None:
        block = Block(
            name="conv", kind="conv", channels=out_channels, kernel=kernel_size, stride=stride, padding=padding,
            norm="signed" if pool is None else "positive",
        )  # fmt: skip
        first = activation_kind == "pixels"
        super().__init__(
            block, (1, 1, in_channels), overlapping=pool, M=M, N=N, scale=scale or ScaleForm(), first=first,
            rectified=False, kind=weight_kind,
        )


class StreamMean(nn.Module):
    """The mean of a stream over all its pixels, as whole steps from 0 up: 8 bit-planes, as those of a pixel.

    What reads it is an ``ABCLinear`` of ``activation_kind`` pixels.
    """

    def __init__(self, quantised: bool = True) -> None:
        super().__init__()
        self.quantised = quantised

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C]: steps above -REACH, or the mean itself if not quantised."""
        mean = x.mean((2, 3))
        if not self.quantised:
            return mean
        pixels = x.shape[2] * x.shape[3]
        factor, shift = mean_factor(pixels)
        return round_to_stream(mean * (factor * pixels / 2.0**shift)) / STEP + REACH


def mean_factor(pixels: int) -> tuple[int, int]:
    """``factor / 2**shift`` in the place of one over the number of pixels, within 1 %: (factor, shift)."""
    shift = max(1, pixels.bit_length() - 1)
    while abs(round((1 << shift) / pixels) * pixels / (1 << shift) - 1) > 0.01:
        shift += 1
    return round((1 << shift) / pixels), shift


def has_stream(model: nn.Module) -> bool:
    """Whether a module has a stream, so that its network is a graph."""
    return any(isinstance(part, StreamBlock | StreamMean) for part in model.modules())
