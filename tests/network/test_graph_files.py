"""Version 2 of the network file: what is written comes back, whatever else there may be is refused on one line."""

from __future__ import annotations

import copy
import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import random_graph
from test_files import EDITED, JSON_VALUES, assemble, parts
from test_graph import long_graph
from test_network import make_network

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network, container, files, graph_of


def assert_same_graph(one: Graph, other: Graph) -> None:
    """Equal in every field of every node, not in the digest alone."""
    for field in ("name", "input", "signed", "classes", "training", "digest"):
        assert getattr(one, field) == getattr(other, field)
    for before, after in zip(one.nodes, other.nodes, strict=True):
        assert type(before) is type(after)
        for field in dataclasses.fields(before):
            left, right = getattr(before, field.name), getattr(after, field.name)
            if isinstance(left, np.ndarray):
                assert left.dtype == right.dtype
                assert np.array_equal(left, right)
            else:
                assert left == right


@given(st.integers(0, 2**32))
def test_round_trip(seed: int) -> None:
    graph = random_graph(np.random.default_rng(seed))
    data = files.to_bytes(graph)
    read = files.from_bytes(data, "net")
    assert isinstance(read, Graph)
    assert_same_graph(graph, read)
    assert files.to_bytes(read) == data


def test_both_versions_are_read_and_chains_of_either_are_networks(tmp_path: Path) -> None:
    network = make_network(training={"epochs": 3})
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    files.save(network, first)
    files.save(graph_of(network), second)
    assert isinstance(files.load_any(first), Network)
    assert isinstance(files.load_any(second), Graph)
    for path in (first, second):
        assert files.load(path).digest == files.load_any(path).digest == network.digest
        assert files.load(path).training == {"epochs": 3}


def test_a_graph_that_is_no_chain_is_refused_by_its_node_where_a_chain_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "long.safetensors"
    files.save(long_graph(), path)
    message = f"{path}: sum: expected back as input in a chain of layers, found back, step"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        files.load(path)


TENSOR_EDITS: list[tuple[str, Any, str]] = [
    ("conv.alpha", None, "conv.alpha: expected a tensor, found none"),
    ("best.least", None, "best.least: expected a tensor, found none"),
    ("conv.weights", None, "conv.weights: expected a tensor of shape (14,), found none"),
    ("conv.weights", np.zeros(3, np.uint8), "conv.weights: expected shape (14,), found (3,)"),
    ("conv.beta", np.zeros(2, np.uint8), "conv.beta: expected signed integers, found uint8"),
    ("best.least", np.zeros(2, np.int8), "best.least: expected unsigned integers, found int8"),
    ("best.least", np.array([0, 2], np.uint8), "best.least: expected 0 or 1 per channel, found 2"),
    ("best.least", np.ones(3, np.uint8), "best.least: expected 2 booleans, found 3"),
    ("step.offset", np.zeros(3, np.int8), "step.offset: expected shape (2,), one per channel as factor, found "),
    ("step.factor", np.array([3, 32], np.int8), "step.factor: expected values of form fixed with 6 bits, "),
    ("cut.thresholds", np.array([[1, 0], [0, 0]], np.int8), "cut.thresholds: expected ascending values in each "),
    ("cut.thresholds", np.zeros((2, 3), np.int8), "cut.thresholds: expected 2 per channel for 2 thermometer "),
    ("more.alpha", np.zeros(1, np.int8), "more.alpha: expected no such tensor, found one of shape (1,)"),
    ("conv.beta", np.array([3, 2], np.int8), "digest: expected "),
]


@pytest.mark.parametrize(("name", "values", "message"), TENSOR_EDITS, ids=[text[:50] for *_, text in TENSOR_EDITS])
def test_edited_tensors_are_refused(name: str, values: Any, message: str) -> None:
    document, tensors = parts(files.to_bytes(long_graph()))
    tensors.pop(name, None)
    if values is not None:
        tensors[name] = values
    with pytest.raises(InputError, match=f"^net: {re.escape(message)}") as caught:
        files.from_bytes(assemble(document, tensors), "net")
    assert str(caught.value).endswith(EDITED)


@settings(max_examples=50)
@given(st.data())
def test_forged_descriptions_are_refused_or_valid(data: st.DataObject) -> None:
    """Any value anywhere in the document, with a checksum that fits: never another exception."""
    document, tensors = parts(files.to_bytes(long_graph()))
    forged = copy.deepcopy(document)
    owner: Any = forged
    while True:
        keys = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(owner[key], dict | list) and owner[key] and data.draw(st.booleans()):
            owner = owner[key]
            continue
        owner[key] = data.draw(JSON_VALUES | st.integers(-2, 9))
        break
    sealed = {name: value for name, value in forged.items() if name != "checksum"}
    forged["checksum"] = container.checksum(sealed, tensors)
    try:
        read = files.from_bytes(assemble(forged, tensors), "net")
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert isinstance(read, Graph)
        files.to_bytes(read)


DOCUMENT_EDITS: list[tuple[tuple[Any, ...], Any, str]] = [
    (("nodes", 0, "kernel"), 3, "description: nodes[0].conv.kernel: expected a valid tuple, found 3"),
    (("nodes", 0, "groups"), "1", "description: nodes[0].conv.groups: expected a valid integer, found '1'"),
    (("nodes", 0, "extra"), 1, "description: nodes[0].conv.extra: expected no such field, found 1"),
    (
        ("nodes", 0, "kind"),
        "concat",
        "description: nodes[0].kind: expected one of table, conv, threshold, encode, decode, requantise, add, "
        "max_pool, sum_pool, scores, output, found 'concat'",
    ),
    (("nodes", 0), 7, "description: nodes[0].kind: expected one of table, conv, "),
    (("nodes", 0, "padding_code"), 3, "conv.padding_code: expected a code below 3 or none, found 3"),
    (("nodes", 0, "stride"), [9, 9], "total.size: expected at most the padded input (1, 2), found (3, 3)"),
    (("nodes", 4, "inputs"), ["back"], "sum.inputs: expected 2 of them, found 1"),
    (("nodes", 4, "inputs"), ["back", "later"], "sum.inputs: expected names of nodes before it, found 'later'"),
    (("nodes", 2, "bits"), 9, "description: nodes[2].encode.bits: expected less than or equal to 8, found 9"),
    (("nodes", 2, "bits"), 5, "planes.inputs: expected values within -20 .. 11, found integers -20 .. 20, "),
    (("nodes",), [], "back.beta: expected no such tensor, found one of shape (6,)"),
    (("nodes",), None, "description: nodes: expected a valid tuple, found None"),
    (("input", "shape"), [4, 5], "description: input.shape[2]: expected a value, found none"),
    (("input", "signed"), 1, "description: input.signed: expected a valid boolean, found 1"),
    (("input", "signed"), True, "signed: expected bit-planes as input codes, found thermometer bases"),
    (("classes",), ["a"], "classes: expected 0 names, one per score, found 1"),
    (("digest",), "0" * 64, "digest: expected "),
]


@pytest.mark.parametrize(
    ("place", "value", "message"), DOCUMENT_EDITS, ids=[text[:60] for *_, text in DOCUMENT_EDITS]
)
def test_edited_descriptions_are_refused(place: tuple[Any, ...], value: Any, message: str) -> None:
    document, tensors = parts(files.to_bytes(long_graph()))
    owner = document
    for step in place[:-1]:
        owner = owner[step]
    owner[place[-1]] = value
    with pytest.raises(InputError, match=f"^net: {re.escape(message)}") as caught:
        files.from_bytes(assemble(document, tensors), "net")
    assert str(caught.value).endswith(EDITED)
