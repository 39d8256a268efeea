"""Export of the integer network to ONNX: standard operators only, exact in integers.

Input ``image`` uint8 [batch, H, W, C]; outputs ``scores`` int64 [batch, classes] and ``class`` int64 [batch],
equal to :func:`abc_hw.sim.golden.run` on every bit. How a layer is written (bit = (basis + 1) / 2)::

    acc = sum_m alpha_m (2 conv(sum_n beta_n bit_n, B_m) - sum_n beta_n sum_k B_m)

ConvInteger convolves a byte per value with weights of +-1. The bases of a value are summed into that byte as
far as it holds the sum; its zero point is the byte of code 0, so padding adds nothing, which is code 0.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import NetworkError
from ..writing import write
from . import CodeArray, IntArray, Layer, Network

OPSET = 17
IR_VERSION = 8
"""ONNX versions of the export, from 2022, so that evaluators of any age read it."""

BYTE = 255


@dataclasses.dataclass(frozen=True, kw_only=True)
class ByteSum:
    """Bases summed into one byte: a code's sum of beta x bit is ``factor * (table[code] - zero)``."""

    table: CodeArray
    zero: int
    factor: int

    @property
    def greatest(self) -> int:
        """Bound of ``|table[code] - zero|``."""
        return int(np.abs(self.table.astype(np.int64) - self.zero).max())


def save(network: Network, path: str | Path) -> None:
    """Write a network as an ONNX file; equal networks give equal bytes.

    Raises
    ------
    InputError : the folder cannot be written (nothing is left behind then), or a layer too wide for ONNX
    """
    write(path, model(network).SerializeToString(deterministic=True))


def model(network: Network) -> onnx.ModelProto:
    """The network as a checked ONNX model.

    Raises
    ------
    NetworkError : a layer whose one-basis sums exceed the 32 bits that ConvInteger gives
    """
    graph = _Graph()
    value = graph.add("Transpose", ["image"], "image.channels_first", perm=[0, 3, 1, 2])
    for layer in network.layers:
        acc, wide = _accumulators(graph, layer, value)
        value = _scores(graph, layer, acc) if layer.is_classifier else _codes(graph, layer, acc, wide)
    graph.add("ArgMax", [value], "class", axis=1, keepdims=0)
    made = helper.make_model(
        helper.make_graph(
            graph.nodes,
            network.name,
            [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *network.input_shape])],
            [
                helper.make_tensor_value_info("scores", TensorProto.INT64, ["batch", len(network.classes)]),
                helper.make_tensor_value_info("class", TensorProto.INT64, ["batch"]),
            ],
            graph.constants,
        ),
        producer_name="abc-hw",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(made, {"digest": network.digest, "classes": "\n".join(network.classes)})
    onnx.checker.check_model(made, full_check=True)
    return made


def byte_sums(layer: Layer) -> list[ByteSum]:
    """The layer's input bases in as few bytes as hold their weighted sums exactly."""
    bits = layer.input_bases.expand(np.arange(layer.input_bases.levels)).astype(np.int64)  # [levels, N]
    sums: list[ByteSum] = []
    total: IntArray | None = None
    for beta, bit in zip(layer.beta.tolist(), bits.T, strict=True):
        joined = beta * bit if total is None else total + beta * bit
        if int(np.ptp(joined)) <= BYTE:
            total = joined
            continue
        if total is not None:
            sums.append(_byte_sum(total))
        total = beta * bit
        if abs(beta) > BYTE:
            sums.append(ByteSum(table=bit.astype(np.uint8), zero=0, factor=beta))
            total = None
    return sums if total is None else [*sums, _byte_sum(total)]


def _byte_sum(total: IntArray) -> ByteSum:
    least = int(total.min())
    return ByteSum(table=(total - least).astype(np.uint8), zero=-least, factor=1)


class _Graph:
    """Nodes and constants in the making."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: Any, dtype: type) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, dtype, order="C"), name))
        return name


def _accumulators(graph: _Graph, layer: Layer, codes: str) -> tuple[str, type]:
    """acc [batch, C_out, OH, OW] of codes [batch, C, H, W], and its type."""
    name, m = layer.name, layer.weight_bases.count
    height, width, channels = layer.conv_shape
    bases = np.where(layer.weight_bases.expand(layer.weights), 1, -1)  # [C_out, kh, kw, C, M]
    sums = byte_sums(layer)
    constant = -int(layer.beta.sum()) * (layer.alpha * bases.sum(axis=(1, 2, 3))).sum(axis=1)
    dot_bounds = [layer.dot_length * each.greatest for each in sums]
    if max(dot_bounds) >= 1 << 31:
        raise NetworkError(f"{name}.kernel", "sums of 32 bits in an ONNX export", max(dot_bounds))
    reach = sum(2 * abs(each.factor) * bound for each, bound in zip(sums, dot_bounds, strict=True))
    bound = reach * int(np.abs(layer.alpha).sum(axis=1).max()) + int(np.abs(constant).max())
    wide = np.int32 if bound < (1 << 31) - 1 else np.int64

    kernels = bases.transpose(4, 0, 3, 1, 2).reshape(m * channels, -1, *layer.kernel)
    weights = graph.constant(f"{name}.bases", kernels, np.int8)
    shape = graph.constant(f"{name}.by_basis", [-1, m, channels, height, width], np.int64)
    first = graph.constant(f"{name}.basis_axis", [1], np.int64)
    acc = graph.constant(f"{name}.constant", constant.reshape(-1, 1, 1), wide)
    for index, each in enumerate(sums):
        part = f"{name}.part{index}"
        dots = _dots(graph, layer, codes, each, weights, part)
        if wide is np.int64:
            dots = graph.add("Cast", [dots], f"{part}.wide", to=TensorProto.INT64)
        dots = graph.add("Reshape", [dots, shape], f"{part}.by_basis")
        factors = 2 * each.factor * layer.alpha.T.reshape(m, channels, 1, 1)
        alpha = graph.constant(f"{part}.alpha", factors, wide)
        scaled = graph.add("Mul", [dots, alpha], f"{part}.scaled")
        summed = graph.add("ReduceSum", [scaled, first], f"{part}.summed", keepdims=0)
        acc = graph.add("Add", [acc, summed], f"{part}.acc")
    return acc, wide


def _dots(graph: _Graph, layer: Layer, codes: str, each: ByteSum, weights: str, part: str) -> str:
    """Integer convolution of one byte per value with every weight basis: [batch, M C_out, OH, OW]."""
    value = codes
    if not np.array_equal(each.table, np.arange(layer.input_bases.levels)):
        table = graph.constant(f"{part}.table", each.table, np.uint8)
        index = graph.add("Cast", [codes], f"{part}.index", to=TensorProto.INT32)
        value = graph.add("Gather", [table, index], f"{part}.bytes")
    zero = graph.constant(f"{part}.zero", each.zero, np.uint8)
    return graph.add(
        "ConvInteger",
        [value, weights, zero],
        f"{part}.dots",
        kernel_shape=layer.kernel,
        strides=[layer.stride] * 2,
        pads=[layer.padding] * 4,
    )


def _codes(graph: _Graph, layer: Layer, acc: str, wide: type) -> str:
    """Output codes [batch, C_out, H', W'], uint8."""
    assert layer.thresholds is not None  # the classifier goes to _scores
    name = layer.name
    height, width, channels = layer.conv_shape
    shape = graph.constant(f"{name}.by_threshold", [-1, 1, channels, height, width], np.int64)
    thresholds = graph.constant(f"{name}.thresholds", layer.thresholds.T.reshape(-1, channels, 1, 1), wide)
    spread = graph.add("Reshape", [acc, shape], f"{name}.spread")
    reached = graph.add("GreaterOrEqual", [spread, thresholds], f"{name}.reached")
    counted = graph.add("Cast", [reached], f"{name}.counted", to=TensorProto.INT32)
    axis = graph.constant(f"{name}.threshold_axis", [1], np.int64)
    level = graph.add("ReduceSum", [counted, axis], f"{name}.level", keepdims=0)
    codes = graph.add("Cast", [level], f"{name}.codes", to=TensorProto.UINT8)
    if layer.pool == 1:
        return codes
    side = [layer.pool] * 2
    return graph.add("MaxPool", [codes], f"{name}.pooled", kernel_shape=side, strides=side)


def _scores(graph: _Graph, layer: Layer, acc: str) -> str:
    """Scores [batch, classes], int64: acc of the classifier's one (pooled) pixel plus bias."""
    name = layer.name
    value = graph.add("Cast", [acc], f"{name}.acc", to=TensorProto.INT64)
    if layer.conv_shape[:2] != (1, 1):
        starts = graph.constant(f"{name}.pool_starts", [0, 0], np.int64)
        ends = graph.constant(f"{name}.pool_ends", [layer.pool] * 2, np.int64)
        axes = graph.constant(f"{name}.pool_axes", [2, 3], np.int64)
        square = graph.add("Slice", [value, starts, ends, axes], f"{name}.square")
        value = graph.add("ReduceMax", [square], f"{name}.pooled", axes=[2, 3])
    shape = graph.constant(f"{name}.by_class", [-1, layer.out_channels], np.int64)
    flat = graph.add("Reshape", [value, shape], f"{name}.flat")
    return graph.add("Add", [flat, graph.constant(f"{name}.bias", layer.bias, np.int64)], "scores")
