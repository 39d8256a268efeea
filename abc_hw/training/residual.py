"""Residual networks: a stream of integers that convolutions read through bases and add to.

After the first convolution the network is a stream of integers (:mod:`abc_hw.training.stream`). A block reads it
through activation bases, passes two convolutions, rounds what comes out to the stream's step, and adds it; where
size or channels change, the stream passes a 1 x 1 convolution of its own instead of going by. At the end the
stream is averaged over the image and classified. Order inside: convolution -> (max-pool) -> batch norm -> bases,
as in the paper. He et al., arXiv 1512.03385 (the models); Lin, Zhao, Pan, arXiv 1711.11294 (the layers).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from ..errors import InputError
from ..network import ScaleForm
from .activation_bases import PIXEL_BITS
from .models import ABCBlock, Block, Shape, per_layer
from .stream import StreamBlock, StreamMean, mean_factor

BRANCH_SLOPE = 0.5
"""Where the slopes of batch norm start whose outputs are added to the stream."""

POOL = (3, 2, 1)
"""Size, stride and padding of the max-pool behind the first convolution of large images."""


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
        added = self.outer(self.inner(x))
        return (x if self.skip is None else self.skip(x)) + added


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
        self.mean = StreamMean(quantised=kind != "float")
        last = Block(name="classifier", kind="dense", channels=classes, norm="none")
        self.classifier = ABCBlock(last, (1, 1, shape[2]), last=True, **options(first=kind != "float"))

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] -> real scores [B, classes]."""
        x = self.stem(images)
        for block in self.blocks.values():
            x = block(x)
        return self.classifier(self.mean(x))

    def mean_factor(self) -> tuple[int, int]:
        """(factor, shift) of the mean over all pixels (:func:`abc_hw.training.stream.mean_factor`)."""
        return mean_factor(self.out_shape[0] * self.out_shape[1])

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
