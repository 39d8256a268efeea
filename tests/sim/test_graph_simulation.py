"""The Verilog of graphs in both simulators: every unit's stream against the golden model, stalls, cycles, faults.

The long sweep is ``python -m pytest -m long tests/sim/test_graph_simulation.py``.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from opinion import lint
from random_graphs import random_codes, random_foldings, random_graph, residual_block

from abc_hw.network import Bases, Graph, ScaleForm
from abc_hw.network.nodes import Conv, Threshold
from abc_hw.rtl_gen.blocks.pointwise import PointwisePlan
from abc_hw.rtl_gen.blocks.search import SearchPlan
from abc_hw.rtl_gen.engine.graph_folding import fold_graph
from abc_hw.rtl_gen.engine.graph_plan import GraphPlan
from abc_hw.rtl_gen.engine.lowering import units_of
from abc_hw.sim import diagnosis, golden
from abc_hw.sim.runner import SimulationResult, simulate

SIMULATORS = ("verilator", "icarus")
SUITE, ALL = {0: "verilator", 1: "icarus", 14: "icarus"}, sorted(set(range(2, 100)) - {14})
"""Seeds of the random graphs that the suite tries, each in one simulator, and of those that the long command adds.
The 14th is done before its pools have taken all that they leave out."""


def simulated(graph: Graph, seed: int, simulator: str, work_dir: Path) -> SimulationResult:
    rng = np.random.default_rng(seed)
    images = random_codes(rng, graph)
    result = simulate(
        graph, images, foldings=random_foldings(rng, graph), simulator=simulator, stalls=0.3, seed=seed,
        work_dir=work_dir,
    )
    assert np.array_equal(result.scores, golden.run_graph(graph, images).output)
    return result


@pytest.mark.parametrize("seed", [*SUITE, *(pytest.param(seed, marks=pytest.mark.long) for seed in ALL)])
def test_random_graphs_in_verilog(seed: int, tmp_path: Path) -> None:
    """Linted, and equal in both simulators with stalls on both streams; the suite takes one of them."""
    graph = random_graph(np.random.default_rng(seed))
    names = {unit.name for unit in units_of(graph)}
    for simulator in [SUITE[seed]] if seed in SUITE else SIMULATORS:
        result = simulated(graph, seed, simulator, tmp_path / simulator)
        assert result.ok, result.layers
        assert {layer.name for layer in result.layers} <= names | {"output"}
    said = lint(tmp_path / simulator / "accelerator.v")
    assert said.returncode == 0, said.stderr


def test_a_residual_block_meets_the_bound_and_faults_in_it_are_named(tmp_path: Path) -> None:
    graph = residual_block()
    foldings = fold_graph(graph, 400)
    images = random_codes(np.random.default_rng(1), graph, 4)
    result = simulate(graph, images, foldings=foldings, simulator="icarus", work_dir=tmp_path)
    assert result.ok
    assert {layer.name for layer in result.layers} == {"cut1", "inner", "skip", "sum", "cut2", "leave", "output"}
    assert result.cycles_between_images == [result.bound] * 3
    assert result.labels is None

    def mutate(text: str) -> str:
        body = re.search(r"^module accelerator_sum\(.*?^endmodule", text, re.MULTILINE | re.DOTALL)
        assert body is not None
        changed, count = re.subn(r"(\$signed\(\w+\)|\w+) \+ ", r"\1 - ", body[0], count=1)
        assert count == 1, body[0]
        return text[: body.start()] + changed + text[body.end() :]

    place = diagnosis.locate(graph, images, foldings=foldings, mutate=mutate)
    assert place is not None
    assert (place.layer, place.block) == ("sum", "add")
    sums = golden.run_graph(graph, images).values["sum"]
    assert sums[place.image, *place.pixel, place.channel] == place.expected


@pytest.mark.parametrize("evenly", [False, True])
def test_thresholds_of_eight_bits_are_searched_or_multiplied(evenly: bool, tmp_path: Path) -> None:
    """255 of each channel, in a unit of its own between a convolution and the next one; linted."""
    rng = np.random.default_rng(0)
    block, codes = residual_block(), Bases(kind="planes", count=8)
    enter, leave = block.nodes[0], block.nodes[-2]
    assert isinstance(enter, Conv)
    assert isinstance(leave, Conv)
    leave = dataclasses.replace(
        leave, inputs=("cut",), input_bases=codes, beta=1 << np.arange(8),
        beta_scale=ScaleForm(kind="pow2", bits=9),
    )
    thresholds = np.sort(rng.integers(-30, 60, (2, 255)), axis=1)
    if evenly:
        starts, steps = np.array([[-30.5], [-17.1]]), np.array([[0.31], [0.17]])
        thresholds = np.ceil(starts + steps * np.arange(255)).astype(int)
    graph = dataclasses.replace(block, nodes=(
        enter, Threshold(name="cut", inputs=("enter",), thresholds=thresholds, bases=codes), leave,
        block.nodes[-1],
    ))
    assert [unit.kind for unit in units_of(graph)] == ["conv", "threshold", "conv"]
    plan = GraphPlan(network=graph, foldings=fold_graph(graph, 300))
    assert isinstance(plan.plans["cut"], PointwisePlan if evenly else SearchPlan)
    images = random_codes(rng, graph)
    found = simulate(
        graph, images, foldings=plan.foldings, simulator="icarus", stalls=0.2, work_dir=tmp_path
    )
    assert found.ok, found.layers
    said = lint(tmp_path / "accelerator.v")
    assert said.returncode == 0, said.stderr
