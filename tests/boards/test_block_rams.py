"""Block RAMs told before synthesis are those that Yosys makes, the link's included.

Yosys goes through a whole module anew for each memory in it, hours where there are a thousand. So once memories
have taken in their registers, nothing else is left in the module but what enables large memories: those with one
port need to be seen to read and write in turn. What others become depends on nothing around them.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from abc_hw import zoo
from abc_hw.boards import build, fit
from abc_hw.boards.platforms import find
from abc_hw.rtl_gen.emit.yosys import run_yosys
from abc_hw.rtl_gen.engine.accelerator import WeightSource

LIBRARIES = {
    "ulx3s-85f": ["lattice/lutrams_trellis.txt", "lattice/brams_16kd.txt"],
    "hx8k": ["ice40/brams.txt", "ice40/spram.txt"], "icebreaker": ["ice40/brams.txt", "ice40/spram.txt"],
    "tangnano9k": ["gowin/lutrams.txt", "gowin/brams.txt"],
}
BLOCKS = "t:DP16KD t:$__PDPW16KD_ t:$__DP16KD_ t:$__ICE40_RAM4K_ t:$__GOWIN_SP_ t:$__GOWIN_DP_ t:$__GOWIN_SDP_"
LARGE = "t:$__ICE40_SPRAM_"


def check(name: str, board_name: str, weights: WeightSource, folder: Path) -> None:
    """Generate the board's design, map its memories, and count."""
    board = find(board_name)
    linked = build.design(board, zoo.load(name), weights=weights)
    (folder / "top.il").write_text(build.plan(board, linked).files["top.il"])
    libraries = " ".join(f"-lib +/{library}" for library in LIBRARIES[board_name])
    run_yosys(
        f"read_rtlil {folder / 'top.il'}", "hierarchy -top top", "proc", "flatten", "opt_clean", "opt_expr",
        "opt_clean", "memory -nomap", "select -set enables a:ram_style=huge t:$mem_v2 %i %ci12",
        "select -set others t:* t:$mem_v2 t:DP16KD %u @enables %u %d", "delete @others",
        f"memory_libmap {libraries}",
        f"tee -q -o {folder / 'blocks'} select -list {BLOCKS}",
        f"tee -q -o {folder / 'large'} select -list {LARGE}",
    )
    made = [len(re.findall(r"^top/", (folder / kind).read_text(), re.MULTILINE)) for kind in ("blocks", "large")]
    told = [sum(memory.mapped.cells for memory in linked.memories if memory.mapped.kind == kind)
            for kind in ("block", "large")]
    assert made == told
    assert fit.block_count(linked.memories) == made[0] > 0


@pytest.mark.parametrize(("board", "weights"), [("tangnano9k", "loaded"), ("icebreaker", "loaded")])
def test_of_one_network(board: str, weights: WeightSource, tmp_path: Path) -> None:
    check("mnist-lenet-m1n1", board, weights, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("weights", ["rom", "loaded"])
@pytest.mark.parametrize("board", LIBRARIES)
@pytest.mark.parametrize("name", zoo.chains())
def test_of_every_network(name: str, board: str, weights: WeightSource, tmp_path: Path) -> None:
    check(name, board, weights, tmp_path)
