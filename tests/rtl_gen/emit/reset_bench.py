"""A reset while a score waits to be taken: at once, or at the next edge of the clock, as the manifest has it."""

from __future__ import annotations

from typing import Any

import cocotb
from cocotb.triggers import FallingEdge, RisingEdge, Timer

from abc_hw.sim.bench import CodeSource, Scoreboard, ScoreSink, read, start


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def a_reset_acts_when_it_says(dut: Any) -> None:
    design = read("core.json")
    source, sink, board = CodeSource(dut, design), ScoreSink(dut, design), Scoreboard(design)
    images = board.random_images(3, seed=1)
    await start(dut, design)
    sending = cocotb.start_soon(source.send(images))
    valid, reset = dut.o__valid, getattr(dut, design.reset)
    await RisingEdge(valid)
    await RisingEdge(dut.clk)
    sending.cancel()
    dut.i__valid.value = 0
    await FallingEdge(dut.clk)
    reset.value = design.reset_active
    await Timer(1, unit="ns")
    assert valid.value == int(design.reset_kind == "sync")
    await RisingEdge(dut.clk)
    await FallingEdge(dut.clk)
    assert valid.value == 0
    reset.value = 1 - design.reset_active
    await RisingEdge(dut.clk)
    cocotb.start_soon(source.send(images))
    board.check(images, await sink.receive(len(images)))
