"""Accelerators of which each kind of part is the slowest take the cycles that their plans say, image for image."""

from __future__ import annotations

import itertools
import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from limited import KINDS, alike, folding, limited, pooled, slowest
from opinion import lint
from random_networks import random_images, random_network

from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.sim.runner import simulate
from abc_hw.sim.running import run_bench

INTERVALS = 8
IN_SUITE, IN_ALL = 1, 31
"""Accelerators of each kind; ``pytest -m long tests/rtl_gen/engine/test_bounds.py`` runs all of them."""


def images_of(plan: AcceleratorPlan) -> int:
    """As many as fill the pipeline, and some more."""
    return plan.latency // plan.cycles + 3 + INTERVALS


def keeps_to(cycles: int, intervals: list[int]) -> bool:
    """Is the median of the last ones the bound, within 1 % or one cycle?"""
    assert len(intervals) >= INTERVALS
    return abs(statistics.median(intervals[-INTERVALS:]) - cycles) <= max(1, 0.01 * cycles)


def intervals_of(moments: list[tuple[int, int]]) -> list[int]:
    return [after - before for (_, before), (_, after) in itertools.pairwise(moments)]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_waits_longer_than_for_the_slowest_part(kind: str) -> None:
    """As the plans of the blocks tell it, which the simulations below confirm."""
    for number in range(20):
        rng = np.random.default_rng([KINDS.index(kind), number])
        network = random_network(rng, side=6, channels=6)
        plan = AcceleratorPlan.of(network, {layer.name: folding(rng, layer, kind) for layer in network.layers})
        assert keeps_to(plan.cycles, intervals_of(plan.moments(images_of(plan)))), (number, plan.rates)


def test_nothing_waits_where_all_parts_take_alike_long() -> None:
    """Without any slack: to the cycle."""
    checked = 0
    for number in range(130):
        plan = alike(number)
        if plan.cycles <= 600:
            intervals = intervals_of(plan.moments(images_of(plan)))
            assert statistics.median(intervals[-INTERVALS:]) == plan.cycles, (number, plan.rates)
            checked += 1
    assert checked >= 100


@pytest.mark.parametrize(("shape", "buffered"), [
    ({"side": 16, "channels": 8, "pool": 2, "simd": 2}, True),
    ({"side": 16, "channels": 8, "pool": 2, "simd": 4}, False),
    ({"side": 27, "channels": 9, "pool": 3, "simd": 1}, True),
    ({"side": 28, "channels": 8, "pool": 4, "simd": 1}, True),
])
def test_maxima_wait_behind_their_pool(shape: dict[str, int], buffered: bool) -> None:
    """They come at once, with the last rows of squares, and are taken over all rows: nobody waits for them."""
    plan = pooled(**shape)
    assert (plan.buffers[1] is not None) == buffered
    assert {*intervals_of(plan.moments(images_of(plan)))[-INTERVALS:]} == {plan.cycles} == {plan.i_transfers}


def test_maxima_wait_in_the_verilog_too(tmp_path: Path) -> None:
    plan = pooled(side=8, channels=8, pool=2, simd=2)
    images = random_images(np.random.default_rng(0), plan.network, images_of(plan))
    result = simulate(plan.network, images, foldings=plan.foldings, simulator="icarus", work_dir=tmp_path)
    assert result.ok, result.layers
    assert {*result.cycles_between_images[-INTERVALS:]} == {plan.cycles} == {64}
    assert result.latencies == [classified - sent for sent, classified in plan.moments(len(images))]
    opinion = lint(tmp_path / "accelerator.v")
    assert (opinion.returncode, opinion.stderr) == (0, "")


def check(kind: str, number: int, folder: Path) -> None:
    """Lint, Icarus and Verilator on one generated accelerator: the bits of all layers, and every cycle."""
    made = limited(kind, number)
    plan = made.plan
    assert kind in slowest(plan)
    images = random_images(np.random.default_rng(number), made.network, images_of(plan))
    result = simulate(
        made.network, images, foldings=made.foldings, weights=made.weights, simulator="icarus", work_dir=folder
    )
    assert result.ok, result.layers
    moments = plan.moments(len(images))
    assert result.latencies == [classified - sent for sent, classified in moments]
    assert result.cycles_between_images == intervals_of(moments)
    assert keeps_to(plan.cycles, result.cycles_between_images)
    opinion = lint(folder / "accelerator.v")
    assert (opinion.returncode, opinion.stderr) == (0, "")
    if number % 8 == 4:
        seen = json.loads((folder / "result.json").read_text())
        (folder / "result.json").unlink()
        run_bench(folder, "verilator", kind=None)
        assert json.loads((folder / "result.json").read_text()) == seen


@pytest.mark.parametrize("number", [
    number if number < IN_SUITE else pytest.param(number, marks=pytest.mark.long) for number in range(IN_ALL)
])
@pytest.mark.parametrize("kind", KINDS)
def test_simulated_cycles_are_the_plans(kind: str, number: int, tmp_path: Path) -> None:
    check(kind, number, tmp_path)
