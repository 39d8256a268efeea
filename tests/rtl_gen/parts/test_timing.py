"""Transfers happen in the very cycles that plans tell, whenever they are offered and whoever makes them wait."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from amaranth.hdl import Module, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.sim import Simulator

from abc_hw.rtl_gen.blocks.classifier import ArgMax, ArgMaxPlan
from abc_hw.rtl_gen.blocks.lanes import AdapterPlan, LaneAdapter
from abc_hw.rtl_gen.blocks.pixels import PixelAdapter, PixelPlan
from abc_hw.rtl_gen.blocks.pool import MaxPool, PoolPlan
from abc_hw.rtl_gen.parts.fifo import Fifo, FifoPlan
from abc_hw.rtl_gen.parts.skid import Skid
from abc_hw.rtl_gen.parts.stream import CodeStream
from abc_hw.rtl_gen.parts.timing import Bounded, Taken
from abc_hw.rtl_gen.parts.timing import Fifo as FifoTiming

CYCLES = 400
CODE = unsigned(2)


class Queued(wiring.Component):
    """A queue between streams, which never fills up."""

    def __init__(self) -> None:
        self.plan = FifoPlan(width=4, words=CYCLES)
        super().__init__({"i": wiring.In(stream.Signature(4)), "o": wiring.Out(stream.Signature(4))})

    def elaborate(self, platform: object) -> Any:
        m = Module()
        m.submodules.fifo = fifo = Fifo(self.plan)
        m.d.comb += [
            fifo.w_en.eq(self.i.valid), fifo.w_data.eq(self.i.payload), self.i.ready.eq(1),
            self.o.valid.eq(fifo.r_rdy), self.o.payload.eq(fifo.r_data), fifo.r_en.eq(self.o.ready),
        ]
        return m

    def timing(self, after: Taken) -> Taken:
        queue = FifoTiming(after, self.plan.memory.latency)

        def take(offered: int) -> int:
            queue.put(offered)
            return offered
        return take


def adapter(channels: int, i_lanes: int, o_lanes: int) -> tuple[wiring.Component, Callable[[Taken], Taken]]:
    plan = AdapterPlan(shape=(1, 3, channels), i=CodeStream(i_lanes, CODE), o=CodeStream(o_lanes, CODE))
    return LaneAdapter(plan), plan.timing


def made(name: str) -> tuple[wiring.Component, Callable[[Taken], Taken]]:
    if name == "argmax":
        argmax = ArgMaxPlan(classes=3, score=signed(4))
        return ArgMax(argmax), argmax.timing
    if name == "pool":
        pool = PoolPlan(shape=(4, 5, 2), side=2, i=CodeStream(1, CODE))
        return MaxPool(pool), pool.timing
    if name == "pixels":
        pixels = PixelPlan(shape=(2, 7, 1), i=CodeStream(1, CODE, 2), o=CodeStream(1, CODE, 3))
        return PixelAdapter(pixels), pixels.timing
    if name == "queue":
        return (queued := Queued()), queued.timing
    if name == "skid":
        return Skid(stream.Signature(4)), lambda after: Bounded(after, 0, 2).take
    return adapter(*{"narrow": (5, 4, 2), "widen": (7, 1, 3), "both": (8, 4, 6)}[name])


def seen(component: Any, offers: list[bool], ready: list[bool]) -> tuple[list[int], list[int], list[int]]:
    """Cycles in which transfers were first offered, were taken, and in which answers were taken."""
    offered, taken, answered = [], [], []

    async def bench(ctx: Any) -> None:
        waits = False
        for cycle in range(CYCLES):
            if not waits and offers[cycle]:
                offered.append(cycle)
                waits = True
            ctx.set(component.i.valid, waits)
            ctx.set(component.o.ready, ready[cycle])
            if waits and ctx.get(component.i.ready):
                taken.append(cycle)
                waits = False
            if ctx.get(component.o.valid) and ready[cycle]:
                answered.append(cycle)
            await ctx.tick()

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return offered, taken, answered


@pytest.mark.parametrize(("offering", "taking"), [(1.0, 1.0), (0.3, 1.0), (1.0, 0.3), (0.5, 0.5)])
@pytest.mark.parametrize("name", ["argmax", "pool", "pixels", "queue", "skid", "narrow", "widen", "both"])
def test_cycles_are_the_plans(name: str, offering: float, taking: float) -> None:
    chance = random.Random(f"{name} {offering} {taking}")
    offers, ready = ([chance.random() < share for _ in range(CYCLES)] for share in (offering, taking))
    component, timing = made(name)
    offered, taken, answered = seen(component, offers, ready)
    assert len(answered) > 10
    told: list[int] = []

    def sink(cycle: int) -> int:
        cycle = max(cycle, told[-1] + 1 if told else 0)
        while cycle < CYCLES and not ready[cycle]:
            cycle += 1
        told.append(cycle)
        return cycle

    take = timing(sink)
    assert [take(cycle) for cycle in offered[: len(taken)]] == taken
    assert [cycle for cycle in told if cycle < CYCLES] == answered
