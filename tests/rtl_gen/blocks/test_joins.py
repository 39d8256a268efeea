"""Forks and sums of streams with random stalls on every side: nothing lost, nothing doubled, in order."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import unsigned
from amaranth.sim import Simulator

from abc_hw.network import Integers
from abc_hw.rtl_gen.blocks.add import Add, AddPlan
from abc_hw.rtl_gen.blocks.fork import Fork, ForkPlan

MOST_CYCLES = 5000


def run(
    component: Any, sources: list[tuple[Any, list[Any]]], sinks: list[Any], expected: int, stalls: float
) -> tuple[list[list[int]], int]:
    """Drive every source stream, take from every sink, each with stalls of its own."""
    taken: list[list[int]] = [[] for _ in sinks]
    cycles = 0

    def sender(stream: Any, payloads: list[Any], seed: int) -> Any:
        chance = random.Random(seed)

        async def send(ctx: Any) -> None:
            for payload in payloads:
                while chance.random() < stalls:
                    await ctx.tick()
                ctx.set(stream.payload, payload)
                ctx.set(stream.valid, 1)
                await ctx.tick().until(stream.ready)
                ctx.set(stream.valid, 0)
        return send

    def taker(stream: Any, into: list[int], seed: int) -> Any:
        chance = random.Random(seed)

        async def take(ctx: Any) -> None:
            nonlocal cycles
            while True:
                ctx.set(stream.ready, int(chance.random() >= stalls))
                _, _, valid, ready, payload = await ctx.tick().sample(stream.valid, stream.ready, stream.payload)
                if valid and ready:
                    into.append([int(lane) for lane in payload])  # type: ignore[arg-type]
        return take

    async def watch(ctx: Any) -> None:
        nonlocal cycles
        while any(len(one) < expected for one in taken):
            await ctx.tick()
            cycles += 1
            assert cycles < MOST_CYCLES, f"{[len(one) for one in taken]} of {expected} transfers"
        await ctx.tick().repeat(20)

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for seed, (stream, payloads) in enumerate(sources):
        simulator.add_testbench(sender(stream, payloads, seed), background=True)
    for seed, (stream, into) in enumerate(zip(sinks, taken, strict=True)):
        simulator.add_testbench(taker(stream, into, 100 + seed), background=True)
    simulator.add_testbench(watch)
    simulator.run()
    return taken, cycles


@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_every_branch_gets_every_transfer(stalls: float) -> None:
    plan = ForkPlan(branches=3, lanes=2, shape=unsigned(4), transfers=60)
    fork = Fork(plan)
    sent = np.random.default_rng(0).integers(0, 16, (plan.transfers, 2)).tolist()
    taken, cycles = run(fork, [(fork.i, sent)], [fork.o[index] for index in range(3)], plan.transfers, stalls)
    assert taken == [sent] * 3
    if not stalls:
        assert cycles == plan.cycles + plan.latency


def test_a_slow_branch_does_not_hold_the_others_back_within_a_transfer() -> None:
    fork = Fork(ForkPlan(branches=2, lanes=1, shape=unsigned(4), transfers=2))
    seen = []

    async def bench(ctx: Any) -> None:
        ctx.set(fork.i.payload, [7])
        ctx.set(fork.i.valid, 1)
        ctx.set(fork.o[0].ready, 1)
        for _ in range(3):
            seen.append((ctx.get(fork.o[0].valid), ctx.get(fork.o[1].valid), ctx.get(fork.i.ready)))
            await ctx.tick()
        ctx.set(fork.o[1].ready, 1)
        seen.append((ctx.get(fork.o[0].valid), ctx.get(fork.o[1].valid), ctx.get(fork.i.ready)))

    simulator = Simulator(fork)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [(1, 1, 0), (0, 1, 0), (0, 1, 0), (0, 1, 1)]


def test_a_fork_of_one_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two branches, not 1"):
        ForkPlan(branches=1, lanes=1, shape=unsigned(1), transfers=1)


@pytest.mark.parametrize("stalls", [0.0, 0.4])
def test_sums_wait_for_both(stalls: float) -> None:
    shape = (3, 4, 3)
    one = Integers(np.array([-5, 0, 3]), np.array([7, 9, 4]), shape)
    other = Integers(np.array([-100, 2, 0]), np.array([-90, 5, 0]), shape)
    plan = AddPlan(one=one, other=other, lanes=2)
    add = Add(plan)
    rng = np.random.default_rng(2)
    maps = [np.zeros((12, 4), np.int64) for _ in range(2)]
    for edge, values in zip((one, other), maps, strict=True):
        values[:, :3] = rng.integers(edge.low, edge.high + 1, (12, 3))
    sent = [values.reshape(-1, 2).tolist() for values in maps]
    taken, cycles = run(add, [(add.i_one, sent[0]), (add.i_other, sent[1])], [add.o], plan.transfers, stalls)
    assert taken[0] == (maps[0] + maps[1]).reshape(-1, 2).tolist()
    if not stalls:
        assert cycles == plan.cycles + plan.latency
