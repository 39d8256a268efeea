"""``report``: what an accelerator is made of, as tables and as one page."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import jinja2
import typer

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.writing import check_writable, write

from .console import percent, record, say, show, table
from .foldings import DeviceName, show_clock, show_layers
from .graph_report import filled, memory_row, report_graph
from .hardware import Cycles, FoldingOption, read_design
from .networks import NetworkFile

if TYPE_CHECKING:
    from abc_hw.rtl_gen.cost.devices import Device
    from abc_hw.rtl_gen.cost.estimate import Estimate

COLOURS = (
    "#4c78a8", "#f58518", "#54a24b", "#e45756", "#72b7b2", "#eeca3b", "#b279a2", "#ff9da6", "#9d755d", "#bab0ac",
)


def report(
    network: NetworkFile,
    device: DeviceName = "ecp5-85k",
    cycles: Cycles = None,
    folding: FoldingOption = None,
    html: Annotated[Path | None, typer.Option(help="Write the report as one page, with pictures.")] = None,
) -> None:
    """Estimate an accelerator before synthesis: cycles and area of every layer and block, and all its memories.

    Of a graph cycles and block RAMs are told as they will be, look-up tables of its convolutions only.

    Exit code 0: done; 2: something cannot be used.
    """
    from abc_hw.rtl_gen.cost.devices import find_device
    from abc_hw.rtl_gen.cost.estimate import estimate

    part = find_device(device)
    check_writable(html)
    found, foldings = read_design(network, cycles, folding)
    if isinstance(found, Graph):
        if html is not None:
            name = found.name
            raise InputError(f"html: expected a chain of layers for a page, found {name}; without it tables come")
        report_graph(found, foldings, part)
        return
    made = estimate(found, foldings, family=part.family)
    record(
        network=found.name, device=device, foldings=foldings, cycles=made.cycles, limiting=made.limiting,
        latency=made.plan.latency,
        area=made.area, blocks=made.blocks, expected_clock_mhz=made.clock,
        layers={layer.plan.name: layer.area for layer in made.layers},
    )
    show_layers(made, f"{found.name} on {device}, estimated", part)
    show_blocks(made)
    show_memories(made, part)
    say(
        f"an image every {made.cycles:,} cycles: {part.clock * 1e6 / made.cycles:,.1f} images/s at "
        f"{part.clock:g} MHz; {made.limiting} limits; from an image's last pixel to its class "
        f"{made.plan.latency:,} cycles"
    )
    show_clock(made)
    if html is not None:
        write(html, page(found, made, part).encode())
        say(f"page: {html}")


def show_blocks(made: Estimate) -> None:
    """Area by block."""
    shown = table("block", ">LUTs", ">share", ">FFs", ">block RAMs", ">multipliers")
    for block, area in made.blocks.items():
        shown.add_row(
            block, f"{area.luts:,.0f}", percent(area.luts / made.area.luts), f"{area.ffs:,.0f}", f"{area.brams:,}",
            f"{area.dsps:,}",
        )
    show("area by block", shown)


def show_memories(made: Estimate, device: Device) -> None:
    """Every memory: shape, bits, where it goes, and how much of that it fills."""
    shown = table("layer", "memory", ">words", ">width", ">bits", "in", ">cells", ">filled")
    for layer in made.layers:
        for memory in layer.memories:
            shown.add_row(*map(str, memory_row(layer.plan.name, memory, device).values()))
    show("memories", shown)


# -- the page -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Bar:
    """A part of a horizontal bar: where it begins and how long it is, in per cent, and what it says."""

    start: float
    length: float
    colour: str
    title: str


def page(network: Network, made: Estimate, device: Device) -> str:
    """The report as one page of HTML that refers to nothing outside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )
    colours = dict(zip(made.blocks, COLOURS, strict=False))
    return environment.get_template("report.html.j2").render(
        network=network, made=made, device=device, colours=colours, layers=_layer_rows(made, colours),
        memories=[
            memory_row(layer.plan.name, memory, device) | {"share": 100 * (filled(memory, device) or 0)}
            for layer in made.layers for memory in layer.memories
        ],
        blocks=[(block, area, 100 * area.luts / made.area.luts) for block, area in made.blocks.items()],
        images=device.clock * 1e6 / made.cycles,
    )


def _layer_rows(made: Estimate, colours: dict[str, str]) -> list[dict[str, Any]]:
    """For each layer what the page shows of it."""
    largest = max(layer.area.luts for layer in made.layers)
    rows = []
    for layer in made.layers:
        start, bars = 0.0, []
        for block, area in layer.blocks.items():
            length = 100 * area.luts / largest
            if length:
                bars.append(Bar(start, length, colours[block], f"{block}: {area.luts:,.0f} LUTs"))
            start += length
        busy = layer.cycles / made.cycles
        waits = "sets the pace" if busy == 1 else f"waits for {made.limiting} {percent(1 - busy)} of the time"
        rows.append({
            "layer": layer.schedule.layer, "folding": layer.schedule.folding, "cycles": layer.cycles,
            "busy": 100 * busy, "waits": waits, "area": layer.area, "bars": bars,
            "xnors": layer.schedule.xnors,
        })
    return rows
