"""``resnet18`` at 224 x 224, with seeded weights: ``python -m pytest -m long tests/sim/test_large_graphs.py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from opinion import lint

from abc_hw.network import Graph
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.emit.verilog import generate
from abc_hw.rtl_gen.engine.graph_plan import GraphPlan
from abc_hw.sim import fast
from abc_hw.sim.native import simulate_scores
from abc_hw.training.lowering import to_network
from abc_hw.training.models import reestimate_batch_norm
from abc_hw.training.residual import DESIGNS, ResidualNet

pytestmark = pytest.mark.long


def resnet18(width: float) -> Graph:
    torch.manual_seed(1)
    model = ResidualNet(DESIGNS["resnet18"], (224, 224, 3), 1000, M=1, N=1, width=width)
    model.set_integer(True)
    reestimate_batch_norm(model, [torch.randint(0, 256, (2, 3, 224, 224), dtype=torch.uint8)])
    graph = to_network(model, name="resnet18", classes=[str(index) for index in range(1000)])
    assert isinstance(graph, Graph)
    return graph


def test_one_of_a_quarter_of_the_width_gives_the_golden_scores() -> None:
    graph = resnet18(0.25)
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    found = simulate_scores(graph, image, foldings=fold(graph), jobs=1)
    assert found.bound == 256_000
    assert np.array_equal(found.scores, fast.run(graph, image))


def test_one_of_the_whole_width_is_generated_and_linted(tmp_path: Path) -> None:
    graph = resnet18(1)
    foldings = fold(graph)
    plan = GraphPlan(network=graph, foldings=foldings)
    assert plan.cycles == 2_458_624
    assert len(plan.buffers) == 8  # of joins, one in each block
    (tmp_path / "accelerator.v").write_text(generate(graph, foldings))
    said = lint(tmp_path / "accelerator.v")
    assert said.returncode == 0, said.stderr
