"""Scores pass, and the label is the lowest index among the greatest."""

from __future__ import annotations

import numpy as np
from amaranth.hdl import signed
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import run_stream

from abc_hw.rtl_gen.blocks.classifier import ArgMax, ArgMaxPlan
from abc_hw.sim import golden


@settings(max_examples=25)
@given(
    classes=st.integers(1, 6), seed=st.integers(0, 999), stalls=st.sampled_from([0.0, 0.4]),
    spread=st.sampled_from([1, 3, 15]),
)
def test_equals_golden(classes: int, seed: int, stalls: float, spread: int) -> None:
    """A small spread makes ties, also of negative scores."""
    rng = np.random.default_rng(seed)
    scores = rng.integers(-spread - 1, spread + 1, size=(4, classes))
    component = ArgMax(ArgMaxPlan(classes=classes, score=signed(5)))
    received, _ = run_stream(
        component, [[int(score)] for score in scores.flat], expected=scores.size, stalls=stalls, seed=seed
    )
    assert [transfer.score for transfer in received] == scores.flatten().tolist()
    last = [bool(transfer.last) for transfer in received]
    assert last == ([False] * (classes - 1) + [True]) * 4
    assert [transfer.label for transfer in received if transfer.last] == golden.classify(scores).tolist()


def test_latency_and_rate_are_the_plans() -> None:
    plan = ArgMaxPlan(classes=5, score=signed(5))
    sent = [[score - 8] for score in range(15)]
    _, cycles = run_stream(ArgMax(plan), sent, expected=len(sent))
    assert cycles + 1 == 3 * plan.cycles + plan.latency  # the last one's cycle is not counted
