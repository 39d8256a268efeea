"""The memory: every kind of plan against a model in Python, its latency, and its blocks against plain words."""

from __future__ import annotations

import dataclasses
import json
import random
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Module
from amaranth.lib.memory import Memory as Array
from amaranth.sim import Simulator

from abc_hw.rtl_gen.emit.verilog import emit
from abc_hw.rtl_gen.emit.yosys import for_synthesis, run_yosys
from abc_hw.rtl_gen.parts.memory import Memory
from abc_hw.rtl_gen.parts.memory_cells import MemoryCell
from abc_hw.rtl_gen.parts.memory_mapping import ECP5, GOWIN, MemoryCells, Technology
from abc_hw.rtl_gen.parts.memory_plan import LOAD_BITS, MemoryPlan
from abc_hw.sim.netlist import DP16KD

NO_CELLS = Technology("plain")

SMALL = Technology("small", (
    MemoryCells(kind="block", shapes=((1, 32), (2, 16), (5, 8)), wide=((7, 4),), cost=0),
))
"""Blocks so small that many lie behind each other."""

OUTPUT = Technology("output", (
    MemoryCells(kind="block", shapes=((4, 64),), cost=0),
), output_register=True)
"""Blocks with a register of their own at their output."""


def filled(width: int, words: int, seed: int = 0, **more: Any) -> MemoryPlan:
    rng = random.Random(seed)
    values = [rng.getrandbits(width) for _ in range(words)]
    return MemoryPlan(width=width, words=words, contents=lambda: values, **more)


def measured(plan: MemoryPlan, *, seed: int = 0, cycles: int = 400) -> None:
    """Drive a memory at random and compare each word with the model's, ``plan.latency`` later."""
    memory = Memory(plan)
    chance = random.Random(seed)
    known: dict[int, int] = dict(enumerate(plan.values))
    parts = -(-plan.width // LOAD_BITS)
    expected: list[int | None] = [None] * plan.latency

    async def bench(ctx: Any) -> None:
        compared = 0
        for _ in range(cycles):
            addr, enabled = chance.randrange(plan.words), not plan.held or chance.random() < 0.7
            ctx.set(memory.addr, addr)
            if plan.held:
                ctx.set(memory.en, enabled)
            reading: int | None = known.get(addr)
            written: tuple[int, int] | None = None
            if plan.write != "none":
                at = chance.choice([addr, chance.randrange(plan.words)])
                ctx.set(memory.write.addr, at)
                data = chance.getrandbits(plan.width if plan.write == "word" else LOAD_BITS)
                ctx.set(memory.write.data, data)
                wants = chance.random() < 0.5
                place = chance.randrange(parts) if plan.write == "parts" else 0
                ctx.set(memory.write.en, wants << place)
                if wants:
                    if plan.write == "parts":
                        reading = None  # the port writes
                        low = place * LOAD_BITS
                        if at in known or parts == 1:
                            size = min(LOAD_BITS, plan.width - low)
                            mask = ((1 << size) - 1) << low
                            data = known.get(at, 0) & ~mask | data << low & mask
                            written = at, data
                    else:
                        written = at, data
                        if at == addr and not plan.settled:
                            reading = None
            found = ctx.get(memory.data)
            if expected[0] is not None:
                assert found == expected[0]
                compared += 1
            if enabled:
                expected.append(reading)
                expected.pop(0)
            await ctx.tick()
            if written is not None:
                known[written[0]] = written[1]
        assert compared > cycles // 20

    m = Module()
    m.domains.sync = ClockDomain()  # also for a memory that is only a constant
    m.submodules.memory = memory
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


PLANS = [
    filled(5, 1), filled(3, 2), filled(7, 40), filled(6, 40, held=True), filled(9, 33, registered=False),
    filled(8, 40, relayed=True), filled(700, 18), MemoryPlan(width=4, words=1, write="word"),
    MemoryPlan(width=8, words=20, write="word", settled=True, held=True, relayed=True),
    *(
        MemoryPlan(width=7, words=20, write="word", settled=settled, held=held)
        for settled in (False, True) for held in (False, True)
    ),
    *(MemoryPlan(width=2, words=150, write="word", settled=settled, held=settled) for settled in (False, True)),
    *(MemoryPlan(width=width, words=words, write="parts") for width, words in ((3, 9), (16, 20), (21, 8))),
]


@pytest.mark.parametrize("technology", [NO_CELLS, SMALL, OUTPUT, GOWIN], ids=lambda one: one.name)
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.write}-{plan.width}x{plan.words}")
def test_words_come_as_planned(plan: MemoryPlan, technology: Technology) -> None:
    plan = dataclasses.replace(plan, technology=technology)
    if plan.write == "parts" and plan.width > LOAD_BITS:
        fill_first(plan)
    else:
        measured(plan)


def fill_first(plan: MemoryPlan) -> None:
    """As :func:`measured` for words of several parts: write all of them, then read them back."""
    memory = Memory(plan)
    rng = random.Random(1)
    values = [rng.getrandbits(plan.width) for _ in range(plan.words)]

    async def bench(ctx: Any) -> None:
        for place in range(0, plan.width, LOAD_BITS):
            for addr, value in enumerate(values):
                ctx.set(memory.write.addr, addr)
                ctx.set(memory.write.data, value >> place & 0xFFFF)
                ctx.set(memory.write.en, 1 << place // LOAD_BITS)
                await ctx.tick()
        ctx.set(memory.write.en, 0)
        for step in range(plan.words + plan.latency):
            ctx.set(memory.addr, step % plan.words)
            if step >= plan.latency:
                assert ctx.get(memory.data) == values[step - plan.latency]
            await ctx.tick()

    m = Module()
    m.domains.sync = ClockDomain()  # also for a memory that is only a constant
    m.submodules.memory = memory
    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_bits_that_never_change_are_not_stored() -> None:
    words = [0b1010_01_0 | (bit << 5) | (bit << 3) for bit in (0, 1, 1, 0)]
    plan = MemoryPlan(width=8, words=4, contents=lambda: words, technology=GOWIN)
    assert plan.kept == (3, 5)
    assert plan.columns == 1
    measured(plan)
    assert MemoryPlan(width=8, words=4, contents=lambda: words).kept == tuple(range(8))
    assert MemoryPlan(width=8, words=2, contents=lambda: [7, 7]).kept == ()


def test_latency_is_two_but_for_banks_behind_each_other() -> None:
    assert filled(9, 600, technology=ECP5).latency == filled(9, 600).latency == 2
    assert filled(9, 600, registered=False).latency == 1
    deep = filled(16, 73_728, technology=ECP5)
    assert (deep.mapped.cells, deep.banks, deep.latency) == (64, 36, 6)
    assert dataclasses.replace(deep, plain=True).latency == 6
    assert dataclasses.replace(deep, relayed=True).latency == 6  # the choice among banks has registers
    assert filled(9, 600, technology=ECP5, relayed=True).latency == 3
    for words, banks, latency in ((64, 1, 2), (65, 2, 3), (150, 3, 4)):
        tables = MemoryPlan(width=2, words=words, write="word", technology=ECP5)
        assert (tables.mapped.kind, tables.banks, tables.latency) == ("distributed", banks, latency)
    assert filled(9, 600, technology=GOWIN, relayed=True).latency == 2  # in plain logic already


def test_wide_tables_in_logic_have_registers_of_the_address_of_their_own(tmp_path: Path) -> None:
    """Those with few columns that differ have not: one gate for the same ones is worth its wires."""
    wide = filled(700, 18, technology=ECP5)
    assert (wide.mapped.kind, wide.lookups, wide.latency) == ("logic", 2, 2)
    measured(wide)
    for one in (dataclasses.replace(wide, plain=True), dataclasses.replace(wide, registered=False),
                dataclasses.replace(wide, held=True), filled(2000, 3, technology=ECP5)):
        assert one.lookups == 1
    assert filled(700, 1800, technology=ECP5).lookups == 1  # in blocks
    source, told = tmp_path / "memory.il", tmp_path / "stat.json"
    source.write_text(for_synthesis(rtlil.convert(Memory(wide), name="top", emit_src=False)))
    run_yosys(f"read_rtlil {source}", "synth_ecp5 -nowidelut -top top", f"tee -q -o {told} stat -json")
    cells = json.loads(told.read_text())["design"]["num_cells_by_type"]
    assert cells["TRELLIS_FF"] == wide.columns + 2 * 5


def test_plans_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one word, not 0"):
        MemoryPlan(width=3, words=0, write="word")
    with pytest.raises(ValueError, match="contents or be written, one of the two"):
        MemoryPlan(width=3, words=4)
    with pytest.raises(ValueError, match="contents or be written, one of the two"):
        filled(3, 4, write="word")
    with pytest.raises(ValueError, match="in parts must have no enable"):
        MemoryPlan(width=3, words=4, write="parts", held=True)
    with pytest.raises(ValueError, match="There must be 4 words, not 1"):
        Memory(MemoryPlan(width=3, words=4, contents=lambda: [1])).plan.values  # noqa: B018


def test_a_macro_takes_the_place_of_a_block() -> None:
    made: list[MemoryCell] = []

    class Macro(MemoryCell):
        """Stands for an instance of 16 words of 8 bits, one port, no contents."""

        def elaborate(self, platform: object) -> Module:
            made.append(self)
            m = Module()
            unit, = self.units
            port, = self.ports
            m.submodules.array = array = Array(shape=8, depth=16, init=[])
            write, read = array.write_port(), array.read_port()
            word = read.data[: unit.width]
            m.d.sync += port.data.eq(word)
            m.d.comb += [
                write.addr.eq(port.addr), write.data.eq(port.w_data), write.en.eq(port.w_en),
                read.addr.eq(port.addr),
            ]
            return m

    asic = Technology("asic", (
        MemoryCells(kind="block", shapes=((8, 16),), cost=1, writable=("parts",), constant=False),
    ), Macro)
    plan = MemoryPlan(width=11, words=40, write="parts", technology=asic)
    measured(plan)
    assert len(made) == plan.mapped.cells == 6
    assert filled(11, 40, technology=asic).mapped.kind == "logic"


# -- the ECP5's own block memory --------------------------------------------------------------------------------


ECP5_PLANS = [
    *(filled(*size, seed=width) for width, size in enumerate((
        (1, 16_384), (2, 8192), (4, 4000), (9, 2048), (18, 1024), (36, 512), (33, 300), (16, 9000), (40, 700),
        (5, 3000),
    ))),
    filled(11, 2100, held=True), filled(20, 1000, registered=False),
    *(MemoryPlan(width=width, words=words, write="word") for width, words in ((36, 512), (23, 300), (18, 900),
                                                                              (9, 2048), (5, 4100), (2, 9000))),
    MemoryPlan(width=30, words=200, write="word", held=True),
    MemoryPlan(width=12, words=1500, write="word", settled=True),
    MemoryPlan(width=8, words=512, write="word", registered=False),
    *(MemoryPlan(width=2, words=150, write="word", settled=settled, held=settled) for settled in (False, True)),
    *(MemoryPlan(width=width, words=words, write="parts") for width, words in ((32, 500), (16, 3000), (21, 1024))),
]

def bench_of(index: int, plan: MemoryPlan) -> str:
    """Verilog that drives a memory in blocks and one in plain words alike, and counts differences once it is full.

    It writes all words, reads all words, then does both at random, never at one address unless that is settled.
    """
    parts = -(-plan.width // LOAD_BITS)
    address, size = max(plan.words - 1, 1).bit_length(), plan.width if plan.write == "word" else LOAD_BITS
    per_word = parts if plan.write == "parts" else 1
    ports = ".clk(run), .rst(rst), .addr(addr)"
    ports += ", .en(enable)" if plan.held else ""
    if plan.write != "none":
        ports += ", .write__addr(w_addr), .write__data(w_data), .write__en(w_en)"
    fill = plan.words * per_word if plan.write != "none" else 0
    return f"""
module pair{index} (input clk, input rst, output reg [31:0] wrong, output reg [31:0] compared);
  reg [{address - 1}:0] addr, w_addr; reg [{size - 1}:0] w_data; reg [{per_word - 1}:0] w_en; reg enable;
  wire [{plan.width - 1}:0] mine, theirs;
  cells{index} mine_of ({ports}, .data(mine));
  plain{index} theirs_of ({ports}, .data(theirs));
  integer step = 0, waits = 0;
  wire run = clk & step < {fill + plan.words + 1500};
  initial begin wrong = 0; compared = 0; addr = 0; w_addr = 0; w_data = 0; w_en = 0; enable = 1; end
  always @(negedge run) if (!rst) begin
    step <= step + 1;
    w_data <= {{$urandom, $urandom}};
    addr <= step < {fill} ? 0 : step < {fill + plan.words} ? step - {fill} : $urandom % {plan.words};
    enable <= {int(not plan.held)} | step < {fill} | ($urandom % 4 != 0);
    if (step < {fill}) begin w_addr <= step / {per_word}; w_en <= 1 << (step % {per_word}); end
    else begin
      w_addr <= $urandom % {plan.words};
      w_en <= step < {fill + plan.words + 40} ? 0 : ($urandom % 3 == 0) << ($urandom % {per_word});
    end
    if (step == {fill}) waits <= {plan.latency + 2};
    else if ({int(plan.write == "parts")} && w_en != 0) waits <= {plan.latency + 2};
    else if ({int(plan.write == "word" and not plan.settled)} && w_en != 0 && addr == w_addr)
      waits <= {4 * plan.latency + 8};
    else if (waits != 0) waits <= waits - 1;
    if (step > {fill + 1} && waits == 0) begin
      compared <= compared + 1;
      if (mine !== theirs) wrong <= wrong + 1;
    end
  end
endmodule
"""


def test_ecp5_cells_equal_plain_words(tmp_path: Path) -> None:
    """Read at every address, with a model of the cell; then at random, with writes and pauses between."""
    text, count = "", len(ECP5_PLANS)
    for index, plan in enumerate(ECP5_PLANS):
        plan = dataclasses.replace(plan, technology=ECP5)
        assert plan.in_cells
        blocks = plan.mapped.cells if plan.mapped.kind == "block" else 0
        for name, one in (("cells", plan), ("plain", dataclasses.replace(plan, plain=True))):
            emitted = emit(Memory(one), name=f"{name}{index}").text
            assert emitted.count("DP16KD #(") == (blocks if name == "cells" else 0)
            text += emitted
        text += bench_of(index, plan)
    text += f"""
module bench;
  reg clk = 0, rst = 1;
  wire [31:0] wrong [0:{count - 1}], compared [0:{count - 1}];
  {" ".join(f"pair{n} pair{n} (clk, rst, wrong[{n}], compared[{n}]);" for n in range(count))}
  integer n;
  initial begin
    #22 rst = 0; #400000;
    for (n = 0; n < {count}; n = n + 1) $display("%0d %0d %0d", n, wrong[n], compared[n]);
    $finish;
  end
  always #5 clk = ~clk;
endmodule
"""
    (tmp_path / "bench.v").write_text(text)
    subprocess.run(
        ["iverilog", "-g2012", "-s", "bench", "-o", tmp_path / "bench", tmp_path / "bench.v", DP16KD], check=True
    )
    said = subprocess.run(["vvp", tmp_path / "bench"], check=True, capture_output=True, text=True).stdout
    results = [tuple(map(int, line)) for line in re.findall(r"^(\d+) (\d+) (\d+)$", said, re.MULTILINE)]
    assert len(results) == count
    for index, wrong, compared in results:
        assert wrong == 0, ECP5_PLANS[index]
        assert compared > ECP5_PLANS[index].words
