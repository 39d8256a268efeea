"""Depths of joins' buffers: enough under any stalls, and one less stops for good."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.sim import Simulator

from abc_hw.network import Integers
from abc_hw.network.nodes import MaxPool, SumPool
from abc_hw.rtl_gen.blocks.add import Add, AddPlan
from abc_hw.rtl_gen.blocks.fork import Fork, ForkPlan
from abc_hw.rtl_gen.blocks.window_pool import WindowPool, WindowPoolPlan
from abc_hw.rtl_gen.engine.buffers import live_depths
from abc_hw.rtl_gen.parts.flow import Flow, in_order
from abc_hw.sim import golden

SHAPE = (5, 4, 2)
EDGE = Integers(np.array([-4, 0]), np.array([3, 7]), SHAPE)
STUCK = 120
"""Cycles without a transfer after which nothing will come any more."""


def pool(size: tuple[int, int], padding: tuple[int, int, int, int], *, sums: bool = False) -> MaxPool | SumPool:
    kind = SumPool if sums else MaxPool
    return kind(name="n", inputs=("input",), size=size, stride=(1, 1), padding=padding)


POOLS = {
    "rows": pool((3, 1), (1, 1, 0, 0)), "square": pool((3, 3), (1, 1, 1, 1)),
    "columns": pool((1, 3), (0, 0, 2, 0)),
    "late": pool((4, 2), (0, 3, 0, 1), sums=True), "point": pool((1, 1), (0, 0, 0, 0)),
}


class Joined(wiring.Component):
    """A fork into two pools, a buffer behind each, and the sum."""

    def __init__(self, plans: list[WindowPoolPlan], depths: list[int]) -> None:
        self._depths = depths
        self._pools = [WindowPool(plan) for plan in plans]
        one, other = (plan.o_edge for plan in plans)
        assert isinstance(one, Integers)
        assert isinstance(other, Integers)
        self._add = Add(AddPlan(one=one, other=other, lanes=1))
        transfers = int(np.prod(SHAPE))
        self._fork = Fork(ForkPlan(branches=2, lanes=1, shape=plans[0].i_shape, transfers=transfers))
        super().__init__({
            "i": wiring.In(self._fork.i.signature.flip()), "o": wiring.Out(self._add.o.signature),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fork, m.submodules.add = self._fork, self._add
        wiring.connect(m, wiring.flipped(self.i), self._fork.i)
        wiring.connect(m, self._add.o, wiring.flipped(self.o))
        ends = (self._add.i_one, self._add.i_other)
        for index, (end, depth) in enumerate(zip(ends, self._depths, strict=True)):
            m.submodules[f"pool_{index}"] = taker = self._pools[index]
            wiring.connect(m, self._fork.o[index], taker.i)
            if not depth:
                wiring.connect(m, taker.o, end)
                continue
            width = len(taker.o.payload.as_value())
            m.submodules[f"queue_{index}"] = queue = SyncFIFOBuffered(width=width, depth=depth)
            m.d.comb += [
                queue.w_data.eq(taker.o.payload), queue.w_en.eq(taker.o.valid), taker.o.ready.eq(queue.w_rdy),
                end.payload.eq(queue.r_data), end.valid.eq(queue.r_rdy), queue.r_en.eq(end.ready),
            ]
        return m


def run(plans: list[WindowPoolPlan], depths: list[int], stalls: float, images: np.ndarray) -> list[int]:
    """What the sum hands out until nothing has moved for ``STUCK`` cycles."""
    component = Joined(plans, depths)
    chance = random.Random(5)
    received: list[int] = []

    over = False

    async def send(ctx: Any) -> None:
        waiting = images.reshape(-1).tolist()
        while waiting and not over:
            if chance.random() < stalls:
                await ctx.tick()
                continue
            ctx.set(component.i.payload, [waiting.pop(0)])
            ctx.set(component.i.valid, 1)
            accepted = False
            while not accepted and not over:
                _, _, accepted = await ctx.tick().sample(component.i.ready)
            ctx.set(component.i.valid, 0)

    async def take(ctx: Any) -> None:
        nonlocal over
        idle = 0
        while idle < STUCK:
            ctx.set(component.o.ready, int(chance.random() >= stalls))
            _, _, valid, ready, payload = await ctx.tick().sample(
                component.o.valid, component.o.ready, component.o.payload
            )
            idle += 1
            if valid and ready:
                received.append(int(payload[0]))
                idle = 0
        over = True

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(take)
    simulator.run()
    return received


@pytest.mark.parametrize("stalls", [0.0, 0.4])
@pytest.mark.parametrize(("one", "other"), [
    ("square", "point"), ("point", "rows"), ("rows", "square"), ("late", "columns"), ("square", "square"),
])
def test_live_depths_are_the_least(one: str, other: str, stalls: float) -> None:
    nodes = POOLS[one], POOLS[other]
    plans = [WindowPoolPlan(node=node, edge=EDGE, lanes=1) for node in nodes]
    depths = live_depths([plan.flow for plan in plans])
    rng = np.random.default_rng(0)
    images = rng.integers(EDGE.low, EDGE.high + 1, (2, *SHAPE))
    expected = sum(golden.NODES[node.kind](node, images) for node in nodes).reshape(-1).tolist()
    assert run(plans, depths, stalls, images) == expected
    for index, depth in enumerate(depths):
        if depth:
            less = [*depths]
            less[index] -= 1
            assert len(run(plans, less, stalls, images)) < len(expected)


def test_what_a_flow_counts() -> None:
    flow = in_order(3, 2).then(Flow(3, np.array([2, 3]), np.array([2, 3])))
    assert flow.needed(np.array([0, 1, 2, 3, 4])).tolist() == [0, 2, 3, 5, 6]
    assert flow.taken(np.array([0, 1, 2])).tolist() == [4, 5, 7]


def test_branches_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="equal inputs and outputs"):
        live_depths([in_order(3, 1), in_order(4, 1)])
    with pytest.raises(ValueError, match="4 inputs must not follow one of 3 outputs"):
        in_order(3, 1).then(in_order(4, 1))
