"""Where memories go: as many cells as Yosys makes of them, for shapes on both sides of every border."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, Value

from abc_hw.rtl_gen.emit.yosys import for_synthesis, run_yosys
from abc_hw.rtl_gen.parts.memory import Memory
from abc_hw.rtl_gen.parts.memory_mapping import (
    ECP5,
    GENERIC,
    GOWIN,
    ICE40,
    Mapped,
    Technology,
    WriteKind,
    map_memory,
)
from abc_hw.rtl_gen.parts.memory_plan import MemoryPlan

SHAPES = [(width, words) for width in (1, 9, 36, 40) for words in (16, 33, 100, 256, 600, 1100)]

LIBRARIES = {
    "ecp5": ["lattice/lutrams_trellis.txt", "lattice/brams_16kd.txt"],
    "ice40": ["ice40/brams.txt", "ice40/spram.txt"], "gowin": ["gowin/lutrams.txt", "gowin/brams.txt"],
}


def plans(technology: Technology, write: WriteKind) -> list[MemoryPlan]:
    """Memories filled at random, or written."""
    rng = np.random.default_rng(0)
    found = []
    for width, words in SHAPES:
        values = [int.from_bytes(rng.bytes(10), "little") & ((1 << width) - 1) for _ in range(words)]
        contents = None if write != "none" else lambda values=values: values
        found.append(MemoryPlan(
            width=width, words=words, contents=contents, write=write, technology=technology,
            held=write == "word" and words % 3 == 0, settled=write == "word" and width in (9, 36),
            registered=words != 256,
            large=write == "parts" and technology is ICE40 and (width, words) == (40, 1100),
        ))
    return found


def design(memories: list[MemoryPlan]) -> str:
    """All of them beside each other, ``m0``, ``m1`` and so on, their members as ports."""
    m = Module()
    ports = []
    for index, plan in enumerate(memories):
        m.submodules[f"m{index}"] = memory = Memory(plan)
        for path, member, value in memory.signature.flatten(memory):
            name = f"p{index}_{'_'.join(map(str, path))}"
            port = Signal.like(Value.cast(value), name=name)
            ports.append(port)
            m.d.comb += port.eq(value) if member.flow.name == "Out" else Value.cast(value).eq(port)
    return rtlil.convert(m, name="top", ports=ports, emit_src=False)


@pytest.mark.parametrize("write", ["none", "word", "parts"])
@pytest.mark.parametrize("technology", [ECP5, ICE40, GOWIN], ids=lambda one: one.name)
def test_cells_are_those_that_yosys_makes(technology: Technology, write: WriteKind, tmp_path: Path) -> None:
    memories = plans(technology, write)
    (tmp_path / "top.il").write_text(for_synthesis(design(memories)))
    libraries = " ".join(f"-lib +/{library}" for library in LIBRARIES[technology.name])
    run_yosys(
        f"read_rtlil {tmp_path / 'top.il'}", "hierarchy -top top", "proc", "flatten", "opt -full", "memory -nomap",
        f"memory_libmap {libraries}", "select -list t:$__* t:DP16KD",
        *(f"tee -q -o {tmp_path / kind} select -list {pattern}" for kind, pattern in PATTERNS.items()),
    )
    made = {kind: (tmp_path / kind).read_text() for kind in PATTERNS}
    kinds = set()
    for index, plan in enumerate(memories):
        found = {
            kind: len(re.findall(rf"^top/m{index}\.", cells, re.MULTILINE)) for kind, cells in made.items()
        }
        assert found == {kind: plan.mapped.cells * (kind == plan.mapped.kind) for kind in PATTERNS}, plan
        kinds.add(plan.mapped.kind)
    assert len(kinds) > 1


PATTERNS = {
    "block": "t:DP16KD t:$__PDPW16KD_ t:$__DP16KD_ t:$__ICE40_RAM4K_ t:$__GOWIN_SP_ t:$__GOWIN_DP_ "
    "t:$__GOWIN_SDP_",
    "distributed": "t:$__TRELLIS_DPR16X4_ t:$__GOWIN_LUTRAM_", "large": "t:$__ICE40_SPRAM_",
}


def test_nothing_for_nothing() -> None:
    assert map_memory(ECP5, width=0, words=100) == map_memory(ECP5, width=40, words=1) == Mapped("logic")
    assert map_memory(GENERIC, width=40, words=4000) == Mapped("any")


def test_what_is_cheapest_is_taken() -> None:
    """Few words in look-up tables, more in blocks, and all of a block where that can be."""
    assert map_memory(ECP5, width=8, words=64, write="word") == Mapped("distributed", 8, 4, (4, 16))
    assert map_memory(ECP5, width=36, words=300, write="word") == Mapped("block", 1, 1, (36, 512))
    assert map_memory(ECP5, width=36, words=500) == Mapped("block", 1, 1, (18, 512), 2)
    assert map_memory(ECP5, width=16, words=73_728).cells == 64
    assert map_memory(GOWIN, width=32, words=200).unit == (36, 512)
    assert map_memory(ICE40, width=16, words=49).kind == "logic"
    assert map_memory(ICE40, width=16, words=51) == Mapped("block", 1, 1, (16, 256))
    large = map_memory(ICE40, width=33, words=20_000, write="parts", large=True)
    assert (large.kind, large.cells) == ("large", 6)


@pytest.mark.parametrize(("technology", "width", "words", "write", "blocks"), [
    (ICE40, 16, 4, "word", 0), (ICE40, 16, 5, "word", 1), (ICE40, 16, 48, "none", 0), (ICE40, 16, 67, "none", 1),
    (ICE40, 16, 256, "none", 1), (ICE40, 17, 256, "none", 2), (ICE40, 2, 2048, "none", 1),
    (ICE40, 1, 4096, "none", 1), (ECP5, 36, 512, "none", 1), (ECP5, 1, 2048, "word", 1),
])
def test_blocks_have_the_best_shape(
    technology: Technology, width: int, words: int, write: WriteKind, blocks: int
) -> None:
    mapped = map_memory(technology, width=width, words=words, write=write)
    assert mapped.cells * (mapped.kind == "block") == blocks
