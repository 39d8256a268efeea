"""What one engine of an accelerator computes: a convolution and what is fused to it.

A :class:`abc_hw.network.Layer` is one; so is every convolution of a graph, with the thresholds, the square
max-pool or the scores behind it that nobody else takes.
"""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property

import numpy as np

from .bases import MAX_BASES, Bases, CodeArray, IntArray, ScaleForm
from .edges import Padding, Shape, swept
from .nodes import Conv, MaxPool, Scores, Threshold

__all__ = ["Fused"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fused:
    """A convolution with what is fused to it.

    Members
    -------
    conv : the convolution, with a padding code
    in_shape : (H, W, C) of what arrives
    thresholds : int64 [C_out, levels - 1] of the codes that leave; None: integers leave
    bias : int64 [C_out], added to integers that leave
    pool : side of the squares that max-pooling takes the greatest code of
    """

    conv: Conv
    in_shape: Shape
    thresholds: IntArray | None = None
    bias: IntArray | None = None
    pool: int = 1

    @property
    def fused(self) -> Fused:
        """Itself; of a layer of a chain the same function."""
        return self

    def with_weights(self, weights: CodeArray, alpha: IntArray) -> Fused:
        """With other weights and alphas of the same shapes."""
        return dataclasses.replace(self, conv=dataclasses.replace(self.conv, weights=weights, alpha=alpha))

    # -- of the convolution -----------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return self.conv.name.replace(".", "_")

    @property
    def kernel(self) -> tuple[int, int]:
        return self.conv.kernel

    @property
    def stride(self) -> tuple[int, int]:
        """(down, along)"""
        return self.conv.stride

    @property
    def padding(self) -> Padding:
        """Rows above and below, columns left and right."""
        return self.conv.padding

    @property
    def padding_code(self) -> int:
        """The code of positions outside."""
        assert isinstance(self.conv.padding_code, int)  # a fused convolution has one
        return self.conv.padding_code

    @property
    def groups(self) -> int:
        """Of channels, each of which sees its own only."""
        return self.conv.groups

    @property
    def weight_bases(self) -> Bases:
        return self.conv.weight_bases

    @property
    def input_bases(self) -> Bases:
        return self.conv.input_bases

    @property
    def weights(self) -> CodeArray:
        """uint8 codes, [C_out, kernel height, kernel width, C / groups]."""
        return self.conv.weights

    @property
    def alpha(self) -> IntArray:
        return self.conv.alpha

    @property
    def alpha_scale(self) -> ScaleForm:
        return self.conv.alpha_scale

    @property
    def beta(self) -> IntArray:
        return self.conv.beta

    @property
    def beta_scale(self) -> ScaleForm:
        return self.conv.beta_scale

    @property
    def acc_bounds(self) -> tuple[IntArray, IntArray]:
        """Of the convolution."""
        return self.conv.acc_bounds

    @property
    def dot_length(self) -> int:
        """K: how many XNORs one popcount counts."""
        return self.conv.dot_length

    @property
    def out_channels(self) -> int:
        """C_out."""
        return self.conv.out_channels

    # -- what follows it as nodes --------------------------------------------------------------------------------

    @property
    def threshold(self) -> Threshold:
        """The thresholds as a node behind :attr:`conv`; ValueError where integers leave."""
        if self.thresholds is None:
            what = "hands on integers" if self.bias is None else "is the classifier"
            raise ValueError(f"{self.name} {what} and has no thresholds")
        levels = self.thresholds.shape[1] + 1
        bases = (
            Bases(kind="thermometer", count=levels - 1)
            if levels <= MAX_BASES + 1
            else Bases(kind="planes", count=(levels - 1).bit_length())
        )
        name = f"{self.name}.threshold"
        return Threshold(name=name, inputs=(self.name,), thresholds=self.thresholds, bases=bases)

    @property
    def max_pool(self) -> MaxPool:
        """The pool as a node behind :attr:`threshold`; squares of side 1 where it has none."""
        side = (self.pool, self.pool)
        return MaxPool(name=f"{self.name}.pool", inputs=(f"{self.name}.threshold",), size=side, stride=side)

    @property
    def scores(self) -> Scores:
        """The bias as a node behind :attr:`conv`; ValueError where there is none."""
        if self.bias is None:
            raise ValueError(f"{self.name} has no bias")
        return Scores(name=f"{self.name}.scores", inputs=(self.name,), bias=self.bias)

    # -- shapes -----------------------------------------------------------------------------------------------

    @property
    def hands_on_integers(self) -> bool:
        """Integers leave, not codes."""
        return self.thresholds is None

    @cached_property
    def conv_shape(self) -> Shape:
        """(OH, OW, C_out) before pooling."""
        size = swept(self.name, self.in_shape, self.kernel, self.stride, self.padding)
        return (*size, self.out_channels)

    @property
    def out_shape(self) -> Shape:
        """(H, W, C) of what leaves."""
        height, width, channels = self.conv_shape
        return height // self.pool, width // self.pool, channels

    @property
    def binary_macs(self) -> int:
        """XNOR-and-count operations for one image."""
        return math.prod(self.conv_shape) * self.dot_length * self.weight_bases.count * self.input_bases.count

    @property
    def biases(self) -> IntArray:
        """``bias``, or zeros."""
        return np.zeros(self.out_channels, np.int64) if self.bias is None else self.bias
