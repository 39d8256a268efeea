"""An accelerator behind AXI, as a client sees it: images, loads, registers, and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles

from abc_hw import load
from abc_hw.rtl_gen.emit.manifest import Manifest
from abc_hw.rtl_gen.engine.design import make_plan
from abc_hw.rtl_gen.folding import KNOBS, LayerFolding
from abc_hw.sim.bench import Scoreboard, random_stalls, read, start
from abc_hw.sim.bench_axi import (
    DECERR,
    SLVERR,
    AxiCodeSource,
    AxiError,
    AxiRegisters,
    AxiScoreSink,
    AxiWeightLoader,
)


async def answer(access: Any) -> int:
    """RRESP or BRESP of an access."""
    try:
        await access
    except AxiError as error:
        return error.args[0]
    return 0


def words_of(design: Manifest, network: Any) -> list[int]:
    """What loads a network into the module."""
    foldings = {
        layer.name: LayerFolding(**{knob: getattr(layer, knob) for knob in KNOBS}) for layer in design.layers
    }
    return make_plan(network, foldings, weights="trained").load_words


def other_training(network: Any) -> Any:
    """Another network of the same shapes: its scores are others."""
    last = network.layers[-1]
    changed = dataclasses.replace(last, weights=last.weight_bases.levels - 1 - last.weights, bias=-last.bias)
    return dataclasses.replace(network, layers=(*network.layers[:-1], changed))


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def two_trainings_with_pauses_everywhere(dut: Any) -> None:
    design = read("core.json")
    source = AxiCodeSource(dut, design, stalls=random_stalls(0.3, seed=1))
    sink = AxiScoreSink(dut, design, stalls=random_stalls(0.3, seed=2))
    registers = AxiRegisters(dut, design, stalls=lambda channel: random_stalls(0.3, seed=3 + channel))
    await start(dut, design)
    network = load("example:tiny")
    other = other_training(network)
    loader = AxiWeightLoader(registers)
    assert await registers.read("id") == int.from_bytes(b"ABCH", "big")
    assert f"{await registers.read('digest_1'):08x}" == network.shape_digest[8:16]
    assert await registers.read("status") & 3 == 0
    for each in (network, other):
        board = Scoreboard(design, each)
        images = board.random_images(3, seed=1)
        await loader.load(words_of(design, each))
        sending = cocotb.start_soon(source.send(images))
        board.check(images, await sink.receive(len(images)))
        await sending
    assert await registers.read("images_in") == await registers.read("images_out") == 6
    await registers.write("control", 1)
    assert await registers.read("images_in") == await registers.read("images_out") == 0


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def malformed_packets_are_counted_and_change_no_other(dut: Any) -> None:
    design = read("core.json")
    source, sink = AxiCodeSource(dut, design), AxiScoreSink(dut, design)
    registers = AxiRegisters(dut, design)
    await start(dut, design)
    network = load("example:tiny")
    await AxiWeightLoader(registers).load(words_of(design, network))
    board = Scoreboard(design, network)
    images = board.random_images(5, seed=2)
    images[1].reshape(-1)[20:] = 0
    packets = [image.tobytes() for image in images]
    packets[1] = packets[1][:20]
    packets[3] += b"\x55" * 9
    for packet in packets:
        await source.send_packet(packet)
    board.check(images, await sink.receive(5))
    assert await registers.read("images_in") == await registers.read("images_out") == 5
    assert await registers.read("images_malformed") == 2
    assert await registers.read("status") == 0b101


@cocotb.test(timeout_time=10, timeout_unit="ms")
async def what_registers_refuse(dut: Any) -> None:
    design = read("core.json")
    assert design.axi is not None
    source = AxiCodeSource(dut, design)
    registers = AxiRegisters(dut, design)
    await start(dut, design)
    assert await answer(registers.read("load")) == SLVERR
    assert await answer(registers.write("cycles", 1)) == SLVERR
    assert await answer(registers.write("control", 1, size=2)) == SLVERR
    assert await answer(registers.write("load", 1 << 16)) == SLVERR
    assert await answer(registers.read(0xF0)) == DECERR
    assert await answer(registers.write(0xF0, 1)) == DECERR
    told = {
        "image": design.axi.image_bytes, "score": design.axi.score_bytes, "cycles": design.cycles_per_image,
        "classes": 3,
    }
    assert {name: await registers.read(name) for name in told} == told
    # While an image is under way a load waits: its first word is held, the next one is refused.
    network = load("example:tiny")
    words = words_of(design, network)
    await AxiWeightLoader(registers).load(words)
    await source.send(np.zeros((1, *network.input_shape), np.uint8))
    await ClockCycles(dut.clk, 5)
    assert await registers.read("status") == 0b111
    assert await answer(registers.write("load_first", words[0])) == 0
    assert await registers.read("status") == 0b011
    assert await answer(registers.write("load", words[1])) == SLVERR
