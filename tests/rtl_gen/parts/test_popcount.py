"""Popcount forms: simulated, and proven equal to the definition."""

import itertools
import random
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiger_bdd import Diagrams, circuit_outputs, count_of
from amaranth.back import rtlil
from amaranth.sim import Simulator

from abc_hw.rtl_gen.parts.coding import CODES, parity_code
from abc_hw.rtl_gen.parts.popcount import TARGETS, Popcount, PopcountPlan, XorPopcount
from abc_hw.rtl_gen.parts.popcount_forms import FORMS

SIMULATED = [form for form in FORMS if form != "ccu2c"]  # the simulator has no vendor cells
CCU2C = "-DNO_INCLUDES +/ecp5/cells_sim.v"


def bits_of(number: int, width: int) -> list[int]:
    return [number >> index & 1 for index in range(width)]


def word(bits: list[int]) -> int:
    return sum(bit << index for index, bit in enumerate(bits))


def run_counts(dut: XorPopcount | Popcount, words: list[tuple[int, ...]]) -> list[int]:
    """What comes out for one word a cycle, ``latency`` cycles after each."""
    simulator = Simulator(dut)
    if dut.plan.latency:
        simulator.add_clock(1e-6)
    ports = (dut.i,) if isinstance(dut, Popcount) else (dut.a, dut.b)
    found: list[int] = []

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for cycle in range(len(words) + dut.plan.latency):
            for port, value in zip(ports, words[min(cycle, len(words) - 1)], strict=True):
                ctx.set(port, value)
            if dut.plan.latency == 0:
                await ctx.delay(1e-6)
                found.append(ctx.get(dut.o))
            else:
                await ctx.tick()
                if cycle + 1 >= dut.plan.latency:
                    found.append(ctx.get(dut.o))

    simulator.add_testbench(bench)
    simulator.run()  # ends with the bench
    return found[: len(words)]


@pytest.mark.parametrize("pipeline", [0, 1, 3])
@pytest.mark.parametrize("form", SIMULATED)
def test_counts_every_word_after_its_latency(form: str, pipeline: int) -> None:
    for width in (1, 2, 3, 5, 6):
        dut = Popcount(PopcountPlan(width=width, pipeline=pipeline, form=form))
        assert dut.plan.latency == (-(-dut.plan.levels // pipeline) if pipeline else 0)
        words = [(value,) for value in range(1 << width)]
        assert run_counts(dut, words) == [value.bit_count() for (value,) in words]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("form", SIMULATED)
def test_counts_every_difference(form: str, code: str) -> None:
    width = 3
    pairs = list(itertools.product(range(1 << width), repeat=2))
    words = [
        tuple(word(parity_code(bits_of(value, width))) if code == "parity" else value for value in pair)
        for pair in pairs
    ]
    dut = XorPopcount(PopcountPlan(width=width, form=form, code=code))
    assert run_counts(dut, words) == [(a ^ b).bit_count() for a, b in pairs]


@pytest.mark.parametrize(("form", "code", "width", "pipeline"), [
    (form, code, width, 1 + index % 3)
    for index, (form, code, width) in enumerate(itertools.product(SIMULATED, CODES, (37, 64, 100)))
])
def test_counts_random_differences(form: str, code: str, width: int, pipeline: int) -> None:
    source = random.Random(width)
    pairs = [(0, 0), (0, (1 << width) - 1)] + [(source.getrandbits(width),) * 2 for _ in range(2)]
    pairs += [(source.getrandbits(width), source.getrandbits(width)) for _ in range(30)]
    words = [
        tuple(word(parity_code(bits_of(value, width))) if code == "parity" else value for value in pair)
        for pair in pairs
    ]
    dut = XorPopcount(PopcountPlan(width=width, pipeline=pipeline, form=form, code=code))
    assert run_counts(dut, words) == [(a ^ b).bit_count() for a, b in pairs]


@pytest.fixture
def deep_recursion() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    yield
    sys.setrecursionlimit(before)


def prove(form: str, code: str, width: int, folder: Path) -> None:
    """The netlist's outputs are the count of differing bits: as functions, for all operands."""
    diagrams = Diagrams()
    operands = {
        name: [diagrams.node(2 * index + offset, 0, 1) for index in range(width)]
        for offset, name in enumerate("ab")
    }
    differences = [diagrams.xor(a, b) for a, b in zip(operands["a"], operands["b"], strict=True)]
    if code == "parity":
        for bits in operands.values():
            parity = 0
            for index, bit in enumerate(bits):
                parity = diagrams.xor(parity, bit)
                bits[index] = bit if (width - index) % 2 == 0 else parity
    dut = XorPopcount(PopcountPlan(width=width, pipeline=0, form=form, code=code))
    cells = CCU2C if form == "ccu2c" else None
    found = circuit_outputs(dut, operands, diagrams, str(folder), cells)
    assert found == {"o": count_of(differences, diagrams)}


@pytest.mark.usefixtures("deep_recursion")
@pytest.mark.parametrize("width", [1, 6, 13])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("form", FORMS)
def test_proven(form: str, code: str, width: int, tmp_path: Path) -> None:
    prove(form, code, width, tmp_path)


@pytest.mark.long
@pytest.mark.usefixtures("deep_recursion")
@pytest.mark.parametrize("width", [32, 50, 63, 64])
@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("form", FORMS)
def test_proven_wide(form: str, code: str, width: int, tmp_path: Path) -> None:
    prove(form, code, width, tmp_path)


@pytest.mark.long
@pytest.mark.usefixtures("deep_recursion")
@pytest.mark.parametrize("width", [*range(1, 21), 31, 33])
@pytest.mark.parametrize(("form", "code"), sorted(set(TARGETS.values())))
def test_proven_as_generated(form: str, code: str, width: int, tmp_path: Path) -> None:
    prove(form, code, width, tmp_path)


@pytest.mark.parametrize("target", ["ecp5-slices", "ecp5"])
@pytest.mark.parametrize("pipeline", [1, 2, 3])
def test_registers_are_as_many_as_told(target: str, pipeline: int) -> None:
    code = TARGETS[target].code if pipeline == 1 else "plain"
    for width in [*range(1, 34), 63, 64, 127, 191]:
        plan = PopcountPlan(width=width, pipeline=pipeline, target=target, code=code)
        text = rtlil.convert(XorPopcount(plan), name="top", emit_src=False)
        built = re.findall(r"cell \$dff .*?parameter \\WIDTH (\d+)", text, re.DOTALL)
        assert sum(map(int, built)) == plan.quantities["registers"]
        assert 2 * text.count("cell \\CCU2C ") == plan.quantities["slices"]


@pytest.mark.parametrize("code", CODES)
def test_carry_slices_are_as_many_as_told(code: str) -> None:
    for width in (*range(2, 34), 63, 64, 191):
        plan = PopcountPlan(width=width, form="ccu2c", code=code)
        text = rtlil.convert(XorPopcount(plan), name="top", emit_src=False)
        assert 2 * text.count("cell \\CCU2C ") == plan.quantities["slices"], width


def test_slices_take_in_their_operands_registered_or_not() -> None:
    assert {PopcountPlan(width=64, target=target).latency for target in ("ecp5-slices", "generic")} == {2}
    assert {PopcountPlan(width=64, target=target, pipeline=0).latency for target in TARGETS} == {0}


@pytest.mark.parametrize(("arguments", "message"), [
    ({"width": 0}, "Popcount width must be a positive integer, not 0"),
    ({"width": 4, "pipeline": -1}, "Levels between registers must be 0 or more, not -1"),
    ({"width": 4, "target": "abacus"}, "Popcount target must be one of generic, ecp5, .* not 'abacus'"),
    ({"width": 4, "form": "abacus"}, "Popcount form must be one of tree, carry, .* not 'abacus'"),
    ({"width": 4, "code": "morse"}, "Operand code must be one of plain, parity, not 'morse'"),
])
def test_refusals(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PopcountPlan(**arguments)
