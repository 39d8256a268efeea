"""``report`` and ``fold`` of networks that are graphs: units, block RAMs and cycles as they will be."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from abc_hw.errors import InputError
from abc_hw.network import Graph

from .console import percent, progress, record, say, show, table

if TYPE_CHECKING:
    from abc_hw.rtl_gen.cost.devices import Device
    from abc_hw.rtl_gen.cost.estimate import StoredMemory
    from abc_hw.rtl_gen.cost.graph_estimate import GraphEstimate
    from abc_hw.rtl_gen.cost.search import Limits
    from abc_hw.rtl_gen.folding import LayerFolding

PLACES = {"block": "block RAM", "distributed": "LUT RAM", "logic": "logic"}
"""Kinds of mapping, for people."""



def report_graph(graph: Graph, foldings: Mapping[str, LayerFolding], device: Device) -> None:
    """Print what an accelerator takes: its units, its memories, its speed."""
    from abc_hw.rtl_gen.cost.graph_estimate import estimate_graph

    with progress("counting"):
        made = estimate_graph(graph, foldings, family=device.family)
    plan = made.plan
    record(
        network=graph.name, device=device.name, foldings=foldings, cycles=plan.cycles, limiting=plan.limiting,
        block_rams=made.area.brams, buffers=plan.buffers,
        units={
            unit.name: {"kind": unit.kind, "cycles": unit.cycles, "block_rams": unit.area.brams}
            for unit in made.units
        },
    )
    show_units(made, f"{graph.name} on {device.name}", device)
    shown = table("unit", "memory", ">words", ">width", ">bits", "in", ">cells", ">filled")
    for unit in made.units:
        for memory in unit.memories:
            shown.add_row(*map(str, memory_row(unit.name, memory, device).values()))
    show("memories", shown)
    say(speed_line(made, device.clock))


def fold_graph(
    graph: Graph, device: Device, limits: Limits, cycles: int | None, mhz: float
) -> dict[str, LayerFolding]:
    """The foldings for a speed, and what they take.

    Raises
    ------
    InputError
        if no speed is asked for, none is so fast, or there are too few block RAMs.
    """
    from abc_hw.rtl_gen.cost.graph_estimate import estimate_graph
    from abc_hw.rtl_gen.engine.graph_folding import fold_graph

    if cycles is None:
        raise InputError(
            f"fit: expected --fps or --cycles for {graph.name}, which is no chain of layers: the look-up tables "
            "between its convolutions are not estimated"
        )
    with progress("folding"):
        foldings = fold_graph(graph, cycles)
        made = estimate_graph(graph, foldings, family=device.family)
    if made.area.brams > limits.brams:
        raise InputError(
            f"{graph.name}: expected at most {limits.brams:,.0f} block RAMs on {device.name}, found "
            f"{made.area.brams:,} at {made.plan.cycles:,} cycles per image; a slower folding may take fewer"
        )
    record(
        network=graph.name, device=device.name, clock_mhz=mhz, foldings=foldings, cycles=made.plan.cycles,
        images_per_second=mhz * 1e6 / made.plan.cycles, limiting=made.plan.limiting, block_rams=made.area.brams,
    )
    show_units(made, f"{graph.name} on {device.name}", device)
    say(speed_line(made, mhz))
    return foldings


def speed_line(made: GraphEstimate, mhz: float) -> str:
    """Cycles per image, images per second, and what limits."""
    cycles = made.plan.cycles
    return (
        f"an image every {cycles:,} cycles: {mhz * 1e6 / cycles:,.1f} images/s at {mhz:g} MHz; "
        f"{made.plan.limiting} limits"
    )


def show_units(made: GraphEstimate, title: str, device: Device) -> None:
    """The table of units: folding, cycles, block RAMs; look-up tables of convolutions."""
    from abc_hw.rtl_gen.schedule import KNOBS

    knobs = [knob for knob in KNOBS if knob != "px"]
    shown = table(
        "unit", "kind", *(f">{knob}" for knob in knobs), ">cycles", ">busy", ">LUTs", ">block RAMs",
        ">multipliers",
    )
    for unit in made.units:
        folded = unit.folding is not None
        shown.add_row(
            unit.name, unit.kind, *(str(getattr(unit.folding, knob)) if folded else "" for knob in knobs),
            f"{unit.cycles:,}", percent(unit.cycles / made.plan.cycles),
            f"{unit.area.luts:,.0f}" if folded else "", f"{unit.area.brams:,}",
            f"{unit.area.dsps:,}" if folded else "",
        )
    shown.add_section()
    area, none = made.area, [""] * len(knobs)
    shown.add_row(
        "all", "", *none, f"{made.plan.cycles:,}", percent(made.useful), f"above {area.luts:,.0f}",
        f"{area.brams:,}", f"{area.dsps:,}",
    )
    shown.add_row(
        f"of {device.name}", "", *none, "", "", f"{device.luts:,}", f"{device.brams:,}", f"{device.dsps:,}"
    )
    show(title, shown)


# -- memories -------------------------------------------------------------------------------------------------


def filled(memory: StoredMemory, device: Device) -> float | None:
    """Share of its cells' bits that a memory uses; None in logic."""
    bits = {"block": device.bram_bits, "distributed": 64}.get(memory.mapped.kind)
    return None if bits is None else len(memory.plan.kept) * memory.plan.words / (bits * memory.mapped.cells)


def memory_row(layer: str, memory: StoredMemory, device: Device) -> dict[str, str]:
    """A memory's line in the map of memories."""
    plan, share = memory.plan, filled(memory, device)
    return {
        "layer": layer, "memory": f"{memory.block} {plan.name}".replace("weights w", "w"),
        "words": f"{plan.words:,}", "width": f"{plan.width:,}", "bits": f"{plan.bits:,}",
        "in": PLACES[memory.mapped.kind], "cells": f"{memory.mapped.cells:,}",
        "filled": "" if share is None else percent(share),
    }
