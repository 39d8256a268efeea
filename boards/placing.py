"""Place and route: what a build script calls in nextpnr's stead.

    python -m abc_hw.boards.placing 1,2,3 nextpnr-ecp5 ... --seed 1 --report top.report.json --textcfg top.config

A netlist for ECP5 is eased first (:mod:`abc_hw.rtl_gen.emit.ease`). Of several seeds, which are placed at once,
the best is kept: each seed's files have its name in front, ``seed2-top.report.json``; those of the best become the
plain ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from abc_hw.rtl_gen.emit.ease import ease_file

__all__ = ["best_seed", "main", "of_seed", "reached"]

RESULTS = ("--report", "--log", "--textcfg", "--asc", "--write")
"""Options of nextpnr that name a file which it writes."""


def of_seed(name: str, seed: int) -> str:
    """What a file is called that belongs to one seed."""
    return f"seed{seed}-{name}"


def reached(report: Path) -> float:
    """Of a report of nextpnr: how fast its slowest clock could be, as a share of what it is to be."""
    clocks = json.loads(report.read_text())["fmax"].values()
    return min((clock["achieved"] / clock["constraint"] for clock in clocks), default=1.0)


def best_seed(found: dict[int, float]) -> int:
    """The seed that reaches most; of equals the first."""
    return max(found, key=lambda seed: found[seed])


def _command(words: Sequence[str], seed: int) -> list[str]:
    """The command for one seed."""
    made = list(words)
    for place, word in enumerate(words[:-1]):
        if word == "--seed":
            made[place + 1] = str(seed)
        elif word in RESULTS:
            made[place + 1] = of_seed(words[place + 1], seed)
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command with each seed; the exit code of the first one where none succeeds."""
    seeds, words = [int(seed) for seed in arguments[0].split(",")], list(arguments[1:])
    if Path(words[0]).name.endswith("nextpnr-ecp5"):
        ease_file(Path(words[words.index("--json") + 1]))
    if len(seeds) == 1:
        return subprocess.run(words, check=False).returncode
    names = [words[place + 1] for place, word in enumerate(words[:-1]) if word in RESULTS]
    report = words[words.index("--report") + 1]

    def place(seed: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(_command(words, seed), capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(min(len(seeds), os.cpu_count() or 1)) as pool:
        runs = dict(zip(seeds, pool.map(place, seeds), strict=True))
    found = {seed: reached(Path(of_seed(report, seed))) for seed in seeds if not runs[seed].returncode}
    if not found:
        print(runs[seeds[0]].stdout + runs[seeds[0]].stderr)
        return runs[seeds[0]].returncode
    best = best_seed(found)
    for name in names:
        if Path(of_seed(name, best)).exists():
            Path(name).write_bytes(Path(of_seed(name, best)).read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
