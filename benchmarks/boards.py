"""Bitstreams of the boards: what a design with its link takes of the part, and how fast its clock could be.

    python -m benchmarks.boards [--boards icebreaker,hx8k] [--network zoo:NAME --folding FILE] [--seeds 1]

The board's own network unless one is named. Logic is counted in logic cells on iCE40 (a look-up table and a
flip-flop), in look-up tables elsewhere.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from abc_hw import sources
from abc_hw.boards import build
from abc_hw.boards.platforms import BOARDS, find
from abc_hw.cli.inputs import load_folding, read_seeds
from abc_hw.rtl_gen.cost.choice import fold
from benchmarks import rows

HEAD = (
    "board", "network", "logic", "FF", "block RAM", "large memories", "Fmax / clock, MHz", "slack, ns",
    "cycles per image", "images/s, accelerator", "build, s",
)

LOGIC = ("TRELLIS_COMB", "ICESTORM_LC", "LUT4")
FLIP_FLOPS = ("TRELLIS_FF", "DFF")
BLOCKS = ("DP16KD", "ICESTORM_RAM", "BSRAM")
LARGE = ("ICESTORM_SPRAM",)


def used(summary: build.Summary, kinds: tuple[str, ...]) -> str:
    """How many of how many; nothing where the part has none."""
    found = next((summary.use[kind] for kind in kinds if kind in summary.use), (0, 0))
    return f"{found[0]:,} of {found[1]:,}" if found[1] else ""


def row(summary: build.Summary) -> list[str]:
    """The cells of a line."""
    clock = min(summary.clocks, key=lambda clock: clock.slack)
    return [
        summary.board, summary.network, used(summary, LOGIC), used(summary, FLIP_FLOPS) or "in the cells",
        used(summary, BLOCKS), used(summary, LARGE), f"{clock.reached:.1f} / {clock.wanted:.0f}",
        f"{clock.slack:.1f}", f"{summary.cycles:,}", f"{summary.images:,.0f}",
        f"{sum(summary.seconds.values()):.0f}",
    ]


def tell(board: str, stage: str) -> None:
    print(f"{board}: {stage}", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", default=",".join(BOARDS))
    parser.add_argument("--network", help="a file, an example's description or zoo:name")
    parser.add_argument("--folding", type=Path)
    parser.add_argument("--seeds", default="1", help="of placements, of which the fastest counts")
    parser.add_argument("--keep", type=Path, default=Path("build/boards"))
    options = parser.parse_args()
    rows.head(HEAD)
    for name in options.boards.split(","):
        board = find(name)
        network, _ = sources.read_design(Path(options.network or board.network))
        knobs = None if options.folding is None else load_folding(options.folding)
        summary = build.build(
            network, board, folder=options.keep / name, seeds=read_seeds(options.seeds),
            foldings=None if knobs is None else fold(network, cycles=None, knobs=knobs),
            on_stage=partial(tell, name),
        )
        rows.line(row(summary))


if __name__ == "__main__":
    main()
