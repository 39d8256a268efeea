"""Layers whose memories answer late: what reads them waits for them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from random_networks import random_images

from abc_hw.network import Network
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan, WeightSource
from abc_hw.rtl_gen.parts import memory_plan
from abc_hw.rtl_gen.parts.memory_mapping import TECHNOLOGIES, MemoryCells, Technology
from abc_hw.rtl_gen.schedule import LayerFolding
from abc_hw.sim.runner import simulate

BLOCK = MemoryCells(kind="block", shapes=((4, 8),), cost=-100)
"""So small that the banks of every memory lie behind each other, and the more of them the better."""

ALL = Technology("all", (BLOCK,))
SINGLE = Technology("single", (dataclasses.replace(BLOCK, shapes=((16, 2),), writable=("parts",)),))
"""Window rows, queues and pools are registers, and come sooner than weights."""
RELAYED = Technology("relayed", (dataclasses.replace(BLOCK, shapes=((4, 4096),)),), output_register=True)
"""Words that logic takes have a register between."""

TABLES = Technology("tables", (MemoryCells(kind="distributed", shapes=((4, 4),), cost=0, constant=False),))
"""Memories of look-up tables, of which four words make a bank."""


@pytest.mark.parametrize(
    ("technology", "weights"), [(ALL, "rom"), (SINGLE, "loaded"), (RELAYED, "rom"), (TABLES, "rom")],
    ids=["all", "single", "relayed", "tables"],
)
def test_every_bit_with_banks_behind_each_other(
    technology: Technology, weights: WeightSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    conv = random_layer(
        rng, name="conv", in_shape=(4, 4, 2), out_channels=40, kernel=(3, 3), padding=1, M=2, N=2, pool=2, levels=4
    )
    dense = random_layer(rng, name="dense", in_shape=conv.out_shape, out_channels=3, kernel=(2, 2), levels=None)
    network = Network(name="late", layers=(conv, dense), classes=("a", "b", "c"))
    foldings = {"conv": LayerFolding(simd=2, mp=2, np=2), "dense": LayerFolding(simd=4)}
    at_once = AcceleratorPlan.of(network, foldings, weights=weights).layers[0].latency
    monkeypatch.setitem(TECHNOLOGIES, "generic", technology)
    monkeypatch.setattr(memory_plan, "TABLE_WORDS", 4)
    late = AcceleratorPlan.of(network, foldings, weights=weights)
    assert (late.layers[0].window.waits > 0) == (technology is SINGLE)
    assert late.layers[0].latency > at_once
    blocks = [block for layer in late.layers for block in layer.blocks.values()]
    assert any(memory.relays for block in blocks for memory in block.memories) == (technology is RELAYED)
    assert late.layers[0].weights.memory.relays == (technology is RELAYED), "counters take weights at once"
    images = random_images(rng, network, 3)
    result = simulate(network, images, foldings=foldings, simulator="icarus", stalls=0.2, weights=weights)
    assert result.ok, result.layers
