"""Where memories go: the same as Yosys decides, for shapes on both sides of every border."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib.memory import Memory

from abc_hw.rtl_gen.cost.memories import Mapped, map_memory
from abc_hw.rtl_gen.emit.yosys import run_yosys

SHAPES = [(width, words) for width in (1, 5, 8, 9, 13, 18, 36, 40, 72) for words in (16, 33, 100, 256, 600, 1100)]


def memories(shapes: list[tuple[int, int]], *, writable: bool, settled: bool) -> str:
    """A design of memories with one read port each, filled at random or written."""
    m = Module()
    rng = np.random.default_rng(0)
    ports = []
    for index, (width, words) in enumerate(shapes):
        init = [int.from_bytes(rng.bytes(10), "little") & ((1 << width) - 1) for _ in range(words)]
        m.submodules[f"m{index}"] = memory = Memory(
            shape=unsigned(width), depth=words, init=[] if writable else init,
            attrs={} if settled else {"no_rw_check": 1},
        )
        read = memory.read_port()
        ends = [Signal.like(read.addr, name=f"ra{index}"), Signal(width, name=f"rd{index}")]
        m.d.comb += [read.addr.eq(ends[0]), ends[1].eq(read.data)]
        if writable:
            write = memory.write_port()
            ends += [Signal.like(write.addr, name=f"wa{index}"), Signal(width, name=f"wd{index}")]
            ends.append(Signal(name=f"we{index}"))
            m.d.comb += [write.addr.eq(ends[2]), write.data.eq(ends[3]), write.en.eq(ends[4])]
        ports += ends
    return rtlil.convert(m, name="top", ports=ports, emit_src=False)


@pytest.mark.parametrize(("writable", "settled"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize(("family", "libraries"), [
    ("ecp5", ["lattice/lutrams_trellis.txt", "lattice/brams_16kd.txt"]), ("ice40", ["ice40/brams.txt"]),
])
def test_cells_as_yosys_takes_them(
    family: str, libraries: list[str], writable: bool, settled: bool, tmp_path: Path
) -> None:
    (tmp_path / "top.il").write_text(memories(SHAPES, writable=writable, settled=settled))
    said = run_yosys(
        f"read_rtlil {tmp_path / 'top.il'}", "hierarchy -top top", "proc", "flatten", "opt -full", "memory -nomap",
        f"memory_libmap {' '.join(f'-lib +/{library}' for library in libraries)}",
        f"tee -q -o {tmp_path / 'cells'} select -list t:$__*",
    )
    cells = (tmp_path / "cells").read_text()
    for index, (width, words) in enumerate(SHAPES):
        found = map_memory(family, width=width, words=words, writable=writable, settled=settled)
        via = re.search(rf"mapping memory top\.m{index} via (\S+)", said)
        in_logic = f"using FF mapping for memory top.m{index}\n" in said
        assert in_logic == (found.kind == "logic"), (width, words)
        assert in_logic == (via is None)
        assert len(re.findall(rf"^top/m{index}\.", cells, re.MULTILINE)) == found.cells, (width, words)
        if via is not None:
            assert ("DPR16X4" in via[1]) == (found.kind == "distributed")


def test_nothing_for_nothing() -> None:
    assert map_memory("ecp5", width=0, words=100, writable=False) == Mapped("logic")
    assert map_memory("ecp5", width=40, words=1, writable=True) == Mapped("logic")
