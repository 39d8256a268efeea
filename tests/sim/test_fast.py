"""The fast path gives the golden model's numbers: every code, every score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import EXAMPLES
from random_networks import random_images, random_network

from abc_hw.errors import InputError
from abc_hw.network import Integers, Network, ScaleForm
from abc_hw.network.description import load, random_layer
from abc_hw.sim import fast, golden


def assert_equal(network: Network, images: np.ndarray) -> None:
    trace = golden.run(network, images)
    hidden, scores = fast.codes(network, images)
    assert scores.dtype == np.int64
    assert np.array_equal(scores, trace.scores)
    assert np.array_equal(fast.run(network, images), trace.scores)
    for got, layer in zip(hidden, trace.layers[:-1], strict=True):
        assert got.dtype == np.uint8
        assert np.array_equal(got, layer.output)


@given(st.integers(0, 2**32))
def test_random_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    assert_equal(network, random_images(rng, network, 5))


@pytest.mark.parametrize("name", ["lenet", "mlp", "tiny", "vgg"])
def test_examples(name: str) -> None:
    network, _ = load(EXAMPLES / f"{name}.toml")
    assert_equal(network, random_images(np.random.default_rng(1), network, 4))


@pytest.mark.parametrize("bits", [2, 6, 10, 16])
def test_accumulators_of_any_width(bits: int) -> None:
    """Coefficients of 10 bits and more leave float32's 24 bits; the images drive acc to both bounds."""
    rng = np.random.default_rng(bits)
    form = ScaleForm(kind="fixed", bits=bits)
    layer = random_layer(
        rng, name="wide", in_shape=(4, 4, 20), out_channels=6, kernel=(4, 4), M=5, N=3, alpha_scale=form,
        beta_scale=form, levels=None, plain=False,
    )  # fmt: skip
    network = Network(name="wide", layers=(layer,), classes=tuple("abcdef"))
    inputs = layer.input_bases.values(layer.beta)
    weights = layer.weight_bases.values(layer.alpha)
    flat = np.take_along_axis(weights, layer.weights.reshape(6, -1).astype(int), axis=1)
    extremes = np.where(flat >= 0, inputs.argmax(), inputs.argmin()).astype(np.uint8).reshape(6, 4, 4, 20)
    images = np.concatenate([extremes, random_images(rng, network, 20)])
    assert np.array_equal(np.diag(fast.run(network, extremes)), layer.acc_bounds[1] + layer.bias)
    assert_equal(network, images)


def test_wide_layers_leave_float32() -> None:
    """The choice of type is the claim that nothing rounds: 2**24 is where float32 stops counting."""
    narrow, wide = ScaleForm(kind="fixed", bits=2), ScaleForm(kind="fixed", bits=16)
    for form, expected in ((narrow, np.float32), (wide, np.float64)):
        layer = random_layer(
            np.random.default_rng(1), name="one", in_shape=(1, 1, 64), out_channels=2, kernel=(1, 1),
            alpha_scale=form, beta_scale=form, levels=None,
        )  # fmt: skip
        leaving = Integers(*layer.acc_bounds, layer.conv_shape)
        assert fast._Conv(layer.conv, (), leaving).weight_values[0].dtype == expected


def test_batches_change_nothing_and_report_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    network = random_network(rng, layers=3)
    images = random_images(rng, network, 7)
    whole = fast.run(network, images)
    monkeypatch.setattr(fast, "CHUNK_VALUES", 1)
    seen: list[tuple[int, int]] = []
    assert np.array_equal(
        fast.run(network, images, progress=lambda done, total: seen.append((done, total))), whole
    )
    assert seen == [(done, 7) for done in range(1, 8)]


def test_images_that_do_not_fit_are_refused() -> None:
    network, _ = load(EXAMPLES / "tiny.toml")
    for images in (np.zeros((1, 8, 8), np.uint8), np.zeros((1, 8, 8, 1))):
        with pytest.raises(InputError, match=r"^images: expected "):
            fast.run(network, images)
