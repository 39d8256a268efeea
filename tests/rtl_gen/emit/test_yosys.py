"""Yosys as a program, and names that it can take."""

from __future__ import annotations

from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data

from abc_hw.rtl_gen.emit.yosys import run_yosys, without_field_names


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


def test_a_failure_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="no_such_command"):
        run_yosys("no_such_command")
