"""cocotb bench of any generated module: random input with pauses, compared with the golden function of its part.

The environment names the manifest (``ABC_HW_DESIGN``), which names everything else, and the seed
(``ABC_HW_SEED``). A difference fails the test; its message says where it is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
import numpy.typing as npt
from cocotb.triggers import ClockCycles, RisingEdge

from abc_hw import sources
from abc_hw.network import Graph, Network
from abc_hw.rtl_gen.emit.manifest import Manifest
from abc_hw.rtl_gen.emit.parts import layer_plan
from abc_hw.rtl_gen.engine.design import folded_names
from abc_hw.rtl_gen.folding import KNOBS, LayerFolding

from . import golden
from .bench import (
    CodeSink,
    CodeSource,
    DifferenceError,
    Scoreboard,
    ScoreSink,
    WeightLoader,
    random_stalls,
    read,
    start,
)
from .parts import ArrayDriver, ScaleDriver, array_dots, scale_matches

IMAGES = 3
DOTS = 8


def equal(what: str, expected: Any, found: Any) -> None:
    """DifferenceError at the first place where two arrays differ."""
    if expected.shape != found.shape:
        raise DifferenceError(f"{what}: expected {expected.shape}, found {found.shape}")
    for place in np.argwhere(expected != found)[:1]:
        where = tuple(place.tolist())
        raise DifferenceError(f"{what} {list(where)}: expected {expected[where]}, found {found[where]}")


@cocotb.test(timeout_time=10, timeout_unit="sec")
async def equals_golden(dut: Any) -> None:
    """The module gives what its part's golden function gives."""
    design = read(os.environ["ABC_HW_DESIGN"])
    rng = np.random.default_rng(int(os.environ["ABC_HW_SEED"]))
    kind = design.part.partition(":")[0]
    for port in design.signals:
        if port.direction == "in":
            getattr(dut, port.name).value = 0
    if design.axi is None:
        await start(dut, design)
    await PARTS[kind](dut, design, rng)


async def array(dut: Any, design: Manifest, rng: np.random.Generator) -> None:
    sizes = {name: int(value) for name, value in design.parameters.items() if isinstance(value, int)}
    levels = rng.integers(sizes["M"] + 1, size=(sizes["pe"], sizes["dot_length"]))
    codes = rng.integers(sizes["N"] + 1, size=(DOTS, sizes["dot_length"]))
    found, latency = await ArrayDriver(dut, design).dots(levels, codes)
    equal("dots [dot, channel, m, n]", array_dots(design, levels, codes), found)
    if latency != design.latency:
        raise DifferenceError(f"latency: expected {design.latency} cycles, found {latency}")


async def popcount(dut: Any, design: Manifest, rng: np.random.Generator) -> None:
    width, latency = int(design.parameters["width"]), design.latency or 0
    words = [int.from_bytes(rng.bytes(-(-width // 8))) & ((1 << width) - 1) for _ in range(DOTS)]
    counts = []
    for cycle in range(DOTS + latency):
        dut.i_valid.value = int(cycle < DOTS)
        if cycle < DOTS:
            dut.i.value = words[cycle]
        await RisingEdge(dut.clk)
        if dut.o_valid.value == 1:
            counts.append(int(dut.o.value))
    equal("counts [word]", np.array([word.bit_count() for word in words]), np.array(counts))


def of_layer(design: Manifest) -> tuple[Network | Graph, Any]:
    """The network of a layer's part, and the layer's plan."""
    assert design.network is not None
    network, _ = sources.read_design(design.network.source)
    if network.digest != design.network.digest:
        raise DifferenceError(f"{design.network.source}: expected the network {design.network.digest[:16]}")
    (record,) = design.layers
    foldings = dict.fromkeys(folded_names(network), LayerFolding())
    foldings[record.name] = LayerFolding(**{knob: getattr(record, knob) for knob in KNOBS})
    return network, layer_plan(network, foldings, record.name, weights=design.loads)


async def scale(dut: Any, design: Manifest, rng: np.random.Generator) -> None:
    _, plan = of_layer(design)
    layer = plan.numbers.layer
    shape = (DOTS, layer.out_channels, layer.weight_bases.count, layer.input_bases.count)
    counts = rng.integers(layer.dot_length + 1, size=shape)
    # Bases of a thermometer are not independent: counts that the array can give keep every sum within its width.
    counts = np.sort(np.sort(counts, axis=2), axis=3)[:, :, ::-1, ::-1]
    equal(f"{layer.name}: matches [pixel, channel]", scale_matches(plan.numbers, counts),
          await ScaleDriver(dut, design).matches(counts))


async def layer(dut: Any, design: Manifest, rng: np.random.Generator) -> None:
    _, plan = of_layer(design)
    found = plan.numbers.layer
    codes = rng.integers(found.input_bases.levels, size=(IMAGES, *found.in_shape), dtype=np.uint8)
    source = CodeSource(dut, design, stalls=random_stalls(0.3, seed=1))
    sink = CodeSink(dut, design, stalls=random_stalls(0.3, seed=2))
    await load(dut, design)
    await interrupted(dut, design, rng, source.send(codes))
    await load(dut, design)
    cocotb.start_soon(source.send(codes))
    expected = golden.run_layer(found, codes).output.reshape(IMAGES, *found.out_shape)
    equal(f"{found.name} [image, row, column, channel]", expected, await sink.receive(IMAGES))


async def interrupted(dut: Any, design: Manifest, rng: np.random.Generator, sending: Any) -> None:
    """Begin to send, and reset the module in the middle of the first image or so."""
    begun = cocotb.start_soon(sending)
    await ClockCycles(getattr(dut, design.clock), int(rng.integers(5, (design.cycles_per_image or 0) + 50)))
    begun.cancel()
    await start(dut, design, clock=False)


async def load(dut: Any, design: Manifest) -> None:
    """Load what the file beside the manifest has, where the module takes it."""
    if design.load is not None:
        folder = Path(os.environ["ABC_HW_DESIGN"]).parent
        await WeightLoader(dut, design, stalls=random_stalls(0.3, seed=3)).load(folder / design.load.file)


async def axi(
    dut: Any, design: Manifest, rng: np.random.Generator, board: Scoreboard, images: npt.NDArray[Any]
) -> None:
    """The same behind AXI, with pauses on all channels."""
    from .bench_axi import AxiCodeSource, AxiRegisters, AxiScoreSink, AxiWeightLoader

    source = AxiCodeSource(dut, design, stalls=random_stalls(0.3, seed=1))
    sink = AxiScoreSink(dut, design, stalls=random_stalls(0.3, seed=2))
    registers = AxiRegisters(dut, design, stalls=lambda channel: random_stalls(0.3, seed=3 + channel))

    async def load() -> None:
        if design.load is not None:
            folder = Path(os.environ["ABC_HW_DESIGN"]).parent
            await AxiWeightLoader(registers).load(folder / design.load.file)

    await start(dut, design)
    await load()
    await interrupted(dut, design, rng, source.send(images))
    source.clear()
    sink.clear()
    await load()
    sending = cocotb.start_soon(source.send(images))
    board.check(images, await sink.receive(len(images)))
    await sending
    for name, expected in (("images_in", len(images)), ("images_out", len(images)), ("images_malformed", 0)):
        equal(f"register {name}", np.array([expected]), np.array([await registers.read(name)]))


async def accelerator(dut: Any, design: Manifest, rng: np.random.Generator) -> None:
    board = Scoreboard(design)
    images = board.random_images(int(os.environ["ABC_HW_IMAGES"]), seed=int(rng.integers(1 << 30)))
    if design.axi is not None:
        await axi(dut, design, rng, board, images)
        return
    source = CodeSource(dut, design, stalls=random_stalls(0.3, seed=1))
    sink = ScoreSink(dut, design, stalls=random_stalls(0.3, seed=2))
    await load(dut, design)
    await interrupted(dut, design, rng, source.send(images))
    await load(dut, design)
    cocotb.start_soon(source.send(images))
    board.check(images, await sink.receive(len(images)))


PARTS = {"array": array, "popcount": popcount, "scale": scale, "layer": layer, "accelerator": accelerator}
"""Kind of part -> what drives and compares it."""
