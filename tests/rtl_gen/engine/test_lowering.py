"""Units of an accelerator compute what the graph does: golden functions of both, on random graphs."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import random_codes, random_graph

from abc_hw.network import Bases, Codes, Graph, ScaleForm
from abc_hw.network.fused import Fused
from abc_hw.network.graph import INPUT
from abc_hw.network.nodes import Conv, MaxPool, Output, Scores, Threshold
from abc_hw.rtl_gen.blocks.correction import Correction
from abc_hw.rtl_gen.engine.lowering import Unit, units_of
from abc_hw.sim import golden


def compute(unit: Unit, *values: np.ndarray) -> np.ndarray:
    """What a unit hands out."""
    does = unit.does
    if isinstance(does, Correction):
        return values[0] - does.per_position
    if not isinstance(does, Fused):
        return golden.NODES[does.kind](does, *values)
    found = golden.conv(does.conv, values[0]) + does.biases
    if does.thresholds is not None:
        found = (found[..., None] >= does.thresholds).sum(axis=-1).astype(np.uint8)
    side = (does.pool, does.pool)
    return golden.max_pool(MaxPool(name="p", inputs=("x",), size=side, stride=side), found)


@given(st.integers(0, 2**32))
def test_units_compute_the_graph(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph = random_graph(rng)
    images = random_codes(rng, graph)
    expected = golden.run_graph(graph, images).output
    values = {INPUT: golden.check_images(graph, images)}
    units = units_of(graph)
    for unit in units:
        values[unit.name] = compute(unit, *(values[name] for name in unit.inputs))
        assert values[unit.name].shape[1:] == unit.edge.shape or isinstance(unit.does, Scores)
        if isinstance(unit.does, Fused):
            assert unit.does.out_shape == unit.edge.shape
    assert (values[units[-1].name].reshape(expected.shape) == expected).all()


def chain(count: int = 2) -> Graph:
    """A convolution whose positions outside count nothing, with thresholds and a pool, and one behind it."""
    bases, form = Bases(kind="planes", count=count), ScaleForm(kind="fixed", bits=4)
    rng = np.random.default_rng(0)

    def conv(name: str, source: str, channels: int, **fields: object) -> Conv:
        return Conv(
            name=name, inputs=(source,), weight_bases=Bases(kind="planes", count=1), input_bases=bases,
            weights=rng.integers(0, 2, (3, 3, 3, channels)).astype(np.uint8), alpha=np.ones((3, 1), np.int64),
            alpha_scale=form, beta=2 ** np.arange(count), beta_scale=ScaleForm(kind="pow2", bits=8), kernel=(3, 3),
            **fields,
        )

    thresholds = np.sort(rng.integers(-9, 9, (3, bases.levels - 1)), axis=1)
    return Graph(
        name="g", input=Codes(bases, (4, 4, 2)),
        nodes=(
            conv("a", "input", 2, padding=(1, 1, 1, 1), padding_code=None),
            MaxPool(name="p", inputs=("a",), size=(2, 2), stride=(2, 2)),
            Threshold(name="t", inputs=("p",), thresholds=thresholds, bases=bases),
            conv("b", "t", 3, padding=(1, 0, 0, 1), padding_code=None), Output(name="o", inputs=("b",)),
        ),
    )


def test_what_is_fused() -> None:
    graph = chain()
    nodes = list(graph.nodes)
    nodes[0] = dataclasses.replace(nodes[0], padding_code=2)
    units = units_of(dataclasses.replace(graph, nodes=tuple(nodes)))
    assert [unit.name for unit in units] == ["t", "b.padded", "b"]
    fused = units[0].does
    assert isinstance(fused, Fused)
    assert (fused.pool, fused.padding_code, fused.out_shape) == (2, 2, (2, 2, 3))


def test_where_positions_outside_count_nothing_a_correction_follows() -> None:
    units = units_of(chain())
    assert [unit.name for unit in units] == ["a.padded", "a", "p", "t", "b.padded", "b"]
    correction = units[1].does
    assert isinstance(correction, Correction)
    assert correction.table.shape == (3, 3, 3)
    assert list(correction.rows) == [0, 1, 1, 2]
