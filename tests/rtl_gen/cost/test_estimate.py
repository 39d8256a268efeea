"""The estimator against synthesis, and against the hardware's own figures."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from amaranth.back import rtlil
from places import EXAMPLES

from abc_hw.network import Network, ScaleForm, description
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.cost.estimate import (
    BLOCKS,
    COEFFICIENTS,
    LUTS_PER_DISTRIBUTED,
    TARGETS,
    Area,
    estimate,
    total,
)
from abc_hw.rtl_gen.emit.yosys import run_yosys
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan
from abc_hw.rtl_gen.engine.layer import LayerPlan
from abc_hw.rtl_gen.folding import LayerFolding, default_foldings
from abc_hw.rtl_gen.parts.matches import LayerNumbers


def synthesised(network: Network, foldings: dict[str, LayerFolding], folder: Path) -> Counter[str]:
    """Cells of the whole accelerator by type."""
    source, report = folder / "top.il", folder / "stat.json"
    accelerator = Accelerator(AcceleratorPlan.of(network, foldings, target=TARGETS["ecp5"]))
    source.write_text(rtlil.convert(accelerator, name="top", emit_src=False))
    run_yosys(f"read_rtlil {source}", "synth_ecp5 -nowidelut -abc9 -top top", f"tee -q -o {report} stat -json")
    return Counter(json.loads(report.read_text())["design"]["num_cells_by_type"])


def multiplying() -> Network:
    """Not one of the networks that the coefficients come from: multipliers, and block RAMs of several kinds."""
    rng = np.random.default_rng(11)
    form = ScaleForm(kind="fixed", bits=6)
    conv = random_layer(
        rng, name="conv1", in_shape=(10, 10, 2), out_channels=16, kernel=(3, 3), N=4, input_kind="planes",
        alpha_scale=form, pool=2, levels=3,
    )
    dense = random_layer(
        rng, name="dense2", in_shape=conv.out_shape, out_channels=10, kernel=conv.out_shape[:2], M=2, N=2,
        alpha_scale=form, beta_scale=form, levels=None,
    )
    return Network(name="multiplying", layers=(conv, dense), classes=tuple("abcdefghij"))


@pytest.mark.parametrize(("network", "foldings"), [
    (
        multiplying(),
        {"conv1": LayerFolding(simd=6, pe=2, mp=3, np=2), "dense2": LayerFolding(simd=16, pe=2, mp=2, np=1)},
    ),
    (description.load(EXAMPLES / "tiny.toml")[0], None),
])
def test_against_synthesis(
    network: Network, foldings: dict[str, LayerFolding] | None, tmp_path: Path
) -> None:
    foldings = foldings or default_foldings(network)
    cells = synthesised(network, foldings, tmp_path)
    area = estimate(network, foldings).area
    assert area.brams == cells["DP16KD"]
    assert area.dsps == cells["MULT18X18D"]
    luts = cells["LUT4"] + 2 * cells["CCU2C"] + LUTS_PER_DISTRIBUTED * cells["TRELLIS_DPR16X4"]
    assert abs(area.luts / luts - 1) < 0.15, (area.luts, luts)
    assert abs(area.ffs / cells["TRELLIS_FF"] - 1) < 0.15, (area.ffs, cells["TRELLIS_FF"])


def test_memories_are_those_of_the_hardware() -> None:
    """Shapes, by asking the generated netlist."""
    network = multiplying()
    foldings = {"conv1": LayerFolding(simd=4, pe=6, mp=3, np=4), "dense2": LayerFolding(simd=6, pe=1)}
    text = rtlil.convert(
        Accelerator(AcceleratorPlan.of(network, foldings, target=TARGETS["ecp5"])), name="top", emit_src=False
    )
    built = sorted(
        (int(words[2]), int(words[4]))
        for words in (line.split() for line in text.splitlines())
        if words[:1] == ["memory"] and int(words[4]) > 1
    )
    made = estimate(network, foldings)
    shapes = [memory.plan for layer in made.layers for memory in layer.memories]
    banks = [
        (len(shape.kept), min(shape.bank_words, shape.words - first)) for shape in shapes
        if shape.mapped.kind != "block" for first in range(0, shape.words, shape.bank_words)
    ]
    assert sorted(banks) == built
    assert (12, 64) in banks, "one is deeper than a bank"
    blocks = sum(shape.mapped.cells for shape in shapes if shape.mapped.kind == "block")
    assert text.count("cell \\DP16KD ") == blocks == made.area.brams > 0


def test_cycles_and_parts_add_up() -> None:
    network, _ = description.load(EXAMPLES / "lenet.toml")
    foldings = default_foldings(network)
    made = estimate(network, foldings)
    plan = AcceleratorPlan.of(network, foldings)
    assert made.cycles == plan.cycles
    assert [layer.cycles for layer in made.layers] == [layer.cycles for layer in plan.layers]
    assert made.limiting == "conv2"
    assert list(made.blocks) == [block for block in BLOCKS if block in made.blocks]
    parts = total([*(layer.area for layer in made.layers), *made.output.values()])
    assert (parts.brams, parts.dsps) == (made.area.brams, made.area.dsps)
    assert parts.luts == pytest.approx(made.area.luts)


def test_more_hardware_costs_more() -> None:
    layer = multiplying().layers[0]
    few, many = (LayerPlan(LayerNumbers(layer), LayerFolding(simd=2, pe=pe, mp=3, np=4)) for pe in (2, 8))
    assert many.array.quantities["dot bits"] == 4 * few.array.quantities["dot bits"] > 0
    assert Area(1, 2, 3, 4) + Area(10, 20, 30, 40) == Area(11, 22, 33, 44)


def test_coefficients_say_where_they_come_from() -> None:
    for family, known in json.loads(COEFFICIENTS.read_text()).items():
        assert known["command"].endswith(f"--devices {family}")
        assert len(known["accelerators"]) >= (30 if family == "ecp5" else 25)
