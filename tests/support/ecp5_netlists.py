"""Small designs synthesised for ECP5, as netlists of Yosys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Module, Signal

from abc_hw.rtl_gen.emit.yosys import for_synthesis, run_yosys
from abc_hw.rtl_gen.parts.popcount import PopcountPlan, XorPopcount

Netlist = dict[str, Any]

Design = tuple[Module, list[Signal]]
"""A module and its ports."""


def sums(width: int) -> Design:
    """Sum with a carry-in, difference, sum of which the carry is read, comparison, and a count in slices."""
    m = Module()
    one, other, carry = Signal(width, name="one"), Signal(width, name="other"), Signal(name="carry")
    total, less, wide, below = (
        Signal(width + size, name=name) for name, size in (("total", 0), ("less", 0), ("wide", 1), ("below", 0))
    )
    m.submodules.count = count = XorPopcount(PopcountPlan(width=width, pipeline=0, target="ecp5-slices"))
    differing = Signal.like(count.o, name="differing")
    m.d.comb += [
        total.eq(one + other + carry), less.eq(one - other), wide.eq(one + other), below.eq(one < other),
        count.a.eq(one), count.b.eq(other), differing.eq(count.o),
    ]
    return m, [one, other, carry, total, less, wide, below, differing]


def plain_sum(width: int) -> Design:
    """A sum of two signals of that width, of which no carry is read."""
    m = Module()
    one, other, total = Signal(width, name="one"), Signal(width, name="other"), Signal(width, name="total")
    m.d.comb += total.eq(one + other)
    return m, [one, other, total]


def netlist(folder: Path, design: Design, *, flags: str = "-nowidelut") -> Netlist:
    """The netlist of a design, which stands in ``top.json`` as well."""
    module, ports = design
    text = rtlil.convert(module, name="top", ports=ports, emit_src=False)
    (folder / "top.il").write_text(for_synthesis(text))
    run_yosys(f"read_rtlil {folder / 'top.il'}", f"synth_ecp5 {flags} -top top -json {folder / 'top.json'}")
    found: Netlist = json.loads((folder / "top.json").read_text())
    return found
