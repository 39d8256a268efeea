"""``simulate --images all``: every test image through the generated Verilog."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.validation import shown

from .console import complain, complain_with_log, percent, progress, record, say, show, table
from .inputs import Wanted, check_number

if TYPE_CHECKING:
    from abc_hw.rtl_gen.engine.accelerator import WeightSource
    from abc_hw.rtl_gen.folding import LayerFolding

ALL = "all"


def some_number(text: str) -> int:
    """How many images, as the user says; InputError if that is no number."""
    if not (text.isascii() and text.removeprefix("-").isdigit()):
        raise InputError(f"images: expected a number from 1 or {ALL}, found {shown(text)}")
    count = int(text[:20])
    check_number("images", count, 1)
    return count


def refuse_beside_all(**options: bool) -> None:
    """InputError if an option is used that only some images can have."""
    for name in (name for name, used in options.items() if used):
        raise InputError(f"images: expected a number beside --{name}, found {ALL}")


def simulate_all(
    network: Network | Graph, foldings: Mapping[str, LayerFolding], wanted: Wanted, *, weights: WeightSource,
    target: str | None, netlist: str | None, stalls: float, seed: int, fast: bool, work_dir: Path | None,
) -> None:
    """Simulate, compare all scores and classes with the fast path of the golden model, and tell.

    Exit code 1: some differ, or the simulation did not end.
    """
    from abc_hw.sim import fast as fast_path
    from abc_hw.sim import native

    with progress("reading images"):
        _, images, labels = wanted.test_images(network)
    begun = time.monotonic()
    with progress("fast path") as update:
        expected = fast_path.run(network, images, progress=update)
    computed = time.monotonic()
    ready = [computed]
    try:
        with progress("building, then simulating in verilator") as update:
            result = native.simulate_scores(
                network, images, foldings=foldings, weights=weights, target=target, netlist=netlist, stalls=stalls,
                seed=seed, fast=fast, work_dir=work_dir, progress=update,
                built=lambda: ready.append(time.monotonic()),
            )
    except RuntimeError as error:
        complain_with_log(str(error))
        raise typer.Exit(1) from None
    ended = time.monotonic()
    scores = int((result.scores != expected).sum())
    classes = 0 if result.labels is None else int((result.labels != expected.argmax(axis=1)).sum())
    rate = len(images) / (ended - ready[-1])
    times = table("", ">seconds")
    for name, seconds in (
        ("fast path of the golden model", computed - begun), ("generation and build", ready[-1] - computed),
        (f"simulation, {rate:,.1f} images/s", ended - ready[-1]),
    ):
        times.add_row(name, f"{seconds:.1f}")
    show(f"{network.name} in verilator: {len(images):,} images", times)
    say(f"scores that differ: {scores} of {expected.size:,}; classes that differ: {classes} of {len(images):,}")
    if len(result.cycles) and not stalls:
        average = float(result.cycles.mean())
        say(f"cycles between images: {average:,.1f}, bound {result.bound:,} ({average / result.bound:.4f} of it)")
    accuracy = None if labels is None or result.labels is None else float((result.labels == labels).mean())
    if accuracy is not None:
        say(f"accuracy: {percent(accuracy)} of these images")
    record(
        network=network.name, simulator="verilator", images=len(images), foldings=foldings, bound=result.bound,
        scores_differing=scores, classes_differing=classes, images_per_second=rate, accuracy=accuracy,
        ok=not scores and not classes,
    )
    if scores or classes:
        complain("the simulation differs from the fast path of the golden model")
        raise typer.Exit(1)
