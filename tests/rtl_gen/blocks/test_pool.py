"""Max-pool against the golden model."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import unsigned
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import run_stream, transfers

from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.blocks.pool import MaxPool, PoolPlan
from abc_hw.rtl_gen.parts.stream import CodeStream
from abc_hw.sim import golden


@settings(max_examples=25)
@given(
    height=st.integers(2, 7), width=st.integers(2, 7), channels=st.integers(1, 4), side=st.integers(2, 3),
    lanes=st.integers(1, 3), px=st.sampled_from([1, 2, 3, 4, 6]), stalls=st.sampled_from([0.0, 0.4]),
    seed=st.integers(0, 99),
)
def test_equals_golden(
    height: int, width: int, channels: int, side: int, lanes: int, px: int, stalls: float, seed: int
) -> None:
    if side > min(height, width):
        side = 2
    px = px if px % side == 0 or side % px == 0 else 1
    rng = np.random.default_rng(seed)
    layer = random_layer(
        rng, name="layer", in_shape=(height, width, 1), out_channels=channels, kernel=(1, 1), pool=side, levels=4
    )
    levels = rng.integers(4, size=(2, height, width, channels), dtype=np.uint8)
    pooled = golden.max_pool(layer.max_pool, levels)

    plan = PoolPlan(shape=(height, width, channels), side=side, i=CodeStream(lanes, unsigned(2), px))
    sent, expected = transfers(levels, lanes, px).tolist(), transfers(pooled, lanes, plan.o.px).tolist()
    assert (plan.flow.inputs, plan.flow.outputs) == (len(sent) // 2, len(expected) // 2)
    received, _ = run_stream(MaxPool(plan), sent, expected=len(expected), stalls=stalls, seed=seed)
    assert [list(transfer) for transfer in received] == expected


def test_takes_a_transfer_every_cycle() -> None:
    plan = PoolPlan(shape=(8, 8, 1), side=2, i=CodeStream(1, unsigned(2)))
    sent = [[1]] * 128
    _, cycles = run_stream(MaxPool(plan), sent, expected=32)
    assert cycles + 1 == 2 * plan.cycles + plan.latency  # the last one's cycle is not counted


def test_refuses_a_side_that_does_not_fit() -> None:
    with pytest.raises(ValueError, match="Pool side must be from 2 to 3, not 4"):
        PoolPlan(shape=(3, 5, 1), side=4, i=CodeStream(1, unsigned(2)))
    with pytest.raises(ValueError, match="Pool side must divide, or be a multiple of, 3 pixels, not 2"):
        PoolPlan(shape=(3, 5, 1), side=2, i=CodeStream(1, unsigned(2), 3))
