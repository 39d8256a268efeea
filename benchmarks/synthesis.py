"""A whole accelerator through synthesis: what each layer takes of the device, and what there is.

    python -m benchmarks.synthesis NETWORK [--cycles 50000 | --folding FILE] [--device ecp5-85k]

LUTs count those in adders, as :mod:`benchmarks.estimate` does; block RAMs are those of 18 Kbit on ECP5.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from abc_hw import sources
from abc_hw.cli.inputs import load_folding
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.cost.devices import DEVICES
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.schedule import KNOBS
from benchmarks.cells import block_rams, flip_flops, luts, multipliers
from benchmarks.estimate import Case, measured


def counts(cells: Counter[str]) -> str:
    """LUTs, flip-flops, block RAMs and multipliers as cells of a row."""
    return f"{luts(cells):,} | {flip_flops(cells):,} | {block_rams(cells)} | {multipliers(cells)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path)
    parser.add_argument("--cycles", type=int)
    parser.add_argument("--folding", type=Path)
    parser.add_argument("--device", default="ecp5-85k", choices=list(DEVICES))
    parser.add_argument("--cache", type=Path, default=Path("build/estimate"))
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    network, knobs = sources.read(options.network)
    if options.folding:
        knobs = load_folding(options.folding)
    foldings = fold(network, cycles=options.cycles, knobs=knobs)
    device = DEVICES[options.device]
    start = time.monotonic()
    found = measured(Case(network.name, network, foldings), device.family, options.cache)
    seconds = time.monotonic() - start
    by_layer: dict[str, Counter[str]] = {}
    for (layer, _), cells in found.items():
        by_layer.setdefault(layer, Counter()).update(cells)
    plan = AcceleratorPlan.of(network, foldings)
    print(f"| layer | {' | '.join(KNOBS)} | cycles | LUT | FF | block RAM | DSP |")
    print("|---|" + "---:|" * 9)
    for layer in plan.layers:
        knobs_of = " | ".join(str(getattr(layer.folding, knob)) for knob in KNOBS)
        cells = counts(by_layer.get(layer.name, Counter()))
        print(f"| {layer.name} | {knobs_of} | {layer.schedule.cycles:,} | {cells} |")
    rest = sum((cells for name, cells in by_layer.items() if name not in plan.foldings), Counter())
    print(f"| scores, argmax | | | | | | {counts(rest)} |")
    every = sum(by_layer.values(), Counter())
    print(f"| all | | | | | {plan.cycles:,} | {counts(every)} |")
    print(f"| {device.name} has | | | | | | {device.luts:,} | {device.luts:,} | {device.brams} | {device.dsps} |")
    print(f"\n{seconds:.0f} s of synthesis", file=sys.stderr)


if __name__ == "__main__":
    main()
