# amaranth: UnusedElaboratable=no
"""Networks that are no chains on boards: the same link, driver and commands."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from command_line import abc_hw, done, refused
from random_graphs import random_codes, residual_block

from abc_hw.boards import build, fit
from abc_hw.boards.gateware.top import LinkedAccelerator
from abc_hw.boards.host.run import run
from abc_hw.boards.identity import Identity
from abc_hw.boards.platforms import find
from abc_hw.errors import InputError
from abc_hw.network import Graph, files
from abc_hw.network.nodes import Scores, SumPool
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.cost.graph_estimate import estimate_graph
from abc_hw.rtl_gen.engine.design import folded_names, plan_of
from abc_hw.rtl_gen.schedule import LayerFolding
from abc_hw.sim import golden


def classifier() -> Graph:
    """A residual block whose sums over the map are scores."""
    block = residual_block()
    nodes = (
        *block.nodes[:-1],
        SumPool(name="mean", inputs=("leave",), size=(5, 5), stride=(1, 1)),
        Scores(name="scores", inputs=("mean",), bias=np.array([3, -2])),
    )
    return dataclasses.replace(block, nodes=nodes, classes=("one", "other"))


def test_a_simulated_board_gives_the_golden_scores() -> None:
    graph = classifier()
    images = random_codes(np.random.default_rng(1), graph, 12)
    found = run(graph, images)
    assert np.array_equal(found.scores, golden.run_graph(graph, images).output)
    assert found.resent == 0


def test_a_board_says_which_graph_it_has() -> None:
    graph = classifier()
    slow = {name: LayerFolding() for name in folded_names(graph)}
    identity = Identity.of(plan_of(graph, slow), clock=12_000_000)
    identity.check(graph)
    other = dataclasses.replace(graph, nodes=(*graph.nodes[:-1], dataclasses.replace(
        graph.nodes[-1], bias=np.array([3, -1])
    )))
    with pytest.raises(InputError, match=r"^expected a device with block, digest [0-9a-f]+, found [0-9a-f]+$"):
        identity.check(other)


def test_what_has_no_scores_is_refused() -> None:
    block = residual_block()
    line = "block: expected a network with classes for the host link, found none"
    with pytest.raises(InputError, match=f"^{line}$"):
        LinkedAccelerator(block, fold(block), clock=12_000_000)


def test_the_fit_counts_what_the_plan_has() -> None:
    """Block RAMs to the block; a board that is too small is told, with a folding that has room."""
    graph, board = classifier(), find("ulx3s-85f")
    linked = build.design(board, graph)
    plan = linked.accelerator.plan
    assert fit.block_count(plan.memories) == estimate_graph(graph, plan.foldings).area.brams
    small = dataclasses.replace(board, part=dataclasses.replace(board.part, luts=1500))
    with pytest.raises(InputError, match=r"^block: expected at most 1,500 LUTs on ulx3s-85f, found at least "):
        fit.check(small, graph, fold(graph, cycles=100), "rom", needs=lambda foldings: 0)


def test_commands_take_graphs(tmp_path: Path) -> None:
    """Cycles that are told are the plan's; foldings that are written come back."""
    graph, folding = classifier(), tmp_path / "folding.toml"
    network = tmp_path / "net.safetensors"
    files.save(graph, network)
    cycles = plan_of(graph, fold(graph, cycles=400)).cycles
    assert f"an image every {cycles:,} cycles" in done("fold", network, "--cycles", 400, "-o", folding)
    assert f"an image every {cycles:,} cycles" in done("report", network, "--folding", folding)
    line = "expected --fps or --cycles for block, which is no chain of layers: the look-up tables between its"
    assert refused("fold", network) == f"fit: {line} convolutions are not estimated"
    line = "expected a chain of layers for a page, found block; without it tables come"
    assert refused("report", network, "--html", tmp_path / "page.html") == f"html: {line}"
    line = "weights: expected rom for block, which is no chain of layers, found loaded"
    built = abc_hw("build", network, "--board", "icebreaker", "--weights", "loaded", "--out", tmp_path / "build")
    assert (built.exit_code, built.stderr.splitlines()[-1]) == (2, f"error: {line}")
