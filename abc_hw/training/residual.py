"""Residual networks: a stream of integers that convolutions read through bases and add to.

After the first convolution the network is a stream of whole multiples of :data:`STEP`, within :data:`REACH` steps.
A block reads it through activation bases, passes two convolutions, rounds what comes out to the stream's step,
and adds it; where size or channels change, the stream passes a 1 x 1 convolution of its own instead of going by.
At the end the stream is averaged over the image and classified. Order inside: convolution -> (max-pool) -> batch
norm -> bases, as in the paper. He et al., arXiv 1512.03385 (the models); Lin, Zhao, Pan, arXiv 1711.11294 (the
layers).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..network import ScaleForm
from .activation_bases import PIXEL_BITS, Unquantised
from .binarize import straight_through
from .models import ABCBlock, Block, Shape, per_layer

STEP = 2.0**-4
"""What one step of the stream stands for."""

REACH = 128
"""What is added to the stream lies within -REACH .. REACH - 1 steps."""

FACTOR_BITS = 12
"""Powers of two in the factors that bring accumulators to the stream's step."""

BRANCH_SLOPE = 0.5
"""Where the slopes of batch norm start whose outputs are added to the stream."""

POOL = (3, 2, 1)
"""Size, stride and padding of the max-pool behind the first convolution of large images."""


def factor_form(scale: ScaleForm) -> ScaleForm:
    """The form of the factors beside coefficients of form ``scale``."""
    return ScaleForm(kind=scale.kind, bits=FACTOR_BITS, terms=scale.terms)


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        steps = torch.floor(x / STEP + 0.5)
        ctx.save_for_backward((steps >= -REACH) & (steps < REACH))
        return steps.clamp(-REACH, REACH - 1) * STEP

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (inside,) = ctx.saved_tensors
        return grads[0] * inside


def round_to_stream(x: Tensor) -> Tensor:
    """``STEP * clip(floor(x / STEP + 1/2), -REACH, REACH - 1)``; gradient 1 where it is not clipped."""
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
        return round_to_stream(self.norm(x).float())

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


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions on the stream, and the way past them.

    Members
    -------
    inner : the first convolution with its batch norm, read by the bases of ``outer``
    outer : the second one, whose output is added to the stream
    skip : a 1 x 1 convolution in the place of the stream itself, or None
    """

    def __init__(self, inner: ABCBlock, outer: StreamBlock, skip: StreamBlock | None) -> None:
        super().__init__()
        self.inner, self.outer, self.skip = inner, outer, skip

    def forward(self, x: Tensor) -> Tensor:
        """The stream before and after: real [B, C, H, W]."""
        return (x if self.skip is None else self.skip(x)) + self.outer(self.inner(x))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Design:
    """A residual model: kernel and stride of the first convolution, whether a max-pool follows, its stages.

    ``stages`` are (channels, blocks) each; every one but the first halves the sides.
    """

    kernel: int
    stride: int
    pool: bool
    stages: tuple[tuple[int, int], ...]


DESIGNS = {
    "resnet20": Design(kernel=3, stride=1, pool=False, stages=((16, 3), (32, 3), (64, 3))),
    "resnet18": Design(kernel=7, stride=2, pool=True, stages=((64, 2), (128, 2), (256, 2), (512, 2))),
}
"""Models by name: resnet20 for small images such as CIFAR-10's, resnet18 for those of ImageNet."""


class ResidualNet(nn.Module):
    """A network of a :class:`Design`, with its first convolution on uint8 pixels.

    Parameters
    ----------
    design, in_shape, classes : what it is, (H, W, C) of an image, how many scores
    width : what all channels are multiplied by
    M, N : one number for all layers, or one per layer: the first convolution, those of each block (inner, outer,
        skip), the classifier. The first and the last layer have 8 bit-planes, so a list of N has 8 there
    scale, kind, channel_wise, learnable_u, tie_steps : as :class:`abc_hw.training.models.ABCNet`

    Raises
    ------
    InputError : a parameter that cannot be, or images too small for the stages
    """

    def __init__(
        self,
        design: Design,
        in_shape: Shape,
        classes: int,
        *,
        width: float = 1.0,
        M: int | Sequence[int] = 3,
        N: int | Sequence[int] = 3,
        scale: ScaleForm | None = None,
        kind: str = "abc",
        channel_wise: bool = True,
        learnable_u: bool = False,
        tie_steps: bool = False,
    ) -> None:
        super().__init__()
        self.in_shape, self.kind = in_shape, kind
        layers = 2 + sum(2 * blocks + (index > 0) for index, (_, blocks) in enumerate(design.stages))
        if isinstance(N, int):
            N = [PIXEL_BITS, *[N] * (layers - 2), PIXEL_BITS]
        counts_n = per_layer("N", N, layers)
        counts = iter(zip(per_layer("M", M, layers), counts_n, strict=True))
        shared: dict[str, Any] = {
            "scale": scale or ScaleForm(), "rectified": False, "kind": kind, "channel_wise": channel_wise,
            "learnable_u": learnable_u, "tie_steps": tie_steps,
        }  # fmt: skip

        def options(first: bool = False) -> dict[str, Any]:
            m, n = next(counts)
            return {"M": m, "N": n, "first": first, **shared}

        channels = [max(1, round(width * wide)) for wide, _ in design.stages]
        stem = Block(
            name="stem", kind="conv", channels=channels[0], kernel=design.kernel, stride=design.stride,
            padding=design.kernel // 2, norm="positive" if design.pool else "signed",
        )  # fmt: skip
        self.stem = StreamBlock(stem, in_shape, overlapping=POOL if design.pool else None, **options(first=True))
        shape = stem.out_shape(in_shape)
        if design.pool:
            height, width_ = ((side + 2 * POOL[2] - POOL[0]) // POOL[1] + 1 for side in shape[:2])
            shape = (height, width_, shape[2])
        self.blocks = nn.ModuleDict()
        for stage, (wide, (_, blocks)) in enumerate(zip(channels, design.stages, strict=True), 1):
            for number in range(1, blocks + 1):
                name, stride = f"s{stage}b{number}", 2 if stage > 1 and number == 1 else 1
                self.blocks[name] = _block(name, shape, wide, stride, options)
                shape = self.blocks[name].inner.block.out_shape(shape)  # type: ignore[union-attr, operator]
        if min(shape[:2]) < 1:
            raise InputError(f"images: expected sides that leave something for all stages, found {in_shape[:2]}")
        self.out_shape = shape
        last = Block(name="classifier", kind="dense", channels=classes, norm="none")
        self.classifier = ABCBlock(last, (1, 1, shape[2]), last=True, **options(first=kind != "float"))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] -> real scores [B, classes]."""
        x = self.stem(images)
        for block in self.blocks.values():
            x = block(x)
        mean = x.mean((2, 3))
        if self.kind == "float":
            return self.classifier(mean)
        factor, shift = self.mean_factor()
        mean = mean * (factor * self.out_shape[0] * self.out_shape[1] / 2.0**shift)
        return self.classifier(round_to_stream(mean.float()) / STEP + REACH)

    def mean_factor(self) -> tuple[int, int]:
        """``factor / 2**shift`` in the place of one over the number of pixels, within 1 %: (factor, shift)."""
        pixels = self.out_shape[0] * self.out_shape[1]
        shift = max(1, pixels.bit_length() - 1)
        while abs(round((1 << shift) / pixels) * pixels / (1 << shift) - 1) > 0.01:
            shift += 1
        return round((1 << shift) / pixels), shift

    @property
    def named_blocks(self) -> list[tuple[str, ResidualBlock]]:
        """The residual blocks in order."""
        return list(self.blocks.items())  # type: ignore[arg-type]

    def __iter__(self) -> Iterator[ABCBlock]:
        """All that has a layer on bases, in order."""
        yield self.stem
        for _, block in self.named_blocks:
            yield from (block.inner, block.outer)
            if block.skip is not None:
                yield block.skip
        yield self.classifier

    @property
    def macs(self) -> int:
        """Multiplications of one image in full precision."""
        total = 0
        for part in self:
            height, width, _ = part.block.out_shape(part.in_shape)
            total += part.layer.weight.numel() * height * width
        return total

    @property
    def integer(self) -> bool:
        """Whether the layers compute with integers."""
        return self.classifier.layer.integer

    def set_integer(self, on: bool) -> None:
        """Switch all layers (:meth:`abc_hw.training.layers.ABCConv2d.set_integer`, :class:`StreamBlock`)."""
        for part in self:
            part.set_integer(on) if isinstance(part, StreamBlock) else part.layer.set_integer(on)


def _block(
    name: str, shape: Shape, channels: int, stride: int, options: Callable[[], dict[str, Any]]
) -> ResidualBlock:
    def block(part: str, kernel: int, stride: int) -> Block:
        return Block(
            name=f"{name}_{part}", kind="conv", channels=channels, kernel=kernel, stride=stride,
            padding=kernel // 2, norm="signed",
        )  # fmt: skip

    inner = ABCBlock(block("inner", 3, stride), shape, last=False, **options())
    middle = inner.block.out_shape(shape)
    outer = StreamBlock(block("outer", 3, 1), middle, overlapping=None, **options())
    assert outer.norm is not None  # its block says so
    nn.init.constant_(outer.norm.weight, BRANCH_SLOPE)
    if stride == 1 and shape[2] == channels:
        return ResidualBlock(inner, outer, None)
    return ResidualBlock(inner, outer, StreamBlock(block("skip", 1, stride), shape, overlapping=None, **options()))
