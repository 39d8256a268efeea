"""From a trained model to the integer network: batch norm, ReLU, bias and scales become integer thresholds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from torch import nn

from ..network import Graph, IntArray, Layer, Network
from ..network.graph import graph_of
from ..network.nodes import Conv
from .binarize import codes_of_bases
from .quantised import QuantisedLayer, quantise
from .stream import has_stream

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


def thresholds(quantised: QuantisedLayer, bounds: tuple[IntArray, IntArray]) -> IntArray:
    """The integer thresholds [C_out, levels - 1] of a layer whose acc lies within ``bounds``."""
    step = quantised.step
    assert step is not None
    rows = zip(step.a.tolist(), step.b.tolist(), *(bound.tolist() for bound in bounds), strict=True)
    return np.array(
        [
            [
                least_accumulator(a, b, t, relu=quantised.relu, least=least, greatest=greatest)
                for t in step.t.tolist()
            ]
            for a, b, least, greatest in rows
        ],
        np.int64,
    )


# -- the integer network ------------------------------------------------------------------------------------


def coded(quantised: QuantisedLayer) -> dict[str, Any]:
    """The fields of a convolution in the form of the hardware: level codes and integer coefficients."""
    codes, order = codes_of_bases(quantised.signs, quantised.weight_bases.kind)
    return {
        "weight_bases": quantised.weight_bases,
        "input_bases": quantised.input_bases,
        "weights": codes.permute(0, 2, 3, 1).numpy().astype(np.uint8),
        "alpha": quantised.alpha[:, order].numpy(),
        "alpha_scale": quantised.alpha_scale,
        "beta": quantised.beta.numpy(),
        "beta_scale": quantised.beta_scale,
    }


def to_layer(quantised: QuantisedLayer) -> Layer:
    """The layer in the form of the hardware: level codes, integer coefficients, integer thresholds."""
    step = quantised.step
    # a Layer knows the bounds of acc, which the thresholds need: first one with thresholds 0, which always fit
    zeros = None if step is None else np.zeros((quantised.signs.shape[1], step.t.numel()), np.int64)
    layer = Layer(
        name=quantised.name,
        in_shape=quantised.in_shape,
        kernel=quantised.kernel,
        stride=quantised.stride,
        padding=quantised.padding,
        **coded(quantised),
        pool=quantised.pool,
        thresholds=zeros,
        bias=None if quantised.bias is None else quantised.bias.numpy(),
    )
    if step is None:
        return layer
    return dataclasses.replace(layer, thresholds=thresholds(quantised, layer.acc_bounds))


def to_network(
    model: nn.Module, *, name: str, classes: Sequence[str], training: Mapping[str, Any] | None = None,
    in_shape: tuple[int, int, int] | None = None,
) -> Network | Graph:
    """The integer network of a trained model: a chain, or the graph of one with skip paths or padding that is not
    pixel 0.

    Parameters
    ----------
    name : of the network
    classes : one name per output
    training : what is to be kept about the training, JSON values
    in_shape : (H, W, C) of an image; None: what an :class:`~abc_hw.training.models.ABCNet` says itself

    Raises
    ------
    InputError
        a number of the model is not finite, the model breaks a rule of :mod:`abc_hw.network`, or it does what no
        network does; the line names the part of the module
    """
    if has_stream(model):
        from .graph_lowering import to_graph

        in_shape = in_shape or model.in_shape  # type: ignore[assignment]
        assert in_shape is not None  # a module of the user's own comes with an example
        return to_graph(model, in_shape, name=name, classes=classes, training=training)
    numbers = quantise(model, in_shape)
    layers = tuple(to_layer(quantised) for quantised in numbers)
    network = Network(name=name, layers=layers, classes=tuple(classes), training=dict(training or {}))
    if numbers[0].padding_codes is None:
        return network
    graph = graph_of(network)
    first, *rest = graph.nodes
    assert isinstance(first, Conv)  # of the first layer
    return dataclasses.replace(
        graph, nodes=(dataclasses.replace(first, padding_code=numbers[0].padding_codes), *rest)
    )
