"""The emitted text: names, ports, header, what starts how."""

import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from opinion import lint
from rtl_cases import sweep

from abc_hw.errors import InputError
from abc_hw.rtl_gen.emit.verilog import emit, generate
from abc_hw.rtl_gen.parts.memory import Memory
from abc_hw.rtl_gen.parts.memory_plan import MemoryPlan, pack_fields

CASE = sweep()[16]


@pytest.fixture(scope="module")
def text() -> str:
    return generate(CASE.network(), CASE.foldings(), name="my_top")


def test_names_are_plain(text: str) -> None:
    modules = re.findall(r"^module (\S+?)\s*\(", text, re.MULTILINE)
    assert modules[0] == "my_top"
    inner = {"my_top_conv", "my_top_conv_window", "my_top_dense_array", "my_top_pe0", "my_top_argmax"}
    assert inner <= set(modules)
    assert len(set(modules)) == len(modules)
    escaped = set(re.findall(r"\\(\S+)", text))
    assert all(re.fullmatch(r"[a-z_]+", name) for name in escaped), "only words that Verilog reserves are escaped"


def test_ports_are_those_of_the_components(text: str) -> None:
    ports = {
        name: set(re.split(r"[,\s\\]+", listed)) - {""}
        for name, listed in re.findall(r"^module (\S+?)\s*\((.*?)\);", text, re.MULTILINE | re.DOTALL)
    }
    stream = {"i__payload", "i__valid", "i__ready", "o__payload", "o__valid", "o__ready"}
    assert ports["my_top"] == ports["my_top_conv"] == {"clk", "rst"} | stream
    assert ports["my_top_pe0"] == ports["my_top_pe1"] == {"clk", "a", "b", "ends", "dots"}


def test_registers_start_by_reset(text: str) -> None:
    assert not re.search(r"^\s*reg .*=", text, re.MULTILINE), "no register has an initial value"
    assert "always @*" not in text


def test_header_tells_what_it_is(text: str) -> None:
    header = text[: text.index("module ")]
    network = CASE.network()
    for part in (network.digest, "conv", "dense", "simd", "Amaranth 0.5", "Yosys", "synchronous reset"):
        assert part in header
    folding = CASE.foldings()["conv"]
    row = next(line for line in header.splitlines() if line.startswith("// conv"))
    assert [folding.simd, folding.pe, folding.mp, folding.np] == [int(field) for field in row.split()[7:11]]


@pytest.mark.parametrize("name", ["2fast", "a-b", "", "módulo"])
def test_refuses_a_name(name: str) -> None:
    with pytest.raises(InputError, match="name: expected letters, digits and _, a letter first"):
        generate(CASE.network(), CASE.foldings(), name=name)


def rom_plan(width: int, words: list[int]) -> MemoryPlan:
    return MemoryPlan(name="rom", width=width, words=len(words), contents=lambda: words)


def test_rom_contents_and_latency() -> None:
    words = [int(word) for word in np.random.default_rng(0).integers(1 << 20, size=9)]
    text = emit(Memory(rom_plan(20, words)), name="rom").text
    assert [int(word, 16) for word in re.findall(r"\] = 20'h([0-9a-f]+);", text)] == words
    assert not rom_plan(3, [5, 5]).kept
    with pytest.raises(ValueError, match="at least one word"):
        rom_plan(3, [])


def test_pack_fields() -> None:
    assert pack_fields([(3, 2), (-1, 3), (0, 0), (1, 1)]) == 0b1_111_11


class HandsThrough(wiring.Component):
    """An output that is an input, in a module whose reader takes it from there."""

    i: In(4)
    o: Out(4)
    changed: Out(4)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += [self.o.eq(self.i), self.changed.eq(~self.i)]
        return m


class Outer(wiring.Component):
    i: In(4)
    o: Out(4)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.inner = inner = HandsThrough()
        m.d.comb += [inner.i.eq(self.i), self.o.eq(inner.o ^ (inner.changed << 1))]
        return m


def test_an_output_may_be_an_input(tmp_path: Path) -> None:
    """The emitted instance drives no net of its own input."""
    path = tmp_path / "outer.v"
    path.write_text(emit(Outer(), name="outer").text)
    opinion = lint(path)
    assert (opinion.returncode, opinion.stderr) == (0, "")
