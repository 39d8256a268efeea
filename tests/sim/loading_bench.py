"""A bench of an accelerator whose weights are loaded, with pauses at every stream."""

from __future__ import annotations

from typing import Any

import cocotb

from abc_hw import load
from abc_hw.sim.bench import CodeSource, Scoreboard, ScoreSink, WeightLoader, random_stalls, read, start


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def loaded_scores_are_golden(dut: Any) -> None:
    design = read("accelerator.json")
    loader = WeightLoader(dut, design, stalls=random_stalls(0.3, seed=1))
    source = CodeSource(dut, design, stalls=random_stalls(0.3, seed=2))
    sink = ScoreSink(dut, design, stalls=random_stalls(0.3, seed=3))
    board = Scoreboard(design, load("example:tiny"))
    images = board.random_images(3, seed=4)
    await start(dut, design)
    assert design.load is not None
    await loader.load(design.load.file)
    cocotb.start_soon(source.send(images))
    board.check(images, await sink.receive(len(images)))
