"""The lights: on as long as people need to see them."""

from __future__ import annotations

import pytest
from amaranth.sim import Simulator

from abc_hw.boards.gateware.lights import BUSY_TICKS, ERROR_TICKS, TICKS, Lights


@pytest.mark.parametrize(("event", "light", "ticks"), [
    ("working", "busy", BUSY_TICKS), ("refused", "error", ERROR_TICKS),
])
def test_an_event_of_one_cycle_is_seen(event: str, light: str, ticks: int) -> None:
    lights = Lights(4 * TICKS)
    seen: list[int] = []

    async def bench(ctx: object) -> None:
        for cycle in range(lights.period * (ticks + 3)):
            ctx.set(getattr(lights, event), cycle == 6)  # type: ignore[attr-defined]
            seen.append(ctx.get(getattr(lights, light)))  # type: ignore[attr-defined]
            assert ctx.get(lights.configured)  # type: ignore[attr-defined]
            assert ctx.get(lights.alive) != ctx.get(lights.busy)  # type: ignore[attr-defined]
            await ctx.tick()  # type: ignore[attr-defined]

    simulator = Simulator(lights)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)  # type: ignore[arg-type]
    simulator.run()
    on = [cycle for cycle, bit in enumerate(seen) if bit]
    assert on == list(range(7, 7 + len(on)))
    assert (ticks - 1) * lights.period < len(on) <= ticks * lights.period
