"""cocotb bench that writes down what every block of every layer hands on; :mod:`abc_hw.sim.diagnosis` compares."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout

from abc_hw.rtl_gen.emit.manifest import Manifest

from .bench import PERIOD_NS, CodeSource, ScoreSink, WeightLoader, random_stalls, read, start
from .trace import BLOCKS


def watched(dut: Any, design: Manifest) -> dict[str, tuple[list[Any], Any]]:
    """layer.block -> (signals that are all 1 when a result is there, the result), of the blocks that are there."""
    found = {}
    for layer in design.layers:
        scope = getattr(dut, layer.name)
        for block, (module, valid, result) in BLOCKS.items():
            within = getattr(scope, module, None) if module else scope
            when = [getattr(within, valid, None)] + ([getattr(within, "o__ready", None)] if not module else [])
            port = getattr(within, result, None)
            if port is not None and None not in when:
                found[f"{layer.name}.{block}"] = when, port
    return found


async def watch(clock: Any, ports: dict[str, tuple[list[Any], Any]], seen: dict[str, list[int | None]]) -> None:
    while True:
        await RisingEdge(clock)
        for name, (when, port) in ports.items():
            if all(signal.value == 1 for signal in when):
                seen[name].append(int(port.value) if port.value.is_resolvable else None)


@cocotb.test()
async def write_what_blocks_hand_on(dut: Any) -> None:
    design = read("accelerator.json")
    images, stalls = pickle.loads(Path("images.pickle").read_bytes())
    ports = watched(dut, design)
    seen: dict[str, list[int | None]] = {name: [] for name in ports}
    pauses = [random_stalls(stalls, seed=seed) if stalls else () for seed in range(2)]
    source, sink = CodeSource(dut, design, stalls=pauses[0]), ScoreSink(dut, design, stalls=pauses[1])
    await start(dut, design)
    if words := json.loads(Path("load.json").read_text()):
        await WeightLoader(dut, design).load(words)
    cocotb.start_soon(watch(dut.clk, ports, seen))
    cocotb.start_soon(source.send(images))
    cycles = sum(layer.cycles for layer in design.layers) + (design.cycles_per_image or 0) * len(images)
    patience = round((4 * cycles + 10_000) / (1 - stalls) ** 2) * PERIOD_NS
    try:
        await with_timeout(sink.receive_words(len(images) * sink.stream.transfers), patience, "ns")
    except (SimTimeoutError, AssertionError) as error:
        dut._log.warning("%s", error)
    Path("seen.json").write_text(json.dumps(seen))
