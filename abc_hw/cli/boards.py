"""``build`` and ``run``: bitstreams for boards, and images classified on them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer

from abc_hw.errors import InputError

from .console import Update, complain, complain_with_log, err, need, percent, progress, record, say, show, table
from .hardware import ConstantsOption, Cycles, FoldingOption, WeightsOption, read_design, weight_source
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
    read_seeds,
    some_images,
)
from .polarity import on_its_ground

if TYPE_CHECKING:
    from abc_hw.boards.build import Summary
    from abc_hw.boards.toolchain import Stage

STAGES = 4
"""Of a build: generation, synthesis, place and route, bitstream."""

BoardName = Annotated[str, typer.Option("--board", help="One of those that `abc-hw boards` lists.")]


def boards() -> None:
    """List the boards that bitstreams can be built for."""
    need("board", "amaranth_boards")
    from abc_hw.boards.platforms import BOARDS

    record(boards=[
        {"name": board.name, "title": board.title, "clock": board.clock, "luts": board.part.luts,
         "network": board.network} for board in BOARDS.values()
    ])
    shown = table("board", "what it is", ">MHz", ">4-input LUTs", ">memory bits", "its own network")
    for board in BOARDS.values():
        part = board.part
        bits = part.brams * board.technology.bits_of("block") + part.large * board.technology.bits_of("large")
        numbers = f"{board.clock / 1e6:g}", f"{part.luts:,}", f"{bits:,}"
        shown.add_row(board.name, board.title, *numbers, board.network)
    show("boards", shown)


def build(
    board: BoardName,
    network: Annotated[
        Path | None,
        typer.Argument(help="A network file, zoo:NAME, example:NAME, a TOML.", show_default="the board's own"),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for all files of the build.")] = Path("build"),
    cycles: Cycles = None,
    folding: FoldingOption = None,
    weights: Annotated[
        str | None,
        typer.Option(help="rom: in the bitstream; loaded: by the host.", show_default="as suits the board"),
    ] = None,
    constants: ConstantsOption = "rom",
    seeds: Annotated[
        str, typer.Option("--seeds", "--seed", help="Of placements, as 1,2,3: all at once, the best is kept.")
    ] = "1",
) -> None:
    """Make a bitstream with open tools: Yosys, nextpnr and the part's packer.

    Without a network it is the board's own, which `abc-hw boards` names, and which fits and is fast enough.

    Exit code 0: made, every clock met; 1: made, but too slow, or a tool failed; 2: something cannot be used.
    """
    need("board", "amaranth_boards", "serial")
    placements = read_seeds(seeds)
    for seed in placements:
        check_number("seeds", seed, 0, (1 << 31) - 1)
    from abc_hw.boards import build as builder
    from abc_hw.boards.platforms import find

    target = find(board)
    check_number("cycles", cycles, 1)
    found, chosen = read_design(network or Path(target.network), None, folding)
    foldings = None if folding is None else chosen
    source = None if weights is None and constants == "rom" else weight_source(weights or "rom", constants)
    try:
        with progress(f"building for {board}") as update:
            summary = builder.build(
                found, target, folder=out, foldings=foldings, cycles=cycles, weights=source, seeds=placements,
                on_stage=_teller(update),
            )
    except RuntimeError as error:
        complain_with_log(str(error))
        raise typer.Exit(1) from None
    _show_summary(summary)
    if not summary.met:
        complain("a clock is slower than the board's; try other --seeds or a folding with fewer XNORs")
        raise typer.Exit(1)


def _teller(update: Update) -> Stage:
    """Tells what begins, when, and moves the bar on."""
    start, told = time.monotonic(), 0

    def tell(stage: str) -> None:
        nonlocal told
        err().print(f"{time.monotonic() - start:5.0f} s  {stage} ...", markup=False)
        update(told, STAGES)
        told += 1

    return tell


def _show_summary(summary: Summary) -> None:
    record(summary=summary)
    shown = table("resource", ">used", ">there are", ">share")
    for name, (used, available) in summary.use.items():
        if used:
            shown.add_row(name, f"{used:,}", f"{available:,}", percent(used / available) if available else "")
    show(f"{summary.network} on {summary.board}", shown)
    for clock in summary.clocks:
        verdict = f"slack {clock.slack:.2f} ns" if clock.met else "too slow"
        say(f"clock {clock.name}: {clock.reached:.1f} MHz of {clock.wanted:.1f} MHz wanted, {verdict}")
    if summary.seeds:
        say("seeds: " + ", ".join(
            f"{seed} not routed" if share is None else f"{seed} {percent(share)} of the clock wanted"
            for seed, share in summary.seeds.items()
        ))
    carried = min(summary.images, summary.link_images)
    say(
        f"an image every {summary.cycles:,} cycles: {summary.images:,.0f} images/s, "
        f"of which the serial line carries {carried:,.0f}"
    )
    say("seconds: " + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in summary.seconds.items()))
    say(f"bitstream: {summary.bitstream}")


def find_board(network: Path | None, port: str | None) -> tuple[Path, str]:
    """The network and the port that are meant, where the user names one of them or neither.

    Raises
    ------
    InputError : no board answers, or none with that network, or it holds one that is not in the zoo
    """
    from abc_hw import sources
    from abc_hw.boards.host import ports

    if network is not None and port is not None:
        return network, port
    wanted = None if network is None else sources.read_design(network)[0]
    with progress("asking ports"):
        there = [port] if port is not None else [each.name for each in ports.ports()]
        chosen = ports.choose(map(ports.ask, there), wanted)
    assert chosen.identity is not None  # else it is not chosen
    if network is None:
        network = Path(ports.held_network(chosen.identity))
    say(f"{chosen.port}: a board with {network}")
    return network, chosen.port


def run(
    network: Annotated[
        Path | None,
        typer.Argument(
            help="A network file, zoo:NAME, example:NAME, or a TOML file.", show_default="the one in the board"
        ),
    ] = None,
    files: Annotated[list[Path] | None, typer.Argument(help="Image files; without any, test images.")] = None,
    port: Annotated[
        str | None,
        typer.Option(help="Serial port of the board, as /dev/ttyUSB1.", show_default="the one that answers"),
    ] = None,
    simulate: Annotated[bool, typer.Option("--simulate", help="A simulated board in place of a port.")] = False,
    cycles: Cycles = None,
    folding: FoldingOption = None,
    images: Annotated[int, typer.Option(help="How many test images, where no files are given.")] = 20,
    dataset: SameDataset = None,
    data_dir: DataDir = None,
    images_file: ImagesFile = None,
    resize: Resize = False,
    grey: Grey = None,
    background: Background = None,
    invert: Invert = None,
    label: LabelColumn = None,
    weights: WeightsOption = "rom",
    constants: ConstantsOption = "rom",
    seed: Annotated[int, typer.Option(help="Of the choice of test images.")] = 0,
) -> None:
    """Classify images on a board, or on the simulation of one, through the same serial link.

    A board that takes its weights from the host gets them, if it has not got them. Cycles and foldings are those
    of a simulated board; its line has the fewest clock cycles per bit that there can be.

    Exit code 0: every score is the golden model's; 1: some differ; 2: something cannot be used.
    """
    need("board", "serial")
    if simulate and port is not None:
        raise InputError("port: expected either --port or --simulate, found both")
    if simulate and network is None:
        raise InputError("network: expected one with --simulate, found none")
    for name, given in (("cycles", cycles), ("folding", folding)):
        if given is not None and not simulate:
            raise InputError(f"{name}: expected with --simulate only, as a board's are fixed, found {given}")
    check_number("images", images, 1)
    check_number("seed", seed, 0)
    from abc_hw.boards.host import run as runner
    from abc_hw.data import read_images
    from abc_hw.sim import fast

    if not simulate:
        network, port = find_board(network, port)
    assert network is not None  # simulated without one was refused, and a board told its own
    found, foldings = read_design(network, cycles, folding)
    wanted = Wanted(
        dataset=dataset, data_dir=data_dir, images_file=images_file, resize=resize, grey=grey,
        background=background, invert=invert, label=label,
    )
    if files:
        pixels, labels = read_images(files, found.input_shape, wanted.reading(found)), None
        names = [str(file) for file in files]
        pixels = on_its_ground(found, pixels, names, invert=invert)
    else:
        pixels, labels = some_images(found, wanted, images, seed)
        names = [f"test image {index}" for index in range(len(pixels))]
    with progress("simulating a board" if simulate else f"asking {port}") as update:
        result = runner.run(
            found, pixels, port=port, foldings=foldings, weights=weight_source(weights, constants),
            progress=update,
        )
    shown = table("image", "class", ">score", ">next")
    for name, scores, chosen in zip(names, result.scores, result.labels, strict=True):
        ordered = np.sort(scores)[::-1]
        following = f"{ordered[1]:,}" if len(ordered) > 1 else ""
        shown.add_row(name, found.classes[chosen], f"{ordered[0]:,}", following)
    show(f"{found.name} on {port or 'a simulated board'}", shown)
    say(f"{result.images_per_second:,.1f} images/s, {result.resent} messages sent again")
    if labels is not None:
        say(f"accuracy: {percent(float((result.labels == labels).mean()))} of these images")
    differ = int((result.scores != fast.run(found, pixels)).any(axis=1).sum())
    say(f"images whose scores differ from the golden model's: {differ}")
    record(
        network=found.name, port=port, images=names, scores=result.scores, classes=result.labels,
        images_per_second=result.images_per_second, resent=result.resent, differing=differ,
    )
    if differ:
        complain("the board differs from the golden model")
        raise typer.Exit(1)
