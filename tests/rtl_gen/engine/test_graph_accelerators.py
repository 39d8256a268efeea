"""Accelerators of graphs against the golden model, with random stalls; depths of their joins' buffers."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from random_graphs import random_codes, random_foldings, random_graph, residual_block
from streams import run_stream, transfers

from abc_hw.errors import InputError
from abc_hw.network import Bases, Codes, Graph, ScaleForm
from abc_hw.network.fused import Fused
from abc_hw.network.nodes import Conv, MaxPool, Node, Output, Threshold
from abc_hw.rtl_gen.engine.graph import GraphAccelerator
from abc_hw.rtl_gen.engine.graph_folding import fold_graph, least_graph_cycles, unit_candidates
from abc_hw.rtl_gen.engine.graph_plan import GraphPlan
from abc_hw.rtl_gen.engine.lowering import units_of
from abc_hw.rtl_gen.folding import rank
from abc_hw.rtl_gen.schedule import LayerFolding
from abc_hw.sim import golden

SUITE, ALL = range(6), range(6, 100)
"""Seeds of the random graphs that the suite tries, and of those that the long command adds."""


def simulated(plan: GraphPlan, codes: np.ndarray, stalls: float, most_cycles: int) -> list[int]:
    """What the accelerator hands out, in order; AssertionError if it stops."""
    received, _ = run_stream(
        GraphAccelerator(plan), transfers(codes, plan.i.lanes).tolist(), expected=len(codes) * plan.o_transfers,
        stalls=stalls, most_cycles=most_cycles,
    )
    field = "score" if plan.argmax is not None else "value"
    return [int(payload[field]) for payload in received]


@pytest.mark.parametrize("seed", [*SUITE, *(pytest.param(seed, marks=pytest.mark.long) for seed in ALL)])
def test_random_graphs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    images = random_codes(rng, graph)
    plan = GraphPlan(network=graph, foldings=random_foldings(rng, graph), depths=None)
    plan = GraphPlan(network=graph, foldings=plan.foldings, depths=plan.live)
    expected = golden.run_graph(graph, images).output.reshape(-1).tolist()
    most_cycles = 500 + 3 * plan.cycles * (len(images) + len(plan.units))
    assert simulated(plan, golden.check_images(graph, images), 0.2, most_cycles) == expected
    for unit, depths in plan.live.items():
        for index, depth in enumerate(depths):
            if depth:
                less = {**plan.live, unit: [d - (place == index) for place, d in enumerate(depths)]}
                short = GraphPlan(network=graph, foldings=plan.foldings, depths=less)
                with pytest.raises(AssertionError, match=r"transfers after|takes no more input"):
                    simulated(short, golden.check_images(graph, images), 0.2, most_cycles)


# -- a residual block ---------------------------------------------------------------------------------------


def intervals(plan: GraphPlan, images: int = 5) -> list[int]:
    """Cycles between the ends of images, input offered and output taken in every cycle."""
    component, ends = GraphAccelerator(plan), []
    rng, levels = np.random.default_rng(1), plan.network.input.bases.levels

    async def offer(ctx: Any) -> None:
        ctx.set(component.i.valid, 1)
        while len(ends) < images:
            ctx.set(component.i.payload, rng.integers(0, levels, plan.i.lanes).tolist())
            await ctx.tick()

    async def take(ctx: Any) -> None:
        cycle = 0
        ctx.set(component.o.ready, 1)
        while len(ends) < images:
            _, _, valid, last = await ctx.tick().sample(component.o.valid, component.o.payload.last)
            cycle += 1
            assert cycle < 20 * images * plan.cycles
            if valid and last:
                ends.append(cycle)

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(offer)
    simulator.add_testbench(take)
    simulator.run()
    return np.diff(ends).tolist()


@pytest.mark.parametrize("knobs", [
    {"simd": 2, "pe": 2, "np": 2}, pytest.param({"simd": 2, "pe": 1, "np": 2}, marks=pytest.mark.long),
    pytest.param({"simd": 1, "pe": 2, "np": 1}, marks=pytest.mark.long),
    pytest.param({"simd": 6, "pe": 2, "np": 2}, marks=pytest.mark.long),
])
def test_depths_for_the_rate(knobs: dict[str, int]) -> None:
    """Images follow one another in the plan's cycles; with more than a row less than that depth they do not."""
    graph = residual_block()
    foldings = dict.fromkeys(("cut1", "inner"), LayerFolding(**knobs))
    foldings["leave"] = LayerFolding(simd=2, pe=2, np=2)
    plan = GraphPlan(network=graph, foldings=foldings)
    assert intervals(plan) == [plan.cycles] * 4
    assert_not_a_row_too_deep(plan)


def assert_not_a_row_too_deep(plan: GraphPlan) -> None:
    """With more than a row less in any buffer images take longer."""
    for name, depths in plan.buffers.items():
        row = plan.plans[name].cycles // plan.shape_of(name)[0]
        for index, depth in enumerate(depths):
            if depth - row - 1 >= plan.live[name][index]:  # with less it stops for good
                less = [*depths]
                less[index] -= row + 1
                short = dataclasses.replace(plan, depths={**plan.buffers, name: less})
                assert set(intervals(short, 7)[1:]) != {plan.cycles}, (name, index, depths)


def random_plan(seed: int) -> GraphPlan:
    """A random graph in random foldings, with the depths of its rate."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    return GraphPlan(network=graph, foldings=random_foldings(rng, graph))


ROW = [
    3, 4, 5, 8, 9, 10, 12, 15, 19, 20, 21, 22, 23, 29, 32, 34, 35, 36, 41, 42, 43, 46, 47, 48, 49, 52, 56, 63, 65,
    67, 70, 71, 72, 78, 82, 83, 90, 92, 95, 97, 99,
]
"""Seeds of random graphs with joins whose buffers are at most a row deeper than it takes."""
MORE = [7, 13, 18, 33, 45, 57, 77, 86, 96, 98]
"""Those whose buffers are deeper, mostly on maps of one row of a few pixels."""


@pytest.mark.parametrize("seed", [
    10, *(pytest.param(seed, marks=pytest.mark.long) for seed in sorted([*ROW, *MORE]) if seed != 10)
])
def test_random_graphs_meet_their_bound(seed: int) -> None:
    """With free-running ends, to the cycle."""
    plan = random_plan(seed)
    assert plan.buffers
    assert set(intervals(plan, 7)[1:]) == {plan.cycles}
    if seed in ROW:
        assert_not_a_row_too_deep(plan)


CHAINS = sorted(set(range(100)) - {10, 31, *ROW, *MORE})
"""Seeds of random graphs without joins that meet their bound."""


@pytest.mark.parametrize("seed", [
    CHAINS[0], *(pytest.param(seed, marks=pytest.mark.long) for seed in CHAINS[1:])
])
def test_random_chains_meet_their_bound(seed: int) -> None:
    """With free-running ends, to the cycle."""
    plan = random_plan(seed)
    assert not plan.buffers
    assert set(intervals(plan, 7)[1:]) == {plan.cycles}


def test_a_row_that_comes_with_gaps_costs_a_cycle() -> None:
    """A map of one row, from a pool that drops its last pixels, before a convolution as slow as the input: the row
    is let go when the next but one is there already, and of every two images one waits a cycle."""
    plan = random_plan(31)
    assert intervals(plan, 7)[1:] == [plan.cycles + 1, plan.cycles] * 2 + [plan.cycles + 1]


@pytest.mark.parametrize(("ending", "held"), [("conv", ("last", 0)), ("output", ("output", 0))])
def test_pools_before_fewer_lanes_meet_their_bound(ending: str, held: tuple[str, int]) -> None:
    """All maxima come with the last row of their squares: what takes them one by one would hold the pool up."""
    rng = np.random.default_rng(0)
    one, form = Bases(kind="thermometer", count=1), ScaleForm(kind="pow2")

    def conv(name: str, source: str, out: int, channels: int, size: int, padding: int) -> Conv:
        return Conv(
            name=name, inputs=source, kernel=(size, size), padding=(padding,) * 4, padding_code=0,
            weight_bases=one, weights=rng.integers(2, size=(out, size, size, channels)),
            alpha=np.ones((out, 1), int), alpha_scale=form, input_bases=one, beta=[1], beta_scale=form,
        )

    nodes: list[Node] = [
        conv("conv", "input", 4, 1, 3, 1),
        Threshold(name="cut", inputs="conv", thresholds=rng.integers(-3, 4, (4, 1)), bases=one),
        MaxPool(name="pool", inputs="cut", size=(2, 2), stride=(2, 2)),
    ]
    if ending == "conv":
        nodes.append(conv("last", "pool", 2, 4, 4, 0))
    nodes.append(Output(name="out", inputs=nodes[-1].name))
    graph = Graph(name="pooled", input=Codes(one, (8, 8, 1)), nodes=tuple(nodes))
    every = {"pool": LayerFolding(simd=9, pe=4), "last": LayerFolding(simd=1, pe=2)}
    plan = GraphPlan(network=graph, foldings={unit.name: every[unit.name] for unit in units_of(graph)})
    assert list(plan.pooled) == [held]
    assert plan.cycles == 64
    assert set(intervals(plan, 7)[1:]) == {64}
    images = random_codes(rng, graph)
    expected = golden.run_graph(graph, images).output.reshape(-1).tolist()
    assert simulated(plan, golden.check_images(graph, images), 0.2, 5000) == expected


@pytest.mark.parametrize(("px", "cycles"), [(2, 324), (5, 108)])
def test_a_depthwise_layer_has_pixels_in_parallel(px: int, cycles: int) -> None:
    """One channel at a time; the pixels leave one by one, at the bound."""
    rng, one, form = np.random.default_rng(1), Bases(kind="thermometer", count=1), ScaleForm(kind="pow2")
    each = Conv(
        name="each", inputs="input", kernel=(3, 3), padding=(1, 1, 1, 1), padding_code=0, groups=3,
        weight_bases=one, weights=rng.integers(2, size=(3, 3, 3, 1)), alpha=np.ones((3, 1), int), alpha_scale=form,
        input_bases=one, beta=[1], beta_scale=form,
    )
    cut = Threshold(name="cut", inputs="each", thresholds=rng.integers(-5, 6, (3, 1)), bases=one)
    graph = Graph(
        name="depthwise", input=Codes(one, (4, 5, 3)), nodes=(each, cut, Output(name="out", inputs="cut"))
    )
    plan = GraphPlan(network=graph, foldings={"cut": LayerFolding(pe=1, px=px)})
    assert plan.cycles == cycles
    assert set(intervals(plan, 5)[1:]) == {cycles}
    images = random_codes(rng, graph)
    expected = golden.run_graph(graph, images).output.reshape(-1).tolist()
    assert simulated(plan, golden.check_images(graph, images), 0.2, 9000) == expected
    assert fold_graph(graph, cycles)["cut"].px > 1


def test_foldings_reach_the_target_or_say_why() -> None:
    graph = residual_block()
    plan = GraphPlan(network=graph, foldings=fold_graph(graph, 400))
    assert plan.cycles <= 400
    with pytest.raises(InputError, match=r"^output: expected a target of at least 50 cycles per image"):
        fold_graph(graph, 10)


@pytest.mark.parametrize("seed", [
    3, 7, 12, 15, 28, *(pytest.param(seed, marks=pytest.mark.long) for seed in (4, 43, 46, 48))
])
def test_the_folding_is_the_best_of_all(seed: int) -> None:
    """Of small random graphs every combination of foldings: none meets the target with less, or is faster."""
    rng = np.random.default_rng(seed)
    graph = random_graph(rng, steps=3)
    every = {unit.name: unit_candidates(unit.does) for unit in units_of(graph) if isinstance(unit.does, Fused)}
    found = []
    for chosen in itertools.product(*(enumerate(one) for one in every.values())):
        foldings = {name: schedule.folding for name, (_, schedule) in zip(every, chosen, strict=True)}
        ranks = [rank(schedule, place) for place, schedule in chosen]
        cycles = GraphPlan(network=graph, foldings=foldings).cycles
        found.append((cycles, tuple(map(sum, zip(*ranks, strict=True)))))
    assert least_graph_cycles(graph) == min(cycles for cycles, _ in found)
    for target in sorted({cycles for cycles, _ in found})[:: max(1, len(found) // 5)]:
        best = fold_graph(graph, target)
        mine = [
            rank(schedule, place) for name, one in every.items() for place, schedule in enumerate(one)
            if schedule.folding == best[name]
        ]
        assert GraphPlan(network=graph, foldings=best).cycles <= target
        assert tuple(map(sum, zip(*mine, strict=True))) == min(one for cycles, one in found if cycles <= target)


def test_foldings_that_belong_to_nothing() -> None:
    graph = residual_block()
    foldings = fold_graph(graph, 400)
    with pytest.raises(InputError, match=r"^folding: expected the convolutions cut1, inner, leave, found other$"):
        GraphPlan(network=graph, foldings={**foldings, "other": LayerFolding()})
    del foldings["inner"]
    with pytest.raises(InputError, match=r"^folding: expected one for each convolution, found none for inner$"):
        GraphPlan(network=graph, foldings=foldings)
