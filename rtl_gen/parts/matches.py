"""A layer's integers as the hardware has them: matches are accumulated instead of dot products.

The array counts matches p; ``acc = sum alpha beta (2 p - K)``. The hardware accumulates
``matches = sum alpha beta p`` and leaves the factor 2 and the constant to the thresholds and the bias::

    acc = 2 matches - K (sum_m alpha)(sum_n beta)

And a single weight basis needs no signed alpha: its weights can be negated instead.
"""

from collections.abc import Callable, Collection, Hashable
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from amaranth.hdl import Shape, unsigned

from abc_hw.errors import InputError
from abc_hw.network import IntArray, Layer
from abc_hw.network.fused import Fused

from .arith import range_shape

__all__ = ["LayerNumbers", "stable_score_bits", "with_positive_alpha"]

Made = TypeVar("Made")
AnyLayer = TypeVar("AnyLayer", Layer, Fused)


def with_positive_alpha(layer: AnyLayer) -> AnyLayer:
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
    return layer.with_weights(weights, np.where(turned, -layer.alpha, layer.alpha))


class LayerNumbers:
    """The numbers of a layer, and what all its foldings share.

    Parameters
    ----------
    layer : of a chain, or fused; :attr:`layer` is the same function, fused, by :func:`with_positive_alpha`
    learned : names of its tensors that may become any others, of :meth:`abc_hw.network.Network.learned`; shapes
        and bounds then hold for all of them
    """

    def __init__(self, layer: Layer | Fused, *, learned: Collection[str] = ()) -> None:
        self._layer = with_positive_alpha(layer.fused)
        self._learned = frozenset(learned)
        self._shared: dict[Hashable, Any] = {}

    @property
    def layer(self) -> Fused:
        return self._layer

    @property
    def learned(self) -> frozenset[str]:
        """Names of tensors that may become any others."""
        return self._learned

    @property
    def loaded(self) -> bool:
        """May its weights become any others?"""
        return "weights" in self._learned

    def shared(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """What ``make`` makes, made once per ``key``: for what several foldings have in common."""
        if key not in self._shared:
            self._shared[key] = make()
        return self._shared[key]

    # -- coefficients that may become any others ------------------------------------------------------------

    @cached_property
    def alpha_choices(self) -> IntArray | None:
        """Every value that an alpha may have; None where they stay as they are."""
        layer = self._layer
        if "alpha" not in self._learned:
            return None
        allowed = layer.alpha_scale.allowed
        if layer.weight_bases.count > 1:
            return allowed
        return allowed[(allowed >= 0) | ~layer.alpha_scale.allows(-allowed)]  # by with_positive_alpha

    @cached_property
    def beta_choices(self) -> IntArray | None:
        """Every value that a beta may have; None where they stay as they are."""
        return self._layer.beta_scale.allowed if "beta" in self._learned else None

    @property
    def _alpha_range(self) -> tuple[IntArray, IntArray]:
        """Least and greatest alphas, [C_out, M]."""
        return _range(self._layer.alpha, self.alpha_choices)

    @property
    def _beta_range(self) -> tuple[IntArray, IntArray]:
        """Least and greatest betas, [N]."""
        return _range(self._layer.beta, self.beta_choices)

    # -- the accumulator ------------------------------------------------------------------------------------

    @cached_property
    def acc_bounds(self) -> tuple[IntArray, IntArray]:
        """Least and greatest value of acc per channel, over all inputs (and all that may become any other): two
        int64 [C_out]."""
        layer = self._layer
        if not self.loaded:
            return layer.acc_bounds
        weights, inputs = layer.weight_bases.values(layer.alpha), layer.input_bases.values(layer.beta)
        if self.alpha_choices is not None:
            weights = layer.weight_bases.count * _both_ways(self._alpha_range)[: layer.out_channels]
        if self.beta_choices is not None:
            inputs = layer.input_bases.count * _both_ways(self._beta_range)[0]
        products = weights[:, :, None] * inputs
        return layer.dot_length * products.min(axis=(1, 2)), layer.dot_length * products.max(axis=(1, 2))

    @cached_property
    def offset(self) -> IntArray:
        """K (sum_m alpha)(sum_n beta) per channel."""
        return self._layer.dot_length * self._layer.alpha.sum(axis=1) * self._layer.beta.sum()

    @cached_property
    def bounds(self) -> tuple[IntArray, IntArray]:
        """Least and greatest accumulated matches per channel; exact where alphas and betas stay as they are."""
        if self.alpha_choices is not None or self.beta_choices is not None:
            corners = np.stack([
                alpha[:, :, None] * beta for alpha in self._alpha_range for beta in self._beta_range
            ])
            low, high = np.minimum(corners.min(axis=0), 0), np.maximum(corners.max(axis=0), 0)
            most = self._layer.dot_length
            return most * low.sum(axis=(1, 2)), most * high.sum(axis=(1, 2))
        least, greatest = self.acc_bounds
        return (least + self.offset) // 2, (greatest + self.offset) // 2

    @cached_property
    def shape(self) -> Shape:
        """Of the accumulator: every value it can end at, and the threshold that nothing reaches."""
        least, greatest = self.bounds
        return range_shape(int(least.min()), int(greatest.max()) + 1)

    # -- the betas ------------------------------------------------------------------------------------------

    def beta_passes(self, at_once: int) -> list[list[int]]:
        """Betas of each pass over ``at_once`` activation bases; 0 where there is none."""
        betas = [int(beta) for beta in self._layer.beta]
        betas += [0] * (-len(betas) % at_once)
        return [betas[start : start + at_once] for start in range(0, len(betas), at_once)]

    def beta_shape(self, at_once: int) -> Shape:
        """Of ``sum_n beta[n] p[n]`` over the bases of any one pass."""
        def make() -> Shape:
            passes, most = self.beta_passes(at_once), self._layer.dot_length
            if self.beta_choices is not None:
                low, high = int(self.beta_choices.min()), int(self.beta_choices.max())
                return range_shape(most * at_once * min(low, 0), most * at_once * max(high, 0))
            return range_shape(
                min(most * sum(min(beta, 0) for beta in one) for one in passes),
                max(most * sum(max(beta, 0) for beta in one) for one in passes),
            )

        return self.shared(("beta shape", at_once), make)

    # -- what leaves the layer ------------------------------------------------------------------------------

    @cached_property
    def thresholds(self) -> IntArray:
        """On the accumulated matches: ``matches >= thresholds`` is ``acc >= layer.thresholds``."""
        if self._layer.thresholds is None:
            raise ValueError(f"{self._layer.name} is the classifier and has no thresholds")
        return -(-(self._layer.thresholds + self.offset[:, None]) // 2)

    @cached_property
    def constants(self) -> IntArray:
        """Per channel: thresholds on the matches; of integers that leave, what is added to 2 matches."""
        return (self._layer.biases - self.offset)[:, None] if self._layer.hands_on_integers else self.thresholds

    @cached_property
    def output_shape(self) -> Shape:
        """Of what the layer hands on per channel: a level code; a score, ``acc + bias``."""
        if self._layer.thresholds is not None:
            return unsigned(self._layer.thresholds.shape[1].bit_length())
        least, greatest = (bound + self._layer.biases for bound in self.acc_bounds)
        if "bias" in self._learned:
            most = max(-int(self.acc_bounds[0].min()), int(self.acc_bounds[1].max()))
            found = int(np.abs(self._layer.biases).max())
            if found > most:
                raise InputError(
                    f"{self._layer.name}.bias: expected numbers up to {most}, the greatest sum, where they are "
                    f"loaded, found {found}"
                )
            return range_shape(-2 * most, 2 * most)
        return range_shape(min(int(least.min()), -1), int(greatest.max()))


def _range(values: IntArray, choices: IntArray | None) -> tuple[IntArray, IntArray]:
    """Least and greatest of values that may be any of the choices; without choices the values."""
    if choices is None:
        return values, values
    return np.full_like(values, choices.min()), np.full_like(values, choices.max())


def _both_ways(bounds: tuple[IntArray, IntArray]) -> IntArray:
    """``[-most, most]`` for the greatest magnitude within bounds, a row for each of their rows: [rows, 2]."""
    most = max(int(np.abs(bound).max()) for bound in bounds)
    return np.tile(np.array([-most, most], np.int64), (len(bounds[0]), 1))


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
