"""Pools of any size, stride and padding against their golden functions; latency and rate."""

from __future__ import annotations

import numpy as np
import pytest
from streams import run_stream, transfers

from abc_hw.network import Bases, Codes, Integers
from abc_hw.network.nodes import MaxPool, SumPool
from abc_hw.rtl_gen.blocks.window_pool import WindowPool, WindowPoolPlan
from abc_hw.sim import golden

Window = tuple[tuple[int, int], tuple[int, int], tuple[int, int, int, int]]

WINDOWS: dict[str, Window] = {
    "squares": ((2, 2), (2, 2), (0, 0, 0, 0)),
    "resnet": ((3, 3), (2, 2), (1, 1, 1, 1)),
    "dense": ((3, 3), (1, 1), (1, 1, 1, 1)),
    "uneven": ((3, 2), (2, 1), (2, 0, 0, 1)),
    "apart": ((2, 1), (3, 2), (0, 1, 0, 0)),
    "whole": ((5, 6), (1, 1), (0, 0, 0, 0)),
    "row": ((1, 4), (1, 3), (0, 0, 3, 2)),
}
SHAPE = (5, 6, 3)
CODES = Codes(Bases(kind="planes", count=3), SHAPE)
INTEGERS = Integers(np.array([-9, 0, -100]), np.array([5, 30, -2]), SHAPE)


def node_of(window: Window, *, sums: bool, least: list[bool] | None = None) -> MaxPool | SumPool:
    size, stride, padding = window
    if sums:
        return SumPool(name="n", inputs=("input",), size=size, stride=stride, padding=padding)
    flags = None if least is None else np.array(least)
    return MaxPool(name="n", inputs=("input",), size=size, stride=stride, padding=padding, least=flags)


def maps(edge: Codes | Integers, images: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (images, *edge.shape)
    if isinstance(edge, Codes):
        return rng.integers(0, edge.bases.levels, shape, dtype=np.uint8)
    return rng.integers(edge.low, edge.high + 1, shape)


@pytest.mark.parametrize("kind", ["codes", "integers", "sum", "least"])
@pytest.mark.parametrize("name", WINDOWS)
def test_equals_the_golden_function(name: str, kind: str) -> None:
    lanes = 1 + (list(WINDOWS).index(name) + len(kind)) % 3
    edge = CODES if kind == "codes" else INTEGERS
    node = node_of(WINDOWS[name], sums=kind == "sum", least=[True, False, True] if kind == "least" else None)
    images = maps(edge, 2)
    expected = golden.NODES[node.kind](node, images)
    real = transfers(np.ones_like(expected), lanes).astype(bool)
    received, _ = run_stream(
        WindowPool(WindowPoolPlan(node=node, edge=edge, lanes=lanes)), transfers(images, lanes).tolist(),
        expected=len(real), stalls=0.3,
    )
    found = np.array([[int(lane) for lane in transfer] for transfer in received])
    assert len(found) == len(real)
    assert (found[real] == transfers(expected, lanes)[real]).all()


@pytest.mark.parametrize("name", WINDOWS)
def test_the_rate_is_the_plans(name: str) -> None:
    plan = WindowPoolPlan(node=node_of(WINDOWS[name], sums=False), edge=CODES, lanes=2)
    cycles = []
    for images in (2, 4):
        values = transfers(maps(CODES, images), 2)
        expected = images * np.prod(plan.o_edge.shape[:2]) * plan.words
        _, taken = run_stream(WindowPool(plan), values.tolist(), expected=int(expected))
        cycles.append(taken)
    assert cycles[1] - cycles[0] == 2 * plan.cycles


@pytest.mark.parametrize("padding", [0, 1])
def test_the_latency_is_the_plans(padding: int) -> None:
    """Of the first window, with and without a queue for rows behind the map."""
    node = node_of(((3, 4), (1, 1), (0, padding, 0, 0)), sums=True)
    plan = WindowPoolPlan(node=node, edge=INTEGERS, lanes=3)
    values = transfers(maps(INTEGERS, 1), 3)
    _, cycles = run_stream(WindowPool(plan), values.tolist(), expected=1)
    assert bool(plan.queue_depth) == bool(padding)
    assert cycles + 1 == 2 * 6 + 4 + plan.latency
