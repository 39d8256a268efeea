"""Weights that are loaded: into memories without contents, before images and between them."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import unsigned
from amaranth.sim import Simulator
from opinion import lint
from random_networks import other_weights, random_images, random_network, retrained
from rtl_cases import Case, sweep

from abc_hw.errors import InputError
from abc_hw.rtl_gen.emit.verilog import emit, generate
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan
from abc_hw.rtl_gen.engine.loading import GatePlan, Loader, parts
from abc_hw.rtl_gen.parts.matches import LayerNumbers
from abc_hw.rtl_gen.parts.memory import Memory
from abc_hw.rtl_gen.parts.memory_plan import MemoryPlan
from abc_hw.rtl_gen.parts.stream import CodeStream
from abc_hw.sim import golden
from abc_hw.sim.runner import simulate

CASES = sweep()


# -- whole accelerators --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES[1::8], ids=str)
def test_loaded_twice_equals_golden_twice(case: Case, tmp_path: Path) -> None:
    network = case.network()
    rng = np.random.default_rng(case.seed)
    images = random_images(rng, network, 6)
    other = other_weights(network, rng)
    assert (golden.run(network, images[3:]).scores != golden.run(other, images[3:]).scores).any()
    result = simulate(
        network, images, foldings=case.foldings(), simulator="icarus", stalls=0.3, seed=case.seed,
        weights="loaded", swap=other, work_dir=tmp_path,
    )
    assert result.ok, result.layers
    opinion = lint(tmp_path / "accelerator.v")
    assert (opinion.returncode, opinion.stderr) == (0, "")


@pytest.mark.parametrize("case", [CASES[2], CASES[9], CASES[22]], ids=str)
def test_any_training_is_loaded(case: Case, tmp_path: Path) -> None:
    """Two networks of one shape that have nothing else in common, one after the other in one accelerator."""
    rng = np.random.default_rng(case.seed)
    network = retrained(case.network(), rng)
    other = dataclasses.replace(retrained(network, rng), name="other")
    assert other.shape_digest == network.shape_digest
    assert other.constants_digest != network.constants_digest
    images = random_images(rng, network, 6)
    result = simulate(
        network, images, foldings=case.foldings(), simulator="icarus", stalls=0.3, seed=case.seed,
        weights="trained", swap=other, work_dir=tmp_path,
    )
    assert result.ok, result.layers
    text = (tmp_path / "accelerator.v").read_text()
    opinion = lint(tmp_path / "accelerator.v")
    assert (opinion.returncode, opinion.stderr) == (0, "")
    assert "initial" not in text
    assert other.shape_digest in text[: text.index("module ")]


def test_the_order_does_not_depend_on_pixels() -> None:
    case = next(case for case in CASES if case.px > 2)
    one, several = (
        AcceleratorPlan.of(case.network(), dataclasses.replace(case, px=px).foldings(), weights="loaded")
        for px in (1, case.px)
    )
    assert one.layers[0].cycles > several.layers[0].cycles
    assert one.load_words == several.load_words


def test_loaded_in_verilator_without_stalls_keeps_to_the_bound() -> None:
    case = CASES[16]
    network = case.network()
    images = random_images(np.random.default_rng(0), network, 5)
    result = simulate(network, images, foldings=case.foldings(), weights="loaded")
    assert result.ok, result.layers
    assert result.cycles_between_images == [result.bound] * 4


def test_a_word_that_differs_is_noticed() -> None:
    case = CASES[16]
    network = case.network()

    def flip_every_bit(text: str) -> str:
        before, loader = text.split("module accelerator_gate_loader", 1)
        changed = re.sub(r"i__payload\[\d+:0\];", r"~ \g<0>", loader)
        assert changed != loader
        return f"{before}module accelerator_gate_loader{changed}"

    images = random_images(np.random.default_rng(1), network, 4)
    result = simulate(
        network, images, foldings=case.foldings(), simulator="icarus", weights="loaded", mutate=flip_every_bit
    )
    assert not result.ok


def test_only_weights_may_differ() -> None:
    case = CASES[16]
    network = case.network()
    images = random_images(np.random.default_rng(1), network, 4)
    other = other_weights(network, np.random.default_rng(2))
    assert other.constants_digest == network.constants_digest
    assert other.digest != network.digest
    layer = network.layers[-1]
    changed = dataclasses.replace(layer, bias=layer.bias + 1)
    stranger = dataclasses.replace(network, layers=(*network.layers[:-1], changed))
    for swap, weights in ((stranger, "loaded"), (other, "rom")):
        with pytest.raises(InputError, match="swap: expected loaded weights and a network that differs from case"):
            simulate(network, images, foldings=case.foldings(), weights=weights, swap=swap)
    with pytest.raises(InputError, match="weights: expected rom, loaded, trained, found disk"):
        AcceleratorPlan.of(network, case.foldings(), weights="disk")  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(20))
def test_bounds_hold_for_all_weights(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = random_network(rng)
    for layer in network.layers:
        least, greatest = LayerNumbers(layer, learned={"weights"}).acc_bounds
        for code in range(layer.weight_bases.levels):
            conv = dataclasses.replace(layer.conv, weights=np.full_like(layer.weights, code))
            codes = rng.integers(layer.input_bases.levels, size=(2, *layer.in_shape), dtype=np.uint8)
            acc = golden.scale(conv, golden.popcounts(conv, codes))
            assert (acc >= least).all()
            assert (acc <= greatest).all()


# -- the Verilog ---------------------------------------------------------------------------------------------


def test_loaded_memories_have_no_contents() -> None:
    case = CASES[16]
    text = generate(case.network(), case.foldings(), weights="loaded")
    modules = dict(re.findall(r"^module (\w+)\(.*?\);(.*?)^endmodule", text, re.MULTILINE | re.DOTALL))
    for layer in ("conv", "dense"):
        module = modules[f"accelerator_{layer}_weights"]
        assert re.search(r"reg \[\d+:0\] any(?:_rest)?_array \[", module)
        assert "initial" not in module
        assert "initial" in modules[f"accelerator_{layer}_output_constants"]
    fixed = generate(case.network(), case.foldings())
    assert "initial" in fixed[fixed.index("module accelerator_conv_weights") :]


def test_header_tells_what_is_loaded() -> None:
    case = CASES[16]
    accelerator = Accelerator(AcceleratorPlan.of(case.network(), case.foldings(), weights="loaded"))
    text = generate(case.network(), case.foldings(), weights="loaded")
    header = text[: text.index("module ")]
    assert f"{len(accelerator.plan.load_words)} transfers" in header
    assert case.network().constants_digest in header
    assert case.network().digest not in header


def test_one_port_serves_reading_and_writing() -> None:
    text = emit(Memory(MemoryPlan(width=40, words=8, write="parts")), name="ram").text
    assert len(set(re.findall(r"any(?:_rest)?_array\[(\w+)\]", text))) == 1
    assert re.findall(r"reg \[(\d+):0\] (any\w+) \[7:0\]", text) == [
        ("31", "any_array"), ("7", "any_rest_array")
    ]
    assert "initial" not in text
    with pytest.raises(ValueError, match="at least one word, not 0"):
        MemoryPlan(width=3, words=0, write="parts")


# -- the loader ----------------------------------------------------------------------------------------------


def test_parts_are_lowest_first() -> None:
    assert parts([0x123456789, 0xABCDEF], 36) == [0x6789, 0x2345, 0x1, 0xCDEF, 0xAB, 0]


def test_loader_begins_anew_whenever_it_is_told() -> None:
    dut = Loader(GatePlan(memories=[(20, 3), (7, 2)], i=CodeStream(1, unsigned(1)), transfers=1))
    memories: list[dict[int, int]] = [{}, {}, {}]

    async def send(ctx: object, words: list[int], *, first: bool = True) -> None:
        for index, word in enumerate(words):
            ctx.set(dut.i.payload, {"data": word, "first": first and index == 0})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def drive(ctx: object) -> None:
        ctx.set(dut.idle, 1)
        await send(ctx, [9, 9, 9], first=False)  # nobody said that it begins
        assert not ctx.get(dut.loaded)
        await send(ctx, list(range(100, 105)))
        await send(ctx, list(range(8)))
        await ctx.tick().repeat(2)
        assert ctx.get(dut.loaded)
        assert memories == [{0: 0, 1: 2, 2: 4}, {0: 1, 1: 3, 2: 5}, {0: 6, 1: 7}]
        ctx.set(dut.idle, 0)
        ctx.set(dut.i.payload, {"data": 7, "first": 1})
        ctx.set(dut.i.valid, 1)
        for _ in range(5):
            await ctx.tick()
            assert not ctx.get(dut.i.ready)
            assert ctx.get(dut.loaded)
        ctx.set(dut.idle, 1)
        await send(ctx, [7])
        await ctx.tick()
        assert not ctx.get(dut.loaded)

    async def watch(ctx: object) -> None:
        async for _, _, en, addr, word in ctx.tick().sample(dut.en, dut.addr, dut.data):
            assert en.bit_count() <= 1
            if en:
                memories[en.bit_length() - 1][addr] = word

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(drive)
    simulator.add_testbench(watch, background=True)
    simulator.run()
