# amaranth: UnusedElaboratable=no
"""Area and clock of whole accelerators, as generated, with weights in ROM.

    python -m benchmarks.accelerator zoo:mnist-lenet-m3n3 --device ecp5-6 --cycles 20000
    python -m benchmarks.accelerator zoo:cnv-m2n2 --folding examples/foldings/cnv-m2n2-ecp5-85k.toml --clock 100 \
        --limit 7200 --keep build/cnv

Inputs come from a shift register, outputs go to a tree of parities, both subtracted. With ``--keep`` netlist and
placements stay in a folder: the command goes on from what is there, so that seeds can be added one by one.
"""

import argparse
import dataclasses
from pathlib import Path

from abc_hw import sources
from abc_hw.cli.inputs import load_folding
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan
from abc_hw.rtl_gen.schedule import useful
from benchmarks import rows
from benchmarks.cells import block_rams
from benchmarks.out_of_context import DEVICES, ROUTING_LIMIT, Measurement, longest_path, measure

HEAD = (
    "network", "device", "cycles per image", "LUT", "FF", "block RAMs", "of the logic", "useful XNORs", "MHz",
    "images/s at the median", "GOPS / kLUT",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a file, an example's description or zoo:name")
    parser.add_argument("--device", default="ecp5-6", choices=DEVICES)
    parser.add_argument("--cycles", type=int, default=20_000, help="per image, what the folding is chosen for")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--clock", type=int, default=155, help="MHz that placement aims at")
    parser.add_argument("--folding", type=Path, help="a file with the folding, instead of --cycles")
    parser.add_argument("--keep", type=Path, help="folder for netlist and placements")
    parser.add_argument("--placer", choices=("heap", "static"), help="of nextpnr, instead of the device's own")
    parser.add_argument("--router", choices=("router1", "router2"), help="of nextpnr, instead of the device's own")
    parser.add_argument("--limit", type=int, default=ROUTING_LIMIT, help="seconds for a placement")
    options = parser.parse_args()
    device = DEVICES[options.device]
    for choice in ("placer", "router"):
        if getattr(options, choice):
            device = dataclasses.replace(device, place=(*device.place, f"--{choice}", getattr(options, choice)))
    network, knobs = sources.read(Path(options.network))
    if options.folding:
        foldings = fold(network, cycles=None, knobs=load_folding(options.folding))
    else:
        foldings = fold(network, cycles=options.cycles, knobs=knobs)
    accelerator = Accelerator(AcceleratorPlan.of(network, foldings, target=device.target))
    seeds = [int(seed) for seed in options.seeds.split(",") if seed]
    found = measure(
        device, accelerator, seeds=seeds, wanted=options.clock, keep=options.keep, limit=options.limit
    )
    rows.head(HEAD)
    rows.line(row(device.name, accelerator.plan, found))
    for report in sorted(options.keep.glob("seed*.json")) if options.keep else ():
        print(f"{report.stem}: {longest_path(report)}")


def row(device: str, plan: AcceleratorPlan, found: Measurement) -> list[str]:
    """The cells of the table's line. An operation is an XNOR or the addition of its result."""
    clocks = " ".join(f"{clock:.0f}" for clock in sorted(found.clocks)) or "-"
    cost, rate = found.cost, found.clock * 1e6 / plan.cycles if found.clock else None
    numbers = [f"{number:,}" for number in (plan.cycles, cost.luts, cost.flip_flops, block_rams(cost.cells))]
    share = "-" if found.filled is None else f"{100 * found.filled:.0f} %"
    needed = f"{100 * useful((layer.schedule for layer in plan.layers), plan.cycles):.0f} %"
    speed = ["-", "-"] if rate is None else [
        f"{rate:,.0f}", f"{2e-6 * rate * plan.network.binary_macs / cost.luts:.1f}"
    ]
    return [plan.network.name, device, *numbers, share, needed, clocks, *speed]


if __name__ == "__main__":
    main()
