"""The image that is put together, in a memory whose one port reads and writes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from abc_hw.boards.gateware.collector import ImageStore, image_memory
from abc_hw.rtl_gen.parts.memory_mapping import GENERIC, ICE40, Technology

SIZE = 300


@pytest.mark.parametrize(("technology", "kind"), [(GENERIC, "any"), (ICE40, "large")])
def test_whole_images_come_out_behind_their_tags(technology: Technology, kind: str) -> None:
    plan = image_memory(SIZE, 8, technology, large=True)
    assert plan.mapped.kind == kind
    store = ImageStore(plan)
    rng = np.random.default_rng(5)
    first, second = rng.integers(0, 256, (2, SIZE)).tolist()
    came: list[int] = []

    async def send(ctx: Any) -> None:
        for tag, cut, image in ((7, 0, first), (8, 100, second)):
            ctx.set(store.tag_in, tag)
            for codes in (image[:cut], image):  # a beginning that is thrown away, then the whole
                ctx.set(store.anew, 1)
                await ctx.tick()
                ctx.set(store.anew, 0)
                for code in codes:
                    ctx.set(store.i.payload, code)
                    ctx.set(store.i.valid, 1)
                    await ctx.tick().until(store.i.ready)
                    ctx.set(store.i.valid, 0)
            await ctx.tick().until(~store.busy)

    async def take(ctx: Any) -> None:
        for tag in (7, 8):
            ctx.set(store.tag.ready, 1)
            assert (await ctx.tick().sample(store.tag.payload).until(store.tag.valid))[0] == tag
            ctx.set(store.tag.ready, 0)
            for _ in range(SIZE):
                for _ in range(int(rng.integers(3))):
                    await ctx.tick()
                ctx.set(store.o.ready, 1)
                came.append((await ctx.tick().sample(store.o.payload[0]).until(store.o.valid))[0])
                ctx.set(store.o.ready, 0)

    simulator = Simulator(store)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(take)
    simulator.run()
    assert came == first + second
