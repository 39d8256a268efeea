"""Evenly spaced thresholds as a multiplication: every integer that may arrive."""

from __future__ import annotations

import numpy as np
import pytest

from abc_hw.network import Bases, Integers
from abc_hw.network.nodes import ALWAYS, NEVER, Threshold
from abc_hw.rtl_gen.blocks.even import Line, line_of
from abc_hw.sim import golden

CHANNELS = 3


def made(thresholds: np.ndarray, low: int, high: int) -> tuple[Threshold, Integers]:
    bits = thresholds.shape[1].bit_length()
    edge = Integers(np.full(CHANNELS, low), np.full(CHANNELS, high), (1, 1, CHANNELS))
    planes = Bases(kind="planes", count=bits)
    return Threshold(name="cut", inputs="input", thresholds=thresholds, bases=planes).within(edge), edge


def assert_same(line: Line, node: Threshold, edge: Integers) -> None:
    x = np.arange(edge.least, edge.greatest + 1)[:, None, None, None].repeat(CHANNELS, 3)
    found = np.clip((x * line.factor + line.offset) >> line.shift, line.low, line.high)
    assert np.array_equal(found, golden.threshold(node, x))


@pytest.mark.parametrize("bits", [5, 8])
@pytest.mark.parametrize("spacing", [0.03, 1.0, 3.0, 7.4, 61.9])
def test_rounded_quotients(bits: int, spacing: float) -> None:
    """Each channel has a spacing of its own, that is no whole number."""
    rng = np.random.default_rng(bits)
    steps = spacing * rng.uniform(0.5, 2, (CHANNELS, 1))
    starts = rng.uniform(-3000, 100, (CHANNELS, 1))
    thresholds = np.ceil(starts + steps * np.arange(2**bits - 1)).astype(int)
    node, edge = made(thresholds, -2500, 3000)  # not every code is reached
    line = line_of(node, edge)
    assert line is not None
    assert_same(line, node, edge)


def test_a_whole_spacing_that_is_a_power_of_two_is_a_shift() -> None:
    node, edge = made(8 * np.arange(31) + np.array([[3], [-40], [1]]), -300, 300)
    line = line_of(node, edge)
    assert line is not None
    assert (line.shift, line.factor.tolist()) == (3, [1, 1, 1])
    assert_same(line, node, edge)


def test_always_and_never() -> None:
    rows = np.array([[ALWAYS] * 31, [NEVER] * 31, [ALWAYS] * 10 + [NEVER] * 21])
    node, edge = made(rows, -5, 5)
    line = line_of(node, edge)
    assert line is not None
    assert_same(line, node, edge)


def test_one_that_is_out_of_step() -> None:
    thresholds = np.tile(10 * np.arange(31), (CHANNELS, 1))
    thresholds[1, 7] += 3
    node, edge = made(thresholds, -100, 400)
    assert line_of(node, edge) is None
