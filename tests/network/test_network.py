"""The rules of the integer network: each refusal with its message, each derived number against its meaning."""

from __future__ import annotations

import dataclasses
import itertools
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import random_network

from abc_hw.errors import InputError, NetworkError
from abc_hw.network import Bases, Layer, Network, ScaleForm

FIXED = ScaleForm(kind="fixed", bits=6)


def make_layer(**changes: Any) -> Layer:
    """A hidden layer, 4 x 4 x 2 -> 2 x 2 x 3, M = N = 2, with fields replaced."""
    fields: dict[str, Any] = {
        "name": "conv1",
        "in_shape": (4, 4, 2),
        "kernel": (3, 3),
        "weight_bases": Bases(kind="thermometer", count=2),
        "input_bases": Bases(kind="thermometer", count=2),
        "weights": np.arange(54, dtype=np.uint8).reshape(3, 3, 3, 2) % 3,
        "alpha": np.array([[3, -1], [2, 5], [-4, 7]]),
        "alpha_scale": FIXED,
        "beta": np.array([2, 3]),
        "beta_scale": FIXED,
        "thresholds": np.array([[-5, 5], [0, 0], [1, 9]]),
    }
    return Layer(**fields | changes)


def make_classifier(**changes: Any) -> Layer:
    """A classifier 2 x 2 x 3 -> 2 that follows :func:`make_layer`, with fields replaced."""
    fields: dict[str, Any] = {
        "name": "dense2",
        "in_shape": (2, 2, 3),
        "kernel": (2, 2),
        "weight_bases": Bases(kind="thermometer", count=1),
        "input_bases": Bases(kind="thermometer", count=2),
        "weights": np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3) % 2,
        "alpha": np.array([[1], [-1]]),
        "alpha_scale": FIXED,
        "beta": np.array([2, 3]),
        "beta_scale": FIXED,
        "bias": np.array([4, -4]),
    }
    return Layer(**fields | changes)


def make_network(**changes: Any) -> Network:
    fields = {"name": "net", "layers": (make_layer(), make_classifier()), "classes": ("a", "b")}
    return Network(**fields | changes)


# -- bases and scale forms ----------------------------------------------------------------------------------


def test_thermometer_code_counts_the_bases_at_plus_one() -> None:
    bases = Bases(kind="thermometer", count=3)
    assert (bases.levels, bases.bits) == (4, 2)
    assert bases.expand(np.arange(4)).tolist() == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]


def test_planes_code_is_the_bits_of_a_number() -> None:
    bases = Bases(kind="planes", count=8)
    assert (bases.levels, bases.bits) == (256, 8)
    for code in (0, 1, 170, 255):
        assert bases.expand(np.array(code)).tolist() == [bool(code >> n & 1) for n in range(8)]


@pytest.mark.parametrize(
    ("kind", "count", "bits"), [("thermometer", 1, 1), ("thermometer", 8, 4), ("planes", 1, 1)]
)
def test_code_width_is_the_least_that_holds_all_levels(kind: Any, count: int, bits: int) -> None:
    assert Bases(kind=kind, count=count).bits == bits


def test_values_sum_coefficient_times_sign() -> None:
    assert Bases(kind="thermometer", count=2).values(np.array([2, 5])).tolist() == [-7, -3, 7]
    assert Bases(kind="planes", count=2).values(np.array([[2, 5]])).tolist() == [[-7, -3, 3, 7]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "gray"}, "bases.kind: expected thermometer or planes, found 'gray'"),
        ({"count": 0}, "bases.count: expected an integer from 1 to 8, found 0"),
        ({"count": 9}, "bases.count: expected an integer from 1 to 8, found 9"),
        ({"count": True}, "bases.count: expected an integer from 1 to 8, found True"),
    ],
)
def test_bases_refuse(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        Bases(**{"kind": "thermometer", "count": 2} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "float"}, "scale.kind: expected fixed, csd or pow2, found 'float'"),
        ({"bits": 0}, "scale.bits: expected an integer from 1 to 16, found 0"),
        ({"bits": 17}, "scale.bits: expected an integer from 1 to 16, found 17"),
        ({"terms": 0}, "scale.terms: expected an integer from 1 to 4, found 0"),
        ({"terms": 5}, "scale.terms: expected an integer from 1 to 4, found 5"),
    ],
)
def test_scale_form_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        ScaleForm(**changes)


def test_forms_allow_exactly_their_integers() -> None:
    assert ScaleForm(kind="fixed", bits=3).allowed.tolist() == [-4, -3, -2, -1, 0, 1, 2, 3]
    assert ScaleForm(kind="fixed", bits=1).allowed.tolist() == [-1, 0, 1]
    assert ScaleForm(kind="pow2", bits=3).allowed.tolist() == [-4, -2, -1, 0, 1, 2, 4]
    terms = [0, *(sign << shift for sign in (1, -1) for shift in range(4))]
    sums = {a + b for a, b in itertools.product(terms, terms) if a != b or a == 0}
    assert ScaleForm(kind="csd", bits=4, terms=2).allowed.tolist() == sorted(sums)


@given(st.sampled_from(["csd", "pow2"]), st.integers(1, 8), st.integers(1, 3))
def test_terms_sum_to_the_value(kind: Any, bits: int, terms: int) -> None:
    form = ScaleForm(kind=kind, bits=bits, terms=terms)
    for value in form.allowed:
        chosen = form.terms_of(value)
        assert sum(sign << shift for sign, shift in chosen) == value
        assert len(chosen) <= form.terms
        assert all(sign in (1, -1) and 0 <= shift < bits for sign, shift in chosen)


# -- layers -------------------------------------------------------------------------------------------------


def test_shapes_follow_from_the_geometry() -> None:
    layer = make_layer(
        in_shape=(9, 7, 2),
        stride=2,
        padding=1,
        pool=2,
        weights=np.zeros((3, 3, 3, 2), np.uint8),
        thresholds=np.zeros((3, 1), int),
    )
    assert layer.conv_shape == (5, 4, 3)
    assert layer.out_shape == (2, 2, 3)
    assert layer.dot_length == 18
    assert layer.dots == 60
    assert layer.binary_macs == 60 * 18 * 2 * 2
    assert not layer.is_dense
    assert not layer.is_classifier
    assert make_classifier().is_dense
    assert make_classifier().is_classifier


@pytest.mark.parametrize("beta", [[2, 3], [-2, 3], [3, -1], [0, 0]])
def test_acc_bounds_are_reached_and_never_passed(beta: list[int]) -> None:
    layer = make_layer(
        in_shape=(1, 2, 2),
        kernel=(1, 2),
        weights=np.array([0, 1, 2, 1, 2, 2, 0, 0, 1, 1, 2, 0]).reshape(3, 1, 2, 2),
        beta=np.array(beta),
        thresholds=np.zeros((3, 1), int),
    )
    weights = layer.weight_bases.values(layer.alpha)
    inputs = layer.input_bases.values(layer.beta)
    for channel in range(3):
        values = [int(weights[channel, code]) for code in layer.weights[channel].flat]
        sums = [
            sum(w * int(inputs[code]) for w, code in zip(values, codes, strict=True))
            for codes in itertools.product(range(3), repeat=4)
        ]
        assert layer.acc_bounds[0][channel] == min(sums)
        assert layer.acc_bounds[1][channel] == max(sums)


LAYER_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"name": "Conv1"}, "layer name: expected a lower-case identifier, found 'Conv1'"),
    ({"name": "a b"}, "layer name: expected a lower-case identifier, found 'a b'"),
    ({"in_shape": (4, 4)}, "conv1.in_shape: expected 3 positive integers, found (4, 4)"),
    ({"in_shape": (4, 0, 2)}, "conv1.in_shape: expected 3 positive integers, found (4, 0, 2)"),
    ({"kernel": (3, 3, 3)}, "conv1.kernel: expected 2 positive integers, found (3, 3, 3)"),
    ({"kernel": (3, 3.0)}, "conv1.kernel: expected 2 positive integers, found (3, 3.0)"),
    ({"stride": 0}, "conv1.stride: expected an integer >= 1, found 0"),
    ({"padding": -1}, "conv1.padding: expected an integer >= 0, found -1"),
    ({"padding": 3}, "conv1.padding: expected less than the kernel's sides (3, 3), found 3"),
    ({"pool": 0}, "conv1.pool: expected an integer >= 1, found 0"),
    ({"pool": 3}, "conv1.pool: expected at most the convolution's output (2, 2), found 3"),
    ({"in_shape": (2, 4, 2)}, "conv1.kernel: expected at most the padded input (2, 4), found (3, 3)"),
    ({"in_shape": (4, 4, 3)}, "conv1.weights: expected shape C_out x 3 x 3 x 3, found (3, 3, 3, 2)"),
    ({"weights": np.zeros((0, 3, 3, 2), int)}, "conv1.weights: expected at least one output channel, found 0"),
    ({"weights": np.full((3, 3, 3, 2), 3)}, "conv1.weights: expected codes below 3, found 3"),
    (
        {"weights": np.full((3, 3, 3, 2), 300)},
        "conv1.weights: expected values that fit uint8, found values up to 300",
    ),
    ({"weights": np.full((3, 3, 3, 2), np.nan)}, "conv1.weights: expected integers, found float64"),
    ({"alpha": np.ones((3, 2))}, "conv1.alpha: expected integers, found float64"),
    ({"alpha": np.ones((3, 3), int)}, "conv1.alpha: expected shape (3, 2), found (3, 3)"),
    ({"alpha": np.full((3, 2), 32)}, "conv1.alpha: expected values of form fixed with 6 bits, found 32"),
    ({"beta": np.ones(3, int)}, "conv1.beta: expected shape (2,), found (3,)"),
    ({"beta_scale": ScaleForm(kind="pow2")}, "conv1.beta: expected values of form pow2 with 6 bits, found 3"),
    ({"thresholds": np.zeros((3, 0), int)}, "conv1.thresholds: expected shape 3 x (levels - 1), found (3, 0)"),
    ({"thresholds": np.zeros(3, int)}, "conv1.thresholds: expected shape 3 x (levels - 1), found (3,)"),
    (
        {"thresholds": np.array([[0, 1], [2, 1], [0, 0]])},
        "conv1.thresholds: expected ascending values in each channel, found [2, 1] in channel 1",
    ),
    ({"bias": np.zeros(3, int)}, "conv1.bias: expected none beside thresholds, found a tensor"),
]


@pytest.mark.parametrize(("changes", "message"), LAYER_REFUSALS, ids=[text for _, text in LAYER_REFUSALS])
def test_layer_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        make_layer(**changes)


def test_thresholds_may_reach_both_ends_and_no_further() -> None:
    least, greatest = make_layer().acc_bounds
    ends = np.stack([least, greatest + 1], axis=1)
    make_layer(thresholds=ends)
    for beyond in (np.array([-1, 0]), np.array([0, 1])):
        bounds = f"[{least[0]}, {greatest[0] + 1}]"
        message = (
            f"conv1.thresholds: expected values within {bounds} in channel 0, found {(ends + beyond)[0].tolist()}"
        )
        with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
            make_layer(thresholds=ends + beyond)


def test_accumulators_that_do_not_fit_are_refused() -> None:
    wide = ScaleForm(kind="fixed", bits=16)
    fields = {
        "in_shape": (1, 1, 1 << 17),
        "kernel": (1, 1),
        "weights": np.zeros((1, 1, 1, 1 << 17), np.uint8),
        "alpha": np.full((1, 2), 1 << 14),
        "alpha_scale": wide,
        "beta": np.full(2, 1 << 14),
        "beta_scale": wide,
        "thresholds": np.zeros((1, 1), int),
    }
    message = f"conv1.alpha: expected accumulators below 2**46, found {1 << 47}"
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        make_layer(**fields)
    half = fields | {"in_shape": (1, 1, 1 << 15), "weights": np.zeros((1, 1, 1, 1 << 15), np.uint8)}
    assert make_layer(**half).acc_bounds[1][0] == 1 << 45


CLASSIFIER_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"bias": None}, "dense2.bias: expected one integer per class in a layer without thresholds, found none"),
    ({"bias": np.zeros(3, int)}, "dense2.bias: expected shape (2,), found (3,)"),
    ({"bias": np.array([0, 1 << 46])}, f"dense2.bias: expected values below 2**46, found {1 << 46}"),
    ({"in_shape": (3, 2, 3)}, "dense2.kernel: expected one output pixel in the classifier, found (2, 1)"),
]


@pytest.mark.parametrize(
    ("changes", "message"), CLASSIFIER_REFUSALS, ids=[text for _, text in CLASSIFIER_REFUSALS]
)
def test_classifier_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=f"^{re.escape(message)}$"):
        make_classifier(**changes)


def test_arrays_cannot_be_changed() -> None:
    weights = np.zeros((3, 3, 3, 2), np.uint8)
    layer = make_layer(weights=weights)
    weights[:] = 1
    assert not layer.weights.any()
    with pytest.raises(ValueError, match="read-only"):
        layer.weights[0] = 1


# -- networks -----------------------------------------------------------------------------------------------

NETWORK_REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"name": "my net"}, "name: expected letters, digits, - and _, a letter first, found 'my net'"),
    ({"layers": ()}, "layers: expected at least one layer, found 0"),
    (
        {"layers": (make_layer(name="one"), make_classifier(name="one"))},
        "layers: expected names that differ, found ['one', 'one']",
    ),
    ({"layers": (make_layer(),)}, "conv1.thresholds: expected thresholds in every layer but the last, found 0"),
    (
        {"layers": (make_layer(pool=2), make_classifier())},
        "dense2.in_shape: expected (1, 1, 3), the output of conv1, found (2, 2, 3)",
    ),
    (
        {"layers": (make_layer(thresholds=np.zeros((3, 1), int)), make_classifier())},
        "conv1.thresholds: expected 2 per channel for the bases of dense2, found 1",
    ),
    ({"classes": ("a",)}, "classes: expected 2 names, one per output, found 1"),
]


@pytest.mark.parametrize(("changes", "message"), NETWORK_REFUSALS, ids=[text for _, text in NETWORK_REFUSALS])
def test_network_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        make_network(**changes)


def test_network_knows_its_size() -> None:
    network = make_network()
    assert network.input_shape == (4, 4, 2)
    assert network.binary_macs == 12 * 18 * 4 + 2 * 12 * 2


@given(st.integers(0, 2**32))
def test_digest_changes_with_every_tensor(seed: int) -> None:
    network = random_network(np.random.default_rng(seed))
    digests = {network.digest}
    for index, layer in enumerate(network.layers):
        changed: dict[str, Any] = {"alpha": np.zeros_like(layer.alpha), "weights": np.zeros_like(layer.weights)}
        if layer.bias is not None:
            changed["bias"] = layer.bias + 1
        for field, values in changed.items():
            if np.array_equal(values, getattr(layer, field)):
                continue
            fields: dict[str, Any] = {field: values}
            if layer.thresholds is not None:
                fields["thresholds"] = np.zeros_like(layer.thresholds)
            layers = list(network.layers)
            layers[index] = dataclasses.replace(layer, **fields)
            digests.add(dataclasses.replace(network, layers=tuple(layers)).digest)
            assert len(digests) > 1
    expected = sum(
        int(layer.alpha.any()) + int(layer.weights.any()) + int(layer.bias is not None) for layer in network.layers
    )
    assert len(digests) == expected + 1


def test_digest_leaves_out_what_changes_no_bit() -> None:
    network = make_network()
    assert make_network(name="other", classes=("x", "y"), training={"epochs": 3}).digest == network.digest
