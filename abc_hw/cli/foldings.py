"""``fold``: how much of each layer is done at once, for a device."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abc_hw import sources
from abc_hw.errors import InputError
from abc_hw.network import Graph
from abc_hw.writing import check_writable, write

from .console import percent, progress, record, say, show, table
from .graph_report import fold_graph
from .inputs import LARGEST_NUMBER, check_number
from .networks import NetworkFile

if TYPE_CHECKING:
    from abc_hw.rtl_gen.cost.devices import Device
    from abc_hw.rtl_gen.cost.estimate import Estimate
    from abc_hw.rtl_gen.cost.solver import Limits, Solver
    from abc_hw.rtl_gen.folding import LayerFolding

DeviceName = Annotated[
    str, typer.Option("--device", help="ecp5-25k, ecp5-45k, ecp5-85k, ice40-up5k, ice40-hx8k or gw1n-9c.")
]


def fold(
    network: NetworkFile,
    device: DeviceName = "ecp5-85k",
    fps: Annotated[float | None, typer.Option(help="Images per second to reach with the least hardware.")] = None,
    cycles: Annotated[int | None, typer.Option(help="The same, as cycles per image.")] = None,
    fit: Annotated[bool, typer.Option("--fit", help="As fast as the device has room for; the default.")] = False,
    clock: Annotated[
        float | None, typer.Option(help="MHz.", show_default="what accelerators reach in the device")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            help="Share of the device that may be taken.", show_default="0.8 of its logic, 0.95 of its block RAMs"
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write the folding, as TOML.")] = None,
) -> None:
    """Choose the folding of every layer: the least hardware for a speed, or the most speed for a device.

    What is written serves as --folding of generate, simulate and build. Exit code 0: chosen; 2: nothing fits.
    """
    from abc_hw.rtl_gen.cost.devices import find_device
    from abc_hw.rtl_gen.cost.solver import Limits, Solver

    part = find_device(device)
    mhz = _clock(part, clock)
    if sum([fps is not None, cycles is not None, fit]) > 1:
        raise InputError("fold: expected one of --fps, --cycles and --fit, found several")
    if budget is not None and not 0 < budget <= 1:
        raise InputError(f"budget: expected a share above 0 and up to 1, found {budget:g}")
    check_writable(output)
    found, _ = sources.read_design(network)
    target = _target(fps, cycles, mhz)
    limits = Limits.of(part, budget)
    if isinstance(found, Graph):
        foldings = fold_graph(found, part, limits, target, mhz)
    else:
        with progress("folding"):
            solver = Solver(found, part, limits)
            foldings = solver.best()[1] if target is None else solver.for_cycles(target)
        show_choice(solver, foldings, mhz)
    if output is not None:
        write_folding(output, foldings, f"{found.name} on {device}")
        say(f"folding: {output}")


def _clock(device: Device, clock: float | None) -> float:
    if clock is None:
        return device.clock
    if not 0 < clock <= device.clock:
        raise InputError(
            f"clock: expected up to {device.clock:g} MHz, which whole accelerators reach in {device.name}, found "
            f"{clock:g}; nearest that works: --clock {device.clock:g}"
        )
    return clock


def _target(fps: float | None, cycles: int | None, mhz: float) -> int | None:
    """Cycles per image; None for as few as fit."""
    if fps is not None:
        if not 0 < fps <= mhz * 1e6:
            raise InputError(f"fps: expected above 0 and up to {mhz * 1e6:,.0f}, one per cycle, found {fps:g}")
        return int(min(mhz * 1e6 / fps, LARGEST_NUMBER))  # no network takes so many cycles
    check_number("cycles", cycles, 1)
    return cycles


def show_choice(solver: Solver, foldings: Mapping[str, LayerFolding], mhz: float) -> None:
    """The table of who does how much at once and what it takes; who limits; what the next step would cost."""
    from abc_hw.rtl_gen.cost.estimate import estimate

    device = solver.device
    chosen = estimate(solver.network, foldings, family=device.family)
    record(
        network=solver.network.name, device=device.name, clock_mhz=mhz, foldings=foldings, cycles=chosen.cycles,
        images_per_second=mhz * 1e6 / chosen.cycles, limiting=chosen.limiting, area=chosen.area,
        expected_clock_mhz=chosen.clock,
    )
    show_layers(chosen, f"{solver.network.name} on {device.name}, estimated", device, solver.limits)
    say(
        f"an image every {chosen.cycles:,} cycles: {mhz * 1e6 / chosen.cycles:,.1f} images/s at {mhz:g} MHz; "
        f"{chosen.limiting} limits"
    )
    show_clock(chosen)
    following = solver.faster(chosen.cycles)
    if following is None:
        say("no folding is faster")
        return
    cycles, faster = following
    rate = f"{mhz * 1e6 / cycles:,.1f} images/s"
    area, more = chosen.area, estimate(solver.network, faster, family=device.family).area
    say(
        f"next step: {cycles:,} cycles, {rate}, for {more.luts - area.luts:+,.0f} LUTs, "
        f"{more.brams - area.brams:+,} block RAMs and {more.dsps - area.dsps:+,} multipliers"
    )


def show_clock(chosen: Estimate) -> None:
    """What placements of as many look-up tables reached, where some were measured."""
    if chosen.clock is not None:
        rate = chosen.clock * 1e6 / chosen.cycles
        say(f"placed, so many LUTs may be expected to reach about {chosen.clock:.0f} MHz: {rate:,.1f} images/s")


def show_layers(chosen: Estimate, title: str, device: Device, limits: Limits | None = None) -> None:
    """The table of layers: folding, cycles, area."""
    from abc_hw.rtl_gen.schedule import KNOBS

    whole = chosen.area
    none = [""] * len(KNOBS)
    shown = table(
        "layer", *(f">{knob}" for knob in KNOBS), ">cycles", ">busy", ">LUTs", ">share", ">FFs", ">block RAMs",
        ">multipliers",
    )
    for layer in chosen.layers:
        area = layer.area
        shown.add_row(
            layer.plan.name, *(str(getattr(layer.plan.folding, knob)) for knob in KNOBS),
            f"{layer.cycles:,}", percent(layer.cycles / chosen.cycles), f"{area.luts:,.0f}",
            percent(area.luts / whole.luts), f"{area.ffs:,.0f}", f"{area.brams:,}", f"{area.dsps:,}",
        )
    shown.add_section()
    shown.add_row(
        "all", *none, f"{chosen.cycles:,}", percent(chosen.useful), f"{whole.luts:,.0f}", "", f"{whole.ffs:,.0f}",
        f"{whole.brams:,}", f"{whole.dsps:,}",
    )
    shown.add_row(
        f"of {device.name}", *none, "", "", f"{device.luts:,}", percent(whole.luts / device.luts),
        f"{device.ffs:,}", f"{device.brams:,}", f"{device.dsps:,}",
    )
    if limits is not None:
        shown.add_row(
            "allowed", *none, "", "", f"{limits.luts:,.0f}", "", "", f"{limits.brams:,.0f}",
            f"{limits.dsps:,.0f}",
        )
    show(title, shown)


def folding_text(foldings: Mapping[str, LayerFolding], title: str) -> str:
    """A folding file."""
    lines = [f"# {title}", ""]
    for name, knobs in foldings.items():
        key = name if name.isascii() else f'"{name}"'  # TOML's bare keys are ASCII
        lines += [f"[{key}]", *(f"{knob} = {value}" for knob, value in dataclasses.asdict(knobs).items()), ""]
    return "\n".join(lines)


def write_folding(path: Path, foldings: Mapping[str, LayerFolding], title: str) -> None:
    """Write a folding file, whole or not at all."""
    write(path, folding_text(foldings, title).encode())
