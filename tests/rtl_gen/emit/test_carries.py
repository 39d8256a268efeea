"""Carry chains of ECP5 netlists: the same logic, whatever comes before a chain, and no constant there."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from ecp5_netlists import Netlist, netlist, plain_sum, sums

from abc_hw.rtl_gen.emit import carries
from abc_hw.rtl_gen.emit.ease import ease
from abc_hw.rtl_gen.emit.yosys import run_yosys


def slices(design: Netlist) -> list[dict[str, Any]]:
    return [cell for cell in design["modules"]["top"]["cells"].values() if cell["type"] == "CCU2C"]


def carries_in(design: Netlist) -> list[Any]:
    """What stands before each chain: a constant, or x for nothing."""
    return [bit for cell in slices(design) for bit in cell["connections"]["CIN"] if isinstance(bit, str)]


def with_unknown(design: Netlist, count: int) -> Netlist:
    """The top module with an input of ``count`` bits, one for each carry that nothing drives, and without the pins
    that have no net."""
    module = copy.deepcopy(design["modules"]["top"])
    design = {"modules": {"top": module}}
    first = 1 + max(
        bit for cell in module["cells"].values() for bits in cell["connections"].values() for bit in bits
        if isinstance(bit, int)
    )
    unknown = list(range(first, first + count))
    module["ports"]["unknown"] = {"direction": "input", "bits": list(unknown)}
    for cell in slices(design):
        pins = cell["connections"]
        if pins["CIN"] == ["x"]:
            pins["CIN"] = [unknown.pop()]
        for pin in [pin for pin, bits in pins.items() if bits == ["x"]]:
            del pins[pin]
    return design


@pytest.mark.parametrize("width", [4, 5, 8, 13])
def test_the_logic_stays_what_it_was(tmp_path: Path, width: int) -> None:
    before = netlist(tmp_path, sums(width))
    after = copy.deepcopy(before)
    assert ease(after).chains > 0
    assert len(slices(after)) == len(slices(before))
    unknown = carries_in(after).count("x")
    assert unknown
    for name, design in (("before", before), ("after", after)):
        (tmp_path / f"{name}.json").write_text(json.dumps(with_unknown(design, unknown)))
    flat = (
        command for name in ("before", "after") for command in (
            f"read_json {tmp_path / f'{name}.json'}", "read_verilog -DNO_INCLUDES +/ecp5/cells_sim.v",
            "hierarchy -top top", "proc", "flatten", "opt_clean", f"design -stash {name}",
        )
    )
    said = run_yosys(
        *flat, "design -copy-from before -as before top", "design -copy-from after -as after top",
        "miter -equiv -flatten before after both", "hierarchy -top both", "sat -verify -prove trigger 0 both",
    )
    assert "SUCCESS" in said


@pytest.mark.parametrize(("width", "before"), [(5, "x"), (8, "0")], ids=["with room", "all positions taken"])
def test_a_chain_with_room_makes_its_first_carry(tmp_path: Path, width: int, before: str) -> None:
    design = netlist(tmp_path, plain_sum(width))
    assert carries_in(design) == ["0"]
    assert carries.ease_chains(design["modules"]["top"]) == 1
    assert carries_in(design) == [before]
    assert [cell["connections"]["COUT"] for cell in slices(design)].count(["x"]) == 1


def test_a_carry_that_is_read_keeps_its_chain(tmp_path: Path) -> None:
    design = netlist(tmp_path, sums(5))
    module = design["modules"]["top"]
    for cell in slices(design):
        module["ports"][f"read{cell['connections']['COUT'][0]}"] = {
            "direction": "output", "bits": cell["connections"]["COUT"],
        }
    kept = copy.deepcopy(design)
    assert carries.ease_chains(design["modules"]["top"]) == 0
    assert design == kept


def test_a_sum_that_is_read_keeps_the_constant_before_it(tmp_path: Path) -> None:
    design = netlist(tmp_path, sums(13))
    kept = copy.deepcopy(design)
    module = kept["modules"]["top"]
    for cell in slices(kept):
        for side in "01":
            sum_bits = cell["connections"][f"S{side}"]
            module["ports"][f"read{sum_bits[0]}"] = {"direction": "output", "bits": sum_bits}
    carries.ease_chains(design["modules"]["top"])
    carries.ease_chains(kept["modules"]["top"])
    assert "x" in carries_in(design)
    assert carries_in(kept) == carries_in(netlist(tmp_path, sums(13)))
