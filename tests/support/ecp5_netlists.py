"""Small designs synthesised for ECP5, as netlists of Yosys."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Module, Signal

from abc_hw.rtl_gen.emit.yosys import for_synthesis, run_yosys

Netlist = dict[str, Any]

Design = tuple[Module, list[Signal]]
"""A module and its ports."""


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
