"""Yosys as a program, and names that it can take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data
from amaranth.lib.memory import Memory

from abc_hw.rtl_gen.emit.yosys import for_synthesis, run_yosys, with_copies, without_field_names
from abc_hw.rtl_gen.parts.delay import copied, delayed


def fields() -> str:
    """A design whose layout's fields Amaranth names ``word[0]`` and ``word[1]``."""
    m = Module()
    word = Signal(data.ArrayLayout(unsigned(4), 2), name="word")
    taken = Signal(4, name="taken")
    m.d.sync += [word[0].eq(word[1]), word[1].eq(word[0] + taken)]
    return rtlil.convert(m, name="top", ports=[taken, word.as_value()], emit_src=False)


def test_fields_get_names_without_brackets(tmp_path: Path) -> None:
    text = fields()
    assert r"\word[1]" in text
    plain = without_field_names(text)
    assert r"\word[1]" not in plain
    assert r"\word__1" in plain
    assert r"\word [7:4]" in plain, "slices stay"
    (tmp_path / "one.il").write_text(text)
    (tmp_path / "two.il").write_text(plain)
    said = run_yosys(
        f"read_rtlil {tmp_path / 'one.il'}", "rename top one", f"read_rtlil {tmp_path / 'two.il'}",
        "rename top two", "proc", "miter -equiv -flatten -make_assert one two both", "hierarchy -top both",
        "sat -verify -prove-asserts -tempinduct -set-init-undef -seq 1 -set-at 1 in_rst 1 both",
    )
    assert "SUCCESS" in said


@pytest.mark.parametrize("synthesis", ["synth_ecp5", "synth_ice40", "synth_gowin"])
def test_copies_stay_as_many_as_there_are(tmp_path: Path, synthesis: str) -> None:
    m = Module()
    value, taken, held = Signal(), Signal(4), Signal(12)
    copies = copied(m, value, 3, name="copy")
    for place, copy in enumerate(copies):
        with m.If(copy):
            m.d.sync += held[4 * place : 4 * place + 4].eq(taken)
    told = Signal(3)
    m.d.comb += told.eq(Cat(copies))
    text = rtlil.convert(m, name="top", ports=[value, taken, held, told], emit_src=False)
    registers = {}
    for name, source in (("merged", text), ("copies", with_copies(text))):
        (tmp_path / name).write_text(source)
        run_yosys(
            f"read_rtlil {tmp_path / name}", f"{synthesis} -top top -json {tmp_path / 'netlist.json'}",
        )
        cells = json.loads((tmp_path / "netlist.json").read_text())["modules"]["top"]["cells"].values()
        registers[name] = sum("FF" in cell["type"] for cell in cells)
    # With one copy the three fields of what is held are one as well.
    assert registers == {"merged": 1 + 4, "copies": 3 + 12}


@pytest.mark.parametrize("reset_less", [True, False])
def test_a_constant_that_is_delayed_is_no_register(tmp_path: Path, reset_less: bool) -> None:
    """Unless it is to be something else before."""
    m, always, seen = Module(), Signal(), Signal()
    m.d.comb += [always.eq(1), seen.eq(delayed(m, always, 2, name="late", reset_less=reset_less))]
    text = rtlil.convert(m, name="top", ports=[seen], emit_src=False)
    (tmp_path / "top.il").write_text(for_synthesis(text))
    run_yosys(
        f"read_rtlil {tmp_path / 'top.il'}", f"synth_ecp5 -top top -json {tmp_path / 'netlist.json'}",
    )
    cells = json.loads((tmp_path / "netlist.json").read_text())["modules"]["top"]["cells"].values()
    assert sum("FF" in cell["type"] for cell in cells) == (0 if reset_less else 2)


@pytest.mark.parametrize("marked", [True, False])
def test_marked_memories_cost_no_registers(tmp_path: Path, marked: bool) -> None:
    """Of an iCE40, whose block RAMs promise nothing: others remember what is written."""
    m = Module()
    m.submodules.memory = memory = Memory(
        shape=16, depth=256, init=[], attrs={"no_rw_check": 1} if marked else {},
    )
    write, read = memory.write_port(), memory.read_port()
    ports = [write.addr, write.data, write.en, read.addr, read.data, read.en]
    text = rtlil.convert(m, name="top", ports=ports, emit_src=False)
    (tmp_path / "top.il").write_text(for_synthesis(text))
    run_yosys(
        f"read_rtlil {tmp_path / 'top.il'}", f"synth_ice40 -top top -json {tmp_path / 'netlist.json'}",
    )
    cells = json.loads((tmp_path / "netlist.json").read_text())["modules"]["top"]["cells"].values()
    types = [cell["type"] for cell in cells]
    assert types.count("SB_RAM40_4K") == 1
    assert any("DFF" in kind for kind in types) != marked


def test_a_failure_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no_such_command"):
        run_yosys("no_such_command")
