"""From a trained model to the integer network: batch norm, ReLU, bias and scales folded into integer thresholds.

:func:`quantise` reads the numbers of the quantised network off the modules, once. Two readers share them: the
evaluation in PyTorch (:func:`abc_hw.training.evaluate_integer`), which applies ``x = a acc + b`` and compares x
with real thresholds, and :func:`to_network`, which turns these comparisons into integer ones with rational
arithmetic. Both are exact, hence equal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .binarize import codes_of_bases
from .errors import InputError
from .layers import ABCConv2d, PixelBases, ThresholdBases
from .models import ABCBlock, ABCNet
from .network import Bases, IntArray, Layer, Network, ScaleForm


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class QuantisedLayer:
    """One block of the quantised network, on the CPU.

    Members
    -------
    name, in_shape, kernel, stride, padding, pool : as :class:`abc_hw.network.Layer`
    relu : whether a ReLU follows x
    weight_bases, input_bases, alpha_scale, beta_scale : as :class:`abc_hw.network.Layer`
    signs : bool [M, C_out, C_in, kernel height, kernel width], True for +1
    alpha, beta : int64 [C_out, M] and [N]
    a, b : float64 [C_out], a >= 0: x = a acc + b; None in the classifier
    t : float64, ascending thresholds of the next layer's bases; None in the classifier
    bias : int64 [C_out] of the classifier, else None
    """

    name: str
    in_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: int
    padding: int
    pool: int
    relu: bool
    weight_bases: Bases
    input_bases: Bases
    alpha_scale: ScaleForm
    beta_scale: ScaleForm
    signs: Tensor
    alpha: Tensor
    beta: Tensor
    a: Tensor | None = None
    b: Tensor | None = None
    t: Tensor | None = None
    bias: Tensor | None = None

    @property
    def weight_values(self) -> Tensor:
        """sum_m alpha_m B_m, int64 [C_out, C_in, kernel height, kernel width]."""
        signs = self.signs.long() * 2 - 1
        return (self.alpha.T.reshape(*self.alpha.T.shape, 1, 1, 1) * signs).sum(0)

    @property
    def greatest_sum(self) -> int:
        """A bound of the magnitude of every partial sum of acc, in any order."""
        return int(self.weight_values.abs().flatten(1).sum(1).max()) * int(self.beta.abs().sum())


def quantise(model: ABCNet) -> list[QuantisedLayer]:
    """The quantised network of ``model``, whether or not it computes with its integers at present.

    Raises
    ------
    InputError : a number is not finite, or a batch norm with a negative slope stands behind a max-pool.
    """
    blocks = list(model)
    following = [*blocks[1:], None]
    return [_quantise_block(block, after) for block, after in zip(blocks, following, strict=True)]


@torch.no_grad()
def _quantise_block(block: ABCBlock, after: ABCBlock | None) -> QuantisedLayer:
    layer, name = block.layer, block.block.name
    for parameter, tensor in block.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(f"{name}.{parameter}: expected finite numbers, found nan or inf")
    height, width, channels = block.in_shape
    if isinstance(layer, ABCConv2d):
        kernel, stride, padding = layer.kernel_size, layer.stride, layer.padding
    else:
        kernel, stride, padding = (height, width), 1, 0
    bases, alpha, alpha_scale = (tensor.cpu() for tensor in layer.integers())
    beta, beta_scale, _ = layer.input_bases.integers()  # the sign is in alpha
    beta, scale = beta.cpu(), alpha_scale * beta_scale.cpu()
    if isinstance(layer.input_bases, ThresholdBases):
        beta = beta[torch.argsort(layer.input_bases.t.cpu(), stable=True)]
    signs = (bases > 0).reshape(layer.M, -1, channels, *kernel)
    quantised = QuantisedLayer(
        name=name, in_shape=block.in_shape, kernel=kernel, stride=stride, padding=padding, pool=block.block.pool,
        relu=block.block.relu, weight_bases=layer.weight_bases, input_bases=layer.input_bases.bases,
        alpha_scale=layer.scale, beta_scale=layer.input_bases.scale, signs=signs, alpha=alpha, beta=beta,
    )
    bias = torch.zeros_like(scale) if layer.bias is None else layer.bias.cpu().double()
    if after is None:
        return dataclasses.replace(quantised, bias=(bias / scale[0]).round().long())
    if isinstance(after.layer.input_bases, PixelBases):
        raise InputError(f"{after.block.name}.activation_kind: expected abc behind {name}, found pixels")
    a, b = scale, bias
    if block.norm is not None:
        norm = {key: value.cpu() for key, value in block.norm.state().items()}
        factor = norm["slope"] / (norm["variance"] + block.norm.eps).sqrt()
        a, b = a * factor, (b - norm["mean"]) * factor + norm["bias"]
    if block.block.pool > 1 and bool((a < 0).any()):
        channel = int((a < 0).nonzero()[0])
        raise InputError(
            f"{name}.norm: expected positive slopes behind a max-pool, found {float(a[channel])} in channel {channel}"
        )
    flips = torch.where(a < 0, -1, 1)  # a acc = (-a) (-acc)
    quantised = dataclasses.replace(quantised, alpha=quantised.alpha * flips.unsqueeze(1))
    t = after.layer.input_bases.t.detach().cpu().double().sort(stable=True).values
    a, b, t = _on_exact_grid(a.abs(), b, t, quantised.greatest_sum)
    return dataclasses.replace(quantised, a=a, b=b, t=t)


def _on_exact_grid(a: Tensor, b: Tensor, t: Tensor, greatest_sum: int) -> tuple[Tensor, Tensor, Tensor]:
    """The nearest a, b, t with which float64 computes ``a acc + b >= t`` without rounding.

    All become multiples of one power of two, so small that a acc + b stays below 2**52 of it.
    """
    reach = float((a * greatest_sum + b.abs()).max() + t.abs().max())
    unit = 2.0 ** (math.frexp(reach)[1] - 51)
    return tuple((number / unit).round() * unit for number in (a, b, t))  # type: ignore[return-value]


# -- exact thresholds ---------------------------------------------------------------------------------------


def least_accumulator(a: float, b: float, t: float, *, relu: bool, least: int, greatest: int) -> int:
    """The smallest integer acc with ``a acc + b >= t`` (after a ReLU if ``relu``), within [least, greatest + 1].

    ``a`` is not negative; greatest + 1 means that no acc reaches t. Rational arithmetic, no rounding.
    """
    if relu and t <= 0:
        return least
    if a == 0:
        return least if b >= t else greatest + 1
    smallest = math.ceil((Fraction(t) - Fraction(b)) / Fraction(a))
    return min(max(smallest, least), greatest + 1)


def _thresholds(quantised: QuantisedLayer, bounds: tuple[IntArray, IntArray]) -> IntArray:
    assert quantised.a is not None and quantised.b is not None and quantised.t is not None
    rows = zip(quantised.a.tolist(), quantised.b.tolist(), *(bound.tolist() for bound in bounds), strict=True)
    return np.array(
        [
            [
                least_accumulator(a, b, t, relu=quantised.relu, least=least, greatest=greatest)
                for t in quantised.t.tolist()
            ]
            for a, b, least, greatest in rows
        ],
        np.int64,
    )


# -- the integer network ------------------------------------------------------------------------------------


def to_layer(quantised: QuantisedLayer) -> Layer:
    """The layer in the form of the hardware: level codes, integer coefficients, integer thresholds."""
    codes, order = codes_of_bases(quantised.signs, quantised.weight_bases.kind)
    classifier = quantised.t is None
    # a Layer knows the bounds of acc, which the thresholds need: first one with thresholds 0, which always fit
    steps = 1 if quantised.t is None else quantised.t.numel()
    layer = Layer(
        name=quantised.name,
        in_shape=quantised.in_shape,
        kernel=quantised.kernel,
        stride=quantised.stride,
        padding=quantised.padding,
        weight_bases=quantised.weight_bases,
        input_bases=quantised.input_bases,
        weights=codes.permute(0, 2, 3, 1).numpy().astype(np.uint8),
        alpha=quantised.alpha[:, order].numpy(),
        alpha_scale=quantised.alpha_scale,
        beta=quantised.beta.numpy(),
        beta_scale=quantised.beta_scale,
        pool=quantised.pool,
        thresholds=None if classifier else np.zeros((codes.shape[0], steps), np.int64),
        bias=None if quantised.bias is None else quantised.bias.numpy(),
    )
    return layer if classifier else dataclasses.replace(layer, thresholds=_thresholds(quantised, layer.acc_bounds))


def to_network(
    model: ABCNet, *, name: str, classes: Sequence[str], training: Mapping[str, Any] | None = None
) -> Network:
    """The integer network of a trained model.

    Parameters
    ----------
    name : of the network
    classes : one name per output
    training : what is to be kept about the training, JSON values

    Raises
    ------
    InputError : a number of the model is not finite, or the model breaks a rule of :mod:`abc_hw.network`.
    """
    layers = tuple(to_layer(quantised) for quantised in quantise(model))
    return Network(name=name, layers=layers, classes=tuple(classes), training=dict(training or {}))
