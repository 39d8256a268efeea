"""The golden model against a second one written with Python integers and loops, and block by block."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_networks import random_images, random_network
from test_network import make_classifier, make_layer

from abc_hw.errors import InputError
from abc_hw.network import Bases, Layer, Network, ScaleForm
from abc_hw.network.description import random_layer
from abc_hw.sim import golden

# -- a second model, with nothing of NumPy's arithmetic ------------------------------------------------------


def ref_signs(bases: Bases, code: int) -> list[int]:
    if bases.kind == "thermometer":
        return [1 if code > n else -1 for n in range(bases.count)]
    return [1 if code >> n & 1 else -1 for n in range(bases.count)]


def ref_matches(layer: Layer, image: list[Any], y: int, x: int, channel: int, m: int, n: int) -> int:
    height, width, depth = layer.in_shape
    matches = 0
    for ky in range(layer.kernel[0]):
        for kx in range(layer.kernel[1]):
            row, column = y * layer.stride + ky - layer.padding, x * layer.stride + kx - layer.padding
            inside = 0 <= row < height and 0 <= column < width
            for c in range(depth):
                code = image[row][column][c] if inside else 0
                weight = ref_signs(layer.weight_bases, int(layer.weights[channel, ky, kx, c]))[m]
                matches += weight == ref_signs(layer.input_bases, code)[n]
    return matches


def ref_layer(layer: Layer, image: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """(acc, levels or acc of the classifier, pooled), each [y][x][channel], of one image [y][x][c]."""
    height, width, channels = layer.conv_shape
    acc = [[[0] * channels for _ in range(width)] for _ in range(height)]
    levels = [[[0] * channels for _ in range(width)] for _ in range(height)]
    for y in range(height):
        for x in range(width):
            for channel in range(channels):
                total = 0
                for m in range(layer.weight_bases.count):
                    for n in range(layer.input_bases.count):
                        p = ref_matches(layer, image, y, x, channel, m, n)
                        total += int(layer.alpha[channel, m]) * int(layer.beta[n]) * (2 * p - layer.dot_length)
                acc[y][x][channel] = total
                levels[y][x][channel] = (
                    total
                    if layer.thresholds is None
                    else sum(total >= int(limit) for limit in layer.thresholds[channel])
                )
    side = layer.pool
    pooled = [
        [
            [
                max(levels[y * side + dy][x * side + dx][c] for dy in range(side) for dx in range(side))
                for c in range(channels)
            ]
            for x in range(width // side)
        ]
        for y in range(height // side)
    ]
    return acc, levels, pooled


@given(st.integers(0, 2**32))
def test_every_intermediate_equals_the_second_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, side=6, channels=3, layers=int(rng.integers(1, 4)))
    images = random_images(rng, network, 2)
    trace = golden.run(network, images)
    for index, image in enumerate(images):
        codes: list[Any] = image.tolist()
        for layer, got in zip(network.layers, trace.layers, strict=True):
            acc, levels, codes = ref_layer(layer, codes)
            assert got.acc[index].tolist() == acc
            if got.levels is not None:
                assert got.levels[index].tolist() == levels
                assert got.output[index].tolist() == codes
        scores = [value + int(bias) for value, bias in zip(codes[0][0], network.layers[-1].bias, strict=True)]
        assert trace.scores[index].tolist() == scores
        assert trace.classes[index] == scores.index(max(scores))


@given(st.integers(0, 2**32))
def test_popcounts_equal_the_second_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng, side=5, channels=3, layers=2)
    images = random_images(rng, network, 2)
    layer = network.layers[0]
    counts = golden.popcounts(layer.conv, images)
    assert counts.shape == (2, *layer.conv_shape, layer.weight_bases.count, layer.input_bases.count)
    for index in np.ndindex(*counts.shape):
        image, y, x, channel, m, n = index
        assert counts[index] == ref_matches(layer, images[image].tolist(), y, x, channel, m, n)


@given(st.integers(0, 2**32))
def test_kept_popcounts_scale_to_the_same_acc(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    images = random_images(rng, network)
    kept, dropped = (golden.run(network, images, keep_popcounts=keep) for keep in (True, False))
    for layer, full, lean in zip(network.layers, kept.layers, dropped.layers, strict=True):
        assert lean.popcounts is None
        assert full.popcounts is not None
        assert np.array_equal(golden.scale(layer.conv, full.popcounts), lean.acc)
        assert np.array_equal(full.output, lean.output)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    network = random_network(rng, layers=3)
    images = random_images(rng, network, 7)
    whole = golden.run(network, images, keep_popcounts=True)
    for words in (1, 100, 1000):
        monkeypatch.setattr(golden, "CHUNK_WORDS", words)
        parts = golden.run(network, images, keep_popcounts=True)
        for one, other in zip(whole.layers, parts.layers, strict=True):
            assert np.array_equal(one.popcounts, other.popcounts)
            assert np.array_equal(one.output, other.output)


# -- block by block -----------------------------------------------------------------------------------------


def test_windows_run_over_rows_then_columns_then_channels_and_pad_with_code_0() -> None:
    layer = make_layer(in_shape=(2, 2, 2), padding=1)
    codes = np.arange(1, 9, dtype=np.uint8).reshape(1, 2, 2, 2)
    under = golden.windows(layer.conv, codes)
    assert under.shape == (1, 2, 2, 18)
    assert under[0, 0, 0].tolist() == [0] * 6 + [0, 0, 1, 2, 3, 4] + [0, 0, 5, 6, 7, 8]
    assert under[0, 1, 1].tolist() == [1, 2, 3, 4, 0, 0] + [5, 6, 7, 8, 0, 0] + [0] * 6


def test_windows_step_by_the_stride() -> None:
    layer = make_layer(in_shape=(5, 6, 1), kernel=(1, 2), stride=2, weights=np.zeros((3, 1, 2, 1), np.uint8))
    codes = np.arange(30, dtype=np.uint8).reshape(1, 5, 6, 1)
    assert golden.windows(layer.conv, codes)[0].tolist() == [
        [[row * 6 + column, row * 6 + column + 1] for column in (0, 2, 4)] for row in (0, 2, 4)
    ]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 130])
def test_pack_puts_the_first_bit_lowest_and_fills_up_with_0(length: int) -> None:
    bits = np.random.default_rng(length).random((3, length)) < 0.5
    words = golden.pack(bits)
    assert words.dtype == np.uint64
    assert words.shape == (3, -(-length // 64))
    for row, packed in zip(bits, words, strict=True):
        value = sum(int(bit) << index for index, bit in enumerate(row))
        assert sum(int(word) << 64 * index for index, word in enumerate(packed)) == value


@pytest.mark.parametrize("length", [1, 64, 100])
def test_xnor_popcount_counts_agreements_and_not_the_filling(length: int) -> None:
    ones, zeros = np.ones(length, bool), np.zeros(length, bool)
    for weights, inputs, expected in ((ones, ones, length), (zeros, zeros, length), (ones, zeros, 0)):
        assert golden.xnor_popcount(golden.pack(weights), golden.pack(inputs), length) == expected


def test_threshold_is_reached_by_equality() -> None:
    layer = make_layer(thresholds=np.array([[-5, 5], [0, 0], [1, 9]]))
    acc = np.array([[[[-6, -1, 0]], [[-5, 0, 1]]], [[[4, 0, 8]], [[5, 1, 9]]]])
    levels = golden.threshold(layer.threshold, acc)
    assert levels.dtype == np.uint8
    assert levels[:, :, 0].tolist() == [[[0, 0, 0], [1, 2, 1]], [[1, 2, 1], [2, 2, 2]]]


def test_threshold_of_a_classifier_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^dense2 is the classifier and has no thresholds$"):
        golden.threshold(make_classifier().threshold, np.zeros((1, 1, 1, 2), np.int64))


def test_pool_takes_the_greatest_and_drops_leftovers() -> None:
    layer = make_layer(in_shape=(5, 7, 2), kernel=(1, 1), pool=2, weights=np.zeros((3, 1, 1, 2), np.uint8))
    levels = np.zeros((1, 5, 7, 3), np.uint8)
    levels[0, 4] = levels[0, :, 6] = 2  # the row and the column that fill no square
    levels[0, 1, 2, 1] = 1
    pooled = golden.max_pool(layer.max_pool, levels)
    assert pooled.shape == (1, 2, 3, 3)
    assert np.argwhere(pooled).tolist() == [[0, 0, 1, 1]]


def test_lowest_index_wins_a_tie() -> None:
    assert golden.classify(np.array([[1, 3, 3], [0, 0, 0], [-5, -7, -5], [1, 2, 3]])).tolist() == [1, 0, 0, 2]


@pytest.mark.parametrize("kind", ["thermometer", "planes"])
def test_acc_at_its_bounds_is_exact(kind: Any) -> None:
    """Each channel's greatest and least accumulator, with the widest coefficients there are."""
    form = ScaleForm(kind="fixed", bits=16)
    rng = np.random.default_rng(2)
    layer = random_layer(
        rng, name="wide", in_shape=(1, 1, 50), out_channels=4, kernel=(1, 1), M=5, N=5, weight_kind=kind,
        input_kind=kind, alpha_scale=form, beta_scale=form, levels=4, plain=False,
    )  # fmt: skip
    weights = np.take_along_axis(
        layer.weight_bases.values(layer.alpha), layer.weights.reshape(4, 50).astype(int), axis=1
    )
    inputs = layer.input_bases.values(layer.beta)
    high, low = inputs.argmax(), inputs.argmin()
    for channel in range(4):
        best = np.where(weights[channel] >= 0, high, low).astype(np.uint8).reshape(1, 1, 1, 50)
        worst = np.where(weights[channel] >= 0, low, high).astype(np.uint8).reshape(1, 1, 1, 50)
        least, greatest = layer.acc_bounds
        assert golden.run_layer(layer, best).acc[0, 0, 0, channel] == greatest[channel]
        assert golden.run_layer(layer, worst).acc[0, 0, 0, channel] == least[channel]
        assert greatest[channel] > 1 << 33


# -- images -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((1, 4, 4, 2)), "images: expected an array of uint8, found float64"),
        ([[1]], "images: expected an array of uint8, found list"),
        (
            np.zeros((1, 4, 4, 1), np.uint8),
            "images: expected shape B x 4 x 4 x 2 with B >= 1, found 1 x 4 x 4 x 1",
        ),
        (np.zeros((4, 4, 2), np.uint8), "images: expected shape B x 4 x 4 x 2 with B >= 1, found 4 x 4 x 2"),
        (
            np.zeros((0, 4, 4, 2), np.uint8),
            "images: expected shape B x 4 x 4 x 2 with B >= 1, found 0 x 4 x 4 x 2",
        ),
        (np.array(3, np.uint8), "images: expected shape B x 4 x 4 x 2 with B >= 1, found a single number"),
        (np.full((1, 4, 4, 2), 3, np.uint8), "images: expected values below 3, found 3"),
    ],
)
def test_images_that_do_not_fit_are_refused(images: Any, message: str) -> None:
    network = Network(name="net", layers=(make_layer(), make_classifier()), classes=("a", "b"))
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        golden.run(network, images)
