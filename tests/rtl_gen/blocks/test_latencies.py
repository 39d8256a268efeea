"""Latency and rate of a layer's blocks, measured inside its engine, against their plans."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator
from streams import transfers

from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.engine.layer import LayerEngine, LayerPlan
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.rtl_gen.parts.matches import LayerNumbers

IMAGES = 4


@dataclasses.dataclass(frozen=True)
class Seen:
    """Cycles in which something happened, in order."""

    steps: list[int]
    dots_end: list[int]  # steps of last words
    words: list[int]  # the window's word of each cycle
    dots: list[int]
    matches: list[int]
    codes: list[int]
    out: list[int]


SHAPE = (5, 4, 3)
CASES = {
    "words": ({}, LayerFolding(simd=1, pe=4, mp=2, np=2)),
    "bases": ({"M": 3, "N": 3}, LayerFolding(simd=3, pe=4, mp=3, np=2)),
    "columns": ({"M": 2, "stride": 2}, LayerFolding(simd=6, pe=3)),
    "windows": ({"padding": 0}, LayerFolding(simd=27, pe=2, mp=2, np=1)),
    "pixels": ({"M": 1}, LayerFolding(simd=3, pe=4, np=2, px=3)),
}


def plan_of(name: str) -> LayerPlan:
    options, folding = CASES[name]
    layer = random_layer(
        np.random.default_rng(5), name="layer", in_shape=SHAPE, out_channels=4, kernel=(3, 3), levels=4,
        **{"M": 2, "N": 2, "padding": 1} | options,  # type: ignore[arg-type]
    )
    return LayerPlan(LayerNumbers(layer), folding)


def seen(plan: LayerPlan, sent: list[list[int]], cycles: int) -> Seen:
    engine = LayerEngine(plan)
    m = engine.elaborate(None)
    blocks: Any = m.submodules
    found = Seen(*([] for _ in dataclasses.fields(Seen)))
    kernel = blocks.loops.loops.level("kernel_row")
    happens = {
        "steps": blocks.loops.step, "dots_end": blocks.loops.step & blocks.loops.ends[kernel],
        "dots": blocks.array.valid, "matches": blocks.scale.valid, "codes": blocks.output.valid,
        "out": engine.o.valid,
    }

    async def bench(ctx: Any) -> None:
        left = iter(sent)
        payload = next(left, None)
        ctx.set(engine.o.ready, 1)
        for cycle in range(cycles):
            ctx.set(engine.i.valid, payload is not None)
            if payload is not None:
                ctx.set(engine.i.payload, payload)
                payload = next(left, None) if ctx.get(engine.i.ready) else payload
            for name, signal in happens.items():
                if ctx.get(signal):
                    getattr(found, name).append(cycle)
            found.words.append(ctx.get(blocks.window.a.as_value()))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def window_words(plan: LayerPlan, codes: np.ndarray) -> list[int]:
    """The words of an image in the order of the loops, each as one number."""
    schedule, layer = plan.schedule, plan.numbers.layer
    top, bottom, left, right = layer.padding
    tile = schedule.column_words * schedule.columns, schedule.channel_words * schedule.lanes
    more = tile[0] + schedule.absent * layer.stride[1]  # past the end: columns and pixels that are not there
    padded = np.pad(codes, ((top, bottom), (left, right + more), (0, tile[1] - codes.shape[2])))
    (rows, columns), words, bits = layer.conv_shape[:2], [], plan.i.shape.width
    for row in range(rows):
        for group in range(schedule.pixel_groups):
            pixels = []
            for pixel in range(group * plan.folding.px, (group + 1) * plan.folding.px):
                y, x = row * layer.stride[0], pixel * layer.stride[1]
                under = padded[y : y + layer.kernel[0], x : x + tile[0]].copy()
                under[:, layer.kernel[1] :] = 0
                pixels.append(under.reshape(
                    schedule.row_words, schedule.rows, schedule.column_words, schedule.columns,
                    schedule.channel_words, schedule.lanes,
                ).transpose(0, 2, 4, 1, 3, 5).reshape(schedule.words, -1))
            each = np.concatenate(pixels, axis=1).tolist()
            numbers = [sum(code << bits * place for place, code in enumerate(word)) for word in each]
            words += numbers * (schedule.channel_groups * schedule.passes_n * schedule.passes_m)
    assert columns <= schedule.pixel_groups * plan.folding.px
    return words


@pytest.mark.parametrize("name", CASES)
def test_latency_and_rate_of_each_block(name: str) -> None:
    plan = plan_of(name)
    schedule, scale, output = plan.schedule, plan.scale, plan.output
    codes = np.random.default_rng(1).integers(0, 3, (IMAGES, *SHAPE)).astype(np.uint8)
    found = seen(plan, transfers(codes, plan.i.lanes, plan.i.px).tolist(), IMAGES * plan.cycles + 200)
    # Window: each step's word, and as many steps as there are words.
    words = [word for image in codes for word in window_words(plan, image)]
    late = plan.window.latency
    assert len(found.steps) == len(words) == IMAGES * schedule.cycles
    if not schedule.absent:  # what is read for pixels past the end of a row is dropped
        assert [found.words[step + late] for step in found.steps] == words
        assert any(found.words[step + late - 1] != word for step, word in zip(found.steps, words, strict=True))
    # Array: a dot after its last word.
    assert found.dots == [step + late + plan.array.latency for step in found.dots_end]
    # Scale unit: the matches of a group, one after the other, after its last dot.
    passes = schedule.passes_n * schedule.passes_m
    last = found.dots[passes - 1 :: passes]
    assert found.matches == [dot + scale.latency + turn for dot in last for turn in range(scale.turns)]
    # Output unit: a transfer after its first matches; those of channels that are not there do not come.
    firsts = np.array(found.matches[:: output.items]).reshape(-1, output.slots)[:, : schedule.out_transfers]
    assert found.codes == (firsts + output.latency).reshape(-1).tolist()
    assert found.codes[0] - found.dots_end[passes - 1] == plan.work_latency
    # Queue: an answer that finds it empty.
    assert found.out[0] == found.codes[0] + plan.queue.latency
    # Every block's rate: in the steady state an image follows the other as the plan says.
    for moments in (found.steps, found.dots, found.matches, found.codes, found.out):
        each = len(moments) // IMAGES
        assert moments[3 * each] - moments[2 * each] == plan.cycles
    assert max(scale.cycles, output.cycles, plan.queue.cycles) <= plan.cycles
    assert len(found.matches) == IMAGES * output.cycles
    assert len(found.out) == IMAGES * plan.queue.cycles
