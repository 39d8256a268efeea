"""What :mod:`benchmarks.waves` draws, recorded: the ports of an accelerator, cycle by cycle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge

from abc_hw.sim.bench import CodeSource, Scoreboard, ScoreSink, Source, WeightLoader, read, start

Samples = list[dict[str, int]]
"""Of each cycle, the ports by name."""


class Recorder:
    """Samples ports in the middle of every cycle, between the edge that made them and the one that takes them."""

    def __init__(self, dut: Any, ports: list[str]) -> None:
        self._ports = {port: getattr(dut, port) for port in ports}
        self._clock = dut.clk
        self.samples: Samples = []
        cocotb.start_soon(self._run())

    async def _run(self) -> None:
        while True:
            await FallingEdge(self._clock)
            self.samples.append({
                name: int(port.value) if port.value.is_resolvable else 0 for name, port in self._ports.items()
            })

    def keep(self, name: str) -> None:
        """Write what was sampled to a file."""
        Path(f"{name}.samples.json").write_text(json.dumps(self.samples))


def ports(*streams: str) -> list[str]:
    """The ports of streams."""
    return [f"{stream}__{part}" for stream in streams for part in ("valid", "ready", "payload")]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def reset(dut: Any) -> None:
    design = read("core.json")
    recorder = Recorder(dut, ["rst", *ports("i", "o")])
    dut.i__payload.value = 0
    source = CodeSource(dut, design)
    board = Scoreboard(design)
    await start(dut, design)
    await RisingEdge(dut.clk)
    await source.send_words([int(code) for code in board.random_images(1, seed=1)[0].flat[:2]])
    await ClockCycles(dut.clk, 2)
    recorder.keep("reset")


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def image(dut: Any) -> None:
    design = read("core.json")
    source, sink, board = CodeSource(dut, design), ScoreSink(dut, design), Scoreboard(design)
    given = Path("images.npy")
    images = np.load(given) if given.exists() else board.random_images(1, seed=1)
    await start(dut, design)
    recorder = Recorder(dut, ports("i", "o"))
    await RisingEdge(dut.clk)
    cocotb.start_soon(source.send(images))
    dut.o__ready.value = 1
    board.check(images, await sink.receive(1))
    await ClockCycles(dut.clk, 2)
    recorder.keep("image")


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def backpressure(dut: Any) -> None:
    design = read("core.json")
    source, board = CodeSource(dut, design), Scoreboard(design)
    sink = ScoreSink(dut, design, stalls=[True, True, True, False])
    images = board.random_images(1, seed=1)
    await start(dut, design)
    recorder = Recorder(dut, ports("o"))
    cocotb.start_soon(source.send(images))
    await RisingEdge(dut.o__valid)
    await RisingEdge(dut.clk)
    board.check(images, await sink.receive(1))
    await ClockCycles(dut.clk, 2)
    recorder.keep("backpressure")


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def load(dut: Any) -> None:
    design = read("core.json")
    assert design.load is not None
    loader, source, sink = WeightLoader(dut, design), CodeSource(dut, design), ScoreSink(dut, design)
    board = Scoreboard(design)
    images = board.random_images(1, seed=1)
    await start(dut, design)
    recorder = Recorder(dut, ["loaded", *ports("load", "i")])
    await RisingEdge(dut.clk)
    cocotb.start_soon(Source.send_words(source, [int(code) for code in images.flat]))
    cocotb.start_soon(loader.load(design.load.file))
    board.check(images, await sink.receive(1))
    recorder.keep("load")
