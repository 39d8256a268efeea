"""The Verilog of a network against the golden model, as a check behind other tests."""

from __future__ import annotations

import numpy as np

from abc_hw.network import Graph
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.sim.expected import random_images
from abc_hw.sim.runner import simulate


def assert_verilog_equals_golden(
    graph: Graph, count: int, *, stalls: float = 0.2, simulator: str = "icarus", cycles: int | None = None
) -> None:
    """Every unit's stream and the output for random inputs, with stalls; folded for so many cycles per image."""
    images = random_images(graph, count, np.random.default_rng(3))
    result = simulate(graph, images, foldings=fold(graph, cycles=cycles), simulator=simulator, stalls=stalls)
    assert result.ok, [layer for layer in result.layers if layer.bits_differing]
    assert len(result.scores) == count
