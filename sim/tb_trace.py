"""cocotb bench that writes down what every block of every layer hands on; :mod:`abc_hw.sim.diagnosis` compares."""

from __future__ import annotations

import json
import pickle
from collections import deque
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import RisingEdge, SimTimeoutError, with_timeout

from .bench import PERIOD_NS, CodeSource, ScoreSink, WeightLoader, random_stalls, read, start

Ports = tuple[list[Any], Any]
"""Signals that are all 1 when a result is there, and the result."""


def ports_at(dut: Any, scope: tuple[str, ...], valid: str, result: str) -> Ports | None:
    """Those of a module, by the names of the modules that lead to it; None if it has not got them."""
    for name in scope:
        dut = getattr(dut, name, None)
    names = [valid] if valid != "o__valid" else [valid, "o__ready"]
    when, port = [getattr(dut, name, None) for name in names], getattr(dut, result, None)
    return None if port is None or None in when else (when, port)


async def watch(
    clock: Any, ports: list[Ports | None], late: list[int], seen: list[list[int | None] | None]
) -> None:
    """Write down each result, so many cycles after it is told of."""
    told = [deque([False] * cycles) for cycles in late]
    while True:
        await RisingEdge(clock)
        for found, waits, words in zip(ports, told, seen, strict=True):
            if found is None or words is None:
                continue
            waits.append(all(signal.value == 1 for signal in found[0]))
            if waits.popleft():
                value = found[1].value
                words.append(int(value) if value.is_resolvable else None)


@cocotb.test()
async def write_what_blocks_hand_on(dut: Any) -> None:
    design = read("accelerator.json")
    codes, stalls, places, cycles = pickle.loads(Path("run.pickle").read_bytes())
    ports = [ports_at(dut, *place) for *place, _ in places]
    seen: list[list[int | None] | None] = [None if found is None else [] for found in ports]
    pauses = [random_stalls(stalls, seed=seed) if stalls else () for seed in range(2)]
    source, sink = CodeSource(dut, design, stalls=pauses[0]), ScoreSink(dut, design, stalls=pauses[1])
    await start(dut, design)
    if words := json.loads(Path("load.json").read_text()):
        await WeightLoader(dut, design).load(words)
    cocotb.start_soon(watch(dut.clk, ports, [late for *_, late in places], seen))
    cocotb.start_soon(source.send(codes))
    patience = round(cycles / (1 - stalls) ** 2) * PERIOD_NS
    try:
        await with_timeout(sink.receive_words(len(codes) * sink.stream.transfers), patience, "ns")
    except (SimTimeoutError, AssertionError) as error:
        dut._log.warning("%s", error)
    Path("seen.json").write_text(json.dumps(seen))
