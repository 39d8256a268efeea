# amaranth: UnusedElaboratable=no
"""The queue behind an engine against a list, in both of its forms."""

import numpy as np
import pytest
from amaranth.hdl import unsigned
from amaranth.sim import Simulator

from rtl_gen.popcount import TARGETS
from rtl_gen.queue import SHIFTED_BITS, Queue


@pytest.mark.parametrize(
    ("lanes", "depth", "target", "memory"),
    [(1, 2, "ice40", False), (1, 9, "ice40", False), (2, 17, "asic", False), (1, 33, "ice40", False),
     (2, 40, "ice40", True), (1, 9, "ecp5", True), (1, 9, "generic", True)],
)
@pytest.mark.parametrize("busy", [0.2, 0.5, 0.9])
def test_transfers_come_out_in_order(lanes: int, depth: int, target: str, memory: bool, busy: float) -> None:
    """Random writes while there is room, random reads; every form must be seen full and empty."""
    assert Queue.has_memory(2 * lanes, depth, target) is memory
    queue = Queue(lanes=lanes, shape=unsigned(2), depth=depth, target=target)
    rng = np.random.default_rng(depth)
    inside: list[int] = []
    seen = set()

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for cycle in range(3000):
            rate = busy if cycle % 1000 < 700 else 1 - busy
            write = len(inside) < depth and bool(rng.random() < rate)
            codes, ready = int(rng.integers(4**lanes)), bool(rng.random() > rate)
            ctx.set(queue.codes.as_value(), codes)
            ctx.set(queue.write, write)
            ctx.set(queue.o.ready, ready)
            if ctx.get(queue.o.valid):
                assert ctx.get(queue.o.payload.as_value()) == inside[0]
                if ready:
                    inside.pop(0)
            else:
                seen.add("empty")
            if write:
                inside.append(codes)
            seen.update(["full"] * (len(inside) == depth))
            await ctx.tick()

    simulator = Simulator(queue)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert "empty" in seen
    assert "full" in seen or busy == 0.5


@pytest.mark.parametrize("target", ["ice40", "generic"])
def test_every_transfer_comes_out_within_three_cycles(target: str) -> None:
    queue = Queue(lanes=1, shape=unsigned(2), depth=4, target=target)
    waits = []

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for codes in (1, 2, 3):
            ctx.set(queue.codes.as_value(), codes)
            ctx.set(queue.write, 1)
            ctx.set(queue.o.ready, 1)
            await ctx.tick()
            ctx.set(queue.write, 0)
            wait = 0
            while not ctx.get(queue.o.valid):
                assert wait < 2
                await ctx.tick()
                wait += 1
            assert ctx.get(queue.o.payload.as_value()) == codes
            waits.append(wait)
            await ctx.tick()

    simulator = Simulator(queue)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert len(waits) == 3


def test_only_targets_without_small_memories_shift() -> None:
    shifting = {target for target in TARGETS if not Queue.has_memory(SHIFTED_BITS, 2, target)}
    assert shifting == {"ice40", "asic"}


def test_queue_needs_room_for_two() -> None:
    with pytest.raises(ValueError, match="at least 2 transfers, not 1"):
        Queue(lanes=1, shape=unsigned(2), depth=1)
