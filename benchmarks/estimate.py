"""The estimator against synthesis: measures accelerators, fits the estimator's coefficients, prints the table.

    python -m benchmarks.estimate [--devices ecp5,ice40,gowin] [--random 70] [--no-fit] [--cache build/estimate]

Each accelerator is synthesised whole, with the flags of the boards; its cells are counted by block, which the
names that Yosys gives them tell. Half of them, which ``SPLIT`` draws, fit the coefficients; the other half and a
large one judge them. Results are kept in the cache under a digest of netlist, flow and versions, so that a second
run costs little. ``--no-fit`` leaves the coefficients in the package as they are; beside them stand the names of
the accelerators that they were fitted to.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from amaranth.back import rtlil
from scipy.optimize import nnls

from abc_hw import zoo
from abc_hw.cli.inputs import load_folding
from abc_hw.errors import NetworkError
from abc_hw.network import Network, description
from abc_hw.network.description import Description
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.cost.estimate import (
    COEFFICIENTS,
    KNOWN,
    LUTS_PER_DISTRIBUTED,
    TARGETS,
    Estimator,
    estimate,
    memory_quantities,
)
from abc_hw.rtl_gen.emit.yosys import for_synthesis, run_yosys
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding, candidates
from benchmarks import rows
from benchmarks.cells import ALONE, alone, block_rams, distributed, flip_flops, luts, multipliers

EXAMPLES = Path(__file__).parent.parent / "examples"

FLOWS = {"ecp5": "synth_ecp5 -nowidelut -abc9", "ice40": "synth_ice40 -abc9", "gowin": "synth_gowin"}

SPLIT = 9
"""Decides which accelerators fit and which judge."""

LARGER = 60
"""From which seed on random networks are larger."""

LARGE = "cnv-m1n1"
"""An example, with the fastest folding that is kept for it, over 40,000 look-up tables of ECP5."""


Found = dict[tuple[str, str], Counter[str]]
"""Cells by type, for (layer, block)."""


JOINED = ("control", "array", "scale")
BLOCK_WEIGHT = 0.3


class Case(NamedTuple):
    """An accelerator to be measured."""

    name: str
    network: Network
    foldings: dict[str, LayerFolding]


# -- the set --------------------------------------------------------------------------------------------------


def cases(random: int, device: str) -> Iterator[Case]:
    """All of them; on ECP5 two networks for it as well, the larger of which takes half of an ECP5-85."""
    yield from small_cases(random)
    if device == "ecp5":
        network = zoo.load("cnv-m2n2")
        knobs = load_folding(EXAMPLES / "foldings" / "cnv-m2n2-ecp5-85k.toml")
        yield Case("cnv-m2n2", network, fold(network, cycles=None, knobs=knobs))
        network = description.load(EXAMPLES / f"{LARGE}.toml")[0]
        knobs = load_folding(EXAMPLES / "foldings" / f"{LARGE}-ecp5-85k-fast.toml")
        yield Case(f"{LARGE}, fast", network, fold(network, cycles=None, knobs=knobs))


def fitting(random: int) -> set[str]:
    """Names of the half that fits the coefficients."""
    names = [case.name for case in small_cases(random)]
    return {names[place] for place in np.random.default_rng(SPLIT).permutation(len(names))[: len(names) // 2]}


def small_cases(random: int) -> Iterator[Case]:
    """Examples and a network of the zoo at several speeds, then ``random`` random networks in random foldings."""
    loaded = {name: description.load(EXAMPLES / f"{name}.toml")[0] for name in ("tiny", "digits-small")}
    loaded["mnist-lenet-m3n3"] = zoo.load("mnist-lenet-m3n3")
    for name, cycles in [
        ("tiny", 200), ("digits-small", 600), ("digits-small", 2_000), ("digits-small", 8_000),
        ("mnist-lenet-m3n3", 50_000),
    ]:
        yield Case(f"{name}, {cycles:,} cycles", loaded[name], least_xnors(loaded[name], cycles))
    yield from random_cases(range(random))


def random_cases(seeds: Iterable[int]) -> Iterator[Case]:
    """:func:`random_case` of each seed but those whose first convolution leaves too little for the second."""
    for seed in seeds:
        with contextlib.suppress(NetworkError):
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
    windows apart; of every third with several pixels at once, where that comes out. From ``LARGER`` on with
    residual signs, more channels and more at once."""
    rng, larger = np.random.default_rng(seed), seed >= LARGER
    side, channels = int(rng.integers(8, 13)), int(rng.choice([1, 2, 3]))
    forms = [{"kind": "fixed", "bits": 6}, {"kind": "csd", "bits": 6, "terms": 2}, {"kind": "pow2", "bits": 4}]
    layers = []
    for index in range(1 + (rng.random() < 0.35)):
        layer = {
            "kind": "conv", "out_channels": int(rng.choice([32, 64, 128] if larger else [8, 12, 16, 24])),
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
        "layers": layers, "bases": "planes" if larger else "thermometer",
    }).network()
    foldings = {}
    for layer in network.layers:
        goal = 2 ** rng.uniform(*((7, 12) if larger else (2, 8.5)))
        every = [one for one in candidates(layer, several=seed % 3 == 2) if one.rows == 1]
        found = [one for one in every if goal / 1.5 <= one.xnors <= 1.5 * goal] or every[:1]
        foldings[layer.name] = found[rng.integers(len(found))].folding
    return Case(network.name, network, foldings)


# -- synthesis ------------------------------------------------------------------------------------------------


def measured(case: Case, device: str, cache: Path) -> Found:
    """Cells by layer, block and type."""
    accelerator = Accelerator(AcceleratorPlan.of(case.network, case.foldings, target=TARGETS[device]))
    text = for_synthesis(rtlil.convert(accelerator, name="top", emit_src=False))
    key = hashlib.sha256("\0".join([text, FLOWS[device], version("pyosys")]).encode()).hexdigest()[:32]
    file = cache / f"{key}.json"
    if not file.exists():
        with tempfile.TemporaryDirectory() as name:
            source, target = Path(name, "top.il"), Path(name, "top.json")
            source.write_text(text)
            run_yosys(f"read_rtlil {source}", f"{FLOWS[device]} -top top", f"write_json {target}")
            cells = json.loads(target.read_text())["modules"]["top"]["cells"]
        counted: dict[str, Counter[str]] = {}
        for cell, content in cells.items():
            counted.setdefault(".".join(cell.split(".")[:2]), Counter())[content["type"]] += 1
        for cell in alone(cells):
            counted[".".join(cell.split(".")[:2])][ALONE] += 1
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


# -- fit ------------------------------------------------------------------------------------------------------


class Part(NamedTuple):
    """What one or more blocks of a layer grow with, by (block, quantity), and what they took; gates that choose a
    bank of a memory are known and not among it."""

    quantities: dict[tuple[str, str], float]
    luts: float
    ffs: float


def united(parts: Iterable[Part]) -> Part:
    """Several as one."""
    parts = list(parts)
    quantities = {name: number for part in parts for name, number in part.quantities.items()}
    return Part(quantities, sum(part.luts for part in parts), sum(part.ffs for part in parts))


def layers_of(case: Case, device: str, found: Found) -> Iterator[dict[str, Part]]:
    """The blocks of every layer, and of what comes behind the last one."""
    plan = AcceleratorPlan.of(case.network, case.foldings, target=TARGETS[device])
    estimator = Estimator(case.network, device)

    def part(layer: str, name: str, counted: Iterable[Mapping[str, float]], gates: int = 0) -> Part:
        every = sum(map(Counter, counted), Counter())
        taken = {one: every.pop(one, 0) for one in KNOWN}
        told = [sum(KNOWN[one][part] * number for one, number in taken.items()) for part in (0, 1)]
        cells = found.get((layer, name), Counter())
        own = {(name, one): number for one, number in every.items()}
        return Part(own, luts(cells) - gates - told[0], flip_flops(cells) - gates - told[1])

    for layer, adapter in zip(plan.layers, plan.adapters, strict=False):
        blocks = {"adapter": part(layer.name, "adapter", [adapter.quantities])}
        for name, block in layer.blocks.items():
            kept = [memory for memory in block.memories if memory.kept]
            counted = [estimator.quantities(layer, name), *map(memory_quantities, kept)]
            blocks[name] = part(layer.name, name, counted, sum(memory.gates for memory in kept))
        yield blocks
    behind = {"adapter": plan.adapters[-1], "argmax": plan.argmax}
    yield {name: part("", name, [block.quantities]) for name, block in behind.items()}


def fit(found: list[tuple[Case, Found]], device: str) -> dict[str, dict[str, list[float]]]:
    """Coefficients, none negative, by least squares of errors relative to the whole accelerator.

    Names of cells tell blocks apart, but where one block's registers take what another computes, the logic between
    may bear either name. Words of weights always end in registers of the array, and those of the window bear its
    names: the three are one. Of the ``JOINED`` a layer's sum counts in full, each by itself little.
    """
    lines: list[tuple[Part, float]] = []
    for case, cells in found:
        size = luts(sum(cells.values(), Counter()))
        for blocks in layers_of(case, device, cells):
            if "array" in blocks:
                blocks["array"] = united([blocks["array"], blocks.pop("weights"), blocks.pop("window")])
                lines.append((united(blocks[name] for name in JOINED), 1 / size))
            lines += [(one, (BLOCK_WEIGHT if name in JOINED else 1) / size) for name, one in blocks.items()]
    names = sorted({name for part, _ in lines for name in part.quantities})
    matrix = np.array([[part.quantities.get(name, 0) for name in names] for part, _ in lines], float)
    weights = np.array([weight for _, weight in lines])
    each = [
        nnls(matrix * weights[:, None], np.array(took) * weights)[0]
        for took in ([part.luts for part, _ in lines], [part.ffs for part, _ in lines])
    ]
    coefficients: dict[str, dict[str, list[float]]] = {}
    for (block, name), *pair in zip(names, *each, strict=True):
        if any(pair):
            coefficients.setdefault(block, {})[name] = [round(float(one), 3) for one in pair]
    return coefficients


def compare(found: list[tuple[Case, Found]], device: str, fitted: set[str]) -> None:
    """The table of estimate against synthesis; the coefficients were ``fitted`` to accelerators of these names."""
    rows.head((device, "", "LUT", "estimate", "error", "FF", "estimate", "BRAM", "estimate", "DSP", "estimate"))
    errors: dict[str, list[float]] = {}
    for case, cells in found:
        counted = sum(cells.values(), Counter())
        area = estimate(case.network, case.foldings, family=device).area
        true = luts(counted) + LUTS_PER_DISTRIBUTED * distributed(counted)
        error, part = area.luts / true - 1, "fits" if case.name in fitted else "judges"
        errors.setdefault(part, []).append(abs(error))
        rows.line((
            case.name, part, f"{true:,}", f"{area.luts:,.0f}", f"{100 * error:+.1f} %",
            f"{flip_flops(counted):,}", f"{area.ffs:,.0f}", f"{block_rams(counted)}", f"{area.brams}",
            f"{multipliers(counted)}", f"{area.dsps}",
        ))
    for part, of in sorted(errors.items()):
        mean = sum(of) / len(of)
        rows.line((
            f"{len(of)}: at most, on average", part, "", "", f"{100 * max(of):.1f} %, {100 * mean:.1f} %",
            *[""] * 6,
        ))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", default="ecp5")
    parser.add_argument("--cache", type=Path, default=Path("build/estimate"))
    parser.add_argument("--random", type=int, default=70, help="random networks beside the five named ones")
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
            fits = fitting(options.random)
            known[device] = {
                "command": f"python -m benchmarks.estimate --random {options.random} --devices {device}",
                "flow": FLOWS[device], "yosys": version("pyosys"), "accelerators": sorted(fits),
                "blocks": fit([one for one in found if one[0].name in fits], device),
            }
            COEFFICIENTS.write_text(json.dumps(known, indent=1) + "\n")
        compare(found, device, set(known[device]["accelerators"]))


if __name__ == "__main__":
    sys.exit(main())
