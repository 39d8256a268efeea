"""Corrections behind convolutions whose positions outside count nothing; latency and rate."""

from __future__ import annotations

import numpy as np
import pytest
from streams import run_stream, transfers

from abc_hw.network import Bases, Integers, ScaleForm
from abc_hw.network.nodes import Conv
from abc_hw.rtl_gen.blocks.correction import Correct, Correction, CorrectionPlan
from abc_hw.sim import golden

SHAPE = (5, 4, 2)
CONVOLUTIONS = {
    "three": ((3, 3), (1, 1), (1, 1, 1, 1)), "strided": ((3, 2), (2, 1), (2, 1, 0, 1)),
    "row": ((1, 4), (1, 2), (0, 0, 3, 3)),
}


def convolution(name: str, padding_code: int | tuple[int, ...] | None) -> Conv:
    kernel, stride, padding = CONVOLUTIONS[name]
    rng, form = np.random.default_rng(3), ScaleForm(kind="fixed", bits=4)
    return Conv(
        name="c", inputs=("input",), kernel=kernel, stride=stride, padding=padding, padding_code=padding_code,
        weight_bases=Bases(kind="planes", count=2), input_bases=Bases(kind="planes", count=2),
        weights=rng.integers(0, 4, (3, *kernel, 2)).astype(np.uint8), alpha=rng.integers(-3, 4, (3, 2)),
        alpha_scale=form, beta=np.array([1, 3]), beta_scale=form,
    )


@pytest.mark.parametrize(("lanes", "code"), [(1, None), (2, None), (3, None), (2, (2, 1))])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_equals_positions_with_codes_of_their_own(
    name: str, lanes: int, code: tuple[int, ...] | None
) -> None:
    """Or with none, which count nothing."""
    padded, true = convolution(name, 0), convolution(name, code)
    codes = np.random.default_rng(0).integers(0, 4, (3, *SHAPE)).astype(np.uint8)
    arriving, expected = golden.conv(padded, codes), golden.conv(true, codes)
    edge = Integers(*padded.acc_bounds, arriving.shape[1:])
    o_edge = Integers(*true.acc_bounds, arriving.shape[1:])
    correction = Correction.of(true, SHAPE)
    assert (arriving - correction.per_position == expected).all()
    plan = CorrectionPlan(correction=correction, edge=edge, o_edge=o_edge, lanes=lanes)
    sent = transfers(arriving, lanes)
    received, _ = run_stream(Correct(plan), sent.tolist(), expected=len(sent), stalls=0.3)
    found = np.array([[int(lane) for lane in transfer] for transfer in received])
    real = transfers(np.ones_like(arriving), lanes).astype(bool)
    assert (found[real] == transfers(expected, lanes)[real]).all()
    _, cycles = run_stream(Correct(plan), sent.tolist(), expected=len(sent))
    assert cycles + 1 == 3 * plan.cycles + plan.latency
