"""The chain of fused layers: the integer network as trainer, golden model and generator share it.

Everything here is integers, and a chain: what one engine per layer computes. Networks that fork and join, or whose
layers are made of other parts, are graphs (:mod:`abc_hw.network.graph`), and so is every chain. A layer computes,
per output channel c::

    acc[c] = sum_m alpha[c, m] sum_n beta[n] (2 popcount(xnor(B[m, c], A[n])) - K)

and hands on ``level = #{n : acc >= thresholds[c, n]}``, max-pooled, as the next layer's code. The last layer
hands on ``acc + bias`` as scores. Source of the arithmetic: Lin, Zhao, Pan, "Towards Accurate Binary
Convolutional Neural Network", arXiv 1711.11294, equations 1 to 12.

All images and feature maps are H x W x C, channels innermost.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Collection, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from ..errors import NetworkError
from ..validation import shown
from . import limits, rules
from .bases import Bases, CodeArray, IntArray, ScaleForm
from .edges import Codes
from .fused import Fused
from .nodes import Conv, MaxPool, Node, Scores, Threshold, check_thresholds


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Layer:
    """One convolution (or fully connected layer) with all that follows it up to the next one.

    A fully connected layer is a convolution whose kernel covers its whole input: ``kernel == in_shape[:2]``,
    no padding.

    Members
    -------
    name : lower-case identifier, unique in the network
    in_shape : (H, W, C) of the input codes
    kernel, stride, padding : (height, width), one stride and one padding for both directions
    weight_bases, input_bases : how weight codes and input codes stand for M and N bases
    weights : uint8 codes, [C_out, kernel height, kernel width, C_in]
    alpha : int64 [C_out, M];  alpha_scale : its form
    beta : int64 [N];  beta_scale : its form
    pool : side and stride of the max-pool behind the layer, 1 for none; rows and columns left over are dropped
    thresholds : int64 [C_out, levels - 1], ascending, in the domain of acc; None in the classifier
    bias : int64 [C_out], added to the classifier's scores; None elsewhere
    """

    name: str
    in_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: int = 1
    padding: int = 0
    weight_bases: Bases
    input_bases: Bases
    weights: CodeArray
    alpha: IntArray
    alpha_scale: ScaleForm
    beta: IntArray
    beta_scale: ScaleForm
    pool: int = 1
    thresholds: IntArray | None = None
    bias: IntArray | None = None

    # -- shapes ---------------------------------------------------------------------------------------------

    @property
    def out_channels(self) -> int:
        return int(self.weights.shape[0])

    @property
    def is_classifier(self) -> bool:
        return self.thresholds is None

    @property
    def is_dense(self) -> bool:
        """Does one kernel cover the whole input?"""
        return self.kernel == self.in_shape[:2] and self.padding == 0

    @property
    def dot_length(self) -> int:
        """K: how many XNORs one popcount counts."""
        return self.kernel[0] * self.kernel[1] * self.in_shape[2]

    @property
    def conv_shape(self) -> tuple[int, int, int]:
        """(OH, OW, C_out) before pooling."""
        height, width = (
            (size + 2 * self.padding - kernel) // self.stride + 1
            for size, kernel in zip(self.in_shape[:2], self.kernel, strict=True)
        )
        return height, width, self.out_channels

    @property
    def out_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of what the layer hands on."""
        height, width, channels = self.conv_shape
        return height // self.pool, width // self.pool, channels

    @property
    def dots(self) -> int:
        """Convolution results of one channel summed over all channels: OH x OW x C_out."""
        height, width, channels = self.conv_shape
        return height * width * channels

    @property
    def binary_macs(self) -> int:
        """XNOR-and-count operations for one image."""
        return self.dots * self.dot_length * self.weight_bases.count * self.input_bases.count

    # -- ranges ---------------------------------------------------------------------------------------------

    @property
    def acc_bounds(self) -> tuple[IntArray, IntArray]:
        """Least and greatest value that acc can take (:attr:`abc_hw.network.nodes.Conv.acc_bounds`)."""
        return self.conv.acc_bounds

    # -- parts ----------------------------------------------------------------------------------------------

    @cached_property
    def conv(self) -> Conv:
        """The layer's convolution as a node of the layer's name, on the input of a network."""
        return Conv(
            name=self.name, inputs=("input",), kernel=self.kernel, stride=(self.stride,) * 2,
            padding=(self.padding,) * 4, weight_bases=self.weight_bases, input_bases=self.input_bases,
            weights=self.weights, alpha=self.alpha, alpha_scale=self.alpha_scale, beta=self.beta,
            beta_scale=self.beta_scale,
        )  # fmt: skip

    def with_weights(self, weights: CodeArray, alpha: IntArray) -> Layer:
        """With other weights and alphas of the same shapes."""
        return dataclasses.replace(self, weights=weights, alpha=alpha)

    @cached_property
    def fused(self) -> Fused:
        """The layer as an engine computes it."""
        return Fused(
            conv=self.conv, in_shape=self.in_shape, thresholds=self.thresholds, bias=self.bias, pool=self.pool
        )

    @property
    def threshold(self) -> Threshold:
        """The layer's thresholds as a node behind :attr:`conv`; ValueError in the classifier, which has none."""
        return self.fused.threshold

    @property
    def max_pool(self) -> MaxPool:
        """The layer's pool as a node behind :attr:`threshold`; squares of side 1 where it has none."""
        return self.fused.max_pool

    @property
    def scores(self) -> Scores:
        """The classifier's bias as a node behind :attr:`conv`; ValueError elsewhere."""
        return self.fused.scores

    def nodes(self, before: str, after: Bases | None) -> list[Node]:
        """The layer as nodes: a convolution of its name on the node ``before``, and what follows it.

        ``after`` are the bases of the codes that it hands on, None in the classifier.
        """
        conv = dataclasses.replace(self.conv, inputs=(before,))
        if after is None:
            return [conv, self.scores]
        threshold = dataclasses.replace(self.threshold, bases=after)
        return [conv, threshold, self.max_pool] if self.pool > 1 else [conv, threshold]

    # -- rules ----------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier() and self.name.islower()):
            raise NetworkError("layer name", "a lower-case identifier", shown(self.name))
        limits.check_name("layer name", self.name)
        for field, dtype in (("weights", np.uint8), *((field, np.int64) for field in _COEFFICIENTS)):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, rules.frozen(f"{self.name}.{field}", getattr(self, field), dtype))
        self._check_geometry()
        self._check_numbers()

    def _refuse(self, field: str, expected: str, found: object) -> None:
        raise NetworkError(f"{self.name}.{field}", expected, found)

    def _check_geometry(self) -> None:
        for field, length in (("in_shape", 3), ("kernel", 2)):
            object.__setattr__(self, field, rules.sides(f"{self.name}.{field}", getattr(self, field), length))
        for field, least in (("stride", 1), ("padding", 0), ("pool", 1)):
            rules.integer(f"{self.name}.{field}", getattr(self, field), least=least)
        if any(self.padding >= side for side in self.kernel):
            self._refuse("padding", f"less than the kernel's sides {self.kernel}", self.padding)
        if self.weights.ndim != 4 or self.weights.shape[1:] != (*self.kernel, self.in_shape[2]):
            kernel = " x ".join(map(str, (*self.kernel, self.in_shape[2])))
            self._refuse("weights", f"shape C_out x {kernel}", self.weights.shape)
        if min(self.conv_shape) < 1 and self.out_channels:
            self._refuse("kernel", f"at most the padded input {self.in_shape[:2]}", self.kernel)
        if min(self.out_shape) < 1 and self.out_channels:
            self._refuse("pool", f"at most the convolution's output {self.conv_shape[:2]}", self.pool)

    def _check_numbers(self) -> None:
        least, greatest = self.conv.acc_bounds
        if self.thresholds is None:
            self._check_classifier()
            return
        if self.bias is not None:
            self._refuse("bias", "none beside thresholds", "a tensor")
        check_thresholds(self.name, self.thresholds, self.out_channels)
        outside = (self.thresholds < least[:, None]) | (self.thresholds > greatest[:, None] + 1)
        if outside.any():
            channel = int(np.argwhere(outside)[0][0])
            self._refuse(
                "thresholds",
                f"values within [{least[channel]}, {greatest[channel] + 1}] in channel {channel}",
                self.thresholds[channel].tolist(),
            )

    def _check_classifier(self) -> None:
        if self.bias is None:
            self._refuse("bias", "one integer per class in a layer without thresholds", "none")
        elif self.bias.shape != (self.out_channels,):
            self._refuse("bias", f"shape {(self.out_channels,)}", self.bias.shape)
        rules.check_bias(f"{self.name}.bias", self.bias)
        if self.pool != 1:
            self._refuse("pool", "1 in the classifier", self.pool)
        if self.out_shape[:2] != (1, 1):
            self._refuse("kernel", "one output pixel in the classifier", self.out_shape[:2])


_COEFFICIENTS = ("alpha", "beta", "thresholds", "bias")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """Layers in order, the last one the classifier.

    Members
    -------
    name : identifier
    layers : at least one
    classes : one name per class
    training : what is known of how it was trained (JSON values), for people; it changes no bit
    """

    name: str
    layers: tuple[Layer, ...]
    classes: tuple[str, ...]
    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        object.__setattr__(self, "classes", tuple(self.classes))
        if not (isinstance(self.name, str) and self.name.replace("-", "_").isidentifier()):
            raise NetworkError("name", "letters, digits, - and _, a letter first", shown(self.name))
        if not self.layers:
            raise NetworkError("layers", "at least one layer", 0)
        names = [layer.name for layer in self.layers]
        limits.check_layers(len(names))
        if len(set(names)) != len(names):
            raise NetworkError("layers", "names that differ", shown(names))
        weights = 0
        for layer in self.layers:
            limits.check_shape(f"{layer.name}.in_shape", layer.in_shape)
            weights = limits.check_weights(layer.name, layer.weights.shape, weights)
        for where, name in (("name", self.name), *(("classes", name) for name in self.classes)):
            limits.check_name(where, name)
        for index, layer in enumerate(self.layers):
            if layer.is_classifier != (index == len(self.layers) - 1):
                raise NetworkError(f"{layer.name}.thresholds", "thresholds in every layer but the last", index)
        for before, after in itertools.pairwise(self.layers):
            self._check_joint(before, after)
        if len(self.classes) != self.layers[-1].out_channels:
            raise NetworkError(
                "classes", f"{self.layers[-1].out_channels} names, one per output", len(self.classes)
            )

    @staticmethod
    def _check_joint(before: Layer, after: Layer) -> None:
        if before.out_shape != after.in_shape:
            raise NetworkError(
                f"{after.name}.in_shape", f"{before.out_shape}, the output of {before.name}", after.in_shape
            )
        assert before.thresholds is not None  # every layer but the last has them, checked above
        if before.thresholds.shape[1] + 1 != after.input_bases.levels:
            raise NetworkError(
                f"{before.name}.thresholds",
                f"{after.input_bases.levels - 1} per channel for the bases of {after.name}",
                before.thresholds.shape[1],
            )

    signed = False
    """Images of a chain are unsigned codes."""

    @property
    def input(self) -> Codes:
        """The codes of an image."""
        return Codes(self.layers[0].input_bases, self.layers[0].in_shape)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of an image."""
        return self.layers[0].in_shape

    @cached_property
    def nodes_by_layer(self) -> tuple[tuple[Node, ...], ...]:
        """The nodes of each layer, its first one on the last of the layer before, or on "input"."""
        found: list[tuple[Node, ...]] = []
        following: list[Layer | None] = [*self.layers[1:], None]
        for layer, after in zip(self.layers, following, strict=True):
            before = found[-1][-1].name if found else "input"
            found.append(tuple(layer.nodes(before, after.input_bases if after else None)))
        return tuple(found)

    @property
    def binary_macs(self) -> int:
        """XNOR-and-count operations for one image."""
        return sum(layer.binary_macs for layer in self.layers)

    @property
    def weight_bits(self) -> int:
        """Bits of all weight codes."""
        return sum(layer.weights.size * layer.weight_bases.bits for layer in self.layers)

    def learned(self, layer: Layer) -> frozenset[str]:
        """Names of the layer's tensors that another training may change: all but the betas of the images'
        bit-planes, which are their number format, and the coefficients of a single basis that weighs +-1, as any
        training leaves it."""
        found = {"weights", "thresholds" if layer.bias is None else "bias"}
        if layer.weight_bases.count > 1 or (np.abs(layer.alpha) != 1).any():
            found.add("alpha")
        image = layer is self.layers[0] and layer.input_bases.kind == "planes"
        if not image and (layer.input_bases.count > 1 or (layer.beta != 1).any()):
            found.add("beta")
        return frozenset(found)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides a bit; equal digests mean equal scores on every image."""
        return self._sha256(lambda layer: ())

    @cached_property
    def constants_digest(self) -> str:
        """SHA-256 over all but the weights' codes: networks with equal ones differ in their weights at most."""
        return self._sha256(lambda layer: ("weights",))

    @cached_property
    def shape_digest(self) -> str:
        """SHA-256 over all but what another training may change (:meth:`learned`): shapes, bases and the forms of
        coefficients. A design that takes all of that serves every network with an equal one."""
        sha = hashlib.sha256(self._sha256(lambda layer: self.learned(layer) | {"alpha"}).encode())
        for layer in self.layers:
            forms = [
                dataclasses.asdict(form) if name in self.learned(layer) else None
                for name, form in (("alpha", layer.alpha_scale), ("beta", layer.beta_scale))
            ]
            sizes = {name: np.shape(getattr(layer, name)) for name in sorted(self.learned(layer))}
            sha.update(json.dumps([forms, sizes]).encode())
        return sha.hexdigest()

    def _sha256(self, without: Callable[[Layer], Collection[str]]) -> str:
        sha = hashlib.sha256()
        for layer in self.layers:
            for field in dataclasses.fields(layer):
                if field.name in without(layer):
                    continue
                value = getattr(layer, field.name)
                if isinstance(value, np.ndarray):
                    sha.update(json.dumps([field.name, value.shape]).encode() + value.tobytes())
                elif field.name not in ("name", "alpha_scale", "beta_scale"):
                    plain = dataclasses.asdict(value) if isinstance(value, Bases) else value
                    sha.update(json.dumps([field.name, plain]).encode())
        return sha.hexdigest()
