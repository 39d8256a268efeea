"""cocotb bench of a whole accelerator: free-running, random stalls, every layer compared with the golden model.

The harness (harness.sv.j2) feeds and records in every cycle; here it is reset, set off, waited for, and its
records are compared word by word. The result goes to ``result.json`` in the run's folder; a word that differs
fails the test.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge, SimTimeoutError, with_timeout

PERIOD_NS = 10


def read_words(path: Path) -> list[int | None]:
    """Words of a memory file; None for one with unknown bits."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith(("@", "//"))]
    return [int(line.strip(), 16) if set(line.lower()).isdisjoint("xz") else None for line in lines]


def compare(found: list[int | None], expected: list[int], masks: list[int]) -> dict[str, int]:
    """Bits compared and bits that differ; a word that is unknown or missing differs in all its bits."""
    compared = sum(mask.bit_count() for mask in masks)
    differing = 0
    for index, (word, mask) in enumerate(zip(expected, masks, strict=True)):
        got = found[index] if index < len(found) else None
        differing += mask.bit_count() if got is None else ((got ^ word) & mask).bit_count()
    return {"bits_compared": compared, "bits_differing": differing}


@cocotb.test()
async def every_layer_equals_golden(dut: Any) -> None:
    run = json.loads(Path("run.json").read_text())
    dut.i_stall.value = run["stall"]
    dut.o_stall.value = run["stall"]
    dut.seed.value = run["seed"]
    dut.record.value = 0
    dut.rst.value = 1
    Clock(dut.clk, PERIOD_NS, unit="ns").start(start_high=False)
    await RisingEdge(dut.clk)  # one edge is all that a module asks for
    dut.rst.value = 0
    timed_out = False
    try:
        await with_timeout(RisingEdge(dut.finished), run["most_cycles"] * PERIOD_NS, "ns")
    except SimTimeoutError:
        timed_out = True
    # What no output depends on may come behind the last one; what does not come at all will differ.
    with contextlib.suppress(SimTimeoutError):
        if not timed_out and not dut.drained.value:
            await with_timeout(RisingEdge(dut.drained), run["most_cycles"] * PERIOD_NS, "ns")
    await ClockCycles(dut.clk, 2)
    dut.record.value = 1
    await ClockCycles(dut.clk, 2)

    folder = Path.cwd()
    layers = [
        {"name": tap["name"]} | compare(read_words(folder / f"tap{index}.hex"), tap["words"], tap["masks"])
        for index, tap in enumerate(run["taps"])
    ]
    scores = read_words(folder / "scores.hex")
    layers.append({"name": "output"} | compare(scores, run["scores"], run["score_masks"]))
    result = {
        "layers": layers,
        "scores": scores,
        "done_at": read_words(folder / "done_at.hex"),
        "sent_at": read_words(folder / "sent_at.hex"),
        "timed_out": timed_out,
    }
    temporary = folder / f"result.{os.getpid()}"
    temporary.write_text(json.dumps(result))
    temporary.replace(folder / "result.json")
    assert not timed_out, f"not finished after {run['most_cycles']} cycles"
    different = [layer for layer in layers if layer["bits_differing"]]
    assert not different, f"bits differ: {different}"
