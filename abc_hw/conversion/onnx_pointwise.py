"""Operators that act on each number by itself, and those that only move numbers: steps, quantisers, shapes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from ..errors import InputError
from ..network.edges import Codes, Integers
from ..network.graph import INPUT
from ..network.nodes import NEVER, Requantise, Table, Threshold
from .onnx_reading import FloatArray, Operation
from .onnx_signs import SIGN_FORM
from .onnx_state import Number, Walk, one_or_all, planes
from .onnx_sums import add_numbers
from .onnx_weights import Weights
from .quantisers import Quantiser, Rounding, rounding_named
from .values import Affine, Clip, Factors, thresholds_of

__all__ = ["HANDLERS"]

ONE, ZERO = Fraction(1), Fraction(0)

MOST_LEVELS = 256

# -- steps --------------------------------------------------------------------------------------------------


def _arithmetic(walk: Walk, operation: Operation) -> str:
    """Add, Sub, Mul, Div: of a tensor and a constant, of two constants, or the sum of two tensors."""
    values = [walk.get(name) for name in operation.inputs]
    numbers = [isinstance(value, Number) for value in values]
    if all(numbers):
        return add_numbers(walk, operation)
    if not any(numbers):
        left, right = (walk.constant(operation, index) for index in (0, 1))
        function = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[operation.kind]
        walk.put(operation.outputs[0], np.asarray(function(left, right), np.float64))
        return "computed: constants"
    index = numbers.index(True)
    number = walk.number(operation, index)
    known = walk.per_channel(operation, number, walk.constant(operation, 1 - index))
    walk.put(operation.outputs[0], number.then(_affine(operation, known, index)))
    return "in the thresholds or scales of what follows"


def _affine(operation: Operation, known: Factors, index: int) -> Affine:
    """The step of a tensor as input ``index`` of Add, Sub, Mul or Div with a constant."""
    if operation.kind == "Add":
        return Affine((ONE,), known)
    if operation.kind == "Sub":
        return Affine((ONE,), tuple(-value for value in known)) if index == 0 else Affine((-ONE,), known)
    if operation.kind == "Mul":
        return Affine(known, (ZERO,))
    if index or ZERO in known:
        raise InputError(f"{operation.place}: expected a division by constants that are not zero")
    return Affine(tuple(1 / value for value in known), (ZERO,))


def _neg(walk: Walk, operation: Operation) -> str:
    walk.put(operation.outputs[0], walk.number(operation).then(Affine((-ONE,), (ZERO,))))
    return "in the thresholds or scales of what follows"


def _batch_normalisation(walk: Walk, operation: Operation) -> str:
    """``(x - mean) / sqrt(variance + epsilon) weight + bias``."""
    number = walk.number(operation)
    weight, bias, mean, variance = (walk.constant(operation, index).reshape(-1) for index in range(1, 5))
    spread = variance + operation.attributes.get("epsilon", 1e-5)
    if weight.size != number.place.shape[0]:
        raise InputError(f"{operation.place}: expected {number.place.shape[0]} channels, found {weight.size}")
    if not (spread > 0).all():
        raise InputError(f"{operation.place}: expected positive variances, found {variance.min()}")
    deviation = np.sqrt(spread)
    axes = (-1, *(1,) * (number.place.ndim - 1))
    parts = {
        name: walk.per_channel(operation, number, values.reshape(axes))
        for name, values in {"w": weight, "b": bias, "m": mean, "d": deviation}.items()
    }
    step = Affine((ONE,), tuple(-value for value in parts["m"]))
    step = step.then(Affine(tuple(1 / value for value in parts["d"]), (ZERO,)))
    walk.put(operation.outputs[0], number.then(step.then(Affine(parts["w"], parts["b"]))))
    return "in the thresholds or scales of what follows"


def _relu(walk: Walk, operation: Operation) -> str:
    walk.put(operation.outputs[0], walk.number(operation).then(Clip(ZERO, None)))
    return "in the thresholds of what follows"


def _clip(walk: Walk, operation: Operation) -> str:
    """Clip, with limits as inputs or as attributes."""
    limits = []
    for index, name in ((1, "min"), (2, "max")):
        given = len(operation.inputs) > index and operation.inputs[index]
        value = walk.constant(operation, index).reshape(-1)[0] if given else operation.attributes.get(name)
        limits.append(None if value is None or not np.isfinite(value) else Fraction(float(value)))
    walk.put(operation.outputs[0], walk.number(operation).then(Clip(*limits)))
    return "in the thresholds of what follows"


# -- shapes -------------------------------------------------------------------------------------------------


def _identity(walk: Walk, operation: Operation) -> str:
    walk.alias(operation.outputs[0], operation.inputs[0])
    return "nothing to do"


def _reshape(walk: Walk, operation: Operation) -> str:
    """Reshape, Flatten, Squeeze, Unsqueeze: the same numbers in the same order."""
    return _moved(walk, operation, lambda array: array.reshape(walk.source.shapes[operation.outputs[0]]))


def _transpose(walk: Walk, operation: Operation) -> str:
    axes = operation.attributes.get("perm")
    return _moved(walk, operation, lambda array: array.transpose(axes))


def _moved(walk: Walk, operation: Operation, move: Callable[[np.ndarray], np.ndarray]) -> str:
    value = walk.get(operation.inputs[0])
    if isinstance(value, Number):
        walk.number(operation)  # refuses padding
        place = move(value.place[None])
        if not place.ndim or place.shape[0] != 1:
            raise InputError(f"{operation.place}: expected the batch of 1 in front, found {list(place.shape)}")
        walk.put(operation.outputs[0], dataclasses.replace(value, place=place[0]))
    elif isinstance(value, Weights):
        scale = np.broadcast_to(value.scale, value.whole.shape)
        walk.put(operation.outputs[0], Weights(move(value.whole), move(scale)))
    else:
        walk.put(operation.outputs[0], move(value))
    return "order of numbers only"


def _pad(walk: Walk, operation: Operation) -> str:
    """Zeros around a map, which the next convolution takes for its own."""
    number = walk.number(operation)
    pads = operation.attributes.get("pads")
    pads = [int(value) for value in (walk.constant(operation, 1).reshape(-1) if pads is None else pads)]
    given = len(operation.inputs) > 2 and operation.inputs[2]
    value = float(walk.constant(operation, 2).reshape(-1)[0]) if given else operation.attributes.get("value", 0.0)
    if operation.attributes.get("mode", "constant") != "constant" or value:
        raise InputError(f"{operation.place}: expected padding with zeros")
    spatial = number.place.ndim - 1
    if len(pads) != 2 * (spatial + 2) or spatial < 1 or min(pads) < 0 or any(
        pads[axis] or pads[spatial + 2 + axis] for axis in (0, 1)
    ):
        raise InputError(f"{operation.place}: expected padding of rows and columns, found {pads}")
    begin, end = pads[2 : spatial + 2], pads[spatial + 4 :]
    (top, left), (bottom, right) = ((0, *side) if spatial == 1 else tuple(side) for side in (begin, end))
    sides = tuple(old + new for old, new in zip(number.pads, (top, bottom, left, right), strict=True))
    walk.put(operation.outputs[0], dataclasses.replace(number, pads=sides))
    return "padding of the convolution behind it"


# -- quantisers ---------------------------------------------------------------------------------------------


def _quant(walk: Walk, operation: Operation) -> str:
    """Quant, IntQuant, BipolarQuant: of weights, or of what depends on the image."""
    value = walk.get(operation.inputs[0])
    scale = walk.constant(operation, 1)
    if not (np.isfinite(scale) & (scale > 0)).all():
        raise InputError(f"{operation.place}: expected positive scales, found {scale.min()}")
    if not isinstance(value, Number):
        walk.put(operation.outputs[0], _quantised(walk, operation, walk.constant(operation, 0), scale))
        return "weights as bases"
    scales = walk.per_channel(operation, value, scale)
    if _is_bipolar(walk, operation):
        quantisers = [Quantiser.bipolar(scale) for scale in scales]
    else:
        bits, zero, low, high = _range(walk, operation)
        if bits > 8:
            raise InputError(f"{operation.place}: expected at most 8 bits, found {bits}")
        rounding = rounding_named(operation.attributes.get("rounding_mode", "ROUND"), operation.place)
        quantisers = [Quantiser.uniform(scale, Fraction(zero), low, high, rounding) for scale in scales]
    return _cut(walk, operation, value, quantisers)


def _is_bipolar(walk: Walk, operation: Operation) -> bool:
    if operation.kind == "BipolarQuant":
        return True
    one_bit = float(walk.constant(operation, 3).reshape(-1)[0]) == 1
    return one_bit and bool(operation.attributes.get("signed", 1))


def _range(walk: Walk, operation: Operation) -> tuple[int, int, int, int]:
    """(bits, zero point, least and greatest whole number) of a Quant."""
    zero, width = (walk.constant(operation, index).reshape(-1) for index in (2, 3))
    if (zero != np.round(zero)).any() or len(set(zero)) != 1:
        raise InputError(f"{operation.place}: expected one whole zero point, found {zero.min()} .. {zero.max()}")
    if len(set(width)) != 1 or width[0] != np.round(width[0]) or not 1 <= width[0] <= 32:
        raise InputError(f"{operation.place}: expected one whole number of bits, found {width.min()}")
    bits = int(width[0])
    signed, narrow = (bool(operation.attributes.get(name, 1)) for name in ("signed", "narrow"))
    low = -(1 << (bits - 1)) + narrow if signed else 0
    high = (1 << (bits - 1)) - 1 if signed else (1 << bits) - 1 - narrow
    return bits, int(zero[0]), low, high


def _quantised(walk: Walk, operation: Operation, values: FloatArray, scale: FloatArray) -> Weights:
    """Weights as the executor of the qonnx package computes them in float64."""
    scale = np.broadcast_to(scale, values.shape)
    if _is_bipolar(walk, operation):
        zero = 0 if operation.kind == "BipolarQuant" else int(_range(walk, operation)[1])
        return Weights(np.where(values / scale + zero >= 0, 1, -1).astype(np.int64) - zero, scale)
    _, zero, low, high = _range(walk, operation)
    rounding = rounding_named(operation.attributes.get("rounding_mode", "ROUND"), operation.place)
    clipped = np.clip(values / scale + zero, low, high)
    functions: dict[Rounding, Callable[[FloatArray], FloatArray]] = {
        "half_even": np.round, "ceil": np.ceil, "floor": np.floor, "down": np.trunc,
        "up": lambda x: np.sign(x) * np.ceil(np.abs(x)),
        "half_up": lambda x: np.sign(x) * np.floor(np.abs(x) + 0.5),
        "half_down": lambda x: np.sign(x) * np.ceil(np.abs(x) - 0.5),
    }
    return Weights(functions[rounding](clipped).astype(np.int64) - zero, scale)


def _multi_threshold(walk: Walk, operation: Operation) -> str:
    """``out_bias + out_scale #{t : x >= t}``, FINN's."""
    number, table = walk.number(operation), walk.constant(operation, 1)
    scale, bias = (Fraction(operation.attributes.get(f"out_{name}", default))
                   for name, default in (("scale", 1.0), ("bias", 0.0)))
    if scale <= 0:
        raise InputError(f"{operation.place}: expected a positive out_scale, found {float(scale)}")
    if table.shape[0] not in (1, number.channels):
        raise InputError(
            f"{operation.place}: expected thresholds for {number.channels} channels, found {table.shape[0]}"
        )
    if not np.isfinite(table).all():
        raise InputError(f"{operation.place}: expected finite thresholds")
    quantisers = [
        Quantiser.thresholds([Fraction(float(value)) for value in row], scale, bias) for row in table
    ]
    return _cut(walk, operation, number, quantisers)


def _cut(walk: Walk, operation: Operation, number: Number, quantisers: list[Quantiser]) -> str:
    """Codes of a tensor that depends on the image."""
    levels = len(quantisers[0].cuts) + 1
    if levels > MOST_LEVELS:
        raise InputError(f"{operation.place}: expected at most {MOST_LEVELS} levels, found {levels}")
    back = Affine(
        one_or_all(tuple(quantiser.step for quantiser in quantisers)),
        one_or_all(tuple(quantiser.start for quantiser in quantisers)),
    )
    if number.node is None:
        node, edge, said = _input_codes(walk, operation, number, quantisers)
    elif number.node == INPUT:
        node, edge, said = _table(walk, operation, number, quantisers)
    else:
        node, edge, said = _thresholds(walk, number, quantisers)
    found = Number(node, edge, number.place, type(number.steps)((back,)), number.pads)
    walk.put(operation.outputs[0], found)
    return said


def _input_codes(
    walk: Walk, operation: Operation, number: Number, quantisers: list[Quantiser]
) -> tuple[str, Codes, str]:
    """The quantiser of an input of real numbers: its codes are the network's input, its edges are kept."""
    if len(quantisers) > 1 or any(number.steps.slope(channel) != 1 for channel in range(number.channels)):
        raise InputError(f"{operation.place}: expected one rising function of all inputs in the first quantiser")
    edges = []
    for cut in quantisers[0].cuts:
        pulled = number.steps.pull_back(cut, 0)[0]
        if pulled.at is None:
            raise InputError(f"{operation.place}: expected every level within reach of the input")
        edge = float(pulled.at)
        while not pulled.holds(Fraction(edge)):
            edge = math.nextafter(edge, math.inf)
        while pulled.holds(Fraction(math.nextafter(edge, -math.inf))):
            edge = math.nextafter(edge, -math.inf)
        edges.append(edge)
    codes = Codes(planes(len(edges) + 1), number.edge.shape)
    walk.set_input(operation, codes, edges)
    return INPUT, codes, f"the network's input: codes 0 .. {len(edges)}, cut at edges that its file keeps"


def _table(
    walk: Walk, operation: Operation, number: Number, quantisers: list[Quantiser]
) -> tuple[str, Codes, str]:
    """Bytes to codes: one entry for each. ``byte / 255`` is the nearest float64, as anyone computes it."""
    columns = {
        tuple(quantisers[channel % len(quantisers)].code(number.steps.apply(Fraction(byte), channel))
              for byte in range(256))
        for channel in range(number.channels)
    }
    if len(columns) > 1:
        raise InputError(f"{operation.place}: expected the same function of all channels in the first quantiser")
    if walk.nodes:
        raise InputError(f"{operation.place}: expected one quantiser behind the network's input, found several")
    assert isinstance(number.edge, Codes)
    (entries,) = columns
    bases = planes(len(quantisers[0].cuts) + 1)
    node = Table(name=walk.name("table"), inputs=(INPUT,), entries=np.array(entries, np.uint8), bases=bases)
    edge = walk.emit(node, number.edge)
    assert isinstance(edge, Codes)
    return node.name, edge, f"table of 256 bytes: {node.name}"


def _thresholds(walk: Walk, number: Number, quantisers: list[Quantiser]) -> tuple[str, Codes, str]:
    number = walk.integers(number)
    assert isinstance(number.edge, Integers)
    bases = planes(len(quantisers[0].cuts) + 1)
    table = np.full((number.channels, bases.levels - 1), NEVER, np.int64)
    signs = np.ones(number.channels, np.int64)
    for channel in range(number.channels):
        low, high = int(number.edge.low[channel]), int(number.edge.high[channel])
        found, signs[channel] = thresholds_of(quantisers, number.steps, channel, low, high)
        table[channel, : len(found)] = found
    source, edge = walk.source_of(number), number.edge
    if (signs < 0).any():
        source, edge = _negated(walk, source, edge, signs)
    node = Threshold(name=walk.name("threshold"), inputs=(source,), thresholds=table, bases=bases)
    codes = walk.emit(node, edge)
    assert isinstance(codes, Codes)
    return node.name, codes, f"{len(quantisers[0].cuts)} thresholds a channel: {node.name}"


def _negated(walk: Walk, source: str, edge: Integers, signs: np.ndarray) -> tuple[str, Integers]:
    """Channels of falling functions, negated: (node, edge)."""
    reach = max(abs(edge.least), abs(edge.greatest)) + 1
    node = Requantise(
        name=walk.name("requantise"), inputs=(source,), factor=signs, factor_scale=SIGN_FORM,
        offset=np.zeros_like(signs), shift=0, low=-reach, high=reach,
    )
    negated = walk.emit(node, edge)
    assert isinstance(negated, Integers)
    return node.name, negated


HANDLERS = {
    "Add": _arithmetic, "Sub": _arithmetic, "Mul": _arithmetic, "Div": _arithmetic, "Neg": _neg,
    "BatchNormalization": _batch_normalisation, "Relu": _relu, "Clip": _clip,
    "Identity": _identity, "Dropout": _identity, "Reshape": _reshape, "Flatten": _reshape, "Squeeze": _reshape,
    "Unsqueeze": _reshape, "Transpose": _transpose, "Pad": _pad,
    "Quant": _quant, "IntQuant": _quant, "BipolarQuant": _quant, "MultiThreshold": _multi_threshold,
}
