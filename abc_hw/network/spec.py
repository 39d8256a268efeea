"""The integer network: the one description that trainer, golden model and generator share.

Everything here is integers. A *basis* is a tensor of +-1 with an integer coefficient; a value is stored as
a *code* that stands for all its bases at once (:class:`Bases`). A layer computes, per output channel c::

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
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import NetworkError

IntArray = npt.NDArray[np.int64]
CodeArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

BasesKind = Literal["thermometer", "planes"]
ScaleKind = Literal["fixed", "csd", "pow2"]

MAX_BASES = 8
"""Most bases a value may have; a code then fits one byte in either encoding."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bases:
    """How a code stands for ``count`` bases of +-1.

    ``thermometer``: codes 0..count; basis n is +1 where ``code > n`` (the bases of one real number cut at
    ordered thresholds). ``planes``: codes 0..2**count - 1; basis n is +1 where bit n of the code is 1.
    Code 0 is every basis at -1 in both, which is also what padding means.
    """

    kind: BasesKind
    count: int

    def __post_init__(self) -> None:
        if self.kind not in ("thermometer", "planes"):
            raise NetworkError("bases.kind", "thermometer or planes", repr(self.kind))
        if type(self.count) is not int or not 1 <= self.count <= MAX_BASES:
            raise NetworkError("bases.count", f"an integer from 1 to {MAX_BASES}", repr(self.count))

    @property
    def levels(self) -> int:
        """How many codes there are."""
        return self.count + 1 if self.kind == "thermometer" else 1 << self.count

    @property
    def bits(self) -> int:
        """Bits that hold a code."""
        return (self.levels - 1).bit_length()

    def expand(self, codes: npt.NDArray[Any]) -> BoolArray:
        """Bases of ``codes`` (any shape) as booleans, True for +1, in a new last axis of ``count``."""
        index = np.arange(self.count)
        if self.kind == "thermometer":
            return np.asarray(codes)[..., None] > index
        return ((np.asarray(codes)[..., None] >> index) & 1).astype(bool)

    def values(self, coefficients: npt.NDArray[Any]) -> IntArray:
        """Sum of coefficient x basis for each code: ``[..., count] -> [..., levels]``."""
        signs = np.where(self.expand(np.arange(self.levels)), 1, -1)
        return np.asarray(coefficients, np.int64) @ signs.T.astype(np.int64)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScaleForm:
    """Which integers a coefficient may be, hence what multiplies by it in hardware.

    ``fixed``: signed ``bits``-bit integers (a multiplier). ``csd``: sums of at most ``terms`` signed powers of
    two 2**0 .. 2**(bits-1) (shift-and-add). ``pow2``: one such term (a shift).
    """

    kind: ScaleKind = "csd"
    bits: int = 6
    terms: int = 2

    def __post_init__(self) -> None:
        if self.kind not in ("fixed", "csd", "pow2"):
            raise NetworkError("scale.kind", "fixed, csd or pow2", repr(self.kind))
        if type(self.bits) is not int or not 1 <= self.bits <= 16:
            raise NetworkError("scale.bits", "an integer from 1 to 16", repr(self.bits))
        if type(self.terms) is not int or not 1 <= self.terms <= 4:
            raise NetworkError("scale.terms", "an integer from 1 to 4", repr(self.terms))
        if self.kind == "pow2" and self.terms != 1:
            object.__setattr__(self, "terms", 1)

    @cached_property
    def allowed(self) -> IntArray:
        """Every integer of this form, ascending."""
        if self.kind == "fixed":
            half = 1 << (self.bits - 1)
            return np.arange(-half, max(half, 2), dtype=np.int64)
        return np.array(sorted(_power_sums(self.bits, self.terms)), np.int64)

    def allows(self, values: npt.NDArray[Any]) -> BoolArray:
        """Elementwise: can this form hold the value?"""
        return np.isin(values, self.allowed)

    def terms_of(self, value: int) -> tuple[tuple[int, int], ...]:
        """The (sign, shift) terms whose sum is ``value``, fewest first; ``csd`` and ``pow2`` only."""
        return _power_sums(self.bits, self.terms)[int(value)]


@lru_cache
def _power_sums(bits: int, terms: int) -> dict[int, tuple[tuple[int, int], ...]]:
    sums: dict[int, tuple[tuple[int, int], ...]] = {0: ()}
    powers = [(sign, shift) for shift in range(bits) for sign in (1, -1)]
    for count in range(1, terms + 1):
        for chosen in itertools.combinations(powers, count):
            sums.setdefault(sum(sign << shift for sign, shift in chosen), chosen)
    return sums


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

    @cached_property
    def acc_bounds(self) -> tuple[IntArray, IntArray]:
        """Least and greatest value that acc can take, per channel, over all inputs: two int64 [C_out].

        Exact: each input position contributes its own least (greatest) weight value x input value.
        """
        weight_values = self.weight_bases.values(self.alpha)  # [C_out, weight levels]
        input_values = self.input_bases.values(self.beta)
        low_in, high_in = int(input_values.min()), int(input_values.max())
        codes = self.weights.reshape(self.out_channels, -1)
        per_position = np.take_along_axis(weight_values, codes.astype(np.int64), axis=1)
        greatest = np.maximum(per_position * low_in, per_position * high_in).sum(axis=1)
        least = np.minimum(per_position * low_in, per_position * high_in).sum(axis=1)
        return least, greatest

    # -- rules ----------------------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        self._freeze("weights", np.uint8)
        for field in ("alpha", "beta", "thresholds", "bias"):
            if getattr(self, field) is not None:
                self._freeze(field, np.int64)
        self._check_geometry()
        self._check_numbers()

    def _refuse(self, field: str, expected: str, found: object) -> None:
        raise NetworkError(f"{self.name}.{field}", expected, found)

    def _freeze(self, field: str, dtype: type) -> None:
        array = np.asarray(getattr(self, field))
        if array.dtype.kind not in "iu":
            self._refuse(field, "integers", f"{array.dtype}")
        frozen: npt.NDArray[Any] = array.astype(dtype)
        if not np.array_equal(frozen, array):
            self._refuse(field, f"values that fit {np.dtype(dtype)}", f"values up to {array.max()}")
        frozen.setflags(write=False)
        object.__setattr__(self, field, frozen)

    def _check_geometry(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier() and self.name.islower()):
            raise NetworkError("layer name", "a lower-case identifier", repr(self.name))
        for field, length in (("in_shape", 3), ("kernel", 2)):
            value = tuple(getattr(self, field))
            if len(value) != length or any(type(side) is not int or side < 1 for side in value):
                self._refuse(field, f"{length} positive integers", value)
            object.__setattr__(self, field, value)
        for field, least in (("stride", 1), ("padding", 0), ("pool", 1)):
            value = getattr(self, field)
            if type(value) is not int or value < least:
                self._refuse(field, f"an integer >= {least}", repr(value))
        if any(self.padding >= side for side in self.kernel):
            self._refuse("padding", f"less than the kernel's sides {self.kernel}", self.padding)
        if self.weights.ndim != 4 or self.weights.shape[1:] != (*self.kernel, self.in_shape[2]):
            kernel = " x ".join(map(str, (*self.kernel, self.in_shape[2])))
            self._refuse("weights", f"shape C_out x {kernel}", self.weights.shape)
        if self.out_channels < 1:
            self._refuse("weights", "at least one output channel", 0)
        if min(self.conv_shape) < 1:
            self._refuse("kernel", f"at most the padded input {self.in_shape[:2]}", self.kernel)
        if min(self.out_shape) < 1:
            self._refuse("pool", f"at most the convolution's output {self.conv_shape[:2]}", self.pool)

    def _check_numbers(self) -> None:
        m, n, channels = self.weight_bases.count, self.input_bases.count, self.out_channels
        if int(self.weights.max()) >= self.weight_bases.levels:
            self._refuse("weights", f"codes below {self.weight_bases.levels}", int(self.weights.max()))
        if self.alpha.shape != (channels, m):
            self._refuse("alpha", f"shape {(channels, m)}", self.alpha.shape)
        if self.beta.shape != (n,):
            self._refuse("beta", f"shape {(n,)}", self.beta.shape)
        for field in ("alpha", "beta"):
            values, form = getattr(self, field), getattr(self, f"{field}_scale")
            if not form.allows(values).all():
                bad = values[~form.allows(values)].flat[0]
                self._refuse(field, f"values of form {form.kind} with {form.bits} bits", int(bad))
        least, greatest = self.acc_bounds
        if max(abs(int(least.min())), abs(int(greatest.max()))) >= 1 << 46:
            self._refuse("alpha", "accumulators below 2**46", int(greatest.max()))
        if self.thresholds is None:
            self._check_classifier()
            return
        if self.bias is not None:
            self._refuse("bias", "none beside thresholds", "a tensor")
        if self.thresholds.ndim != 2 or self.thresholds.shape[0] != channels or self.thresholds.shape[1] < 1:
            self._refuse("thresholds", f"shape {channels} x (levels - 1)", self.thresholds.shape)
        unsorted = np.flatnonzero((np.diff(self.thresholds, axis=1) < 0).any(axis=1))
        if unsorted.size:
            channel = int(unsorted[0])
            self._refuse(
                "thresholds", "ascending values in each channel",
                f"{self.thresholds[channel].tolist()} in channel {channel}",
            )
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
        elif (far := (self.bias <= -(1 << 46)) | (self.bias >= 1 << 46)).any():
            self._refuse("bias", "values below 2**46", int(self.bias[far][0]))
        if self.pool != 1:
            self._refuse("pool", "1 in the classifier", self.pool)
        if self.out_shape[:2] != (1, 1):
            self._refuse("kernel", "one output pixel in the classifier", self.out_shape[:2])


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
            raise NetworkError("name", "letters, digits, - and _", repr(self.name))
        if not self.layers:
            raise NetworkError("layers", "at least one layer", 0)
        names = [layer.name for layer in self.layers]
        if len(set(names)) != len(names):
            raise NetworkError("layers", "names that differ", names)
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

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of an image."""
        return self.layers[0].in_shape

    @property
    def binary_macs(self) -> int:
        """XNOR-and-count operations for one image."""
        return sum(layer.binary_macs for layer in self.layers)

    @cached_property
    def digest(self) -> str:
        """SHA-256 over all that decides a bit; equal digests mean equal scores on every image."""
        return self._sha256(without=())

    @cached_property
    def constants_digest(self) -> str:
        """SHA-256 over all but the weights' codes: networks with equal ones differ in their weights at most."""
        return self._sha256(without=("weights",))

    def _sha256(self, *, without: tuple[str, ...]) -> str:
        sha = hashlib.sha256()
        for layer in self.layers:
            for field in dataclasses.fields(layer):
                if field.name in without:
                    continue
                value = getattr(layer, field.name)
                if isinstance(value, np.ndarray):
                    sha.update(json.dumps([field.name, value.shape]).encode() + value.tobytes())
                elif field.name not in ("name", "alpha_scale", "beta_scale"):
                    plain = dataclasses.asdict(value) if isinstance(value, Bases) else value
                    sha.update(json.dumps([field.name, plain]).encode())
        return sha.hexdigest()
