"""Graphs of nodes: the chains among them, their digests, and each refusal with its message."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import random_network
from test_files import assert_same
from test_network import make_network

from abc_hw import zoo
from abc_hw.errors import NetworkError
from abc_hw.network import Bases, Codes, Graph, Integers, ScaleForm, chain_of, graph_of
from abc_hw.network.nodes import (
    ALWAYS,
    NEVER,
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

TWO = Bases(kind="thermometer", count=2)
FIXED = ScaleForm(kind="fixed", bits=6)
SHAPE = (4, 5, 3)


# -- chains -------------------------------------------------------------------------------------------------


@given(st.integers(0, 2**32))
def test_a_chain_becomes_a_graph_and_comes_back(seed: int) -> None:
    network = random_network(np.random.default_rng(seed))
    graph = graph_of(network)
    assert_same(chain_of(graph), network)
    assert graph.digest == network.digest
    assert graph.binary_macs == network.binary_macs
    assert graph.weight_bits == network.weight_bits
    assert graph.output.shape == (1, 1, len(network.classes))


def test_names_with_dots_become_names_of_layers_and_decide_no_digest() -> None:
    network = make_network()
    conv, threshold, dense, scores = graph_of(network).nodes
    names = {"conv1": "a.b", "conv1.threshold": "cut", "dense2": "a_b", "dense2.scores": "end", "input": "input"}
    renamed = tuple(
        dataclasses.replace(node, name=names[node.name], inputs=tuple(names[name] for name in node.inputs))
        for node in (conv, threshold, dense, scores)
    )
    graph = dataclasses.replace(graph_of(network), nodes=renamed)
    assert [layer.name for layer in chain_of(graph).layers] == ["a_b", "a_b_"]
    assert graph.digest == network.digest


def test_networks_of_the_zoo_keep_their_digests() -> None:
    for name in ("digits-lenet-m3n3", "mnist-lenet-m1n1"):
        network = zoo.load(name)
        assert graph_of(network).digest == network.digest


def test_a_pool_before_the_threshold_is_the_same_layer() -> None:
    conv, threshold, *rest = graph_of(make_network()).nodes
    pool = MaxPool(name="pool", inputs="conv1", size=(2, 2), stride=(2, 2))
    cut = dataclasses.replace(threshold, inputs="pool")
    weights = rest[0].weights[:, :1, :1]
    dense = dataclasses.replace(rest[0], kernel=(1, 1), weights=weights, inputs="conv1.threshold")
    nodes = (conv, pool, cut, dense, *rest[1:])
    graph = Graph(name="net", input=Codes(TWO, (4, 4, 2)), nodes=nodes, classes=("a", "b"))
    assert chain_of(graph).layers[0].pool == 2
    assert chain_of(graph).layers[0].out_shape == (1, 1, 3)


# -- what nodes hand on -------------------------------------------------------------------------------------


def conv(**changes: Any) -> Conv:
    """4 x 5 x 3 codes of two bases -> 2 x 3 x 2 integers."""
    fields: dict[str, Any] = {
        "name": "conv", "inputs": "input", "kernel": (3, 3), "weight_bases": TWO, "input_bases": TWO,
        "weights": np.arange(54).reshape(2, 3, 3, 3) % 3, "alpha": [[3, -1], [2, 5]], "alpha_scale": FIXED,
        "beta": [2, 3], "beta_scale": FIXED,
    }  # fmt: skip
    return Conv(**fields | changes)


def requantise(**changes: Any) -> Requantise:
    fields: dict[str, Any] = {
        "name": "step", "inputs": "conv", "factor": [3, -2], "factor_scale": FIXED, "offset": [8, 8], "shift": 4,
        "low": -20, "high": 20,
    }  # fmt: skip
    return Requantise(**fields | changes)


def graph(*nodes: Node, shape: tuple[int, int, int] = SHAPE, **options: Any) -> Graph:
    return Graph(name="net", input=Codes(TWO, shape), nodes=nodes, **options)


def out(name: str) -> Output:
    return Output(name="out", inputs=name)


def long_graph() -> Graph:
    """Most kinds of nodes one after the other."""
    return graph(
        conv(stride=(1, 2), padding=(1, 0, 2, 1)),
        requantise(),
        Encode(name="planes", inputs="step", low=-20, bits=6),
        Decode(
            name="back", inputs="planes", input_bases=Bases(kind="planes", count=6), beta=1 << np.arange(6),
            beta_scale=ScaleForm(kind="pow2", bits=6),
        ),
        Add(name="sum", inputs=("back", "step")),
        SumPool(name="total", inputs="sum", size=(3, 3), stride=(1, 1), padding=(0, 0, 1, 0)),
        MaxPool(name="best", inputs="total", size=(1, 2), stride=(1, 1), least=np.array([True, False])),
        Threshold(name="cut", inputs="best", thresholds=[[ALWAYS, 0], [5, NEVER]], bases=TWO),
        out("cut"),
    )  # fmt: skip


def test_edges_have_the_documented_shapes_and_ranges() -> None:
    net = long_graph()
    shapes = [edge.shape for edge in net.edges.values()]
    assert shapes == [(4, 5, 3), *[(3, 3, 2)] * 5, (1, 2, 2), *[(1, 1, 2)] * 3]
    ranges = {
        name: (edge.low.tolist(), edge.high.tolist())
        for name, edge in net.edges.items()
        if isinstance(edge, Integers)
    }
    least, greatest = net.nodes[0].acc_bounds
    assert ranges["conv"] == (least.tolist(), greatest.tolist())
    assert ranges["step"] == ([-20, -20], [20, 20])  # both clip: |acc| reaches 5 x 27 and more
    assert ranges["back"] == ([-63, -63], [63, 63])
    assert ranges["sum"] == ([-83, -83], [83, 83])
    assert ranges["total"] == ranges["best"] == ([-747, -747], [747, 747])
    assert net.edges["planes"] == Codes(Bases(kind="planes", count=6), (3, 3, 2))
    assert net.output == net.edges["cut"] == Codes(TWO, (1, 1, 2))
    assert net.nodes[7].thresholds.tolist() == [[-747, 0], [5, 748]]


def test_a_fork_is_a_value_that_several_nodes_take() -> None:
    net = long_graph()
    assert [node.name for node in net.consumers["step"]] == ["planes", "sum"]
    assert net.arriving(net.nodes[4]) == (net.edges["back"], net.edges["step"])


def test_integers_know_their_bits() -> None:
    for low, high, bits in ((0, 0, 1), (-1, 0, 1), (0, 1, 2), (-128, 127, 8), (-129, 0, 9), (5, 6, 4)):
        assert Integers(low, high, (1, 1, 2)).bits == bits


def test_requantised_ranges_are_reached() -> None:
    node = requantise(factor=[3, -2], offset=[7, -1], shift=2, low=-6, high=9)
    edge = node.output(Integers([-5, -4], [3, 6], (1, 1, 2)))
    for channel, values in enumerate(([*range(-5, 4)], [*range(-4, 7)])):
        factor, offset = int(node.factor[channel]), int(node.offset[channel])
        images = [min(max((x * factor + offset) // 4, -6), 9) for x in values]
        assert (edge.low[channel], edge.high[channel]) == (min(images), max(images))


@pytest.mark.parametrize("least", [-3, 2])
def test_sums_of_clipped_windows_are_within_the_range(least: int) -> None:
    padded = SumPool(name="sum", inputs="x", size=(2, 2), stride=(1, 1), padding=(1, 0, 0, 1))
    edge = padded.output(Integers(least, 5, (3, 3, 1)))
    assert (edge.least, edge.greatest) == (min(least, 4 * least), 20)


# -- digests ------------------------------------------------------------------------------------------------


def test_digest_changes_with_what_decides_a_bit_and_with_nothing_else() -> None:
    net = long_graph()
    digests = {net.digest}
    for index, changes in (
        (0, {"beta": [3, 2]}), (0, {"padding_code": None}), (0, {"stride": (1, 1), "padding": (1, 0, 0, 0)}),
        (1, {"offset": [8, 9]}), (1, {"shift": 5}), (4, {"inputs": ("step", "back")}),
        (6, {"least": None}), (7, {"thresholds": [[0, 1], [5, 5]]}),
    ):  # fmt: skip
        nodes = list(net.nodes)
        nodes[index] = dataclasses.replace(nodes[index], **changes)
        digests.add(dataclasses.replace(net, nodes=tuple(nodes)).digest)
    assert len(digests) == 9
    other = dataclasses.replace(net, name="other", training={"epochs": 1})
    assert other.digest == net.digest


# -- refusals -----------------------------------------------------------------------------------------------

ADD = Add(name="sum", inputs=("conv", "two"))
SCORES = Scores(name="scores", inputs="conv", bias=[0, 0])

REFUSALS: list[tuple[Any, str]] = [
    (lambda: conv(kernel=3), "conv.kernel: expected 2 integers, such as (3, 3), found the single number 3"),
    (
        lambda: conv(kernel=(np.int64(3), 3)),
        "conv.kernel: expected integers of Python, such as (3, 3), found NumPy's",
    ),
    (
        lambda: conv(groups=np.int64(1)),
        "conv.groups: expected an integer of Python, such as int(1), found NumPy's",
    ),
    (
        lambda: conv(weights=np.where(np.arange(54) % 2, 1, -1).reshape(2, 3, 3, 3)),
        "conv.weights: expected codes (of one basis: 0 for -1 and 1 for +1), found values of -1",
    ),
    (lambda: conv(name="Conv"), "node name: expected lower-case identifiers joined by dots, found 'Conv'"),
    (lambda: conv(name="a..b"), "node name: expected lower-case identifiers joined by dots, found 'a..b'"),
    (lambda: conv(inputs=("a", "b")), "conv.inputs: expected 1 of them, found 2"),
    (
        lambda: conv(padding=1),
        "conv.padding: expected 4 integers, such as (1, 1, 1, 1), found the single number 1",
    ),
    (
        lambda: conv(padding=(0, 3, 0, 0)),
        "conv.padding: expected less than the window's sides (3, 3), found (0, 3, 0, 0)",
    ),
    (lambda: conv(padding_code=3), "conv.padding_code: expected a code below 3 or none, found 3"),
    (lambda: conv(groups=3), "conv.groups: expected a divisor of 2 output channels, found 3"),
    (lambda: graph(conv(groups=2), out("conv")), "conv.weights: expected 3 input channels, found 6"),
    (
        lambda: graph(conv(), out("conv"), shape=(2, 9, 3)),
        "conv.kernel: expected at most the padded input (2, 9), found (3, 3)",
    ),
    (
        lambda: graph(conv(), conv(name="two", inputs="conv"), out("two")),
        "two.inputs: expected codes of 2 thermometer bases, found integers -765 .. 765, 2 x 3 x 2",
    ),
    (
        lambda: graph(Threshold(name="cut", inputs="input", thresholds=[[0, 1]], bases=TWO), out("cut")),
        "cut.inputs: expected integers, found codes of 2 thermometer bases, 4 x 5 x 3",
    ),
    (
        lambda: graph(conv(), Threshold(name="cut", inputs="conv", thresholds=[[0, 1]], bases=TWO), out("cut")),
        "cut.inputs: expected 1 channels, found integers -765 .. 765, 2 x 3 x 2",
    ),
    (
        lambda: Threshold(name="cut", inputs="conv", thresholds=[[0, 1, 2]], bases=TWO),
        "cut.thresholds: expected 2 per channel for 2 thermometer bases, found 3",
    ),
    (
        lambda: Threshold(name="cut", inputs="conv", thresholds=[[1, 0]], bases=TWO),
        "cut.thresholds: expected ascending values in each channel, found [1, 0] in channel 0",
    ),
    (
        lambda: graph(conv(), Encode(name="code", inputs="conv", low=-100, bits=8), out("code")),
        "code.inputs: expected values within -100 .. 155, found integers -765 .. 765, 2 x 3 x 2",
    ),
    (lambda: requantise(shift=-1), "step.shift: expected an integer >= 0, found -1"),
    (lambda: requantise(low=20), "step.high: expected more than low, 20, found 20"),
    (lambda: requantise(factor=[3, 32]), "step.factor: expected values of form fixed with 6 bits, found 32"),
    (
        lambda: graph(conv(), requantise(offset=[1 << 52, 0]), out("step")),
        "step.factor: expected products below 2**52, found 1080",
    ),
    (
        lambda: graph(conv(), conv(name="two", stride=(2, 2)), ADD, out("sum")),
        "sum.inputs: expected maps of equal shape from conv and two, found 2 x 3 x 2 and 1 x 2 x 2",
    ),
    (
        lambda: MaxPool(name="pool", inputs="input", size=(2, 2), stride=(1, 1), least=[0, 1]),
        "pool.least: expected one boolean per channel, found int64 of shape (2,)",
    ),
    (
        lambda: graph(Table(name="table", inputs="input", entries=[0, 1], bases=TWO), out("table")),
        "table.entries: expected one entry for each of 3 input codes, found 2",
    ),
    (
        lambda: graph(conv(), Table(name="table", inputs="input", entries=[0, 1, 1], bases=TWO), out("table")),
        "table: expected a table as the first node at most, found node 2",
    ),
    (
        lambda: Scores(name="scores", inputs="conv", bias=[0], scale=-1.0),
        "scores.scale: expected a positive real number, found -1.0",
    ),
    (lambda: graph(conv(), SCORES), "scores.inputs: expected one pixel, found integers -765 .. 765, 2 x 3 x 2"),
    (lambda: graph(conv(), SCORES, shape=(3, 3, 3)), "classes: expected 2 names, one per score, found 0"),
    (lambda: graph(), "nodes: expected at least one node, found 0"),
    (lambda: graph(conv()), "conv: expected scores or output as the last node, found conv"),
    (lambda: graph(conv(), conv(), out("conv")), "nodes: expected names that differ, found conv twice"),
    (lambda: graph(conv(name="input"), out("input")), "nodes: expected names that differ, found input twice"),
    (
        lambda: graph(conv(inputs="later"), out("conv")),
        "conv.inputs: expected names of nodes before it, found 'later'",
    ),
    (
        lambda: graph(conv(), conv(name="two"), out("conv")),
        "two: expected a node that takes its output, found none",
    ),
    (
        lambda: graph(conv(), out("conv"), Output(name="more", inputs="conv")),
        "out: expected one output, the last node, found more behind it",
    ),
    (
        lambda: graph(conv(), out("conv"), signed=True),
        "signed: expected bit-planes as input codes, found thermometer bases",
    ),
]


@pytest.mark.parametrize(("make", "message"), REFUSALS, ids=[text for _, text in REFUSALS])
def test_what_cannot_be_is_refused_by_node_and_field(make: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        make()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"groups": 2, "weights": np.zeros((2, 3, 3, 1), int)},
            "conv.groups: expected 1 in a fused layer, found 2",
        ),
        (
            {"padding": (1, 0, 1, 0)},
            "conv.padding: expected the same on all sides in a fused layer, found (1, 0, 1, 0)",
        ),
        (
            {"padding": (1, 1, 1, 1), "padding_code": 1},
            "conv.padding_code: expected 0 in a fused layer, found 1",
        ),
        ({"stride": (1, 2)}, "conv.stride: expected the same in both directions in a fused layer, found (1, 2)"),
    ],
)
def test_what_no_fused_layer_holds_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    channels = 2 if "groups" in changes else 3
    cut = Threshold(name="cut", inputs="conv", thresholds=[[0, 1], [0, 1]], bases=TWO)
    net = graph(conv(**changes), cut, out("cut"), shape=(4, 5, channels))
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        chain_of(net)


def test_what_is_no_chain_is_refused_by_its_first_node() -> None:
    with pytest.raises(NetworkError, match=r"^step: expected threshold, max_pool or scores behind conv, found re"):
        chain_of(graph(conv(), requantise(), out("step")))
    fork = graph(conv(), Add(name="sum", inputs=("conv", "conv")), out("sum"))
    with pytest.raises(NetworkError, match=r"^sum: expected conv as input in a chain of layers, found conv, con"):
        chain_of(fork)
