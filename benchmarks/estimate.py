"""The estimator against synthesis: measures accelerators, fits the estimator's coefficients, prints the table.

    python -m benchmarks.estimate [--devices ecp5,ice40,gowin] [--random 40] [--no-fit] [--cache build/estimate]

Each accelerator is synthesised whole, with the flags of the boards; its cells are counted by block, which the
names that Yosys gives them tell. Half of them fit the coefficients, and the other half judges them: which is which
is drawn by ``SPLIT``. A large one only judges. Results are kept in the cache under a digest of netlist, flow and
versions, so that a second run costs little. ``--no-fit`` leaves the coefficients in the package as they are and
only compares.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from amaranth.back import rtlil
from scipy.optimize import nnls

from abc_hw import zoo
from abc_hw.cli.inputs import load_folding
from abc_hw.network import Network, description
from abc_hw.network.description import Description
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.cost.estimate import (
    COEFFICIENTS,
    LUTS_PER_DISTRIBUTED,
    TARGETS,
    Estimator,
    estimate,
    memory_quantities,
)
from abc_hw.rtl_gen.emit.yosys import run_yosys, with_copies, without_field_names
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding, candidates

EXAMPLES = Path(__file__).parent.parent / "examples"

FLOWS = {"ecp5": "synth_ecp5 -nowidelut -abc9", "ice40": "synth_ice40 -abc9", "gowin": "synth_gowin"}

SPLIT = 9
"""Decides which accelerators fit and which judge."""

LARGE = "cnv-m1n1"
"""An example, with the fastest folding that is kept for it, over 40,000 look-up tables of ECP5."""


Found = dict[tuple[str, str], Counter[str]]
"""Cells by type, for (layer, block)."""


JOINED = ("control", "array", "scale")
BLOCK_WEIGHT = 0.3


class Case(NamedTuple):
    """An accelerator to be measured; does it fit the coefficients, or judge them?"""

    name: str
    network: Network
    foldings: dict[str, LayerFolding]
    fits: bool = False


# -- the set --------------------------------------------------------------------------------------------------


def cases(random: int, device: str) -> list[Case]:
    """All of them; on ECP5 a large one that judges."""
    found = list(small_cases(random))
    fits = np.random.default_rng(SPLIT).permutation(len(found)) < len(found) // 2
    found = [case._replace(fits=bool(one)) for case, one in zip(found, fits, strict=True)]
    if device == "ecp5":
        network = description.load(EXAMPLES / f"{LARGE}.toml")[0]
        knobs = load_folding(EXAMPLES / "foldings" / f"{LARGE}-ecp5-85k-fast.toml")
        found.append(Case(f"{LARGE}, fast", network, fold(network, cycles=None, knobs=knobs)))
    return found


def small_cases(random: int) -> Iterator[Case]:
    """Examples and a network of the zoo at several speeds, then ``random`` random networks in random foldings."""
    loaded = {name: description.load(EXAMPLES / f"{name}.toml")[0] for name in ("tiny", "digits-small")}
    loaded["mnist-lenet-m3n3"] = zoo.load("mnist-lenet-m3n3")
    for name, cycles in [
        ("tiny", 200), ("digits-small", 600), ("digits-small", 2_000), ("digits-small", 8_000),
        ("mnist-lenet-m3n3", 50_000),
    ]:
        yield Case(f"{name}, {cycles:,} cycles", loaded[name], least_xnors(loaded[name], cycles))
    for seed in range(random):
        yield random_case(seed)


def least_xnors(network: Network, cycles: int) -> dict[str, LayerFolding]:
    """The folding with the fewest XNORs, one that does not depend on what is fitted here."""
    return {
        layer.name: min(
            (one for one in candidates(layer) if one.cycles <= cycles and one.rows == 1),
            key=lambda one: (one.xnors, one.out_lanes, -one.folding.simd, one.folding.pe),
        ).folding
        for layer in network.layers
    }


def random_case(seed: int) -> Case:
    """One or two convolutions and a classifier of middling size, each layer folded at random, words of whole
    windows apart; of every third with several pixels at once, where that comes out."""
    rng = np.random.default_rng(seed)
    side, channels = int(rng.integers(8, 13)), int(rng.choice([1, 2, 3]))
    forms = [{"kind": "fixed", "bits": 6}, {"kind": "csd", "bits": 6, "terms": 2}, {"kind": "pow2", "bits": 4}]
    layers = []
    for index in range(1 + (rng.random() < 0.35)):
        layer = {
            "kind": "conv", "out_channels": int(rng.choice([8, 12, 16, 24])),
            "kernel": int(rng.choice([3, 3, 3, 5])), "M": int(rng.integers(1, 4)),
            "scale": forms[rng.integers(len(forms))],
        }
        if rng.random() < 0.5:
            layer["padding"] = 1
        if index == 0 and rng.random() < 0.6:
            layer["pool"] = 2
        layers.append(layer if index == 0 else layer | {"N": int(rng.integers(1, 4)), "kernel": 3})
    layers.append({
        "kind": "dense", "M": int(rng.integers(1, 4)), "N": int(rng.integers(1, 4)),
        "scale": forms[rng.integers(len(forms))],
    })
    network = Description.model_validate({
        "name": f"random-{seed}", "input_shape": (side, side, channels), "classes": 10, "seed": seed,
        "layers": layers,
    }).network()
    foldings = {}
    for layer in network.layers:
        goal = 2 ** rng.uniform(2, 8.5)
        every = [one for one in candidates(layer, several=seed % 3 == 2) if one.rows == 1]
        found = [one for one in every if goal / 1.5 <= one.xnors <= 1.5 * goal] or every[:1]
        foldings[layer.name] = found[rng.integers(len(found))].folding
    return Case(network.name, network, foldings)


# -- synthesis ------------------------------------------------------------------------------------------------


def measured(case: Case, device: str, cache: Path) -> Found:
    """Cells by layer, block and type."""
    accelerator = Accelerator(AcceleratorPlan.of(case.network, case.foldings, target=TARGETS[device]))
    text = rtlil.convert(accelerator, name="top", emit_src=False)
    key = hashlib.sha256("\0".join([text, FLOWS[device], version("pyosys")]).encode()).hexdigest()[:32]
    file = cache / f"{key}.json"
    if not file.exists():
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name, "top.il"), Path(name, "top.json")
            source.write_text(with_copies(without_field_names(text)))
            run_yosys(f"read_rtlil {source}", f"{FLOWS[device]} -top top", f"write_json {target}")
            cells = json.loads(target.read_text())["modules"]["top"]["cells"]
        counted: dict[str, Counter[str]] = {}
        for cell, content in cells.items():
            counted.setdefault(".".join(cell.split(".")[:2]), Counter())[content["type"]] += 1
        temporary = file.with_suffix(".new")
        temporary.write_text(json.dumps(counted, sort_keys=True))
        temporary.replace(file)
    found: Found = {}
    for cell, types in json.loads(file.read_text()).items():
        found.setdefault(block_of(cell), Counter()).update(types)
    return found


def block_of(cell: str) -> tuple[str, str]:
    """(layer, block) of a cell by its name; the accelerator's own blocks have layer ``""``."""
    place = cell.split(".")
    if place[0] in ("argmax", "scores"):
        return "", {"scores": "adapter"}.get(place[0], place[0])
    if place[0].endswith("_in"):
        return place[0].removesuffix("_in"), "adapter"
    own = len(place) > 1 and place[1] in ("window", "weights", "array", "scale", "output", "queue", "pool")
    return place[0], place[1] if own else "control"


def luts(cells: Mapping[str, int]) -> int:
    """Look-up tables of four inputs, those in adders included and those in RAMs not."""
    return sum(
        number * (2 if cell == "CCU2C" else 1) for cell, number in cells.items()
        if cell in ("CCU2C", "SB_LUT4", "ALU") or cell.startswith("LUT")
    )


def ffs(cells: Mapping[str, int]) -> int:
    """Flip-flops."""
    return sum(number for cell, number in cells.items() if cell.startswith(("TRELLIS_FF", "SB_DFF", "DFF")))


def distributed(cells: Mapping[str, int]) -> int:
    """RAMs of look-up tables."""
    return sum(number for cell, number in cells.items() if cell.startswith(("TRELLIS_DPR", "RAM16S")))


def block_rams(cells: Mapping[str, int]) -> int:
    """Block RAMs."""
    kinds = ("DP16KD", "PDPW16KD", "SB_RAM40", "SP", "DPB", "DPX", "SDPB", "SDPX", "pROM")
    return sum(
        number for cell, number in cells.items()
        if cell.startswith(kinds) and not cell.startswith(("SPRAM", "SB_SPRAM"))
    )


def multipliers(cells: Mapping[str, int]) -> int:
    """Hardware multipliers."""
    return sum(number for cell, number in cells.items() if "MULT" in cell or "SB_MAC16" in cell)


# -- fit ------------------------------------------------------------------------------------------------------


def rows(case: Case, device: str, found: Found) -> Iterator[tuple[str, Mapping[str, float], Counter[str]]]:
    """(block, quantities, cells) of every block of every layer."""
    plan = AcceleratorPlan.of(case.network, case.foldings, target=TARGETS[device])
    estimator = Estimator(case.network, device)
    for layer, adapter in zip(plan.layers, plan.adapters, strict=False):
        for name, block in {**layer.blocks, "adapter": adapter}.items():
            memories = [] if name == "adapter" else [memory for memory in block.memories if memory.kept]
            own = block.quantities if name == "adapter" else estimator.quantities(layer, name)
            counted = [own, *map(memory_quantities, memories)]
            yield name, dict(sum(map(Counter, counted), Counter())), found.get((layer.name, name), Counter())
    for name, block in (("adapter", plan.adapters[-1]), ("argmax", plan.argmax)):
        yield name, block.quantities, found.get(("", name), Counter())


Line = tuple[dict[tuple[str, str], float], int, int, float]
"""Quantities, LUTs and FFs measured, and the weight of the line."""


def fit(found: list[tuple[Case, Found]], device: str) -> dict[str, dict[str, list[float]]]:
    """Coefficients, none negative, by least squares of errors relative to the whole accelerator.

    Names of cells tell blocks apart, but where one block's registers take what another computes, the logic between
    may bear either name: of the ``JOINED`` blocks a layer's sum counts in full, each by itself little.
    """
    lines: list[Line] = []
    for case, cells in found:
        size = luts(sum(cells.values(), Counter()))
        joined: list[Line] = []
        for block, quantities, counted in rows(case, device, cells):
            named = {(block, name): number for name, number in quantities.items()}
            line = named, luts(counted), ffs(counted), (BLOCK_WEIGHT if block in JOINED else 1) / size
            lines.append(line)
            if block in JOINED:
                joined.append(line)
            if len(joined) == len(JOINED):
                together = {name: number for one in joined for name, number in one[0].items()}
                lines.append((together, sum(one[1] for one in joined), sum(one[2] for one in joined), 1 / size))
                joined = []
    names = sorted({name for line in lines for name in line[0]})
    matrix = np.array([[line[0].get(name, 0) for name in names] for line in lines], float)
    weights = np.array([line[3] for line in lines])
    each = [
        nnls(matrix * weights[:, None], np.array([line[column] for line in lines]) * weights)[0]
        for column in (1, 2)
    ]
    coefficients: dict[str, dict[str, list[float]]] = {}
    for (block, name), *pair in zip(names, *each, strict=True):
        if any(pair):
            coefficients.setdefault(block, {})[name] = [round(float(one), 3) for one in pair]
    return coefficients


def compare(found: list[tuple[Case, Found]], device: str, *, fitted: bool) -> None:
    """The table of estimate against synthesis; were the coefficients ``fitted`` to half of it?"""
    print(f"| {device} | | LUT | estimate | error | FF | estimate | BRAM | estimate | DSP | estimate |")
    print("|---" * 11 + "|")
    errors: dict[bool, list[float]] = {True: [], False: []}
    for case, cells in found:
        counted = sum(cells.values(), Counter())
        area = estimate(case.network, case.foldings, family=device).area
        true = luts(counted) + LUTS_PER_DISTRIBUTED * distributed(counted)
        error = area.luts / true - 1
        errors[case.fits and fitted].append(abs(error))
        print(
            f"| {case.name} | {'fits' if case.fits and fitted else 'judges'} | {true:,} | {area.luts:,.0f} | "
            f"{100 * error:+.1f} % | {ffs(counted):,} | {area.ffs:,.0f} | {block_rams(counted)} | {area.brams} | "
            f"{multipliers(counted)} | {area.dsps} |"
        )
    for fits, of in errors.items():
        if not of:
            continue
        print(f"| {len(of)}: at most, on average | {'fit' if fits else 'judge'} | | | {100 * max(of):.1f} %, "
              f"{100 * sum(of) / len(of):.1f} % | | | | | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="ecp5")
    parser.add_argument("--cache", type=Path, default=Path("build/estimate"))
    parser.add_argument("--random", type=int, default=40, help="random networks beside the five named ones")
    parser.add_argument("--no-fit", action="store_true", help="compare only")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    known = json.loads(COEFFICIENTS.read_text()) if COEFFICIENTS.exists() else {}
    for device in options.devices.split(","):
        found = []
        for case in cases(options.random, device):
            start = time.monotonic()
            found.append((case, measured(case, device, options.cache)))
            print(f"{device}: {case.name}, {time.monotonic() - start:.1f} s", file=sys.stderr, flush=True)
        if not options.no_fit:
            known[device] = {
                "command": f"python -m benchmarks.estimate --random {options.random} --devices {device}",
                "flow": FLOWS[device], "yosys": version("pyosys"),
                "accelerators": sum(case.fits for case, _ in found),
                "blocks": fit([one for one in found if one[0].fits], device),
            }
            COEFFICIENTS.write_text(json.dumps(known, indent=1) + "\n")
        compare(found, device, fitted=not options.no_fit)


if __name__ == "__main__":
    sys.exit(main())
