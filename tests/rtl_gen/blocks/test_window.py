"""Window buffer against the golden model: every word of every window, whoever waits."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import numpy.typing as npt
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from amaranth.sim import SimulatorContext as Context
from streams import transfers

from abc_hw.network import Layer
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.blocks.window import WindowBuffer, WindowPlan
from abc_hw.rtl_gen.parts.delay import delayed
from abc_hw.rtl_gen.parts.loops import LoopNest
from abc_hw.rtl_gen.schedule import LayerFolding, Schedule
from abc_hw.sim import golden

IMAGES, MOST_CYCLES = 3, 4000


class Windows(wiring.Component):
    """The buffer with its loops, which step in each cycle of ``go`` in which the rows are there."""

    def __init__(self, plan: WindowPlan) -> None:
        self.plan = plan
        self.buffer = WindowBuffer(plan)
        super().__init__({
            "i": In(plan.i.signature), "go": In(1), "valid": Out(1),
            "a": self.buffer.signature.members["a"],
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer, nest = self.buffer, LoopNest(self.plan.loops)
        m.submodules.nest = nest
        wiring.connect(m, wiring.flipped(self.i), self.buffer.i)
        begins = nest.begins[self.plan.loops.level("column")]
        m.d.comb += [
            nest.step.eq(self.go & (~begins | self.buffer.row_ready)), self.buffer.step.eq(nest.step),
            *(mine.eq(ends) for mine, ends in zip(self.buffer.ends, nest.ends, strict=True)),
            self.a.eq(self.buffer.a),
            self.valid.eq(delayed(m, nest.step, self.plan.latency, name="valid", reset_less=False)),
        ]
        return m


def words(plan: WindowPlan, layer: Layer, codes: npt.NDArray[np.uint8]) -> list[list[int]]:
    """What the buffer hands out for the maps, step by step."""
    schedule = plan.schedule
    (height, width), channels = layer.kernel, layer.in_shape[2]
    tile = schedule.rows, schedule.columns, schedule.lanes
    counts = schedule.row_words, schedule.column_words, schedule.dot_words
    found = []
    for window in golden.windows(layer.conv, codes).reshape(-1, height, width, channels):
        filled = np.zeros([count * size for count, size in zip(counts, tile, strict=True)], np.int64)
        filled[:height, :width, :channels] = window
        each = [
            filled[tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, tile, strict=True))]
            for place in itertools.product(*map(range, counts))
        ]
        found += [word.reshape(-1).tolist() for word in each] * (
            schedule.channel_groups * schedule.passes_m * schedule.passes_n
        )
    return found


def received(plan: WindowPlan, sent: list[list[int]], count: int, stalls: tuple[float, float]) -> list[list[int]]:
    """The words that come for the transfers, with input held back and no step made in shares of all cycles."""
    dut, found = Windows(plan), []

    async def send(ctx: Context) -> None:
        draw = np.random.default_rng(1)
        for transfer in sent:
            while draw.random() < stalls[0]:
                await ctx.tick()
            ctx.set(dut.i.valid, 1)
            for lane, code in enumerate(transfer):
                ctx.set(dut.i.payload[lane], code)
            await ctx.tick().until(dut.i.ready)
            ctx.set(dut.i.valid, 0)

    async def take(ctx: Context) -> None:
        draw = np.random.default_rng(2)
        while len(found) < count:
            ctx.set(dut.go, int(draw.random() >= stalls[1]))
            _, _, valid, *word = await ctx.tick().sample(dut.valid, *dut.a)
            if valid:
                found.append(word)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(take)
    simulator.add_testbench(send, background=True)
    simulator.run_until(1e-6 * MOST_CYCLES)
    return found


CASES = [
    ((4, 5, 3), (3, 3), 1, 1, LayerFolding(simd=3, pe=4)), ((5, 6, 4), (3, 2), 2, 1, LayerFolding(simd=8, pe=4)),
    ((7, 4, 2), (2, 2), 1, 0, LayerFolding(simd=8, pe=2)), ((6, 1, 2), (1, 1), 1, 0, LayerFolding(simd=2)),
    ((6, 1, 2), (3, 1), 1, 0, LayerFolding(simd=6)), ((6, 2, 2), (1, 1), 1, 0, LayerFolding(simd=1, pe=2)),
]
"""Of a layer: input, kernel, stride, padding; and a folding."""


@pytest.mark.parametrize(("waits", "stalls"), [(0, (0.3, 0.3)), (1, (0.0, 0.0)), (2, (0.0, 0.0)), (5, (0.0, 0.2))])
@pytest.mark.parametrize(("in_shape", "kernel", "stride", "padding", "folding"), CASES)
def test_every_word_of_every_window(
    in_shape: tuple[int, int, int], kernel: tuple[int, int], stride: int, padding: int, folding: LayerFolding,
    waits: int, stalls: tuple[float, float],
) -> None:
    """However late what must come along with them comes."""
    rng = np.random.default_rng(0)
    layer = random_layer(
        rng, name="layer", in_shape=in_shape, out_channels=4, kernel=kernel, stride=stride, padding=padding,
        M=1, N=3, levels=4,
    )
    folding = dataclasses.replace(folding, np=3)
    plan = WindowPlan(Schedule(layer.fused, folding), waits=waits)
    codes = rng.integers(4, size=(IMAGES, *in_shape), dtype=np.uint8)
    expected = words(plan, layer, codes)
    assert len(expected) == IMAGES * plan.schedule.cycles
    sent = transfers(codes, plan.i.lanes, 1).tolist()
    assert received(plan, sent, len(expected), stalls) == expected
