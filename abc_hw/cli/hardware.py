"""``simulate``: the proof that the Verilog computes the network; and what designs are read from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy.typing as npt
import typer

from abc_hw import sources
from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.writing import check_writable

from .console import (
    complain,
    complain_with_log,
    need,
    percent,
    progress,
    record,
    say,
    show,
    table,
)
from .every import ALL, refuse_beside_all, simulate_all, some_number
from .inputs import (
    Background,
    DataDir,
    Grey,
    ImagesFile,
    Invert,
    LabelColumn,
    Resize,
    SameDataset,
    Wanted,
    check_number,
    load_folding,
    some_images,
)
from .networks import NetworkFile

if TYPE_CHECKING:
    from abc_hw.data import Labels
    from abc_hw.rtl_gen.engine.accelerator import WeightSource
    from abc_hw.rtl_gen.folding import LayerFolding
    from abc_hw.sim.runner import SimulationResult

Cycles = Annotated[
    int | None, typer.Option(help="Cycles per image to reach with the least hardware.", show_default="balanced")
]
FoldingOption = Annotated[
    Path | None, typer.Option(help="TOML file: a table per layer with simd, pe, mp, np, px; the rest is chosen.")
]

WeightsOption = Annotated[
    str, typer.Option(help="rom: fixed in the design; loaded: into memories without contents, over a stream.")
]


def read_design(
    network: Path, cycles: int | None, folding: Path | None
) -> tuple[Network | Graph, dict[str, LayerFolding]]:
    """A network and foldings for all its layers or convolutions, from files and options."""
    from abc_hw.rtl_gen.cost.choice import fold

    check_number("cycles", cycles, 1)
    found, knobs = sources.read_design(network)
    knobs = knobs if folding is None else load_folding(folding)
    with progress("folding"):
        return found, fold(found, cycles=cycles, knobs=knobs)


ConstantsOption = Annotated[
    str,
    typer.Option(help="rom; loaded: alphas, betas, thresholds, biases come with the weights, of any training."),
]


def weight_source(weights: str, constants: str) -> WeightSource:
    """What is loaded, as the user says; InputError if nobody knows what that is."""
    from abc_hw.rtl_gen.engine.accelerator import weight_source

    return weight_source(weights, constants)


def show_folding(network: Network | Graph, foldings: Mapping[str, LayerFolding]) -> None:
    """The table of who does how much at once and how long it takes."""
    from abc_hw.rtl_gen.engine.design import plan_of
    from abc_hw.rtl_gen.schedule import KNOBS, useful

    plan = plan_of(network, foldings)
    shown = table("layer", *(f">{knob}" for knob in KNOBS), ">XNORs", ">cycles", ">busy")
    for name, layer in plan.engines.items():
        schedule = layer.schedule
        shown.add_row(
            name, *(str(getattr(layer.folding, knob)) for knob in KNOBS), f"{schedule.xnors:,}",
            f"{schedule.cycles:,}", f"{100 * schedule.cycles / plan.cycles:.0f} %",
        )
    xnors = sum(layer.schedule.xnors for layer in plan.layers)
    shown.add_section()
    shown.add_row(
        "all", *("" for _ in KNOBS), f"{xnors:,}", f"{plan.cycles:,}",
        f"{100 * useful((layer.schedule for layer in plan.layers), plan.cycles):.0f} %",
    )
    show(f"{network.name}: an image every {plan.cycles:,} cycles, {plan.limiting} limits", shown)


def simulate(
    network: NetworkFile,
    images: Annotated[
        str, typer.Option(help="How many images; all: every test image, scores and classes only, on all cores.")
    ] = "20",
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    dataset: SameDataset = None,
    data_dir: DataDir = None,
    images_file: ImagesFile = None,
    resize: Resize = False,
    grey: Grey = None,
    background: Background = None,
    invert: Invert = None,
    label: LabelColumn = None,
    random: Annotated[bool, typer.Option("--random", help="Random pixels in place of test images.")] = False,
    cycles: Cycles = None,
    folding: FoldingOption = None,
    weights: WeightsOption = "rom",
    constants: ConstantsOption = "rom",
    target: Annotated[
        str | None,
        typer.Option(
            help="What the Verilog is for: generic, ecp5, ecp5-slices, ice40, gowin, lut6 or asic.",
            show_default="generic, or the netlist's",
        ),
    ] = None,
    netlist: Annotated[
        str | None,
        typer.Option(
            help="Simulate what Yosys makes of it: ecp5, ice40, ice40-up5k, gowin or asic.",
            show_default="the Verilog",
        ),
    ] = None,
    stalls: Annotated[float, typer.Option(help="Share of cycles in which input or output pauses.")] = 0.0,
    waves: Annotated[Path | None, typer.Option(help="Write a waveform file.")] = None,
    seed: Annotated[int, typer.Option(help="Of the choice of images and of the pauses.")] = 0,
    fast: Annotated[
        bool, typer.Option("--fast", help="With --images all: popcounts by the simulator's own operator.")
    ] = False,
    work_dir: Annotated[Path | None, typer.Option(help="Keep sources, build and logs here.")] = None,
) -> None:
    """Simulate a network's accelerator and compare what every layer, or unit of a graph, hands on with the golden
    model.

    Of a netlist, block RAMs and all, scores and classes are compared.

    Of a manifest, NAME.json, the module beside it is simulated with random input: an accelerator or a part.

    Exit code 0: no bit differs; 1: some do, or the simulation did not end; 2: something cannot be used.
    """
    if network.suffix == ".json":
        simulate_generated(network, simulator, seed)
        return
    check_number("seed", seed, 0)
    source = weight_source(weights, constants)
    wanted = Wanted(
        dataset=dataset, data_dir=data_dir, images_file=images_file, resize=resize, grey=grey,
        background=background, invert=invert, label=label,
    )
    if images == ALL:
        refuse_beside_all(simulator=simulator != "verilator", waves=waves is not None, random=random)
        found, foldings = read_design(network, cycles, folding)
        simulate_all(
            found, foldings, wanted, weights=source, target=target, netlist=netlist, stalls=stalls, seed=seed,
            fast=fast, work_dir=work_dir,
        )
        return
    count = some_number(images)
    if fast:
        raise InputError(f"fast: expected --images {ALL} beside it, found {count}")
    check_writable(waves)
    found, foldings = read_design(network, cycles, folding)
    pixels, labels = some_images(found, None if random else wanted, count, seed)
    start = time.monotonic()
    result = run(
        found, pixels, foldings, simulator=simulator, weights=source, target=target, netlist=netlist,
        stalls=stalls, waves=waves, seed=seed, work_dir=work_dir,
    )
    record(
        network=found.name, simulator=simulator, netlist=netlist, cells=result.cells, images=count,
        foldings=foldings, layers=result.layers,
        cycles_between_images=result.cycles_between_images, bound=result.bound, latency=result.latency,
        latencies=result.latencies, planned_latency=result.planned,
        finished=result.finished, ok=result.ok, classes=result.labels,
        accuracy=accuracy(result, labels),
    )
    show_folding(found, foldings)
    if netlist is not None:
        kinds = sorted(result.cells.items(), key=lambda kind: -kind[1])
        say(f"netlist for {netlist}: " + ", ".join(f"{number:,} {kind}" for kind, number in kinds))
    show_comparison(
        f"{found.name} in {simulator}: {count} images, {time.monotonic() - start:.0f} s", result, labels,
        stalls=stalls,
    )
    if waves is not None:
        say(f"waves: {waves}")
    if not result.ok:
        if result.finished and netlist is None:
            say_where(found, pixels, foldings, result, source)
        how = "differs from the golden model" if result.finished else "did not end"
        complain(f"the simulation {how}")
        raise typer.Exit(1)


def show_comparison(title: str, result: SimulationResult, labels: Labels | None, *, stalls: float) -> None:
    """The table of bits compared, the cycles, and how many of the images are classified as labelled."""
    shown = table("stream", ">bits compared", ">bits that differ")
    for layer in result.layers:
        shown.add_row(layer.name, f"{layer.bits_compared:,}", f"{layer.bits_differing:,}")
    show(title, shown)
    if result.cycles_between_images and not stalls:
        say(cycles_line(result))
    say(f"first image: {result.latency:,} cycles")
    if result.latencies and not stalls:
        planned = "" if result.planned is None else f", planned {result.planned:,}"
        say(f"from its last pixel to its class: {result.latencies[0]:,} cycles{planned}")
    right = accuracy(result, labels)
    if right is not None:
        say(f"accuracy: {percent(right)} of these images")


def accuracy(result: SimulationResult, labels: Labels | None) -> float | None:
    """Share of images that are classified as labelled; None where there are no labels, or no classes."""
    return None if labels is None or result.labels is None else float((result.labels == labels).mean())


def simulate_generated(path: Path, simulator: str, seed: int) -> None:
    """Simulate the module of a manifest; a difference ends the command with code 1."""
    need("sim", "cocotb")
    from abc_hw.sim.generated import check_generated

    try:
        with progress(f"simulating in {simulator}"):
            difference = check_generated(path, simulator=simulator, seed=seed)
    except RuntimeError as error:
        complain_with_log(str(error))
        raise typer.Exit(1) from None
    record(manifest=path, simulator=simulator, difference=difference)
    if difference is not None:
        complain_with_log(difference)
        raise typer.Exit(1)
    say(f"{path}: equals the golden model in {simulator}")


def say_where(
    network: Network | Graph, images: npt.NDArray[Any], foldings: Mapping[str, LayerFolding],
    result: SimulationResult, weights: WeightSource,
) -> None:
    """Name the block, layer, image, pixel and channel where the hardware first differs from the golden model."""
    from abc_hw.sim import diagnosis, fast

    wrong = (fast.run(network, images) != result.scores).reshape(len(images), -1).any(axis=1)
    count = int(wrong.argmax()) + 1 if wrong.any() else len(images)
    with progress("looking for the place"):
        place = diagnosis.locate(
            network, images[:count], foldings=foldings, weights=weights
        )
    record(first_difference=place)
    if place is not None:
        say(f"first difference: {place}")


def run(
    network: Network | Graph,
    images: npt.NDArray[Any],
    foldings: Mapping[str, LayerFolding],
    *,
    simulator: str = "verilator",
    weights: WeightSource = "rom",
    target: str | None = None,
    netlist: str | None = None,
    stalls: float = 0.0,
    waves: Path | None = None,
    seed: int = 0,
    work_dir: Path | None = None,
) -> SimulationResult:
    """:func:`abc_hw.sim.runner.simulate` behind a progress bar; a simulator that fails ends
    the command with code 1."""
    need("sim", "cocotb")
    from abc_hw.sim import runner

    try:
        with progress(f"simulating in {simulator}"):
            return runner.simulate(
                network, images, foldings=foldings, simulator=simulator, weights=weights, target=target,
                netlist=netlist, stalls=stalls, waves=waves, seed=seed, work_dir=work_dir,
            )
    except RuntimeError as error:
        complain_with_log(str(error))
        raise typer.Exit(1) from None


def cycles_line(result: SimulationResult) -> str:
    """Cycles between images against the bound."""
    between = result.cycles_between_images
    average = sum(between) / len(between)
    return f"cycles between images: {average:,.1f}, bound {result.bound:,} ({average / result.bound:.4f} of it)"
