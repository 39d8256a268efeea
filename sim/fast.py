"""The golden model's numbers, fast: one ordinary integer convolution per layer.

The sum over all pairs of bases factors, so one product of summed values replaces M x N popcounts::

    acc = sum_m sum_n alpha_m beta_n (B_m . A_n) = (sum_m alpha_m B_m) . (sum_n beta_n A_n)

It runs as a matrix product in float32 or float64, whichever holds every partial sum of the layer exactly, and so
do all other integers between nodes: the results are those of :mod:`abc_hw.sim.golden`, bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from abc_hw.network import CodeArray, Graph, IntArray, Integers, Network, graph_of
from abc_hw.network.edges import Edge
from abc_hw.network.graph import INPUT
from abc_hw.network.node import PointwiseNode
from abc_hw.network.nodes import (
    Add,
    Conv,
    Decode,
    Encode,
    MaxPool,
    Node,
    Output,
    Requantise,
    Scores,
    SumPool,
    Table,
    Threshold,
)  # fmt: skip

from .golden import check_images

Progress = Callable[[int, int], None]
"""Called with (images done, images in all)."""

FloatArray = npt.NDArray[Any]
"""float32 or float64 that hold integers."""

Step = Callable[..., npt.NDArray[Any]]
"""A node with its tables laid out: its inputs in, its output out. Codes are uint8, integers are floats."""

CHUNK_VALUES = 1 << 22
"""Values under the kernels held at once; it bounds memory and changes no result."""


def run(network: Network | Graph, images: npt.NDArray[Any], *, progress: Progress | None = None) -> IntArray:
    """Scores of images: ``[B, H, W, C] -> int64 [B, classes]``; of a graph without classes its output.

    Raises
    ------
    InputError : the images do not fit, see :func:`abc_hw.sim.golden.check_images`
    """
    graph = network if isinstance(network, Graph) else graph_of(network)
    return values(graph, images, (graph.nodes[-1].name,), progress=progress)[graph.nodes[-1].name]


def codes(
    network: Network, images: npt.NDArray[Any], *, progress: Progress | None = None
) -> tuple[list[CodeArray], IntArray]:
    """Output codes of every layer before the classifier, uint8 [B, H', W', C_out] each, and the scores.

    Raises
    ------
    InputError : the images do not fit, see :func:`abc_hw.sim.golden.check_images`
    """
    names = [nodes[-1].name for nodes in network.nodes_by_layer]
    found = values(graph_of(network), images, names, progress=progress)
    *hidden, scores = (found[name] for name in names)
    return hidden, scores


def values(
    graph: Graph, images: npt.NDArray[Any], names: Any = None, *, progress: Progress | None = None
) -> dict[str, npt.NDArray[Any]]:
    """What the nodes of those names compute (None: all), uint8 or int64 [B, H, W, C], scores int64 [B, classes].

    Raises
    ------
    InputError : the images do not fit, see :func:`abc_hw.sim.golden.check_images`
    """
    wanted = [node.name for node in graph.nodes] if names is None else list(names)
    checked = check_images(graph, images)
    order = _order(graph, wanted)
    step = max(1, CHUNK_VALUES // _widest(graph))
    parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in wanted}
    for start in range(0, len(checked), step):
        for name, found in _batch(order, checked[start : start + step], wanted):
            parts[name].append(found if found.dtype == np.uint8 else found.astype(np.int64))
        if progress is not None:
            progress(min(start + step, len(checked)), len(checked))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _batch(
    order: list[tuple[str, tuple[str, ...], Step]], images: CodeArray, wanted: list[str]
) -> Iterator[tuple[str, npt.NDArray[Any]]]:
    """The wanted values of some images; each is dropped after the last step that takes it."""
    last = {name: index for index, (_, inputs, _) in enumerate(order) for name in inputs}
    held: dict[str, npt.NDArray[Any]] = {INPUT: images}
    for index, (name, inputs, compute) in enumerate(order):
        held[name] = compute(*(held[each] for each in inputs))
        if name in wanted:
            yield name, held[name]
        for each in inputs:
            if last[each] == index:
                held.pop(each, None)


def _order(graph: Graph, wanted: list[str]) -> list[tuple[str, tuple[str, ...], Step]]:
    """Nodes as steps: output name, input names, function. A max-pool goes before thresholds that it alone takes,
    which is the same, for thresholds ascend; their own output is not there then."""
    steps = []
    moved: dict[str, Threshold] = {}
    for node in graph.nodes:
        takers = graph.consumers[node.name]
        pool = takers[0] if len(takers) == 1 else None
        if isinstance(node, Threshold) and node.name not in wanted and isinstance(pool, MaxPool):
            moved[pool.name] = node
            continue
        if node.name in moved:
            first = moved[node.name]
            arriving = graph.arriving(first)
            inner, pooled = f"{first.name} pooled", node.output(*arriving)
            steps.append((inner, first.inputs, _step(node, arriving, pooled)))
            steps.append((node.name, (inner,), _step(first, (pooled,), graph.edges[node.name])))
        else:
            steps.append((node.name, node.inputs, _step(node, graph.arriving(node), graph.edges[node.name])))
    return steps


def _widest(graph: Graph) -> int:
    """Most values under the kernels of one convolution."""
    edges = [graph.edges[node.name].shape for node in graph.nodes if isinstance(node, Conv)]
    convs = [node for node in graph.nodes if isinstance(node, Conv)]
    products = [h * w * node.dot_length * node.groups for (h, w, _), node in zip(edges, convs, strict=True)]
    return max([*products, *(math.prod(edge.shape) for edge in graph.edges.values())])


# -- nodes --------------------------------------------------------------------------------------------------


def _step(node: Node, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    return STEPS.get(node.kind, _offered)(node, arriving, leaving)


def _offered(node: PointwiseNode, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    """A node of another package, which knows integers only."""
    return lambda values: node.compute(values.astype(np.int64)).astype(_type(leaving))


def _exact(bound: int) -> type:
    """The float type that counts exactly to ``bound``."""
    return np.float32 if bound < 1 << 24 else np.float64


def _type(edge: Edge) -> type:
    return _exact(max(-edge.least, edge.greatest) + 1) if isinstance(edge, Integers) else np.uint8


def _table(node: Table, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    return lambda codes: node.entries[codes]


class _Conv:
    """A convolution with its tables laid out for the matrix product."""

    def __init__(self, node: Conv, arriving: tuple[Edge, ...], leaving: Edge) -> None:
        weights, inputs = node.weight_values.reshape(node.out_channels, -1), node.input_values
        bound = int(np.abs(weights).sum(axis=1).max()) * int(np.abs(inputs).max()) + 1
        dtype = _exact(bound)
        # A node keeps |acc| < 2**46 at its extremes; partial sums are at most twice that with lopsided betas.
        self.node = node
        self.places = leaving.shape[:2]
        self.input_values: FloatArray = inputs.astype(dtype)
        self.weight_values: list[FloatArray] = [
            np.ascontiguousarray(part.T.astype(dtype)) for part in np.split(weights, node.groups)
        ]
        self.outside: FloatArray | None = None
        if not node.has_one_code:
            self.outside = node.outside(arriving[0].shape).astype(dtype)  # read as code 0

    def __call__(self, codes: CodeArray) -> FloatArray:
        node = self.node
        top, bottom, left, right = node.padding
        code = int(node.padding_codes[0]) if node.has_one_code else 0
        padded = np.pad(codes, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=code)
        values = self.input_values[padded]
        view = np.lib.stride_tricks.sliding_window_view(values, node.kernel, axis=(1, 2))
        view = view[:, :: node.stride[0], :: node.stride[1]].transpose(0, 1, 2, 4, 5, 3)
        parts = []
        for under, weights in zip(np.split(view, node.groups, axis=-1), self.weight_values, strict=True):
            parts.append(under.reshape(-1, node.dot_length) @ weights)
        acc = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
        acc = acc.reshape(len(codes), *self.places, -1)
        return acc if self.outside is None else acc + self.outside


def _threshold(node: Threshold, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    columns = node.thresholds.T.astype(np.float64)  # exact: within the range of what arrives

    def step(values: FloatArray) -> CodeArray:
        levels = np.zeros(values.shape, np.uint8)
        for column in columns.astype(values.dtype):
            levels += values >= column
        return levels

    return step


def _encode(node: Encode, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    return lambda values: (values - node.low).astype(np.uint8)


def _decode(node: Decode, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    table: FloatArray = node.values.astype(_type(leaving))
    return lambda codes: table[codes]


def _requantise(node: Requantise, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    factor, offset, unit = node.factor.astype(np.float64), node.offset.astype(np.float64), 2.0**-node.shift

    def step(values: FloatArray) -> FloatArray:
        scaled = np.floor((values * factor + offset) * unit)  # exact: products are below 2**52
        return np.clip(scaled, node.low, node.high).astype(_type(leaving))

    return step


def _add(node: Add, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    return lambda values, others: values.astype(_type(leaving)) + others.astype(_type(leaving))


def _max_pool(node: MaxPool, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    dtype = _type(arriving[0])
    fill = -np.inf if isinstance(arriving[0], Integers) else 0  # no code is below 0

    def greatest(values: npt.NDArray[Any], fill: float) -> npt.NDArray[Any]:
        return _combined(node, values, leaving, np.maximum, fill)

    def step(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        if node.least is None:
            return greatest(values, fill)
        signs = np.where(node.least, -1, 1).astype(np.float64)
        return (greatest(values * signs, -np.inf) * signs).astype(dtype)

    return step


def _sum_pool(node: SumPool, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    return lambda values: _combined(node, values.astype(_type(leaving)), leaving, np.add, 0)


def _combined(
    node: MaxPool | SumPool, values: npt.NDArray[Any], leaving: Edge, combine: Any, fill: float
) -> npt.NDArray[Any]:
    """All values of each window combined, one position of the window after the other."""
    top, bottom, left, right = node.padding
    if any(node.padding):
        values = np.pad(values, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    height, width = leaving.shape[:2]
    result: npt.NDArray[Any] | None = None
    for y in range(node.size[0]):
        rows = values[:, y : y + (height - 1) * node.stride[0] + 1 : node.stride[0]]
        for x in range(node.size[1]):
            seen = rows[:, :, x : x + (width - 1) * node.stride[1] + 1 : node.stride[1]]
            result = seen if result is None else combine(result, seen)
    assert result is not None  # a window has a position
    return result


def _scores(node: Scores, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    return lambda values: values[:, 0, 0].astype(np.int64) + node.bias


def _output(node: Output, arriving: tuple[Edge, ...], leaving: Edge) -> Step:
    return lambda values: values


STEPS: Mapping[str, Callable[[Any, tuple[Edge, ...], Edge], Step]] = {
    "table": _table, "conv": _Conv, "threshold": _threshold, "encode": _encode, "decode": _decode,
    "requantise": _requantise, "add": _add, "max_pool": _max_pool, "sum_pool": _sum_pool, "scores": _scores,
    "output": _output,
}  # fmt: skip
"""The maker of each node kind's step: the node, the edges that arrive, the edge that leaves."""
