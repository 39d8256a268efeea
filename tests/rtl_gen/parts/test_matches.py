"""Counting matches instead of dot products changes no decision."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from random_networks import random_images, random_network

from abc_hw.rtl_gen.parts.matches import LayerNumbers, with_positive_alpha
from abc_hw.sim import golden


@pytest.mark.parametrize("seed", range(12))
def test_same_levels_and_scores(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    network = dataclasses.replace(network, layers=tuple(map(with_positive_alpha, network.layers)))
    codes = random_images(rng, network, 4)
    for layer, trace in zip(network.layers, golden.run(network, codes, keep_popcounts=True).layers, strict=True):
        assert trace.popcounts is not None
        matches = np.einsum("bhwcmn,cm,n->bhwc", trace.popcounts, layer.alpha, layer.beta)
        numbers = LayerNumbers(layer)
        assert np.array_equal(2 * matches - numbers.offset, trace.acc)
        least, greatest = numbers.bounds
        assert (matches >= least).all()
        assert (matches <= greatest).all()
        if layer.thresholds is not None:
            levels = (matches[..., None] >= numbers.thresholds).sum(axis=-1)
            assert np.array_equal(levels, trace.levels)


@pytest.mark.parametrize("seed", range(12))
def test_bounds_are_reached(seed: int) -> None:
    """The input that favours a channel drives it to its bound exactly: the width is neither guessed nor spare."""
    rng = np.random.default_rng(seed)
    layer = with_positive_alpha(random_network(rng, layers=1).layers[0])
    values = layer.input_bases.values(layer.beta)
    weights = layer.weight_bases.values(layer.alpha[:1])[0][layer.weights[0]]
    codes = np.where(weights >= 0, values.argmax(), values.argmin()).astype(np.uint8)[None]
    acc = golden.run_layer(layer, codes).acc[0, 0, 0, 0]
    assert acc == layer.acc_bounds[1][0]
    numbers = LayerNumbers(layer)
    assert (acc + numbers.offset[0]) // 2 == numbers.bounds[1][0] <= 2**numbers.shape.width - 1
    assert layer.bias is not None
    top = int(acc + layer.bias[0])
    assert -(1 << (numbers.output_shape.width - 1)) <= top < 1 << (numbers.output_shape.width - 1)


def test_classifier_has_no_thresholds() -> None:
    layer = random_network(np.random.default_rng(0), layers=1).layers[0]
    with pytest.raises(ValueError, match="is the classifier and has no thresholds"):
        LayerNumbers(layer).thresholds  # noqa: B018 - refuses


def test_single_bases_lose_their_signs_and_nothing_else() -> None:
    rewritten = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        network = random_network(rng)
        codes = random_images(rng, network, 3)
        for layer, trace in zip(network.layers, golden.run(network, codes).layers, strict=True):
            same, given, codes = with_positive_alpha(layer), codes, trace.output
            if layer.weight_bases.count > 1:
                assert same is layer
                continue
            rewritten += same is not layer
            assert ((same.alpha >= 0) | ~same.alpha_scale.allows(-same.alpha)).all()
            np.testing.assert_array_equal(golden.run_layer(same, given).acc, trace.acc)
    assert rewritten > 5
