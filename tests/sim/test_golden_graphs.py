"""Graphs: the golden model against a second one of Python integers and loops, and the fast path against both."""

from __future__ import annotations

import itertools
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_codes, random_graph

from abc_hw.errors import InputError
from abc_hw.network import Bases, Codes, Graph, Integers, graph_of, nodes
from abc_hw.sim import fast, golden

Map = list[list[list[int]]]
"""[y][x][channel]"""

# -- a second model, with nothing of NumPy's arithmetic ------------------------------------------------------


def ref_signs(bases: Bases, code: int) -> list[int]:
    if bases.kind == "thermometer":
        return [1 if code > n else -1 for n in range(bases.count)]
    return [1 if code >> n & 1 else -1 for n in range(bases.count)]


def ref_value(bases: Bases, code: int, coefficients: Any) -> int:
    return sum(int(c) * s for c, s in zip(coefficients, ref_signs(bases, code), strict=True))


def ref_places(size: int, window: int, stride: int, before: int, after: int) -> list[int]:
    """Where the windows begin."""
    return list(range(-before, size + after - window + 1, stride))


def ref_windows(x: Map, size: Any, stride: Any, padding: Any) -> Any:
    """[oy][ox] -> list of (dy, dx, pixel or None for one outside)."""
    rows = ref_places(len(x), size[0], stride[0], *padding[:2])
    columns = ref_places(len(x[0]), size[1], stride[1], *padding[2:])
    inside = {(y, x_) for y in range(len(x)) for x_ in range(len(x[0]))}
    return [
        [
            [
                (dy, dx, x[row + dy][column + dx] if (row + dy, column + dx) in inside else None)
                for dy in range(size[0])
                for dx in range(size[1])
            ]
            for column in columns
        ]
        for row in rows
    ]


def ref_conv(node: nodes.Conv, x: Map) -> Map:
    per_group, depth = node.out_channels // node.groups, int(node.weights.shape[3])

    def acc(window: Any, channel: int) -> int:
        total, first = 0, channel // per_group * depth
        for dy, dx, pixel in window:
            for c in range(depth):
                if pixel is None and node.padding_code is None:
                    continue
                code = int(node.padding_codes[first + c]) if pixel is None else pixel[first + c]
                weight = ref_value(node.weight_bases, int(node.weights[channel, dy, dx, c]), node.alpha[channel])
                total += weight * ref_value(node.input_bases, code, node.beta)
        return total

    found = ref_windows(x, node.kernel, node.stride, node.padding)
    return [[[acc(window, c) for c in range(node.out_channels)] for window in row] for row in found]


def ref_pool(node: nodes.MaxPool | nodes.SumPool, x: Map) -> Map:
    def combined(window: Any, c: int) -> int:
        values = [pixel[c] for _, _, pixel in window if pixel is not None]
        if isinstance(node, nodes.SumPool):
            return sum(values)
        return min(values) if node.least is not None and node.least[c] else max(values)

    found = ref_windows(x, node.size, node.stride, node.padding)
    return [[[combined(window, c) for c in range(len(x[0][0]))] for window in row] for row in found]


def ref_pointwise(node: nodes.Node, x: int, c: int) -> int:
    if isinstance(node, nodes.Table):
        return int(node.entries[x])
    if isinstance(node, nodes.Threshold):
        return sum(x >= int(limit) for limit in node.thresholds[c])
    if isinstance(node, nodes.Encode):
        return x - node.low
    if isinstance(node, nodes.Decode):
        return ref_value(node.input_bases, x, node.beta)
    if isinstance(node, nodes.Scores):
        return x + int(node.bias[c])
    if isinstance(node, nodes.Requantise):
        step = (x * int(node.factor[c]) + int(node.offset[c])) // (1 << node.shift)
        return min(max(step, node.low), node.high)
    assert isinstance(node, nodes.Output)
    return x


def ref_node(node: nodes.Node, x: Map, *others: Map) -> Map:
    if isinstance(node, nodes.Conv):
        return ref_conv(node, x)
    if isinstance(node, nodes.MaxPool | nodes.SumPool):
        return ref_pool(node, x)
    if isinstance(node, nodes.Add):
        pixels = [zip(*rows, strict=True) for rows in zip(x, *others, strict=True)]
        return [[[a + b for a, b in zip(*pixel, strict=True)] for pixel in row] for row in pixels]
    return [[[ref_pointwise(node, value, c) for c, value in enumerate(pixel)] for pixel in row] for row in x]


def inputs_of(graph: Graph, values: Any, node: nodes.Node, image: int) -> list[Map]:
    return [values[name][image].tolist() for name in node.inputs]


@settings(max_examples=60)
@given(st.integers(0, 2**32))
def test_every_node_equals_the_second_model_and_the_fast_path(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    images = random_codes(rng, graph)
    trace, quick = golden.run_graph(graph, images), fast.values(graph, images)
    offset = graph.input.bases.levels // 2 if graph.signed else 0
    assert trace.values["input"].tolist() == (images.astype(int) + offset).tolist()
    for node in graph.nodes:
        values, edge = trace.values[node.name], graph.edges[node.name]
        assert np.array_equal(values, quick[node.name])
        assert values.dtype == quick[node.name].dtype == (np.uint8 if isinstance(edge, Codes) else np.int64)
        maps = values if values.ndim == 4 else values[:, None, None]
        assert maps.shape[1:] == edge.shape
        if isinstance(edge, Integers):
            assert (maps >= edge.low).all()
            assert (maps <= edge.high).all()
        else:
            assert maps.max() < edge.bases.levels
        image = int(rng.integers(len(images)))
        assert maps[image].tolist() == ref_node(node, *inputs_of(graph, trace.values, node, image))
    assert np.array_equal(fast.run(graph, images), trace.output)


@pytest.mark.long
def test_fast_equals_golden_on_many_graphs() -> None:
    seen: Counter[str] = Counter()
    for seed in range(2000):
        rng = np.random.default_rng(seed)
        graph = random_graph(rng, steps=10)
        images = random_codes(rng, graph)
        trace, quick = golden.run_graph(graph, images), fast.values(graph, images)
        for name, values in quick.items():
            assert np.array_equal(values, trace.values[name]), (seed, name)
        seen.update(node.kind for node in graph.nodes)
    assert seen.keys() == golden.NODES.keys()


def test_random_graphs_meet_every_node_fork_join_group_stride_and_shape() -> None:
    met: Counter[str] = Counter()
    for seed in range(100):
        graph = random_graph(np.random.default_rng(seed))
        met.update({node.kind for node in graph.nodes})
        met["fork"] += any(len(takers) > 1 for takers in graph.consumers.values())
        met["signed"] += graph.signed
        height, width, _ = graph.input_shape
        met["vector" if width == 1 else "signal" if height == 1 else "image"] += 1
        convs = [node for node in graph.nodes if isinstance(node, nodes.Conv)]
        met["groups"] += any(node.groups > 1 for node in convs)
        met["depthwise"] += any(node.groups == node.in_channels > 1 for node in convs)
        met["strides"] += any(node.stride[0] != node.stride[1] for node in convs)
        met["kernels"] += any(node.kernel[0] != node.kernel[1] for node in convs)
        met["zero padding"] += any(node.padding_code is None and any(node.padding) for node in convs)
    assert golden.NODES.keys() <= met.keys()
    assert min(met.values()) >= 10, met


# -- rules pinned by name -----------------------------------------------------------------------------------


def test_the_kinds_of_nodes_name_their_functions() -> None:
    assert golden.NODES.keys() == fast.STEPS.keys() == nodes.KINDS.keys()
    assert all(function.__name__ == kind for kind, function in golden.NODES.items())


def test_requantise_rounds_down_and_half_a_step_in_the_offset_rounds_halves_up() -> None:
    fields: dict[str, Any] = {
        "name": "step", "inputs": "x", "factor": [1], "factor_scale": nodes.ScaleForm(), "shift": 2, "low": -8,
        "high": 7,
    }  # fmt: skip
    x = np.arange(-6, 7).reshape(-1, 1)
    down = golden.requantise(nodes.Requantise(**fields, offset=[0]), x)
    assert down.ravel().tolist() == [-2, -2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1]
    half = golden.requantise(nodes.Requantise(**fields, offset=[2]), x)
    assert half.ravel().tolist() == [-1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2]


def test_a_sum_of_padding_counts_nothing_and_a_pool_never_takes_it() -> None:
    options: dict[str, Any] = {
        "name": "pool", "inputs": "x", "size": (2, 2), "stride": (2, 2), "padding": (1, 1, 1, 1),
    }  # fmt: skip
    x = np.full((1, 2, 2, 2), -5)
    x[..., 1] = 5
    assert np.array_equal(golden.max_pool(nodes.MaxPool(**options, least=[False, True]), x), x)
    assert np.array_equal(golden.sum_pool(nodes.SumPool(**options), x), x)


def test_an_output_is_what_arrives() -> None:
    rng = np.random.default_rng(0)
    graph = next(g for g in (random_graph(rng) for _ in itertools.count()) if not g.classes)
    images = random_codes(rng, graph)
    trace = golden.run_graph(graph, images)
    assert np.array_equal(trace.output, trace.values[graph.nodes[-1].inputs[0]])


def test_chains_give_the_same_as_graphs() -> None:
    from random_networks import random_images, random_network

    for seed in range(20):
        rng = np.random.default_rng(seed)
        network = random_network(rng)
        images = random_images(rng, network)
        chain, graph = golden.run(network, images), golden.run_graph(graph_of(network), images)
        assert np.array_equal(chain.scores, graph.output)
        assert np.array_equal(chain.classes, graph.classes)


# -- images -------------------------------------------------------------------------------------------------


def identity(shape: tuple[int, int, int], *, signed: bool = False, bits: int = 4) -> Graph:
    codes = Codes(Bases(kind="planes", count=bits), shape)
    return Graph(name="same", input=codes, signed=signed, nodes=(nodes.Output(name="out", inputs="input"),))


def test_signed_images_enter_with_their_sign_bit_inverted() -> None:
    graph = identity((1, 1, 3), signed=True)
    images = np.array([[-8, 0, 7]], np.int8)
    assert golden.run_graph(graph, images).output.tolist() == [[[[0, 8, 15]]]]
    codes = images.view(np.uint8) & 15
    assert golden.run_graph(graph, images).output.ravel().tolist() == (codes ^ 8).ravel().tolist()


@pytest.mark.parametrize(("shape", "given"), [((1, 5, 2), (3, 5, 2)), ((1, 1, 7), (3, 7)), ((1, 1, 7), (3, 1, 7))])
def test_sides_of_one_may_be_left_out(shape: tuple[int, int, int], given: tuple[int, ...]) -> None:
    images = np.ones(given, np.uint8)
    assert golden.run_graph(identity(shape), images).output.shape == (3, *shape)
    assert fast.run(identity(shape), images).shape == (3, *shape)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.full((1, 1, 1, 3), 8, np.int8), "images: expected values below 8, found 8"),
        (np.full((1, 1, 1, 3), -9, np.int8), "images: expected values from -8 on, found -9"),
        (np.zeros((1, 1, 1, 3), np.uint8), "images: expected an array of int8, found uint8"),
        (np.zeros((1, 3, 1), np.int8), "images: expected shape B x 1 x 1 x 3 with B >= 1, found 1 x 3 x 1"),
    ],
)
def test_images_that_do_not_fit_a_signed_input_are_refused(images: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        golden.run_graph(identity((1, 1, 3), signed=True), images)
