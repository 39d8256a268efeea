"""Levels of look-up tables: the same function of each of them, in no more tables and no deeper."""

from __future__ import annotations

import copy
import itertools
import random
from pathlib import Path
from typing import Any

import pytest
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib.memory import Memory
from ecp5_netlists import Netlist, netlist

from abc_hw.rtl_gen.emit.levels import flatten
from abc_hw.rtl_gen.parts.memory_cells import storage_attributes

INPUTS = 6


def table(out: int, reads: list[Any], init: int) -> dict[str, Any]:
    pins = dict(zip("ABCD", [[bit] for bit in reads], strict=True))
    return {
        "type": "LUT4", "parameters": {"INIT": f"{init:016b}"}, "connections": pins | {"Z": [out]},
        "port_directions": dict.fromkeys("ABCD", "input") | {"Z": "output"},
    }


def random_tables(seed: int, count: int = 40) -> dict[str, Any]:
    """Tables that read inputs, each other and constants; a third of them is read by ports."""
    rng = random.Random(seed)
    first = 2 + INPUTS
    cells = {}
    for out in range(first, first + count):
        near = [*range(2, 2 + INPUTS), *range(max(first, out - 6), out)]
        reads = [rng.choice([*rng.sample(near, 3), "0", "1"]) for _ in "ABCD"]
        cells[f"table{out}"] = table(out, reads, rng.getrandbits(16))
    read = rng.sample(range(first, first + count), count // 3)
    return {
        "cells": cells,
        "ports": {
            "i": {"direction": "input", "bits": list(range(2, 2 + INPUTS))},
            "o": {"direction": "output", "bits": read},
        },
    }


def values(module: dict[str, Any], inputs: dict[int, int]) -> list[int]:
    """Of the bits of port ``o``."""
    tables = {cell["connections"]["Z"][0]: cell for cell in module["cells"].values()}

    def value(bit: Any) -> int:
        if isinstance(bit, str):
            return int(bit)
        if bit not in inputs:
            cell = tables[bit]
            row = sum(value(cell["connections"][pin][0]) << index for index, pin in enumerate("ABCD"))
            inputs[bit] = int(cell["parameters"]["INIT"], 2) >> row & 1
        return inputs[bit]

    return [value(bit) for bit in module["ports"]["o"]["bits"]]


def depths(module: dict[str, Any]) -> dict[int, int]:
    tables = {cell["connections"]["Z"][0]: cell for cell in module["cells"].values() if cell["type"] == "LUT4"}
    known: dict[Any, int] = {}

    def depth(bit: Any) -> int:
        if bit not in tables:
            return 0
        if bit not in known:
            known[bit] = 1 + max(depth(tables[bit]["connections"][pin][0]) for pin in "ABCD")
        return known[bit]

    return {bit: depth(bit) for bit in tables}


@pytest.mark.parametrize("seed", range(20))
def test_every_bit_is_the_same_function(seed: int) -> None:
    before = random_tables(seed)
    after = copy.deepcopy(before)
    assert flatten(after) > 0
    assert after["cells"].keys() < before["cells"].keys(), "no table is new, and those that nobody reads are gone"
    was, is_now = depths(before), depths(after)
    assert all(is_now[bit] <= was[bit] for bit in is_now)
    assert sum(is_now.values()) < sum(was[bit] for bit in is_now)
    for bits in itertools.product((0, 1), repeat=INPUTS):
        inputs = dict(enumerate(bits, 2))
        assert values(after, dict(inputs)) == values(before, dict(inputs))
    again = copy.deepcopy(after)
    assert flatten(again) == 0
    assert again == after


def test_what_four_signals_decide_is_one_table() -> None:
    """A chain of tables, each of the one before and an input, of which there are four."""
    cells = {f"t{out}": table(out, [out - 1, 2 + out % 4, "0", "1"], 0xCAFE ^ out) for out in range(6, 26)}
    cells["t6"]["connections"]["A"] = [2]
    module = {"cells": cells, "ports": {"o": {"direction": "output", "bits": [25]}}}
    flatten(module)
    assert [cell["connections"]["Z"] for cell in module["cells"].values()] == [[25]]
    assert all(cell["connections"][pin][0] in range(2, 6) for cell in module["cells"].values() for pin in "ABCD")


def words(count: int, columns: int) -> tuple[Module, list[Signal]]:
    """A table in logic between registers, and a long sum beside it, which decides what ABC takes for long."""
    rng = random.Random(1)
    m = Module()
    address, word = Signal(range(count), name="address"), Signal(columns, name="word")
    one, total = Signal(32, name="one"), Signal(32, name="total")
    attributes = storage_attributes("logic", settled=True)
    contents = [rng.getrandbits(columns) for _ in range(count)]
    m.submodules.rows = rows = Memory(shape=unsigned(columns), depth=count, init=contents, attrs=attributes)
    read = rows.read_port(domain="comb")
    late = Signal.like(address)
    m.d.comb += read.addr.eq(late)
    m.d.sync += [late.eq(address), word.eq(read.data), total.eq(total + one)]
    return m, [address, word, one, total]


def test_columns_of_a_table_in_logic_are_a_level_each(tmp_path: Path) -> None:
    design: Netlist = netlist(tmp_path, words(9, 200), flags="-nowidelut -abc9")
    module = design["modules"]["top"]
    count = sum(cell["type"] == "LUT4" for cell in module["cells"].values())
    assert max(depths(module).values()) > 1, "what is to be mended"
    flatten(module)
    assert max(depths(module).values()) == 1
    assert sum(cell["type"] == "LUT4" for cell in module["cells"].values()) <= count
