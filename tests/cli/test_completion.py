"""What a shell is offered when it asks."""

from __future__ import annotations

import pytest
from command_line import refused
from typer.testing import CliRunner

from abc_hw.cli.completion import values
from abc_hw.cli.main import app

OFFERED = {
    "network": ("simulate", "zoo:cnv", ["zoo:cnv-m1n1", "zoo:cnv-m1n2", "zoo:cnv-m2n2", "zoo:cnv-m3n3"]),
    "netlist": ("simulate zoo:cnv-m2n2 --netlist", "i", ["ice40", "ice40-up5k"]),
    "simulator": ("simulate zoo:cnv-m2n2 --simulator", "", ["verilator", "icarus"]),
    "weights": ("simulate zoo:cnv-m2n2 --weights", "l", ["loaded"]),
    "constants": ("generate zoo:cnv-m2n2 --constants", "", ["rom", "loaded"]),
    "reset": ("generate zoo:cnv-m2n2 --reset", "async", ["async", "async-low"]),
    "interface": ("generate zoo:cnv-m2n2 --interface", "", ["stream", "axi"]),
    "target": ("generate zoo:cnv-m2n2 --target", "ec", ["ecp5", "ecp5-slices"]),
    "board": ("build --board", "ulx", ["ulx3s-85f"]),
    "device": ("fold zoo:cnv-m2n2 --device", "ecp5-8", ["ecp5-85k"]),
    "model": ("train --model", "len", ["lenet"]),
    "dataset": ("train --dataset", "fash", ["fashion-mnist"]),
}
"""Parameter -> what is typed, the begun word, and what may follow."""


@pytest.mark.parametrize("parameter", OFFERED)
def test_values_are_offered(parameter: str) -> None:
    typed, begun, expected = OFFERED[parameter]
    asked = {
        "_ABC_HW_COMPLETE": "complete_bash", "COMP_WORDS": f"abc-hw {typed} {begun}",
        "COMP_CWORD": str(len(typed.split()) + 1),
    }
    assert CliRunner().invoke(app, [], env=asked, prog_name="abc-hw").stdout.split() == expected


@pytest.mark.parametrize("option", ["simulator", "weights", "constants", "reset", "interface"])
def test_what_is_offered_is_what_is_taken(option: str) -> None:
    command, random = ("generate", []) if option in ("reset", "interface") else ("simulate", ["--random"])
    said = refused(command, "example:tiny", *random, f"--{option}", "other")
    for choice in values(option):
        assert choice in said.partition("found")[0]
