"""Drive and collect the streams of a component in Amaranth's simulator, with random stalls on both sides."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator


def transfers(values: np.ndarray, lanes: int, px: int = 1) -> np.ndarray:
    """A map [..., W, C] as it travels: [groups x words, px x lanes]; what is not there is 0."""
    width, channels = values.shape[-2:] if px > 1 else (1, values.shape[-1])
    rows = values.reshape(-1, width, channels)
    padded = np.zeros((len(rows), -(-width // px) * px, -(-channels // lanes) * lanes), np.int64)
    padded[:, :width, :channels] = rows
    split = padded.reshape(len(rows), -1, px, padded.shape[2] // lanes, lanes)
    return split.transpose(0, 1, 3, 2, 4).reshape(-1, px * lanes)


def run_stream(
    component: wiring.Component, sent: list[Any], *, expected: int, stalls: float = 0.0, seed: int = 0,
    most_cycles: int = 20_000, moments: list[int] | None = None,
) -> tuple[list[Any], int]:
    """Send transfers into ``component.i``; returns what came out of ``component.o`` and the cycles it took.

    Ends when ``expected`` transfers have come, or fails after ``most_cycles``; a few cycles more show whether
    something comes that should not. ``moments`` takes the cycle in which each came.
    """
    received: list[Any] = []
    cycles = 0
    chance = random.Random(seed)

    async def send(ctx: Any) -> None:
        for transfer in sent:
            while chance.random() < stalls:
                await ctx.tick()
            ctx.set(component.i.payload, transfer)
            ctx.set(component.i.valid, 1)
            accepted = False
            while not accepted:
                assert cycles < most_cycles, "the component takes no more input"
                _, _, accepted = await ctx.tick().sample(component.i.ready)
            ctx.set(component.i.valid, 0)

    async def take(ctx: Any) -> None:
        nonlocal cycles
        extra = 20
        while extra:
            ctx.set(component.o.ready, int(chance.random() >= stalls))
            _, _, valid, ready, payload = await ctx.tick().sample(
                component.o.valid, component.o.ready, component.o.payload
            )
            if valid and ready:
                received.append(payload)
                if moments is not None:
                    moments.append(cycles)
            if len(received) < expected:
                cycles += 1
            else:
                extra -= 1
            assert cycles < most_cycles, f"{len(received)} of {expected} transfers after {cycles} cycles"

    m = Module()
    m.domains.sync = ClockDomain()  # also for a component that is only wires
    m.submodules.component = component
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(take)
    simulator.run()
    return received, cycles
