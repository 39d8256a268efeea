"""Pixel adapters: every code arrives, in order, whatever the numbers of pixels and whoever stalls."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import unsigned
from streams import run_stream, transfers

from abc_hw.rtl_gen.blocks.pixels import PixelAdapter, PixelPlan
from abc_hw.rtl_gen.parts.stream import CodeStream

CODE = unsigned(3)


def pixel_plan(shape: tuple[int, int, int], lanes: int, i_px: int, o_px: int) -> PixelPlan:
    return PixelPlan(shape=shape, i=CodeStream(lanes, CODE, i_px), o=CodeStream(lanes, CODE, o_px))


@pytest.mark.parametrize("width", [1, 5, 14])
@pytest.mark.parametrize(("i_px", "o_px"), [(1, 4), (4, 1), (2, 3), (3, 2), (4, 7), (6, 3)])
def test_codes_arrive_in_order(width: int, i_px: int, o_px: int) -> None:
    """Under stalls, and, where nobody stalls, as fast as the plan says."""
    shape, lanes = (2, width, 3), 1 + (width + i_px) % 3
    plan = pixel_plan(shape, lanes, i_px, o_px)
    codes = np.random.default_rng(width).integers(8, size=(4, *shape))
    taken = []
    for maps, stalls in ((3, 0.4), (3, 0.0), (4, 0.0)):
        sent, expected = (transfers(codes[:maps], lanes, px).tolist() for px in (i_px, o_px))
        received, cycles = run_stream(PixelAdapter(plan), sent, expected=len(expected), stalls=stalls, seed=o_px)
        assert [list(transfer) for transfer in received] == expected
        taken.append(cycles)
    assert taken[2] - taken[1] == plan.cycles
    assert (plan.flow.inputs, plan.flow.outputs) == (len(sent) // 4, len(expected) // 4)


@pytest.mark.parametrize(("i_px", "o_px"), [(2, 3), (4, 1), (3, 7)])
def test_latency_and_what_it_needs(i_px: int, o_px: int) -> None:
    plan = pixel_plan((1, 5, 2), 2, i_px, o_px)
    sent = transfers(np.ones((1, *plan.shape), np.int64), 2, i_px).tolist()
    needed = int(plan.flow.need[0])
    _, cycles = run_stream(PixelAdapter(plan), sent[:needed], expected=1)
    assert cycles == needed - 1 + plan.latency
    with pytest.raises(AssertionError, match="0 of 1 transfers"):
        run_stream(PixelAdapter(plan), sent[: needed - 1], expected=1, most_cycles=50)


def test_refuses_other_lanes() -> None:
    with pytest.raises(ValueError, match="must change nothing but pixels"):
        PixelPlan(shape=(1, 1, 1), i=CodeStream(1, CODE, 2), o=CodeStream(2, CODE, 2))
