"""The pieces of a network with skip paths, each with two realisations: exact PyTorch, and a node of the graph.

PyTorch compares real numbers ``a acc + b >= t`` and ``steps * STEP >= t`` in float64, exactly; the nodes compare
integers with thresholds from rational arithmetic.
"""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..network import Bases, ScaleForm
from ..network.nodes import Add, Conv, Encode, MaxPool, Node, Requantise, Scores, SumPool, Threshold
from .lowering import coded, thresholds
from .quantised import QuantisedLayer, accumulate
from .stream import REACH, STEP

PLANES = Bases(kind="planes", count=8)
"""How pixels, and the mean of the stream, enter a layer."""

MEAN_FORM = ScaleForm(kind="fixed", bits=16)
"""Of the factor of a mean."""

GREATEST = 1 << 20
"""Steps that no sum of streams reaches: where a ReLU ends."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Piece:
    """What computes one tensor, [B, C, H, W]; ``name`` and ``inputs`` are those of its node."""

    name: str
    inputs: tuple[str, ...]

    def compute(self, *values: Tensor) -> Tensor:
        """Its output, exactly: codes uint8, integers int64."""
        raise NotImplementedError

    def node(self) -> Node:
        """The node that computes the same."""
        raise NotImplementedError


def _cut(x: Tensor, t: Tensor) -> Tensor:
    return sum(((x >= edge) for edge in t), torch.zeros_like(x)).to(torch.uint8)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Convolve(Piece):
    """Codes -> acc of a layer."""

    layer: QuantisedLayer

    def compute(self, *values: Tensor) -> Tensor:
        """:func:`abc_hw.training.quantised.accumulate` of what the codes stand for."""
        table = torch.from_numpy(self.layer.input_bases.values(self.layer.beta.numpy()))
        return accumulate(self.layer, table[values[0].long()])

    def node(self) -> Conv:
        """A convolution; a dense layer is one over all of its input."""
        return Conv(
            name=self.name, inputs=self.inputs, kernel=self.layer.kernel, stride=(self.layer.stride,) * 2,
            padding=(self.layer.padding,) * 4, padding_code=self.layer.padding_codes or 0, **coded(self.layer),
        )  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CutSums(Piece):
    """acc of a layer -> the codes of the one that reads it, whose ``bases`` they are of."""

    layer: QuantisedLayer
    bases: Bases

    def compute(self, *values: Tensor) -> Tensor:
        """How many thresholds ``a acc + b`` reaches."""
        step = self.layer.step
        assert step is not None  # another layer reads it
        x = values[0].double() * step.a.view(-1, 1, 1) + step.b.view(-1, 1, 1)
        return _cut(x.clamp(min=0) if self.layer.relu else x, step.t)

    def node(self) -> Threshold:
        """Thresholds of acc."""
        bounds = Convolve(name="conv", inputs=("input",), layer=self.layer).node().acc_bounds
        return Threshold(
            name=self.name, inputs=self.inputs, thresholds=thresholds(self.layer, bounds), bases=self.bases
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CutStream(Piece):
    """The stream -> codes of ``bases``, by real thresholds ``t``, float64 ascending, the same for all channels."""

    t: Tensor
    channels: int
    bases: Bases

    def compute(self, *values: Tensor) -> Tensor:
        """How many thresholds the stream reaches."""
        return _cut(values[0].double() * STEP, self.t)

    def node(self) -> Threshold:
        """The least number of steps that reaches each threshold."""
        least = [math.ceil(Fraction(t) / Fraction(STEP)) for t in self.t.tolist()]
        table = np.tile(np.array(least, np.int64), (self.channels, 1))
        return Threshold(name=self.name, inputs=self.inputs, thresholds=table, bases=self.bases)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Pool(Piece):
    """Max-pool of acc: ``window`` is size, stride and padding."""

    window: tuple[int, int, int]

    def compute(self, *values: Tensor) -> Tensor:
        """The greatest of each window; what is outside never wins."""
        return functional.max_pool2d(values[0].double(), *self.window).long()

    def node(self) -> MaxPool:
        """A max-pool of integers."""
        size, stride, padding = self.window
        return MaxPool(
            name=self.name, inputs=self.inputs, size=(size, size), stride=(stride, stride), padding=(padding,) * 4
        )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Rescale(Piece):
    """``clip((x factor + offset) >> shift, low, high)``: factor, offset int64 [C], the factors of ``form``."""

    factor: Tensor
    offset: Tensor
    shift: int
    form: ScaleForm
    low: int = -REACH
    high: int = REACH - 1

    def compute(self, *values: Tensor) -> Tensor:
        """The steps of the stream."""
        scaled = values[0] * self.factor.view(-1, 1, 1) + self.offset.view(-1, 1, 1)
        return (scaled >> self.shift).clamp(self.low, self.high)

    def node(self) -> Requantise:
        """A requantisation."""
        return Requantise(
            name=self.name, inputs=self.inputs, factor=self.factor.numpy(), factor_scale=self.form,
            offset=self.offset.numpy(), shift=self.shift, low=self.low, high=self.high,
        )  # fmt: skip


def relu(name: str, before: str, channels: int) -> Rescale:
    """A ReLU of the stream."""
    one = torch.ones(channels, dtype=torch.int64)
    return Rescale(
        name=name, inputs=(before,), factor=one, offset=one * 0, shift=0, form=MEAN_FORM, low=0, high=GREATEST
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Plus(Piece):
    """Two streams -> their sum."""

    def compute(self, *values: Tensor) -> Tensor:
        """The sum."""
        return values[0] + values[1]

    def node(self) -> Add:
        """An addition."""
        return Add(name=self.name, inputs=self.inputs)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Total(Piece):
    """The stream -> its sum over all pixels, of which there are ``size`` (H, W)."""

    size: tuple[int, int]

    def compute(self, *values: Tensor) -> Tensor:
        """The sum over the image."""
        return values[0].sum((2, 3), keepdim=True)

    def node(self) -> SumPool:
        """A sum over all of the map."""
        return SumPool(name=self.name, inputs=self.inputs, size=self.size, stride=(1, 1))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Planes(Piece):
    """Steps within the reach -> codes of 8 bit-planes."""

    def compute(self, *values: Tensor) -> Tensor:
        """Steps above the least."""
        return (values[0] + REACH).to(torch.uint8)

    def node(self) -> Encode:
        """An encoding."""
        return Encode(name=self.name, inputs=self.inputs, low=-REACH, bits=PLANES.count)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Tell(Piece):
    """acc of the classifier -> scores, [B, classes]."""

    bias: Tensor

    def compute(self, *values: Tensor) -> Tensor:
        """acc with the bias."""
        return values[0].flatten(1) + self.bias

    def node(self) -> Any:
        """The scores."""
        return Scores(name=self.name, inputs=self.inputs, bias=self.bias.numpy())
