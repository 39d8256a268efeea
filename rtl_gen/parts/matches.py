"""A layer's integers when matches are accumulated instead of dot products.

The array counts matches p; ``acc = sum alpha beta (2 p - K)``. The hardware accumulates
``matches = sum alpha beta p`` and leaves the factor 2 and the constant to the thresholds and the bias::

    acc = 2 matches - K (sum_m alpha)(sum_n beta)

And a single weight basis needs no signed alpha: its weights can be negated instead.
"""

import dataclasses
from typing import TypeVar

import numpy as np
from amaranth.hdl import Shape

from abc_hw.network import IntArray, Layer

from .arith import range_shape

__all__ = [
    "match_bounds", "match_offset", "match_shape", "match_thresholds", "score_shape", "stable_score_bits",
    "with_positive_alpha",
]

LayerLike = TypeVar("LayerLike", bound=Layer)


def with_positive_alpha(layer: LayerLike) -> LayerLike:
    """The layer itself, or, if it has one weight basis, the same function without negative alphas.

    ``-1 x dot(b, a) = dot(-b, a)``: in channels of negative alpha the weights change sign in its place, at no cost
    in their memory, and the scale unit has a sign less to apply.
    """
    if layer.weight_bases.count > 1:
        return layer
    # The least number of the form ``fixed`` has no opposite and stays.
    turned = (layer.alpha < 0) & layer.alpha_scale.allows(-layer.alpha)
    if not turned.any():
        return layer
    weights = np.where(turned.reshape(-1, 1, 1, 1), 1 - layer.weights, layer.weights).astype(np.uint8)
    return dataclasses.replace(layer, weights=weights, alpha=np.where(turned, -layer.alpha, layer.alpha))


def match_offset(layer: Layer) -> IntArray:
    """K (sum_m alpha)(sum_n beta) per channel."""
    return layer.dot_length * layer.alpha.sum(axis=1) * layer.beta.sum()


def match_bounds(layer: Layer) -> tuple[IntArray, IntArray]:
    """Least and greatest accumulated matches per channel, over all inputs; exact."""
    least, greatest = layer.acc_bounds
    offset = match_offset(layer)
    return (least + offset) // 2, (greatest + offset) // 2


def match_thresholds(layer: Layer) -> IntArray:
    """Thresholds on the accumulated matches: ``matches >= result`` is ``acc >= layer.thresholds``."""
    if layer.thresholds is None:
        raise ValueError(f"{layer.name} is the classifier and has no thresholds")
    return -(-(layer.thresholds + match_offset(layer)[:, None]) // 2)


def match_shape(layer: Layer) -> Shape:
    """Shape of the accumulator: every value it can end at, and the threshold that nothing reaches."""
    least, greatest = match_bounds(layer)
    return range_shape(int(least.min()), int(greatest.max()) + 1)


def score_shape(layer: Layer) -> Shape:
    """Shape of a classifier's scores, ``acc + bias``."""
    least, greatest = layer.acc_bounds
    bias = np.zeros(layer.out_channels, np.int64) if layer.bias is None else layer.bias
    return range_shape(min(int((least + bias).min()), -1), int((greatest + bias).max()))


def stable_score_bits(layer: Layer) -> int:
    """Bits of a score that do not change with training: from shapes, bases and forms of the coefficients.

    They hold ``acc`` at any weights and coefficients, with a bias as great as the greatest acc; only a greater
    bias makes them more.
    """
    most = layer.dot_length
    for bases, form in ((layer.weight_bases, layer.alpha_scale), (layer.input_bases, layer.beta_scale)):
        most *= bases.count * int(np.abs(form.allowed).max())
    bias = 0 if layer.bias is None else int(np.abs(layer.bias).max())
    return (most + max(most, bias)).bit_length() + 1
