# amaranth: UnusedElaboratable=no
"""Proof that no sum of the scale unit is cut, whatever the window."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from amaranth.hdl import Const, Mux, Signal, Value, signed
from formal import Spec, bounded, holds

from abc_hw.network import Layer
from abc_hw.network.description import random_layer
from abc_hw.network.fused import Fused
from abc_hw.rtl_gen.blocks.scale import ScaleUnit
from abc_hw.rtl_gen.engine.layer import LayerPlan
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.rtl_gen.parts.matches import LayerNumbers

WIDE = 24


def scaled(layer: Layer, **folding: int) -> Spec:
    """The dots of any window, against a sum in numbers that are wide enough for anything."""
    plan = LayerPlan(numbers=LayerNumbers(layer), folding=LayerFolding(**folding))
    numbers, schedule = plan.numbers, plan.schedule
    spec = Spec(ScaleUnit(plan.scale))
    dut = spec.dut
    assert schedule.scale_lanes.total == plan.folding.pe * plan.folding.mp
    spacing = Signal(range(schedule.scale_items + 1))
    with spec.m.If(dut.load):
        spec.m.d.sync += spacing.eq(schedule.scale_items - 1)
    with spec.m.Elif(spacing != 0):
        spec.m.d.sync += spacing.eq(spacing - 1)
    spec.assume(~dut.load.any() | (dut.load.all() & (spacing == 0)))
    folded = numbers.layer
    dots = [Value.cast(dut.dots[0][m][n]) for m in range(plan.folding.mp) for n in range(plan.folding.np)]
    steps = [
        [(group, first_m + m, first_n + n) for m in range(plan.folding.mp) for n in range(plan.folding.np)]
        for group in range(schedule.channel_groups)
        for first_n in range(0, folded.input_bases.count, plan.folding.np)
        for first_m in range(0, folded.weight_bases.count, plan.folding.mp)
    ]
    counted = matches_of(spec, folded)
    passes = schedule.passes_m * schedule.passes_n
    place, groups = Signal(range(len(steps) + 1)), Signal(3)
    added, total = Signal(signed(WIDE)), Signal(signed(WIDE))
    with spec.m.Switch(place):
        for index, which in enumerate(steps):
            factors = [int(folded.alpha[c, m] * folded.beta[n]) for c, m, n in which]
            with spec.m.Case(index):
                spec.m.d.comb += added.eq(sum(dot * factor for dot, factor in zip(dots, factors, strict=True)))
    for index, which in enumerate(steps):
        for dot, one in zip(dots, which, strict=True):
            spec.assume(~dut.load[0] | (place != index) | (dot == counted[one]))
    first, last = Signal(), Signal()
    spec.m.d.comb += [
        first.eq(_any(place == index for index in range(0, len(steps), passes))),
        last.eq(_any(place == index for index in range(passes - 1, len(steps), passes))),
    ]
    now = Signal(signed(WIDE))
    spec.m.d.comb += now.eq(Mux(first, 0, total) + added)
    chosen, kept = spec.constant(3, "chosen"), Signal(signed(WIDE))
    with spec.m.If(dut.load):
        spec.m.d.sync += [total.eq(now), place.eq(Mux(place == len(steps) - 1, 0, place + 1))]
        with spec.m.If(last):
            spec.m.d.sync += groups.eq(groups + 1)
            with spec.m.If(groups == chosen):
                spec.m.d.sync += kept.eq(now)
    went = spec.count(dut.valid, 3, "went")
    ours = dut.valid & (went == chosen)
    spec.prove(~ours | (dut.matches[0] == kept))
    spec.cover("a group's sum", ours)
    return spec


def matches_of(spec: Spec, layer: Fused) -> dict[tuple[int, int, int], Value]:
    """Matches of any one window with each channel's weights, by channel, weight and activation basis."""
    weights = layer.weight_bases.expand(layer.weights.reshape(layer.out_channels, -1))
    codes = [spec.constant(range(layer.input_bases.levels), f"code{index}") for index in range(layer.dot_length)]
    levels = layer.input_bases.expand(np.arange(layer.input_bases.levels))
    for code in codes:
        spec.assume(code < layer.input_bases.levels)
    bits = [
        [_any(code == level for level in np.flatnonzero(column).tolist()) for code in codes]
        for column in levels.reshape(layer.input_bases.levels, -1).T
    ]
    return {
        (c, m, n): sum(bits[n][k] == int(weights[c, k, m]) for k in range(layer.dot_length))
        for c in range(layer.out_channels) for m in range(layer.weight_bases.count)
        for n in range(layer.input_bases.count)
    }


def _any(conditions: Iterable[Value]) -> Value:
    result: Value = Const(0)
    for condition in conditions:
        result = result | condition
    return result


@pytest.mark.long
@pytest.mark.parametrize(("folding", "steps"), [({"mp": 2, "np": 2}, 12), ({"mp": 1, "np": 1}, 16)])
def test_scale(folding: dict[str, int], steps: int) -> None:
    layer = random_layer(
        np.random.default_rng(3), name="conv", in_shape=(1, 1, 5), out_channels=2, kernel=(1, 1), M=2, N=2,
        levels=2,
    )
    holds(bounded(scaled(layer, simd=5, pe=1, **folding), steps=steps, mutants=3))
