"""Networks without training: a TOML description becomes an integer network with random weights.

Such a network has the size, the cost and the arithmetic of a trained one and no knowledge: it is for trying
hardware before there is a trained network, and for tests. A description reads::

    name = "tiny"
    input_shape = [8, 8, 1]        # H, W, C of an image
    classes = 3                    # how many, or a list of names
    M = 2                          # weight bases, for layers that do not say otherwise
    N = 2                          # activation bases, likewise

    [[layers]]
    kind = "conv"
    out_channels = 4
    kernel = 3
    pool = 2
    folding = { simd = 3, pe = 2 }

    [[layers]]                     # the last layer is the classifier, one output per class
    kind = "dense"

:class:`Description` and :class:`LayerDescription` list every field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ..errors import InputError, NetworkError
from ..reading import parse_toml, read_toml
from ..validation import validate
from . import MAX_BASES, Bases, BasesKind, IntArray, Layer, Network, ScaleForm, ScaleKind, limits
from .limits import Name, Side

Folding = dict[str, dict[str, int]]
"""Layer name to the folding knobs (simd, pe, mp, np, px) that a description sets."""

Count = Annotated[int, Field(ge=1, le=MAX_BASES, strict=True)]


def _square(kernel: Any) -> Any:
    return (kernel, kernel) if type(kernel) is int else kernel


def names(classes: Any) -> Any:
    """Classes as a description says them, a number or their names, as names."""
    if type(classes) is int:
        if classes > limits.MAX_SIDE:
            raise ValueError(f"at most {limits.MAX_SIDE} of them")
        classes = tuple(map(str, range(classes)))
    if isinstance(classes, list | tuple) and len(classes):
        return classes
    raise ValueError("a positive number or a list of names")


SAMPLES = 256
"""Random windows whose accumulators decide where random thresholds go."""

BLOCK = 1 << 22
"""Weights or inputs that are looked at together; it bounds memory and changes no result."""

Knob = Annotated[int, Field(ge=1, le=limits.MAX_DOT, strict=True)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ScaleDescription(_Table):
    """See :class:`abc_hw.network.ScaleForm`."""

    kind: ScaleKind = "csd"
    bits: Annotated[int, Field(ge=1, le=16, strict=True)] = 6
    terms: Annotated[int, Field(ge=1, le=4, strict=True)] = 2

    @property
    def form(self) -> ScaleForm:
        return ScaleForm(kind=self.kind, bits=self.bits, terms=self.terms)


class FoldingDescription(_Table):
    """How much of a layer is computed at once; what is not given is left to the generator."""

    simd: Knob | None = None
    pe: Knob | None = None
    mp: Knob | None = None
    np: Knob | None = None
    px: Knob | None = None


class LayerDescription(_Table):
    """One layer.

    Members
    -------
    kind : ``conv``, or ``dense`` for a kernel that covers the whole input
    name : conv1, conv2, dense3 and so on (by position) when not given
    out_channels : needed in every layer but the last, which has one per class
    kernel : side, or [height, width]; needed in ``conv`` and fixed in ``dense``
    stride, padding, pool : as in :class:`abc_hw.network.Layer`
    M, N : weight and input bases; the first layer's input is the image and has no N
    scale : form of alpha and beta
    folding : knobs for the generator
    """

    kind: Literal["conv", "dense"]
    name: Name | None = None
    out_channels: Side | None = None
    kernel: Annotated[tuple[Side, Side] | None, BeforeValidator(_square)] = None
    stride: Side = 1
    padding: Annotated[int, Field(ge=0, le=limits.MAX_SIDE, strict=True)] = 0
    pool: Side = 1
    M: Count | None = None
    N: Count | None = None
    scale: ScaleDescription | None = None
    folding: FoldingDescription | None = None


class Description(_Table):
    """A whole network.

    Members
    -------
    name : the network's
    input_shape : (H, W, C)
    input_bits : bits of a pixel, each one basis: 8 takes bytes as they are
    classes : how many, or their names
    seed : of the random weights; equal seeds give equal networks
    M, N, scale : for the layers that do not say otherwise
    bases : ``thermometer``, those of the paper, M + 1 levels of a weight; ``planes``, residual signs, 2^M of them
    layers : in order, the last one the classifier
    """

    name: Name
    input_shape: tuple[Side, Side, Side]
    input_bits: Count = 8
    classes: Annotated[tuple[Name, ...], Field(max_length=limits.MAX_SIDE), BeforeValidator(names)]
    seed: Annotated[int, Field(ge=0, lt=1 << 63, strict=True)] = 1
    M: Count = 3
    N: Count = 3
    scale: ScaleDescription = ScaleDescription()
    bases: BasesKind = "thermometer"
    layers: Annotated[tuple[LayerDescription, ...], Field(min_length=1, max_length=limits.MAX_LAYERS)]

    @property
    def layer_names(self) -> tuple[str, ...]:
        return tuple(layer.name or f"{layer.kind}{index}" for index, layer in enumerate(self.layers, 1))

    @property
    def folding(self) -> Folding:
        """The knobs that are set, by layer name."""
        return {
            name: layer.folding.model_dump(exclude_none=True)
            for name, layer in zip(self.layer_names, self.layers, strict=True)
            if layer.folding is not None
        }

    def network(self) -> Network:
        """The network with random weights, coefficients and thresholds.

        Raises
        ------
        InputError : layers that do not fit each other; the message names the layer and field
        """
        rng = np.random.default_rng(self.seed)
        layers: list[Layer] = []
        shape: tuple[int, int, int] = self.input_shape
        limits.check_shape("input_shape", shape)
        weights = 0
        for index in range(len(self.layers)):
            sizes = self._weight_shape(index, shape)
            weights = limits.check_weights(self.layer_names[index], sizes, weights)
            layers.append(self._layer(rng, index, shape, sizes))
            shape = layers[-1].out_shape
        training = {"note": "random weights, not trained", "seed": self.seed}
        return Network(name=self.name, layers=tuple(layers), classes=self.classes, training=training)

    def _weight_shape(self, index: int, shape: tuple[int, int, int]) -> tuple[int, int, int, int]:
        """[C_out, kernel height, kernel width, C_in] of a layer whose input has that shape."""
        layer, name = self.layers[index], self.layer_names[index]
        channels = layer.out_channels
        if index == len(self.layers) - 1:
            channels = channels or len(self.classes)
        if channels is None:
            raise NetworkError(f"{name}.out_channels", "a number in every layer but the last", "none")
        return (channels, *_kernel(layer, name, shape), shape[2])

    def _layer(
        self, rng: np.random.Generator, index: int, shape: tuple[int, int, int], sizes: tuple[int, int, int, int]
    ) -> Layer:
        layer, name, last = self.layers[index], self.layer_names[index], index == len(self.layers) - 1
        if index == 0 and layer.N is not None:
            raise NetworkError(f"{name}.N", "none in the first layer, whose input is the image", layer.N)
        after = None if last else Bases(kind=self.bases, count=self.layers[index + 1].N or self.N)
        form = (layer.scale or self.scale).form
        image = index == 0
        return random_layer(
            rng,
            name=name,
            in_shape=shape,
            out_channels=sizes[0],
            kernel=sizes[1:3],
            stride=layer.stride,
            padding=layer.padding,
            M=layer.M or self.M,
            N=self.input_bits if image else layer.N or self.N,
            weight_kind=self.bases,
            input_kind="planes" if image else self.bases,
            powers=("inputs",) if image else (),
            alpha_scale=form,
            beta_scale=ScaleForm(kind="pow2", bits=self.input_bits) if image else form,
            pool=layer.pool,
            levels=after.levels if after else None,
        )


def read(path: str | Path) -> Description:
    """Read a TOML description.

    Raises
    ------
    InputError : not readable, no TOML, or a field that breaks its rule; one line that names file and field
    """
    return validate(Description, read_toml(path, "a readable description"), str(path))


def parse(text: str, where: str) -> Description:
    """The description in a text; ``where`` is the name that messages give it.

    Raises
    ------
    InputError : no TOML, or a field that breaks its rule
    """
    return validate(Description, parse_toml(text.encode(errors="surrogatepass"), where), where)


def load(path: str | Path) -> tuple[Network, Folding]:
    """Read a TOML description and make its network: ``(network, folding knobs by layer name)``.

    Raises
    ------
    InputError : see :func:`read`, and layers that do not fit each other
    """
    description = read(path)
    try:
        return description.network(), description.folding
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


# -- random weights -----------------------------------------------------------------------------------------


def random_layer(
    rng: np.random.Generator,
    *,
    name: str,
    in_shape: tuple[int, int, int],
    out_channels: int,
    kernel: tuple[int, int],
    stride: int = 1,
    padding: int = 0,
    M: int = 3,
    N: int = 3,
    weight_kind: BasesKind = "thermometer",
    input_kind: BasesKind = "thermometer",
    alpha_scale: ScaleForm | None = None,
    beta_scale: ScaleForm | None = None,
    pool: int = 1,
    levels: int | None,
    plain: bool = True,
    powers: Collection[str] = ("weights", "inputs"),
    extremes: bool = False,
) -> Layer:
    """A valid layer with random weights and coefficients.

    Parameters
    ----------
    levels : codes that the next layer takes; None makes a classifier with random bias
    plain : a single basis weighs +-1, other coefficients are not zero: what training gives. Otherwise every
        coefficient is any value of its form, zero included
    powers : of ``weights`` and ``inputs`` those whose bit-planes weigh 1, 2, 4..., where the form allows that, if
        ``plain``; others weigh what comes out, ascending, as residual signs do
    extremes : put thresholds of some channels at both ends of the accumulator's range; otherwise they are
        where random inputs make all levels about equally frequent

    Raises
    ------
    NetworkError : sizes that make no layer
    """
    alpha_scale = alpha_scale or ScaleForm()
    beta_scale = beta_scale or ScaleForm()
    weight_bases, input_bases = Bases(kind=weight_kind, count=M), Bases(kind=input_kind, count=N)
    if plain:
        alpha = _plain_coefficients(rng, weight_bases, alpha_scale, (out_channels, M), "weights" in powers)
        alpha *= rng.choice([-1, 1], (out_channels, 1)) if M == 1 or weight_kind == "planes" else 1
        beta = _plain_coefficients(rng, input_bases, beta_scale, (N,), "inputs" in powers)
    else:
        alpha = rng.choice(alpha_scale.allowed, (out_channels, M))
        beta = rng.choice(beta_scale.allowed, N)
    weights = rng.integers(weight_bases.levels, size=(out_channels, *kernel, in_shape[2]), dtype=np.uint8)
    draft = Layer(  # thresholds of 0 are always in range, for code 0 and the highest code are opposites
        name=name,
        in_shape=in_shape,
        kernel=kernel,
        stride=stride,
        padding=padding,
        weight_bases=weight_bases,
        input_bases=input_bases,
        weights=weights,
        alpha=alpha,
        alpha_scale=alpha_scale,
        beta=beta,
        beta_scale=beta_scale,
        pool=pool,
        thresholds=np.zeros((out_channels, 1), np.int64),
    )
    samples = _sample_accumulators(rng, draft)
    if levels is None:
        spread = int(samples.std()) + 1
        bias = rng.integers(-spread, spread + 1, out_channels) - samples.mean(axis=0).astype(np.int64)
        return dataclasses.replace(draft, thresholds=None, bias=bias)
    share = np.arange(1, levels) / levels
    thresholds = np.quantile(samples, share ** (1 / pool**2), axis=0, method="higher").T.astype(np.int64)
    if extremes:
        least, greatest = draft.acc_bounds
        ends = np.stack([least, least + 1, greatest, greatest + 1], axis=1)
        picks = np.sort(rng.integers(4, size=thresholds.shape), axis=1)
        at_ends = np.take_along_axis(ends, picks, axis=1)
        thresholds = np.where(rng.random((out_channels, 1)) < 0.5, np.sort(at_ends, axis=1), thresholds)
    return dataclasses.replace(draft, thresholds=thresholds)


def _plain_coefficients(
    rng: np.random.Generator, bases: Bases, form: ScaleForm, shape: tuple[int, ...], in_powers: bool
) -> IntArray:
    powers = 1 << np.arange(bases.count)
    if bases.count == 1:
        return np.ones(shape, np.int64)
    if bases.kind == "planes" and in_powers and form.allows(powers).all():
        return np.broadcast_to(powers, shape).copy()
    if bases.kind == "planes":
        return np.sort(rng.choice(form.allowed[form.allowed > 0], shape))
    return rng.choice(form.allowed[form.allowed != 0], shape)


def _sample_accumulators(rng: np.random.Generator, layer: Layer) -> IntArray:
    """acc of random windows: ``[SAMPLES, C_out]``."""
    codes = layer.weights.reshape(layer.out_channels, -1)
    level_values = layer.weight_bases.values(layer.alpha)
    input_values = layer.input_bases.values(layer.beta).astype(np.float64)
    acc = np.empty((SAMPLES, layer.out_channels), np.int64)
    at_once = max(1, BLOCK // layer.dot_length)
    for row in range(0, SAMPLES, at_once):
        rows = slice(row, min(row + at_once, SAMPLES))
        inputs = input_values[rng.integers(layer.input_bases.levels, size=(rows.stop - row, layer.dot_length))]
        for channel in range(0, layer.out_channels, at_once):
            some = slice(channel, channel + at_once)
            values = np.take_along_axis(level_values[some], codes[some].astype(np.int64), axis=1)
            acc[rows, some] = inputs @ values.T.astype(np.float64)  # exact, |acc| < 2**46
    return acc


def _kernel(layer: LayerDescription, name: str, shape: tuple[int, int, int]) -> tuple[int, int]:
    if layer.kind == "dense":
        for field, unset in (("kernel", None), ("stride", 1), ("padding", 0)):
            if (value := getattr(layer, field)) != unset:
                raise NetworkError(f"{name}.{field}", "no kernel, stride or padding in a dense layer", value)
        return shape[0], shape[1]
    if layer.kernel is None:
        raise NetworkError(f"{name}.kernel", "a side or [height, width] in a conv layer", "none")
    return layer.kernel
