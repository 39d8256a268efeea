"""Lane adapters: every code arrives, in order, whatever the numbers of lanes and whoever stalls."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import unsigned
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import run_stream, transfers

from abc_hw.rtl_gen.blocks.lanes import AdapterPlan, LaneAdapter
from abc_hw.rtl_gen.parts.arith import ceil_div
from abc_hw.rtl_gen.parts.stream import CodeStream


def adapter_plan(channels: int, i_lanes: int, o_lanes: int) -> AdapterPlan:
    """Of one pixel of 3-bit codes."""
    code = unsigned(3)
    return AdapterPlan(shape=(1, 1, channels), i=CodeStream(i_lanes, code), o=CodeStream(o_lanes, code))


def pack(pixels: list[list[int]], lanes: int) -> list[list[int]]:
    """Transfers of ``lanes`` codes per pixel, filled up with code 0."""
    return [
        (pixel[start : start + lanes] + [0] * lanes)[:lanes]
        for pixel in pixels
        for start in range(0, len(pixel), lanes)
    ]


@settings(max_examples=40)
@given(
    channels=st.integers(1, 9), i_lanes=st.integers(1, 6), o_lanes=st.integers(1, 6),
    stalls=st.sampled_from([0.0, 0.4]), seed=st.integers(0, 100),
)
def test_codes_arrive_in_order(channels: int, i_lanes: int, o_lanes: int, stalls: float, seed: int) -> None:
    pixels = [[(7 * pixel + 3 * channel + 1) % 8 for channel in range(channels)] for pixel in range(5)]
    expected = pack(pixels, o_lanes)
    adapter = LaneAdapter(adapter_plan(channels, i_lanes, o_lanes))
    received, _ = run_stream(
        adapter, pack(pixels, i_lanes), expected=len(expected), stalls=stalls, seed=seed
    )
    assert [list(transfer) for transfer in received] == expected


@pytest.mark.parametrize("px", [2, 3, 4, 7])
@pytest.mark.parametrize(("channels", "i_lanes", "o_lanes"), [(5, 2, 4), (6, 4, 6), (7, 3, 1), (3, 1, 3)])
def test_lanes_adapt_within_each_pixel(px: int, channels: int, i_lanes: int, o_lanes: int) -> None:
    shape, code = (3, 5, channels), unsigned(3)
    plan = AdapterPlan(shape=shape, i=CodeStream(i_lanes, code, px), o=CodeStream(o_lanes, code, px))
    codes = np.random.default_rng(px).integers(8, size=(2, *shape))
    sent, expected = (transfers(codes, lanes, px).tolist() for lanes in (i_lanes, o_lanes))
    assert len(sent) == 2 * plan.i.transfers(shape)
    received, _ = run_stream(LaneAdapter(plan), sent, expected=len(expected), stalls=0.3, seed=channels)
    assert [list(transfer) for transfer in received] == expected
    assert plan.flow.inputs == plan.i.transfers(shape)
    assert plan.flow.outputs == plan.o.transfers(shape)


@pytest.mark.parametrize(
    ("channels", "i_lanes", "o_lanes"), [(8, 2, 8), (8, 8, 2), (6, 1, 3), (9, 3, 1), (6, 4, 6)]
)
def test_sustained_rate(channels: int, i_lanes: int, o_lanes: int) -> None:
    """Between pixels pass no more cycles than the wider side's transfers, or those through the common divisor."""
    pixels = [[1] * channels for _ in range(40)]
    adapter = LaneAdapter(adapter_plan(channels, i_lanes, o_lanes))
    per_pixel = max(adapter_plan(channels, i_lanes, o_lanes).cycles, ceil_div(channels, i_lanes))
    expected = pack(pixels, o_lanes)
    _, cycles = run_stream(adapter, pack(pixels, i_lanes), expected=len(expected))
    assert cycles + 1 == 40 * per_pixel + adapter_plan(channels, i_lanes, o_lanes).latency


def test_refuses_no_lanes() -> None:
    with pytest.raises(ValueError, match="number of output lanes must be a positive integer, not 0"):
        adapter_plan(3, 1, 0)
