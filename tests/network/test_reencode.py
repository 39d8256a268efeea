"""Re-encoding: fewer bases, the same scores on every image; and nothing at all where that is not exact."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import random_images, random_network

from abc_hw.network import Bases, IntArray, Layer, Network, ScaleForm
from abc_hw.network.reencode import planes_of, reencode, wider_form
from abc_hw.sim import fast, golden

SMALL = ScaleForm(kind="fixed", bits=4)


def even_steps(rng: np.random.Generator, rows: int, count: int, *, same: bool = False) -> IntArray:
    """Coefficients [rows, count] that planes can replace: all equal, or for 3 the first equal to the last."""
    steps = rng.choice([-3, -2, -1, 1, 2, 3], (rows, 1)) * np.ones((1, count), np.int64)
    if count == 3 and not same:
        steps[:, 1] = rng.integers(-4, 5, rows)
    return steps


def made_even(rng: np.random.Generator, network: Network) -> Network:
    """The network with coefficients that can be re-encoded, in most layers."""
    layers: list[Layer] = []
    for layer in network.layers:
        changes: dict[str, object] = {}
        if rng.random() < 0.8 and layer.weight_bases.kind == "thermometer":
            alpha = even_steps(rng, layer.out_channels, layer.weight_bases.count)
            changes.update(alpha=alpha, alpha_scale=SMALL)
        if rng.random() < 0.8 and layer.input_bases.kind == "thermometer":
            changes.update(beta=even_steps(rng, 1, layer.input_bases.count)[0], beta_scale=SMALL)
        if layer.thresholds is not None:  # within the bounds of the coefficients that now stand there
            draft = dataclasses.replace(layer, thresholds=np.zeros_like(layer.thresholds), **changes)
            least, greatest = draft.acc_bounds
            changes["thresholds"] = np.sort(
                rng.integers(least[:, None], greatest[:, None] + 2, layer.thresholds.shape), axis=1
            )
        layers.append(dataclasses.replace(layer, **changes))
    return dataclasses.replace(network, layers=tuple(layers))


def convolution(**options: object) -> Layer:
    """3 channels of 3 x 3 on 5 x 5 x 2, padded."""
    rng = np.random.default_rng(3)
    given: dict[str, object] = {
        "name": "conv", "in_shape": (5, 5, 2), "kernel": (3, 3), "padding": 1,
        "weight_bases": Bases(kind="thermometer", count=3), "input_bases": Bases(kind="thermometer", count=3),
        "weights": rng.integers(4, size=(3, 3, 3, 2), dtype=np.uint8),
        "alpha": np.array([[1, 2, 1], [3, -1, 3], [2, 2, 2]]), "alpha_scale": ScaleForm(),
        "beta": np.array([3, 4, 3]), "beta_scale": ScaleForm(), "thresholds": np.array([[-20, 0, 20]] * 3),
    }
    return Layer(**{**given, **options})  # type: ignore[arg-type]


def two_layers(first: Layer, *, N: int = 3, beta: list[int] | None = None) -> Network:
    """``first`` and a classifier of 4 classes on N thermometer bases with weights that no planes hold."""
    rng = np.random.default_rng(5)
    thresholds = np.sort(rng.integers(-60, 60, (3, N)), axis=1)
    second = Layer(
        name="classify", in_shape=(5, 5, 3), kernel=(5, 5), weight_bases=Bases(kind="thermometer", count=2),
        input_bases=Bases(kind="thermometer", count=N), weights=rng.integers(3, size=(4, 5, 5, 3), dtype=np.uint8),
        alpha=np.array([[1, 2]] * 4), alpha_scale=ScaleForm(), beta=np.array(beta or [3, 4, 3]),
        beta_scale=ScaleForm(), bias=np.array([5, -6, 7, 0]),
    )
    first = dataclasses.replace(first, thresholds=thresholds)
    return Network(name="two", layers=(first, second), classes=("a", "b", "c", "d"))


def assert_equal(before: Network, after: Network, images: np.ndarray) -> None:
    scores = golden.run(before, images).scores
    assert np.array_equal(scores, golden.run(after, images).scores)
    assert np.array_equal(scores, fast.run(after, images))


@given(st.integers(0, 2**32))
def test_scores_stay_the_same_on_random_networks(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = made_even(rng, random_network(rng, side=7))
    fewer = reencode(network)
    assert_equal(network, fewer, random_images(rng, network, 4))
    assert fewer.binary_macs <= network.binary_macs
    assert (fewer is network) == (fewer.digest == network.digest)
    assert reencode(fewer) is fewer
    for old, new in zip(network.layers, fewer.layers, strict=True):
        count = old.weight_bases.count
        if old.weight_bases.kind == "thermometer" and count in (3, 5):
            equal = bool((old.alpha == old.alpha[:, :1]).all())
            ends = bool((old.alpha[:, 0] == old.alpha[:, -1]).all())
            assert not equal or new.weight_bases == Bases(kind="planes", count=count // 2 + 1)
            assert count != 3 or (new.weight_bases.kind == "planes") == ends


def test_three_bases_become_two() -> None:
    network = two_layers(convolution())
    fewer = reencode(network)
    first, second = fewer.layers
    assert first.weight_bases == first.input_bases == second.input_bases == Bases(kind="planes", count=2)
    assert first.alpha.tolist() == [[1, 3], [3, 2], [2, 4]]
    assert first.beta.tolist() == second.beta.tolist() == [3, 7]
    assert second.weight_bases == network.layers[1].weight_bases
    xnors = [layer.binary_macs for layer in network.layers]
    assert xnors == [25 * 3 * 18 * 9, 4 * 75 * 6]
    assert [layer.binary_macs for layer in fewer.layers] == [25 * 3 * 18 * 4, 4 * 75 * 4]
    assert_equal(network, fewer, random_images(np.random.default_rng(0), network, 20))


@pytest.mark.parametrize(("N", "planes"), [(4, 3), (5, 3), (6, 3), (7, 3), (8, 4)])
def test_equal_steps_with_levels_to_spare(N: int, planes: int) -> None:
    """The offset of the values goes into the bias; levels that are not there are never reached."""
    network = two_layers(convolution(), N=N, beta=[2] * N)
    fewer = reencode(network)
    assert fewer.layers[1].input_bases == Bases(kind="planes", count=planes)
    assert fewer.layers[1].beta.tolist() == [2 << bit for bit in range(planes)]
    assert fewer.layers[0].thresholds is not None
    assert fewer.layers[0].thresholds.shape == (3, 2**planes - 1)
    assert_equal(network, fewer, random_images(np.random.default_rng(N), network, 20))


def test_five_weight_bases_sit_in_the_middle_of_three_planes() -> None:
    """Weights have no place for an offset: six levels -5 .. 5 are codes 1 to 6 of the planes' -7 .. 7."""
    rng = np.random.default_rng(1)
    bases = Bases(kind="thermometer", count=5)
    weights = rng.integers(6, size=(3, 3, 3, 2), dtype=np.uint8)
    network = two_layers(convolution(weight_bases=bases, weights=weights, alpha=np.ones((3, 5), int)))
    (first, _) = reencode(network).layers
    assert first.weight_bases == Bases(kind="planes", count=3)
    assert np.array_equal(first.weights, weights + 1)
    assert first.alpha.tolist() == [[1, 2, 4]] * 3
    assert_equal(network, reencode(network), random_images(rng, network, 10))


@pytest.mark.parametrize("count", [4, 6])
def test_an_odd_number_of_levels_of_weights_is_left_alone(count: int) -> None:
    """They have a level 0, which no sum of powers of two with all signs gives."""
    weights = np.random.default_rng(1).integers(count + 1, size=(3, 3, 3, 2), dtype=np.uint8)
    bases = Bases(kind="thermometer", count=count)
    network = two_layers(convolution(weight_bases=bases, weights=weights, alpha=np.ones((3, count), int)))
    assert reencode(network).layers[0].weight_bases == bases


def test_one_uneven_channel_keeps_the_weights_of_a_layer() -> None:
    network = two_layers(convolution(alpha=np.array([[1, 2, 1], [3, -1, 2], [2, 2, 2]])))
    (first, _) = reencode(network).layers
    assert first.weight_bases == Bases(kind="thermometer", count=3)
    assert first.input_bases == Bases(kind="planes", count=2)


def test_uneven_networks_come_back_as_they_are() -> None:
    uneven = convolution(alpha=np.array([[1, 2, 3]] * 3), beta=np.array([3, 4, 1]))
    network = two_layers(uneven, beta=[1, 2, 3])
    assert reencode(network) is network


def test_images_keep_their_codes() -> None:
    """Six levels in the place of five would allow images that were refused before."""
    bases = Bases(kind="thermometer", count=5)
    network = two_layers(convolution(input_bases=bases, beta=np.ones(5, int)), beta=[1, 2, 3])
    assert reencode(network).layers[0].input_bases == bases


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        (ScaleForm(kind="csd", bits=6, terms=2), 48, ScaleForm(kind="csd", bits=6, terms=2)),
        (ScaleForm(kind="csd", bits=6, terms=2), 11, ScaleForm(kind="csd", bits=6, terms=3)),
        (ScaleForm(kind="csd", bits=2, terms=2), 8, ScaleForm(kind="csd", bits=4, terms=2)),
        (ScaleForm(kind="fixed", bits=4), 9, ScaleForm(kind="fixed", bits=5)),
        (ScaleForm(kind="pow2", bits=3), 3, ScaleForm(kind="csd", bits=3, terms=2)),
        (ScaleForm(kind="fixed", bits=4), 1 << 15, None),
    ],
)
def test_forms_widen_as_little_as_possible(form: ScaleForm, value: int, expected: ScaleForm | None) -> None:
    assert wider_form(form, np.array([value])) == expected


def test_planes_of_values_with_an_offset() -> None:
    found = planes_of(np.array([[10, 14, 16, 20], [0, 2, -4, -2]]) - np.array([[15], [-1]]))
    assert found is not None
    assert found[0].tolist() == [[2, 3], [1, -2]]
    assert found[1] == 0
    shifted = planes_of(np.array([1, 3, 5]))
    assert shifted is not None
    assert (shifted[0].tolist(), shifted[1]) == ([1, 2], -4)
    assert planes_of(np.array([0, 2, 4, 8])) is None
