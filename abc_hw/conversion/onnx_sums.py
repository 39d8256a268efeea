"""Sums of what depends on the image: the addition of two tensors, and pools."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from ..errors import InputError
from ..network.bases import ScaleForm
from ..network.edges import Integers
from ..network.nodes import Add, MaxPool, Requantise, SumPool
from .onnx_reading import Operation
from .onnx_state import Number, Walk, channels_first, one_or_all
from .values import Affine, Factors, Steps

__all__ = ["HANDLERS", "add_numbers", "affine_of", "window"]

FACTOR_BITS = 16

FACTOR_FORM = ScaleForm(kind="fixed", bits=FACTOR_BITS)


def affine_of(operation: Operation, number: Number) -> Affine:
    """The steps of a tensor as one affine function of its integers.

    Raises
    ------
    InputError
        if a ReLU or clip stands among them.
    """
    if number.steps.affine is None:
        raise InputError(
            f"{operation.place}: expected a quantiser between it and the ReLU or Clip in front, found none"
        )
    return number.steps.affine


def _each(values: Factors, channels: int) -> Factors:
    return values * channels if len(values) == 1 else values


def add_numbers(walk: Walk, operation: Operation) -> str:
    """Add or Sub of two tensors: integers on one common step, which must exist."""
    one, other = (walk.number(operation, index) for index in (0, 1))
    if one.place.shape != other.place.shape or (one.place != other.place).any():
        shapes = [" x ".join(map(str, value.place.shape)) for value in (one, other)]
        found = " and ".join(shapes)
        raise InputError(f"{operation.place}: expected inputs of equal shape and order, found {found}")
    if operation.kind not in ("Add", "Sub"):
        raise InputError(f"{operation.place}: expected a constant as one input, found none")
    sign = -1 if operation.kind == "Sub" else 1
    one, other = walk.integers(one), walk.integers(other)
    left, right = affine_of(operation, one), affine_of(operation, other)
    channels = one.channels
    steps, factors = [], []
    for a, b in zip(_each(left.factor, channels), _each(right.factor, channels), strict=True):
        step, pair = _common_step(operation, a, sign * b)
        steps.append(step)
        factors.append(pair)
    sources = [
        _multiplied(walk, number, np.array([pair[side] for pair in factors], np.int64))
        for side, number in enumerate((one, other))
    ]
    node = Add(name=walk.name("add"), inputs=tuple(walk.source_of(number) for number in sources))
    edge = walk.emit(node, *(number.edge for number in sources))
    offset = tuple(
        a + sign * b
        for a, b in zip(_each(left.offset, channels), _each(right.offset, channels), strict=True)
    )
    back = Affine(one_or_all(tuple(steps)), one_or_all(offset))
    walk.put(operation.outputs[0], Number(node.name, edge, one.place, Steps((back,))))
    return f"sum of integers: {node.name}"


def _common_step(operation: Operation, a: Fraction, b: Fraction) -> tuple[Fraction, tuple[int, int]]:
    """The greatest step of which both are whole multiples, and the multiples."""
    if not a or not b:
        step = a or b or Fraction(1)
    else:
        ratio = a / b
        step = abs(b) / ratio.denominator
    multiples = (a / step, b / step)
    if any(abs(multiple) >= 1 << (FACTOR_BITS - 1) for multiple in multiples):
        raise InputError(
            f"{operation.place}: expected two inputs whose scales have a common step, found {float(abs(a)):g} and "
            f"{float(abs(b)):g}; quantise both with the same scale"
        )
    return step, (int(multiples[0]), int(multiples[1]))


def _multiplied(walk: Walk, number: Number, factors: np.ndarray) -> Number:
    """The integers times a whole number for each channel."""
    if (factors == 1).all():
        return number
    assert isinstance(number.edge, Integers)
    reach = max(abs(number.edge.least), abs(number.edge.greatest), 1) * int(np.abs(factors).max()) + 1
    node = Requantise(
        name=walk.name("requantise"), inputs=(walk.source_of(number),), factor=factors, factor_scale=FACTOR_FORM,
        offset=np.zeros_like(factors), shift=0, low=-reach, high=reach,
    )
    return dataclasses.replace(number, node=node.name, edge=walk.emit(node, number.edge))


# -- pools --------------------------------------------------------------------------------------------------


def window(
    operation: Operation, spatial: int, kernel: list[int]
) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]:
    """(size, stride, padding above, below, left, right) of a window over one or two axes.

    Raises
    ------
    InputError
        if it is dilated, pads by itself, or rounds up.
    """
    said = operation.attributes
    if any(value != 1 for value in said.get("dilations", [])):
        raise InputError(f"{operation.place}: expected dilations of 1, found {said['dilations']}")
    if said.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID", ""):
        raise InputError(f"{operation.place}: expected pads in numbers, found auto_pad {said['auto_pad']}")
    if said.get("ceil_mode", 0):
        raise InputError(f"{operation.place}: expected ceil_mode 0, found {said['ceil_mode']}")
    if spatial not in (1, 2) or len(kernel) != spatial:
        raise InputError(f"{operation.place}: expected a map of one or two axes, found {spatial}")
    stride = list(said.get("strides") or [1] * spatial)
    pads = list(said.get("pads") or [0] * (2 * spatial))
    if said.get("auto_pad") == "VALID":
        pads = [0] * (2 * spatial)
    if spatial == 1:
        kernel, stride, pads = [1, *kernel], [1, *stride], [0, pads[0], 0, pads[1]]
    return (kernel[0], kernel[1]), (stride[0], stride[1]), (pads[0], pads[2], pads[1], pads[3])


def _max_pool(walk: Walk, operation: Operation) -> str:
    """The greatest of each window; the least where the real number falls with the integer."""
    number = walk.number(operation)
    spatial = number.spatial(operation)
    size, stride, padding = window(operation, spatial, list(operation.attributes["kernel_shape"]))
    falls = np.array([number.steps.slope(channel) < 0 for channel in range(number.channels)])
    node = MaxPool(
        name=walk.name("max_pool"), inputs=(walk.source_of(number),), size=size, stride=stride, padding=padding,
        least=falls if falls.any() else None,
    )
    edge = walk.emit(node, number.edge)
    place = channels_first(edge.shape, number.place.ndim)
    walk.put(operation.outputs[0], Number(node.name, edge, place, number.steps))
    return f"max-pool: {node.name}"


def _average(walk: Walk, operation: Operation) -> str:
    """AveragePool, GlobalAveragePool, ReduceMean over rows and columns: a sum, the divisor goes on."""
    number = walk.number(operation)
    spatial = number.spatial(operation)
    number = walk.integers(number)
    affine = affine_of(operation, number)
    keeps = True
    if operation.kind == "AveragePool":
        size, stride, padding = window(operation, spatial, list(operation.attributes["kernel_shape"]))
        if any(padding):
            raise InputError(f"{operation.place}: expected an average without padding, found pads {padding}")
    else:
        size = stride = number.edge.shape[:2]
        padding, keeps = (0, 0, 0, 0), _keeps_axes(walk, operation, spatial)
    node = SumPool(
        name=walk.name("sum_pool"), inputs=(walk.source_of(number),), size=size, stride=stride, padding=padding
    )
    edge = walk.emit(node, number.edge)
    mean = Affine(tuple(factor / math.prod(size) for factor in affine.factor), affine.offset)
    place = channels_first(edge.shape, number.place.ndim)
    found = Number(node.name, edge, place if keeps else place.reshape(-1), Steps((mean,)))
    walk.put(operation.outputs[0], found)
    return f"sum: {node.name}, divided in the thresholds or scales of what follows"


def _keeps_axes(walk: Walk, operation: Operation, spatial: int) -> bool:
    if operation.kind == "GlobalAveragePool":
        return True
    axes = operation.attributes.get("axes")
    found = [int(axis) for axis in (walk.constant(operation, 1).reshape(-1) if axes is None else axes)]
    if sorted(axis % (spatial + 2) for axis in found) != list(range(2, spatial + 2)):
        raise InputError(f"{operation.place}: expected a mean over all rows and columns, found axes {found}")
    return bool(operation.attributes.get("keepdims", 1))


HANDLERS: Mapping[str, Callable[[Walk, Operation], str]] = {
    "MaxPool": _max_pool, "AveragePool": _average, "GlobalAveragePool": _average, "ReduceMean": _average,
}
