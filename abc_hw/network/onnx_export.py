"""Export of the integer network to ONNX: standard operators only, exact in integers.

Input ``image`` uint8 (of signed networks int8) [batch, H, W, C]; outputs ``scores`` int64 [batch, classes] and
``class`` int64 [batch], or ``output``, the map of a network without classes, equal to those of
:mod:`abc_hw.sim.golden` on every bit. How a convolution is written (bit = (basis + 1) / 2, v(0) the value of the
padding code)::

    acc = sum_m alpha_m (2 conv(sum_n beta_n (bit_n - bit_n of padding), B_m) + v(0) sum_k B_m)

ConvInteger convolves a byte per value with weights of +-1. The bases of a value are summed into that byte as
far as it holds the sum; its zero point is the byte of the padding code, so padding adds nothing. Where positions
outside count nothing, the last sum runs over those inside. A shift is ``(v - Mod(v, 2**s)) / 2**s``, for Div
truncates; windows of integers are strided slices, for MaxPool takes no int64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..errors import NetworkError
from ..writing import write
from . import CodeArray, Codes, Graph, IntArray, Integers, Layer, Network, graph_of
from .edges import Shape
from .graph import INPUT
from .nodes import (
    Add,
    Conv,
    Decode,
    Encode,
    MaxPool,
    Output,
    Requantise,
    Scores,
    SumPool,
    Table,
    Threshold,
)  # fmt: skip

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


def save(network: Network | Graph, path: str | Path) -> None:
    """Write a network as an ONNX file; equal networks give equal bytes.

    Raises
    ------
    InputError : the folder cannot be written (nothing is left behind then), or a layer too wide for ONNX
    """
    write(path, model(network).SerializeToString(deterministic=True))


def model(network: Network | Graph) -> onnx.ModelProto:
    """The network as a checked ONNX model.

    Raises
    ------
    NetworkError : a layer whose one-basis sums exceed the 32 bits that ConvInteger gives
    """
    graph = network if isinstance(network, Graph) else graph_of(network)
    maker = _Maker(graph)
    for node in graph.nodes:
        if node.kind not in HANDLERS:
            raise NetworkError(node.name, f"one of {', '.join(HANDLERS)} in an ONNX export", node.kind)
        HANDLERS[node.kind](maker, node)
    kind = TensorProto.INT8 if graph.signed else TensorProto.UINT8
    made = helper.make_model(
        helper.make_graph(
            maker.nodes,
            graph.name,
            [helper.make_tensor_value_info("image", kind, ["batch", *graph.input_shape])],
            [helper.make_tensor_value_info(name, *about) for name, about in _outputs(graph).items()],
            maker.constants,
        ),
        producer_name="abc-hw",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    helper.set_model_props(made, {"digest": network.digest, "classes": "\n".join(network.classes)})
    onnx.checker.check_model(made, full_check=True)
    return made


def _outputs(graph: Graph) -> dict[str, tuple[int, list[Any]]]:
    """Type and shape of each output."""
    edge = graph.output
    if isinstance(graph.nodes[-1], Scores):
        return {"scores": (TensorProto.INT64, ["batch", edge.shape[2]]), "class": (TensorProto.INT64, ["batch"])}
    kind = TensorProto.UINT8 if isinstance(edge, Codes) else TensorProto.INT64
    return {"output": (kind, ["batch", *edge.shape])}


def byte_sums(layer: Layer | Conv | Decode) -> list[ByteSum]:
    """The input bases of a layer or node in as few bytes as hold their weighted sums exactly."""
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


class _Maker:
    """ONNX nodes and constants in the making, for the nodes of a graph one after the other.

    Values are channels first: codes uint8, integers int32 where the type holds them, else int64.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.values: dict[str, str] = {}
        first = self.add("Transpose", ["image"], "image/channels_first", perm=[0, 3, 1, 2])
        if graph.signed:
            wide = self.cast(first, np.int32, "image/wide")
            half = self.constant("image/half", graph.input.bases.levels // 2, np.int32)
            first = self.cast(self.add("Add", [wide, half], "image/unsigned"), np.uint8, "image/codes")
        self.values[INPUT] = first

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """An ONNX node; the name of its output."""
        self.nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name: str, values: Any, dtype: type) -> str:
        """A constant of that name."""
        self.constants.append(numpy_helper.from_array(np.array(values, dtype, order="C"), name))
        return name

    def cast(self, value: str, dtype: type, output: str) -> str:
        """The value in another type."""
        return self.add("Cast", [value], output, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def type_of(self, name: str) -> type:
        """The type that the output of a node has."""
        edge = self.graph.edges[name]
        return _type(max(-edge.least, edge.greatest)) if isinstance(edge, Integers) else np.uint8

    def taken(self, node: Any, dtype: type, index: int = 0) -> str:
        """An input of a node in the given type."""
        name = node.inputs[index]
        value = self.values[name]
        return value if self.type_of(name) is dtype else self.cast(value, dtype, f"{node.name}/input{index}")

    def shape(self, node: Any) -> tuple[int, int, int]:
        """(channels, height, width) of a node's output."""
        height, width, channels = self.graph.edges[node.name].shape
        return channels, height, width


def _type(bound: int) -> type:
    return np.int32 if bound < (1 << 31) - 1 else np.int64


# -- convolution --------------------------------------------------------------------------------------------


def _conv(maker: _Maker, node: Conv) -> None:
    name, edge = node.name, maker.graph.arriving(node)[0]
    groups, m = node.groups, node.weight_bases.count
    channels, height, width = maker.shape(node)
    bases = np.where(node.weight_bases.expand(node.weights), 1, -1)  # [C_out, kh, kw, C / groups, M]
    sums, constant = byte_sums(node), _constant(node, edge.shape)
    dot_bounds = [node.dot_length * each.greatest for each in sums]
    if max(dot_bounds) >= 1 << 31:
        raise NetworkError(f"{name}.kernel", "sums of 32 bits in an ONNX export", max(dot_bounds))
    reach = sum(2 * abs(each.factor) * bound for each, bound in zip(sums, dot_bounds, strict=True))
    wide = _type(reach * int(np.abs(node.alpha).sum(axis=1).max()) + int(np.abs(constant).max()))

    kernels = bases.reshape(groups, -1, *bases.shape[1:]).transpose(0, 5, 1, 4, 2, 3)
    kernels = kernels.reshape(m * channels, -1, *node.kernel)
    weights = maker.constant(f"{name}/bases", kernels, np.int8)
    shape = maker.constant(f"{name}/by_basis", [-1, groups, m, channels // groups, height, width], np.int64)
    axis = maker.constant(f"{name}/basis_axis", [2], np.int64)
    flat = maker.constant(f"{name}/by_channel", [-1, channels, height, width], np.int64)
    acc = maker.constant(f"{name}/constant", constant, wide)
    alpha = node.alpha.reshape(groups, -1, m).transpose(0, 2, 1)[..., None, None]
    for index, each in enumerate(sums):
        part = f"{name}/part{index}"
        dots = _dots(maker, node, each, weights, part)
        if wide is np.int64:
            dots = maker.cast(dots, np.int64, f"{part}/wide")
        dots = maker.add("Reshape", [dots, shape], f"{part}/by_basis")
        factors = maker.constant(f"{part}/alpha", 2 * each.factor * alpha, wide)
        scaled = maker.add("Mul", [dots, factors], f"{part}/scaled")
        summed = maker.add("ReduceSum", [scaled, axis], f"{part}/summed", keepdims=0)
        summed = maker.add("Reshape", [summed, flat], f"{part}/by_channel")
        acc = maker.add("Add", [acc, summed], f"{part}/acc")
    dtype = maker.type_of(name)
    maker.values[name] = acc if wide is dtype else maker.cast(acc, dtype, f"{name}/acc")


def _constant(node: Conv, shape: Shape) -> IntArray:
    """acc where every position on the map has the code that those outside are read as: int64 [C_out, OH, OW], or
    [C_out, 1, 1] if all are alike."""
    sums = int(node.input_values[_read_outside(node)]) * node.weight_values.sum(axis=(1, 2, 3)).reshape(-1, 1, 1)
    return sums if node.has_one_code else sums + node.outside(shape).transpose(2, 0, 1)


def _read_outside(node: Conv) -> int:
    """The code that positions outside are read as."""
    return int(node.padding_codes[0]) if node.has_one_code else 0


def _dots(maker: _Maker, node: Conv, each: ByteSum, weights: str, part: str) -> str:
    """Integer convolution of one byte per value with every weight basis: [batch, M C_out, OH, OW]."""
    value = maker.values[node.inputs[0]]
    if not np.array_equal(each.table, np.arange(node.input_bases.levels)):
        value = _gathered(maker, value, each.table, part)
    zero = maker.constant(f"{part}/zero", each.table[_read_outside(node)], np.uint8)
    top, bottom, left, right = node.padding
    return maker.add(
        "ConvInteger", [value, weights, zero], f"{part}/dots", kernel_shape=node.kernel, strides=node.stride,
        pads=[top, left, bottom, right], group=node.groups,
    )  # fmt: skip


def _gathered(maker: _Maker, codes: str, table: Any, part: str, dtype: type = np.uint8) -> str:
    entries = maker.constant(f"{part}/table", table, dtype)
    index = maker.cast(codes, np.int32, f"{part}/index")
    return maker.add("Gather", [entries, index], f"{part}/entries")


# -- the other nodes ----------------------------------------------------------------------------------------


def _table(maker: _Maker, node: Table) -> None:
    maker.values[node.name] = _gathered(maker, maker.values[node.inputs[0]], node.entries, node.name)


def _threshold(maker: _Maker, node: Threshold) -> None:
    name, wide = node.name, maker.type_of(node.inputs[0])
    channels, height, width = maker.shape(node)
    shape = maker.constant(f"{name}/by_threshold", [-1, 1, channels, height, width], np.int64)
    thresholds = maker.constant(f"{name}/thresholds", node.thresholds.T.reshape(-1, channels, 1, 1), wide)
    spread = maker.add("Reshape", [maker.values[node.inputs[0]], shape], f"{name}/spread")
    reached = maker.add("GreaterOrEqual", [spread, thresholds], f"{name}/reached")
    counted = maker.cast(reached, np.int32, f"{name}/counted")
    axis = maker.constant(f"{name}/threshold_axis", [1], np.int64)
    level = maker.add("ReduceSum", [counted, axis], f"{name}/level", keepdims=0)
    maker.values[name] = maker.cast(level, np.uint8, f"{name}/codes")


def _encode(maker: _Maker, node: Encode) -> None:
    wide = maker.taken(node, np.int64)
    low = maker.constant(f"{node.name}/low", node.low, np.int64)
    difference = maker.add("Sub", [wide, low], f"{node.name}/difference")
    maker.values[node.name] = maker.cast(difference, np.uint8, f"{node.name}/codes")


def _decode(maker: _Maker, node: Decode) -> None:
    codes, dtype = maker.values[node.inputs[0]], maker.type_of(node.name)
    maker.values[node.name] = _gathered(maker, codes, node.values, node.name, dtype)


def _requantise(maker: _Maker, node: Requantise) -> None:
    name = node.name

    def by_channel(field: str, values: Any) -> str:
        return maker.constant(f"{name}/{field}", np.reshape(values, (-1, 1, 1)), np.int64)

    scaled = maker.add("Mul", [maker.taken(node, np.int64), by_channel("factor", node.factor)], f"{name}/scaled")
    value = maker.add("Add", [scaled, by_channel("offset", node.offset)], f"{name}/shifted")
    if node.shift:
        unit = maker.constant(f"{name}/unit", 1 << node.shift, np.int64)
        rest = maker.add("Mod", [value, unit], f"{name}/rest", fmod=0)
        whole = maker.add("Sub", [value, rest], f"{name}/whole")
        value = maker.add("Div", [whole, unit], f"{name}/floor")
    low, high = (maker.constant(f"{name}/{end}", getattr(node, end), np.int64) for end in ("low", "high"))
    above = maker.add("Max", [value, low], f"{name}/above")
    value = maker.add("Min", [above, high], f"{name}/clipped")
    dtype = maker.type_of(name)
    maker.values[name] = value if dtype is np.int64 else maker.cast(value, dtype, f"{name}/narrow")


def _add(maker: _Maker, node: Add) -> None:
    dtype = maker.type_of(node.name)
    values = [maker.taken(node, dtype, index) for index in range(2)]
    maker.values[node.name] = maker.add("Add", values, f"{node.name}/sum")


def _max_pool(maker: _Maker, node: MaxPool) -> None:
    name, dtype = node.name, maker.type_of(node.name)
    if dtype is np.uint8 and node.least is None:
        top, bottom, left, right = node.padding
        maker.values[name] = maker.add(
            "MaxPool", [maker.values[node.inputs[0]]], f"{name}/pooled", kernel_shape=node.size,
            strides=node.stride, pads=[top, left, bottom, right],
        )  # fmt: skip
        return
    wide = np.int32 if dtype is np.uint8 else dtype
    value, signs = maker.taken(node, wide), ""
    if node.least is not None:
        signs = maker.constant(f"{name}/signs", np.where(node.least, -1, 1).reshape(-1, 1, 1), wide)
        value = maker.add("Mul", [value, signs], f"{name}/signed")
    value = _combined(maker, node, value, "Max", int(np.iinfo(wide).min), wide)
    if node.least is not None:
        value = maker.add("Mul", [value, signs], f"{name}/unsigned")
    maker.values[name] = value if wide is dtype else maker.cast(value, dtype, f"{name}/codes")


def _sum_pool(maker: _Maker, node: SumPool) -> None:
    dtype = maker.type_of(node.name)
    value = maker.taken(node, dtype)
    if maker.graph.arriving(node)[0].shape[:2] == node.size and not any(node.padding):
        axes = maker.constant(f"{node.name}/axes", [2, 3], np.int64)
        maker.values[node.name] = maker.add("ReduceSum", [value, axes], f"{node.name}/sum")
        return
    maker.values[node.name] = _combined(maker, node, value, "Add", 0, dtype)


def _combined(maker: _Maker, node: MaxPool | SumPool, value: str, operator: str, fill: int, dtype: type) -> str:
    """All values of each window combined: one strided slice for each position of the window."""
    name, (_, height, width) = node.name, maker.shape(node)
    top, bottom, left, right = node.padding
    if any(node.padding):
        pads = maker.constant(f"{name}/pads", [0, 0, top, left, 0, 0, bottom, right], np.int64)
        value = maker.add("Pad", [value, pads, maker.constant(f"{name}/fill", fill, dtype)], f"{name}/padded")
    axes = maker.constant(f"{name}/window_axes", [2, 3], np.int64)
    steps = maker.constant(f"{name}/window_steps", node.stride, np.int64)
    result = ""
    for y, x in np.ndindex(*node.size):
        last = y + (height - 1) * node.stride[0] + 1, x + (width - 1) * node.stride[1] + 1
        starts = maker.constant(f"{name}/starts{y}_{x}", [y, x], np.int64)
        ends = maker.constant(f"{name}/ends{y}_{x}", last, np.int64)
        seen = maker.add("Slice", [value, starts, ends, axes, steps], f"{name}/slice{y}_{x}")
        result = maker.add(operator, [result, seen], f"{name}/over{y}_{x}") if result else seen
    return result


def _scores(maker: _Maker, node: Scores) -> None:
    shape = maker.constant(f"{node.name}/by_class", [-1, node.bias.size], np.int64)
    flat = maker.add("Reshape", [maker.taken(node, np.int64), shape], f"{node.name}/flat")
    bias = maker.constant(f"{node.name}/bias", node.bias, np.int64)
    maker.values[node.name] = maker.add("Add", [flat, bias], "scores")
    maker.add("ArgMax", ["scores"], "class", axis=1, keepdims=0)


def _output(maker: _Maker, node: Output) -> None:
    dtype = np.uint8 if maker.type_of(node.name) is np.uint8 else np.int64
    value = maker.taken(node, dtype)
    maker.values[node.name] = maker.add("Transpose", [value], "output", perm=[0, 2, 3, 1])


HANDLERS: Mapping[str, Callable[[_Maker, Any], None]] = {
    "table": _table, "conv": _conv, "threshold": _threshold, "encode": _encode, "decode": _decode,
    "requantise": _requantise, "add": _add, "max_pool": _max_pool, "sum_pool": _sum_pool, "scores": _scores,
    "output": _output,
}  # fmt: skip
"""How each kind of node is written."""
