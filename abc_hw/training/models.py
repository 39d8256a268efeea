"""Networks as data: a model is a list of :class:`Block`, and :class:`ABCNet` builds any such list.

A block is convolution (or dense) -> max-pool -> batch norm -> ReLU, each after the first part optional; the
next block's activation bases take it from there. The last block is the classifier: dense, nothing behind it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..network import ScaleForm
from ..registry import Registry
from .activation_bases import PIXEL_BITS
from .layers import ABCConv2d, ABCLinear, BatchNorm, is_integer, set_integer

Shape = tuple[int, int, int]
"""(H, W, C)"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Block:
    """One layer of a model and all that follows it up to the next one.

    Members
    -------
    name : lower-case identifier
    kind : ``conv`` or ``dense`` (takes the whole input, whatever its shape)
    channels : output channels
    kernel, stride, padding : of a convolution
    pool : side and stride of the max-pool, 1 for none
    norm : batch norm with a positive slope, with a slope of either sign (no pool then), or none
    relu : whether a ReLU follows
    dropout : share of the outputs that training sets to 0
    """

    name: str
    kind: Literal["conv", "dense"]
    channels: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    pool: int = 1
    norm: Literal["positive", "signed", "none"] = "positive"
    relu: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.norm == "signed" and self.pool > 1:
            raise InputError(f"{self.name}.norm: expected positive or none behind a max-pool, found signed")

    def out_shape(self, shape: Shape) -> Shape:
        """(H, W, C) of the output for an input of ``shape``; InputError if nothing would be left of it."""
        if self.kind == "dense":
            return 1, 1, self.channels
        height, width = (
            ((side + 2 * self.padding - self.kernel) // self.stride + 1) // self.pool for side in shape[:2]
        )
        if min(height, width) < 1:
            raise InputError(
                f"{self.name}: expected an input that kernel {self.kernel} and pool {self.pool} leave "
                f"something of, found {shape[0]} x {shape[1]}"
            )
        return height, width, self.channels


# -- the models by name -------------------------------------------------------------------------------------


def _conv(name: str, channels: int, kernel: int, *, padding: int = 0, pool: int = 1, relu: bool = False) -> Block:
    return Block(name=name, kind="conv", channels=channels, kernel=kernel, padding=padding, pool=pool, relu=relu)


def _dense(name: str, channels: int, *, relu: bool = False, dropout: float = 0.0) -> Block:
    return Block(name=name, kind="dense", channels=channels, relu=relu, dropout=dropout)


def _classifier(name: str, classes: int) -> Block:
    return Block(name=name, kind="dense", channels=classes, norm="none")


def mlp(shape: Shape, classes: int) -> list[Block]:
    """256-256-classes."""
    return [_dense("fc1", 256), _dense("fc2", 256), _classifier("fc3", classes)]


def lenet(shape: Shape, classes: int) -> list[Block]:
    """c5x16-P-c5x32-P-128-classes without padding; on images under 16 pixels 3x3 kernels with padding."""
    if min(shape[:2]) < 16:
        convolutions = [
            _conv("conv1", 16, 3, padding=1, pool=2),
            _conv("conv2", 32, 3, padding=1, pool=2),
        ]
        return [*convolutions, _dense("fc1", 64), _classifier("fc2", classes)]
    convolutions = [_conv("conv1", 16, 5, pool=2), _conv("conv2", 32, 5, pool=2)]
    return [*convolutions, _dense("fc1", 128), _classifier("fc2", classes)]


def seed_lenet(shape: Shape, classes: int) -> list[Block]:
    """c5x32-P-c5x64-P-1024-classes with padding and ReLU: the network of the notebook this project grew from."""
    return [
        _conv("conv1", 32, 5, padding=2, pool=2, relu=True),
        _conv("conv2", 64, 5, padding=2, pool=2, relu=True),
        _dense("fc1", 1024, relu=True, dropout=0.5),
        _classifier("fc2", classes),
    ]


def vgg(shape: Shape, classes: int) -> list[Block]:
    """c32-P-c64-P-c128-c128-P-c256-classes, 3x3 with padding."""
    return [
        _conv("conv1", 32, 3, padding=1, pool=2),
        _conv("conv2", 64, 3, padding=1, pool=2),
        _conv("conv3", 128, 3, padding=1),
        _conv("conv4", 128, 3, padding=1, pool=2),
        _conv("conv5", 256, 3, padding=1),
        _classifier("fc1", classes),
    ]


def vgg_tiny(shape: Shape, classes: int) -> list[Block]:
    """c64-P-c128-P-c224-P-classes, 3x3 with padding: of images of 32 x 32 each layer's weights are within 256 kbit
    with M = 1, a large memory of an iCE40UP5K."""
    convolutions = [
        _conv(f"conv{index}", width, 3, padding=1, pool=2) for index, width in enumerate((64, 128, 224), 1)
    ]
    return [*convolutions, _classifier("fc1", classes)]


def vgg_small(shape: Shape, classes: int) -> list[Block]:
    """c128-c128-P-c256-c256-P-c512-c512-P-classes, 3x3 with padding."""
    widths = (128, 128, 256, 256, 512, 512)
    convolutions = [
        _conv(f"conv{index}", width, 3, padding=1, pool=2 - index % 2) for index, width in enumerate(widths, 1)
    ]
    return [*convolutions, _classifier("fc1", classes)]


def cnv(shape: Shape, classes: int) -> list[Block]:
    """c64-c64-P-c128-c128-P-c256-c256-512-512-classes, 3x3 without padding: FINN's network (arXiv 1612.07119)."""
    return [
        _conv("conv1", 64, 3),
        _conv("conv2", 64, 3, pool=2),
        _conv("conv3", 128, 3),
        _conv("conv4", 128, 3, pool=2),
        _conv("conv5", 256, 3),
        _conv("conv6", 256, 3),
        _dense("fc1", 512),
        _dense("fc2", 512),
        _classifier("fc3", classes),
    ]


MODELS: Registry[Callable[[Shape, int], list[Block]]] = Registry("model", "abc_hw.models", {
    "mlp": mlp,
    "lenet": lenet,
    "seed-lenet": seed_lenet,
    "vgg": vgg,
    "vgg-tiny": vgg_tiny,
    "vgg-small": vgg_small,
    "cnv": cnv,
})
"""name -> (image shape, number of classes) -> blocks"""


def blocks_of(name: str, shape: Shape, classes: int, *, width: float = 1.0) -> list[Block]:
    """The blocks of the model of that name, all but the classifier with ``width`` times the channels.

    Raises
    ------
    InputError : no such model, or images too small for it.
    """
    if name not in MODELS:
        raise InputError(f"model: expected one of {', '.join(MODELS)}, found {name!r}")
    blocks = MODELS[name](shape, classes)
    for index, block in enumerate(blocks[:-1]):
        blocks[index] = dataclasses.replace(block, channels=max(1, round(block.channels * width)))
    for block in blocks:
        shape = block.out_shape(shape)
    return blocks


# -- modules ------------------------------------------------------------------------------------------------


class ABCBlock(nn.Module):
    """A :class:`Block` as a module.

    Members
    -------
    block : the description;  in_shape : (H, W, C) of its input
    layer : ABCConv2d or ABCLinear;  norm : BatchNorm or None
    """

    def __init__(
        self,
        block: Block,
        in_shape: Shape,
        *,
        M: int,
        N: int,
        scale: ScaleForm,
        first: bool,
        last: bool,
        rectified: bool,
        kind: str = "abc",
        channel_wise: bool = True,
        learnable_u: bool = False,
        tie_steps: bool = False,
    ) -> None:
        super().__init__()
        self.block = block
        self.in_shape = in_shape
        height, width, channels = in_shape
        options: dict[str, Any] = {
            "bias": block.norm == "none", "M": M, "N": N, "scale": scale, "channel_wise": channel_wise,
            "learnable_u": learnable_u, "common_scale": last, "activation_kind": "pixels" if first else kind,
            "weight_kind": kind, "rectified": rectified, "tie_steps": tie_steps,
        }
        self.layer: ABCConv2d | ABCLinear
        try:
            if block.kind == "conv":
                self.layer = ABCConv2d(
                    channels, block.channels, block.kernel, block.stride, block.padding, **options
                )
            else:
                self.layer = ABCLinear(height * width * channels, block.channels, **options)
        except InputError as error:
            raise InputError(f"{block.name}.{error}") from None
        self.norm = BatchNorm(block.channels, positive=block.norm == "positive") if block.norm != "none" else None

    def forward(self, x: Tensor) -> Tensor:
        """Real (the first block: uint8) [B, C_in, H, W] or [B, C_in] -> real output of the block."""
        x = self.layer(x.flatten(1) if self.block.kind == "dense" else x)
        if self.block.pool > 1:
            x = functional.max_pool2d(x, self.block.pool)
        if self.norm is not None:
            x = self.norm(x)
        if self.block.relu:
            x = functional.relu(x)
        return functional.dropout(x, self.block.dropout, self.training) if self.block.dropout else x


class ABCNet(nn.Module):
    """The network of a list of blocks, with its first block on uint8 pixels.

    Parameters
    ----------
    blocks : the last one is the classifier: a dense layer with norm none, no pool, no ReLU
    in_shape : (H, W, C) of an image
    M, N : one number for all layers, or one per layer. The first layer has the 8 bit-planes of the pixels as its
        activation bases, so its entry in a list of N must be 8; a single N leaves it out
    scale : form of the integers alpha and beta
    kind : how weights and activations are cut into bases: ``abc``, ``residual``, or ``float`` for not at all
    channel_wise, learnable_u, tie_steps : as :class:`~abc_hw.training.layers.ABCConv2d`

    Raises
    ------
    InputError : naming the block or parameter that cannot be.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        in_shape: Shape,
        *,
        M: int | Sequence[int] = 3,
        N: int | Sequence[int] = 3,
        scale: ScaleForm | None = None,
        kind: str = "abc",
        channel_wise: bool = True,
        learnable_u: bool = False,
        tie_steps: bool = False,
    ) -> None:
        super().__init__()
        blocks = list(blocks)
        if not blocks:
            raise InputError("blocks: expected at least one, found none")
        last = blocks[-1]
        if last.kind != "dense" or last.norm != "none" or last.pool > 1 or last.relu:
            raise InputError(f"{last.name}: expected a dense classifier with nothing behind it as the last block")
        counts_m = per_layer("M", M, len(blocks))
        counts_n = [PIXEL_BITS, *[N] * (len(blocks) - 1)] if isinstance(N, int) else per_layer("N", N, len(blocks))
        self.in_shape = in_shape
        self.out_shape = in_shape
        self.blocks = nn.ModuleDict()
        rectified = False
        for index, block in enumerate(blocks):
            if block.name in self.blocks:
                raise InputError(f"blocks: expected names that differ, found {block.name} twice")
            self.blocks[block.name] = ABCBlock(
                block, self.out_shape, M=counts_m[index], N=counts_n[index], scale=scale or ScaleForm(),
                first=index == 0, last=block is last, rectified=rectified, kind=kind, channel_wise=channel_wise,
                learnable_u=learnable_u, tie_steps=tie_steps,
            )
            self.out_shape = block.out_shape(self.out_shape)
            rectified = block.relu

    def forward(self, images: Tensor) -> Tensor:
        """uint8 [B, C, H, W] -> real scores [B, classes]."""
        x = images
        for block in self.blocks.values():
            x = block(x)
        return x

    def __iter__(self) -> Iterator[ABCBlock]:
        return iter(self.blocks.values())  # type: ignore[arg-type]

    @property
    def macs(self) -> int:
        """Multiplications of one image in full precision."""
        total = 0
        for block in self:
            height, width, _ = dataclasses.replace(block.block, pool=1).out_shape(block.in_shape)
            total += block.layer.weight.numel() * height * width
        return total

    @property
    def integer(self) -> bool:
        """Whether the layers compute with integer alpha and beta."""
        return is_integer(self)

    def set_integer(self, on: bool) -> None:
        """Switch all layers (:meth:`abc_hw.training.layers.ABCConv2d.set_integer`)."""
        set_integer(self, on)


def per_layer(name: str, value: int | Sequence[int], layers: int) -> list[int]:
    """``value`` for each layer; InputError unless it is one number or one per layer."""
    if isinstance(value, int):
        return [value] * layers
    values = list(value)
    if len(values) != layers:
        raise InputError(f"{name}: expected one number or {layers}, one per layer, found {len(values)}")
    return values


@torch.no_grad()
def reestimate_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace all running statistics by those of ``batches``, uint8 [B, C, H, W], each counting the same.

    They are taken as the model computes now, integers and all; the model is left in evaluation mode.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    for batch in batches:
        model(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
