"""Nodes that act on each number by itself: golden functions, random stalls, latency and rate."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from streams import run_stream

from abc_hw.network import Bases, Codes, Integers, ScaleForm
from abc_hw.network.nodes import Decode, Encode, Node, Requantise, Scores, SumPool, Table, Threshold
from abc_hw.rtl_gen.blocks.pointwise import Pointwise, PointwisePlan
from abc_hw.rtl_gen.blocks.search import Search, SearchPlan, is_searched
from abc_hw.sim import golden

THREE, TWO = Bases(kind="planes", count=3), Bases(kind="planes", count=2)
FIXED = ScaleForm(kind="fixed", bits=6)
CHANNELS = 5
SHAPE = (2, 3, CHANNELS)
INTEGERS = Integers(np.array([-20, -3, 0, 5, -100]), np.array([30, -1, 7, 9, 100]), SHAPE)
CODES = Codes(THREE, SHAPE)


def made(node: type[Node], **fields: Any) -> Node:
    return node(name="n", inputs=("input",), **fields)


def requantise(shift: int, *, alike: bool) -> Node:
    factor = np.full(CHANNELS, -3) if alike else np.array([1, -1, 7, -31, 3])
    offset = np.full(CHANNELS, 4) if alike else np.array([0, 1, -9, 100, -5])
    return made(
        Requantise, factor=factor, factor_scale=FIXED, offset=offset, shift=shift, low=-40, high=25
    )


def thresholds(*, alike: bool) -> Node:
    rows = np.array([[-7, -1, 0, 0, 4, 8, 8]] * CHANNELS) + (0 if alike else np.arange(CHANNELS)[:, None])
    node = made(Threshold, thresholds=rows, bases=THREE)
    assert isinstance(node, Threshold)
    return node.within(INTEGERS)


CASES = {
    "table": (made(Table, entries=np.array([3, 1, 0, 2, 3, 3, 0, 1], np.uint8), bases=TWO), CODES),
    "encode": (made(Encode, low=-100, bits=8), INTEGERS),
    "decode": (made(Decode, input_bases=THREE, beta=np.array([1, -2, 5]), beta_scale=FIXED), CODES),
    "threshold": (thresholds(alike=False), INTEGERS),
    "threshold-alike": (thresholds(alike=True), INTEGERS),
    "requantise": (requantise(3, alike=False), INTEGERS),
    "requantise-alike": (requantise(0, alike=True), INTEGERS),
    "scores": (made(Scores, bias=np.array([3, -8, 0, 1, 1000])), dataclasses.replace(INTEGERS, shape=(1, 1, 5))),
}


def numbers(edge: Codes | Integers, images: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    if isinstance(edge, Codes):
        return rng.integers(0, edge.bases.levels, (images, *edge.shape), dtype=np.uint8)
    drawn = rng.integers(edge.low, edge.high + 1, (images, *edge.shape))
    drawn[0, 0, 0], drawn[-1, -1, -1] = edge.low, edge.high  # the ends as well
    return drawn


def transfers(values: np.ndarray, channels: int, lanes: int) -> np.ndarray:
    """[pixels x words, lanes], lanes past the last channel 0."""
    flat = values.reshape(-1, channels)
    padded = np.zeros((len(flat), -(-channels // lanes) * lanes), np.int64)
    padded[:, :channels] = flat
    return padded.reshape(-1, lanes)


@pytest.mark.parametrize("lanes", [1, 2, 5])
@pytest.mark.parametrize("name", CASES)
def test_equals_the_golden_function(name: str, lanes: int) -> None:
    node, edge = CASES[name]
    plan = PointwisePlan(node=node, edge=edge, lanes=lanes)
    images = numbers(edge, 3)
    expected = transfers(golden.NODES[node.kind](node, images), CHANNELS, lanes)
    sent = transfers(images, CHANNELS, lanes).tolist()
    received, _ = run_stream(Pointwise(plan), sent, expected=len(expected), stalls=0.3)
    found = np.array([[int(lane) for lane in transfer] for transfer in received])
    real = transfers(np.ones_like(images), CHANNELS, lanes).astype(bool)
    assert (found[real] == expected[real]).all()


@pytest.mark.parametrize("name", CASES)
def test_latency_and_rate_are_the_plans(name: str) -> None:
    node, edge = CASES[name]
    plan = PointwisePlan(node=node, edge=edge, lanes=2)
    sent = transfers(numbers(edge, 4), CHANNELS, 2).tolist()
    _, cycles = run_stream(Pointwise(plan), sent, expected=len(sent))
    assert plan.cycles * 4 == len(sent)
    assert cycles + 1 == len(sent) + plan.latency  # the last one's cycle is not counted


def test_what_is_not_pointwise_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one of them, not sum_pool"):
        PointwisePlan(node=made(SumPool, size=(1, 1), stride=(1, 1)), edge=INTEGERS, lanes=1)


@pytest.mark.parametrize(("lanes", "alike"), [(1, False), (2, False), (5, False), (2, True)])
def test_many_thresholds_are_searched(lanes: int, alike: bool) -> None:
    """Codes of 5 bits, some thresholds equal; the thresholds themselves arrive, and one less than each."""
    rng = np.random.default_rng(lanes)
    rows = np.sort(rng.integers(-60, 60, (1 if alike else CHANNELS, 31)), axis=1)
    node = Threshold(
        name="n", inputs=("input",), thresholds=np.repeat(rows, CHANNELS // len(rows), axis=0),
        bases=Bases(kind="planes", count=5),
    )
    assert is_searched(node)
    edge = Integers(-70, 70, SHAPE)
    plan = SearchPlan(node=node, edge=edge, lanes=lanes)
    images = np.concatenate([numbers(edge, 2), *(
        np.broadcast_to(node.thresholds[:, level] - less, (1, *SHAPE)) for level in range(31) for less in (0, 1)
    )])
    expected = transfers(golden.NODES["threshold"](node, images), CHANNELS, lanes)
    sent = transfers(images, CHANNELS, lanes).tolist()
    received, _ = run_stream(Search(plan), sent, expected=len(expected), stalls=0.3)
    real = transfers(np.ones_like(images), CHANNELS, lanes).astype(bool)
    assert np.array_equal(np.array(received)[real], expected[real])
    _, cycles = run_stream(Search(plan), sent[:9], expected=9)
    assert cycles + 1 == 9 + plan.latency
