"""Foldings: what is refused, in which words; cycles; the fewest XNORs for a target."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from random_networks import random_network

from abc_hw.errors import InputError
from abc_hw.network import Layer, Network
from abc_hw.network.description import FoldingDescription, random_layer
from abc_hw.rtl_gen.blocks.ring import Ring
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import KNOBS, LayerFolding, Schedule, candidates, default_foldings, fold_for_cycles


def test_files_have_the_knobs_that_layers_have() -> None:
    assert tuple(FoldingDescription.model_fields) == KNOBS


def conv() -> Layer:
    return random_layer(
        np.random.default_rng(0), name="conv1", in_shape=(9, 9, 6), out_channels=8, kernel=(3, 3), N=2, levels=4
    )


@pytest.mark.parametrize(("folding", "message"), [
    (LayerFolding(simd=0), "conv1.folding.simd: expected 1 to 6 channels, 6 times 2 to 3 kernel columns, or 54"),
    (LayerFolding(simd=0), "nearest that fits: 1"),
    (LayerFolding(simd=7), "nearest that fits: 6 or 12"),
    (LayerFolding(simd=19), "nearest that fits: 18 or 54"),
    (LayerFolding(pe=9), "conv1.folding.pe: expected 1 to 8, found 9"),
    (LayerFolding(mp=4), "conv1.folding.mp: expected 1 to 3, found 4"),
    (LayerFolding(np=0), "conv1.folding.np: expected 1 to 2, found 0"),
])
def test_refusals(folding: LayerFolding, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Schedule(conv().fused, folding)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_cycles_of_dividing_and_other_foldings() -> None:
    dots = 7 * 7
    assert Schedule(conv().fused, LayerFolding(simd=6, pe=4, mp=3, np=1)).cycles == dots * 2 * 1 * 2 * 9
    assert Schedule(conv().fused, LayerFolding(simd=18, pe=8, mp=3, np=2)).cycles == dots * 3
    assert Schedule(conv().fused, LayerFolding(simd=4, pe=3, mp=2, np=2)).cycles == dots * 3 * 2 * 1 * (9 * 2)
    assert Schedule(conv().fused, LayerFolding(simd=12)).cycles == dots * 8 * 3 * 2 * (3 * 2), "two words a row"
    assert Schedule(conv().fused, LayerFolding(simd=54)).cycles == dots * 8 * 3 * 2, "one word a window"
    assert Schedule(conv().fused, LayerFolding(simd=54, pe=8, mp=3, np=2)).cycles == dots, "one pixel a cycle"


def test_words_of_whole_windows() -> None:
    whole, row = (Schedule(conv().fused, LayerFolding(simd=simd)) for simd in (54, 18))
    assert (whole.rows, whole.columns, whole.lanes, whole.words) == (3, 3, 6, 1)
    assert (row.rows, row.columns, row.lanes, row.words) == (1, 3, 6, 3)
    assert {schedule.folding.simd for schedule in candidates(conv())} == {1, 2, 3, 6, 18, 54}


@pytest.mark.parametrize(("height", "stride", "banks"), [(9, 1, [0, 1, 2]), (9, 3, [0]), (10, 3, [0, 1, 2])])
def test_ring_of_row_banks(height: int, stride: int, banks: list[int]) -> None:
    """Each row of a window is where it was written, over several images that follow one another."""
    layer = random_layer(
        np.random.default_rng(0), name="conv1", in_shape=(height, 7, 2), out_channels=1, kernel=(3, 3),
        stride=stride, levels=4,
    )
    ring = Ring(Schedule(layer.fused, LayerFolding(simd=18)))
    assert ring.rows % 3 == 0
    assert ring.rows >= ring.held
    assert list(ring.top_banks) == banks
    for image, row in itertools.product(range(5), range(layer.conv_shape[0])):
        top = image * height + row * stride
        assert top % 3 in banks
        for place in range(top, top + 3):
            assert ring.slot_of(place % 3, top % ring.rows) == place // 3 % ring.slots


def test_scale_lanes_keep_up() -> None:
    for simd, pe, mp, px in itertools.product((1, 6, 18), range(1, 9), (1, 2, 3), (1, 4, 6)):
        schedule = Schedule(conv().fused, LayerFolding(simd=simd, pe=pe, mp=mp, px=px))
        pixels, channels, bases = schedule.scale_lanes
        assert px % pixels == 0
        assert pe % channels == 0
        assert mp % bases == 0
        assert schedule.scale_items <= schedule.words


def test_names_must_match() -> None:
    layer = conv()
    shape = layer.out_shape
    dense = random_layer(
        np.random.default_rng(1), name="dense1", in_shape=shape, out_channels=2, kernel=shape[:2], levels=None
    )
    network = Network(name="n", layers=(layer, dense), classes=("a", "b"))
    with pytest.raises(InputError, match="folding: expected one for each layer, found none for dense1"):
        AcceleratorPlan.of(network, {"conv1": LayerFolding()})
    with pytest.raises(InputError, match="folding: expected the layers conv1, dense1, found conv2"):
        AcceleratorPlan.of(network, {"conv1": LayerFolding(), "dense1": LayerFolding(), "conv2": LayerFolding()})
    pixels = 9 * 9  # more than the 49 cycles of the array at its fastest
    least = f"conv1: expected a target of at least {pixels} cycles per image, one for each transfer of its input"
    with pytest.raises(InputError, match=f"{least}: input limits, found 1"):
        fold_for_cycles(network, 1)
    assert set(default_foldings(network)) == {"conv1", "dense1"}


def test_fewest_xnors_by_exhaustive_search() -> None:
    """On 200 random small layers no dividing folding within the target has fewer XNORs than the one chosen."""
    checked = 0
    seed = 0
    while checked < 200:
        seed += 1
        network = random_network(np.random.default_rng(seed), side=6, channels=4)
        slowest = max(Schedule(layer.fused, LayerFolding()).cycles for layer in network.layers)
        target = max(1, slowest // (1 + seed % 7))
        try:
            chosen = fold_for_cycles(network, target)
        except InputError:
            continue
        for layer in network.layers:
            best = min(
                schedule.xnors for schedule in every_folding(layer) if schedule.cycles <= target
            )
            assert Schedule(layer.fused, chosen[layer.name]).xnors == best
            checked += 1


def every_folding(layer: Layer) -> list[Schedule]:
    """All foldings without waste, by trying every number."""
    found = []
    channels, (height, width) = layer.in_shape[2], layer.kernel
    most = (channels * width * height, layer.out_channels, layer.weight_bases.count, layer.input_bases.count)
    for simd, pe, mp, np_ in itertools.product(*(range(1, limit + 1) for limit in most)):
        wasteful = layer.out_channels % pe or layer.weight_bases.count % mp or layer.input_bases.count % np_
        if wasteful or (simd <= channels and channels % simd) or (simd > channels and width * channels % simd):
            continue
        try:
            found.append(Schedule(layer.fused, LayerFolding(simd=simd, pe=pe, mp=mp, np=np_)))
        except InputError:
            continue
    return found
