"""Convolutions and matrix products of whole weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from ..errors import InputError
from ..network.edges import Codes
from ..network.nodes import Conv
from . import onnx_sums
from .onnx_reading import Operation
from .onnx_state import BETA_FORM, Number, Walk, channels_first, one_or_all, plane_betas
from .onnx_sums import affine_of, window
from .onnx_weights import ALPHA_FORM, Weights, as_bases
from .values import Affine, Factors, Steps

__all__ = ["HANDLERS"]


def _weights(walk: Walk, operation: Operation) -> Weights:
    """The second input: whole numbers and scales.

    Raises
    ------
    InputError
        if it depends on the image, or is not quantised.
    """
    value = walk.get(operation.inputs[1])
    if isinstance(value, Number):
        raise InputError(f"{operation.place}: expected constant weights, found an input that is none")
    if isinstance(value, Weights):
        return value
    if (value != np.round(value)).any() or np.abs(value).max() > 128:
        raise InputError(
            f"{operation.place}: expected quantised weights (Quant or BipolarQuant in front), found real numbers"
        )
    return Weights(value.astype(np.int64), np.ones((1,) * value.ndim))


def _conv(walk: Walk, operation: Operation) -> str:
    number = walk.codes(operation, walk.number(operation))
    spatial = number.spatial(operation)
    weights = _weights(walk, operation)
    size, stride, padding = window(operation, spatial, list(weights.whole.shape[2:]))
    top, bottom, left, right = (own + given for own, given in zip(padding, number.pads, strict=True))
    scales = weights.scales(0, operation.place)
    whole = weights.whole.reshape(*weights.whole.shape[:2], *size).transpose(0, 2, 3, 1)
    groups = int(operation.attributes.get("group", 1))
    found = _emit(
        walk, operation, number, whole, scales, stride=stride, padding=(top, bottom, left, right), groups=groups
    )
    if len(operation.inputs) > 2 and operation.inputs[2]:
        bias = walk.constant(operation, 2).reshape(-1, *(1,) * spatial)
        found = found.then(Affine((Fraction(1),), walk.per_channel(operation, found, bias)))
    walk.put(operation.outputs[0], found)
    return _said(walk, found)


def _matrix_product(walk: Walk, operation: Operation) -> str:
    """MatMul and Gemm with constant weights: a dense layer."""
    number = walk.codes(operation, walk.number(operation))
    if number.place.ndim != 1:
        raise InputError(f"{operation.place}: expected a vector of features, found {number.place.ndim} axes")
    weights = _weights(walk, operation)
    said = operation.attributes
    if said.get("transA", 0) or said.get("alpha", 1.0) != 1 or said.get("beta", 1.0) != 1:
        raise InputError(f"{operation.place}: expected alpha and beta of 1 and transA of 0")
    if weights.whole.ndim != 2:
        raise InputError(f"{operation.place}: expected a matrix of weights, found {weights.whole.ndim} axes")
    if not said.get("transB", 0):
        weights = weights.permuted((1, 0))
    features = weights.whole.shape[1]
    if features != number.place.size:
        raise InputError(f"{operation.place}: expected {number.place.size} rows of weights, found {features}")
    whole = np.empty_like(weights.whole)
    whole[:, number.place] = weights.whole  # from the tensor's order to the map's
    height, width, channels = number.edge.shape
    found = _emit(
        walk, operation, number, whole.reshape(-1, height, width, channels),
        weights.scales(0, operation.place), stride=(1, 1), padding=(0, 0, 0, 0), groups=1,
    )
    if len(operation.inputs) > 2 and operation.inputs[2]:
        found = found.then(Affine((Fraction(1),), walk.per_channel(operation, found, walk.constant(operation, 2))))
    walk.put(operation.outputs[0], found)
    return _said(walk, found)


def _emit(
    walk: Walk, operation: Operation, number: Number, whole: np.ndarray, scales: Factors, *,
    stride: tuple[int, int], padding: tuple[int, int, int, int], groups: int,
) -> Number:
    """The convolution of codes with whole weights [C_out, height, width, C / groups] and their scales.

    A code stands for ``step code + start``; its bit-planes give ``v = 2 code - (levels - 1)``. So the real sum is
    ``step scale / (2 factor) acc + (start + step (levels - 1) / 2) scale sum(whole)``.
    """
    assert isinstance(number.edge, Codes)
    affine = affine_of(operation, number)
    if len(affine.factor) > 1 or len(affine.offset) > 1:
        raise InputError(f"{operation.place}: expected one scale for all channels of its input, found several")
    (step,), (start,) = affine.factor, affine.offset
    bases = number.edge.bases
    middle = start + step * Fraction(bases.levels - 1, 2)
    form = as_bases(whole, operation.place)
    node = Conv(
        name=walk.name("conv"), inputs=(walk.source_of(number),), kernel=whole.shape[1:3], stride=stride,
        padding=padding, padding_code=_padding_code(operation, bases.levels, step, start, padding), groups=groups,
        weight_bases=form.bases, input_bases=bases, weights=form.codes,
        alpha=np.tile(np.array(form.alpha, np.int64), (whole.shape[0], 1)), alpha_scale=ALPHA_FORM,
        beta=plane_betas(bases), beta_scale=BETA_FORM,
    )
    edge = walk.emit(node, number.edge)
    sums = [int(total) for total in whole.reshape(whole.shape[0], -1).sum(axis=1)]
    back = Affine(
        one_or_all(tuple(step * scale / (2 * form.factor) for scale in scales)),
        one_or_all(tuple(middle * scale * total for scale, total in zip(scales, sums, strict=True))),
    )
    return Number(node.name, edge, channels_first(edge.shape, number.place.ndim), Steps((back,)))


def _padding_code(
    operation: Operation, levels: int, step: Fraction, start: Fraction, padding: tuple[int, int, int, int]
) -> int | None:
    """The code that stands for 0; None where positions outside count nothing."""
    if not any(padding):
        return 0
    zero = -start / step
    if zero.denominator == 1 and 0 <= zero < levels:
        return int(zero)
    if start + step * Fraction(levels - 1, 2):
        raise InputError(
            f"{operation.place}: expected padding with a number that its input can be, found 0, which it can not"
        )
    return None


def _said(walk: Walk, found: Number) -> str:
    node = walk.nodes[-1]
    assert isinstance(node, Conv)
    return f"{node.weight_bases.count} x {node.input_bases.count} bases: {found.node}"


HANDLERS: Mapping[str, Callable[[Walk, Operation], str]] = {
    "Conv": _conv, "MatMul": _matrix_product, "Gemm": _matrix_product, **onnx_sums.HANDLERS,
}
