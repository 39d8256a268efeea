"""Clocks that accelerators reach, and what the estimator says of them.

    python -m benchmarks.clock [--devices ecp5-6,hx8k,gw1n-9c] [--no-fit] [--keep build/clock]

Random accelerators of :mod:`benchmarks.estimate` that a device has room for, and on ECP5 the two of
``docs/performance.md``, out of context, three seeds each: the median counts. Half of them, which ``SPLIT`` draws,
fit the two numbers of :mod:`abc_hw.rtl_gen.cost.clock`; the others judge. Netlists and placements stay in
``--keep``, so that the command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import nnls

from abc_hw import zoo
from abc_hw.cli.inputs import load_folding
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.cost.clock import COEFFICIENTS, period
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan
from benchmarks import rows
from benchmarks.estimate import EXAMPLES, LARGER, SPLIT, Case, random_cases
from benchmarks.out_of_context import DEVICES, ROUTING_LIMIT, clocks, members, run, wrapped

FAMILIES = {"ecp5-6": "ecp5", "hx8k": "ice40", "gw1n-9c": "gowin"}

WANTED = {"ecp5-6": 160, "hx8k": 120, "gw1n-9c": 100}
"""MHz that placement aims at."""

ROOM = {"ecp5-6": 60_000, "hx8k": 6_000, "gw1n-9c": 5_000}
"""Look-up tables beyond which a random accelerator is left out."""

LARGE = {"lenet": ("mnist-lenet-m3n3", 20_000, None), "cnv": ("cnv-m2n2", None, "cnv-m2n2-ecp5-85k.toml")}
"""On ECP5 as well: folder that `docs/performance.md` keeps it in, network, cycles, folding."""


def cases(device: str, count: int) -> Iterator[tuple[Case, Path | None]]:
    """Accelerators, and where they are kept if they are measured elsewhere too."""
    seeds = [*range(count), *range(LARGER, LARGER + count)] if device == "ecp5-6" else range(2 * count)
    for case in random_cases(seeds):
        yield case, None
    for folder, (name, cycles, file) in LARGE.items() if device == "ecp5-6" else ():
        network = zoo.load(name)
        knobs = load_folding(EXAMPLES / "foldings" / file) if file else None
        yield Case(name, network, fold(network, cycles=cycles, knobs=knobs)), Path("build", folder)


def measured(case: Case, device: str, keep: Path, seeds: list[int], limit: int) -> tuple[int, list[float]]:
    """Look-up tables, and the clock of each seed in MHz; none where it has no room."""
    of = DEVICES[device]
    accelerator = Accelerator(AcceleratorPlan.of(case.network, case.foldings, target=of.target))
    keep.mkdir(parents=True, exist_ok=True)
    cost = run(of, wrapped(accelerator, *members(accelerator)), "read_rtlil", keep)
    if cost.luts > ROOM[device]:
        return cost.luts, []
    return cost.luts, clocks(of, keep, seeds, WANTED[device], limit)


Line = tuple[str, int, list[float]]
"""Name, look-up tables, clocks."""


def fit(lines: list[Line]) -> tuple[float, float]:
    """The parts of logic and of wires, neither negative, by least squares of relative errors of the period."""
    periods = np.array([1e3 / statistics.median(reached) for _, _, reached in lines])
    matrix = np.array([[1.0, math.sqrt(luts)] for _, luts, _ in lines]) / periods[:, None]
    logic, wires = nnls(matrix, np.ones(len(lines)))[0]
    return round(float(logic), 4), round(float(wires), 6)


def compare(device: str, lines: list[Line], known: dict[str, Any]) -> None:
    """The table of estimates against placements."""
    rows.head((device, "", "LUT", "MHz", "median", "estimate", "error"))
    errors: dict[str, list[float]] = {}
    for name, luts, reached in lines:
        true = statistics.median(reached)
        told = 1e3 / period(luts, known["logic"], known["wires"])
        part = "fits" if name in known["accelerators"] else "judges"
        errors.setdefault(part, []).append(abs(told / true - 1))
        rows.line((
            name, part, f"{luts:,}", " ".join(f"{clock:.0f}" for clock in sorted(reached)), f"{true:.0f}",
            f"{told:.0f}", f"{100 * (told / true - 1):+.1f} %",
        ))
    for part, of in sorted(errors.items()):
        rows.line((
            f"{len(of)}: at most, on average", part, *[""] * 4,
            f"{100 * max(of):.1f} %, {100 * sum(of) / len(of):.1f} %",
        ))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default=",".join(FAMILIES))
    parser.add_argument("--count", type=int, default=8, help="half of the random accelerators of a device")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--limit", type=int, default=ROUTING_LIMIT, help="seconds for a placement")
    parser.add_argument("--keep", type=Path, default=Path("build/clock"))
    parser.add_argument("--no-fit", action="store_true", help="compare only")
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    known = json.loads(COEFFICIENTS.read_text()) if COEFFICIENTS.exists() else {}
    devices = options.devices.split(",")
    unfitted = [device for device in devices if FAMILIES[device] not in known]
    if options.no_fit and unfitted:
        parser.error(f"{', '.join(unfitted)}: nothing was fitted yet; leave --no-fit out")
    for device in devices:
        lines: list[Line] = []
        for case, elsewhere in cases(device, options.count):
            start = time.monotonic()
            keep = elsewhere or options.keep / device / case.name
            luts, reached = measured(case, device, keep, seeds, options.limit)
            if reached:
                lines.append((case.name, luts, reached))
            told = " ".join(f"{clock:.0f}" for clock in reached) or "not placed"
            seconds = time.monotonic() - start
            print(f"{case.name}: {luts:,} LUTs, {told}, {seconds:.0f} s", file=sys.stderr, flush=True)
        if not options.no_fit:
            order = np.random.default_rng(SPLIT).permutation(len(lines))
            drawn = [lines[place] for place in sorted(order[: len(lines) // 2])]
            logic, wires = fit(drawn)
            known[FAMILIES[device]] = {
                "command": f"python -m benchmarks.clock --devices {device} --count {options.count}",
                "logic": logic, "wires": wires, "accelerators": [name for name, _, _ in drawn],
            }
            COEFFICIENTS.write_text(json.dumps(known, indent=1) + "\n")
        compare(device, lines, known[FAMILIES[device]])


if __name__ == "__main__":
    main()
