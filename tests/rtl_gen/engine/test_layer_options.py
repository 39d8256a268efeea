"""Options of a layer's engine, with random stalls: what only convolutions of graphs have (padding by side and
code, strides by axis, groups, integers that leave), and several pixels at once."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from streams import run_stream, transfers

from abc_hw.errors import InputError
from abc_hw.network import Bases, ScaleForm
from abc_hw.network.fused import Fused
from abc_hw.network.nodes import Conv, MaxPool
from abc_hw.rtl_gen.engine.layer import LayerEngine, LayerPlan
from abc_hw.rtl_gen.parts.matches import LayerNumbers
from abc_hw.rtl_gen.schedule import LayerFolding, Schedule, candidates
from abc_hw.sim import golden


@dataclasses.dataclass(frozen=True)
class Case:
    """A convolution on a map, and its folding."""

    shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    code: int = 0
    groups: int = 1
    channels: int = 4
    pool: int = 1
    integers: bool = False
    folding: LayerFolding = dataclasses.field(default_factory=LayerFolding)

    def layer(self, bases: tuple[int, int] = (2, 2)) -> Fused:
        rng, form = np.random.default_rng(7), ScaleForm(kind="fixed", bits=4)
        m, n = bases
        conv = Conv(
            name="c", inputs=("input",), kernel=self.kernel, stride=self.stride, padding=self.padding,
            padding_code=self.code, groups=self.groups, weight_bases=Bases(kind="planes", count=m),
            input_bases=Bases(kind="planes", count=n), beta=rng.integers(1, 5, n), beta_scale=form,
            alpha=rng.integers(-5, 6, (self.channels, m)), alpha_scale=form,
            weights=rng.integers(0, 1 << m, (self.channels, *self.kernel, self.shape[2] // self.groups)).astype(
                np.uint8),
        )
        if self.integers:
            return Fused(conv=conv, in_shape=self.shape)
        low, high = conv.acc_bounds
        thresholds = np.sort(rng.integers(low[:, None] // 2, high[:, None] // 2 + 1, (self.channels, 3)), axis=1)
        return Fused(conv=conv, in_shape=self.shape, thresholds=thresholds, pool=self.pool)


CASES = {
    "sides": Case((5, 6, 3), (3, 3), padding=(2, 0, 1, 2), folding=LayerFolding(simd=3, pe=2)),
    "code": Case((4, 5, 4), (3, 3), padding=(1, 1, 1, 1), code=2, folding=LayerFolding(simd=2, pe=4, np=2)),
    "code, columns": Case((4, 5, 2), (3, 3), padding=(1, 1, 1, 1), code=3, folding=LayerFolding(simd=4, pe=2)),
    "code, window": Case((4, 5, 2), (2, 3), padding=(1, 0, 2, 2), code=1, folding=LayerFolding(simd=12, pe=2)),
    "strides": Case((7, 6, 2), (3, 2), stride=(2, 1), padding=(0, 1, 1, 0), folding=LayerFolding(simd=4, pe=1)),
    "other strides": Case((4, 9, 2), (2, 3), stride=(1, 3), folding=LayerFolding(simd=2, pe=2, mp=2)),
    "groups": Case((4, 4, 6), (3, 3), padding=(1, 1, 1, 1), groups=2, folding=LayerFolding(simd=3, pe=2)),
    "groups, pooled": Case((6, 5, 4), (3, 2), groups=2, pool=2, folding=LayerFolding(simd=1, pe=1, mp=2)),
    "depthwise": Case((5, 5, 4), (3, 3), (2, 2), (1, 1, 1, 1), code=1, groups=4, folding=LayerFolding(np=2)),
    "integers": Case((4, 3, 3), (2, 2), integers=True, folding=LayerFolding(simd=3, pe=3)),
    "integers, groups": Case((4, 3, 4), (2, 2), groups=2, integers=True, folding=LayerFolding(simd=2, pe=2)),
    "signal": Case((1, 12, 3), (1, 4), (1, 2), (0, 0, 3, 1), code=2, folding=LayerFolding(simd=1, pe=2)),
}


def expected(layer: Fused, codes: np.ndarray) -> np.ndarray:
    """What the layer hands on, by the golden functions of its nodes."""
    found = golden.conv(layer.conv, codes) + layer.biases
    if layer.thresholds is None:
        return found
    levels = (found[..., None] >= layer.thresholds).sum(axis=-1).astype(np.uint8)
    side = (layer.pool, layer.pool)
    return golden.max_pool(MaxPool(name="p", inputs=("c",), size=side, stride=side), levels)


POOLED = {
    "pooled": Case((5, 9, 3), (2, 3), padding=(0, 0, 1, 1), pool=2, folding=LayerFolding(simd=3, pe=2)),
    "pooled by three": Case((6, 11, 2), (1, 2), pool=3, folding=LayerFolding(simd=4, pe=2, np=2)),
    "columns": Case((4, 8, 2), (3, 3), folding=LayerFolding(simd=4, pe=3, mp=2)),
    "window": Case((5, 8, 2), (3, 3), (2, 1), (1, 1, 1, 1), folding=LayerFolding(simd=18, pe=4, np=2, mp=2)),
    "many words": Case((3, 7, 5), (3, 3), (1, 2), (0, 0, 2, 2), folding=LayerFolding(simd=2, pe=4, mp=2)),
}
PIXELS = [(2, 1), (3, 2), (4, 3), (7, 1), (2, 4), (1, 3), (5, 2)]
"""Pixels at once, and pixels that come at once."""


def checked(plan: LayerPlan, images: int, stalls: float) -> list[int]:
    """The cycles in which codes come, each as the golden functions have it."""
    layer = plan.numbers.layer
    codes = np.random.default_rng(1).integers(0, 4, (images, *layer.in_shape)).astype(np.uint8)
    right = expected(layer, codes)
    sent, wanted = transfers(codes, plan.i.lanes, plan.i.px), transfers(right, plan.o.lanes, plan.o.px)
    assert (plan.flow.inputs * images, plan.flow.outputs * images) == (len(sent), len(wanted))
    moments: list[int] = []
    received, _ = run_stream(
        LayerEngine(plan), sent.tolist(), expected=len(wanted), stalls=stalls, moments=moments
    )
    found = np.array([[int(lane) for lane in transfer] for transfer in received])
    real = transfers(np.ones_like(right), plan.o.lanes, plan.o.px).astype(bool)
    counts = real | (layer.thresholds is not None)  # codes of what is not there are 0
    assert (found[counts] == wanted[counts]).all()
    return moments


@pytest.mark.parametrize("name", CASES)
def test_equals_the_golden_functions(name: str) -> None:
    checked(LayerPlan(LayerNumbers(CASES[name].layer()), CASES[name].folding), 2, 0.2)


@pytest.mark.parametrize(("name", "turn"), [
    ("sides", 0), ("strides", 0), ("groups, pooled", 0), ("pooled by three", 0), ("window", 0), ("many words", 0),
    *(
        pytest.param(name, turn, marks=pytest.mark.long)
        for name in (*CASES, *POOLED) for turn in range(len(PIXELS))
    ),
])
def test_several_pixels_equal_the_golden_functions(name: str, turn: int) -> None:
    """Under stalls; and with none every image takes what the plan says."""
    case = {**CASES, **POOLED}[name]
    layer = case.layer()
    px, px_in = PIXELS[([*CASES, *POOLED].index(name) + turn) % len(PIXELS)]
    folding = dataclasses.replace(case.folding, px=min(px, layer.conv_shape[1]))
    plan = LayerPlan(LayerNumbers(layer), folding, px_in=px_in)
    checked(plan, 1, 0.2)
    moments, told = checked(plan, 5, 0.0), []

    def taken(offered: int) -> int:
        told.append(offered)
        return offered

    take = plan.timing(taken)
    for _ in range(5 * plan.flow.inputs):
        take(0)
    assert np.ptp(np.subtract(moments, told)) == 0
    assert moments[-1] - moments[-1 - plan.flow.outputs] == plan.cycles


def test_foldings_of_groups_waste_no_lane() -> None:
    layer = CASES["groups"].layer()
    found = {(schedule.folding.simd, schedule.folding.pe) for schedule in candidates(layer)}
    assert found == {(simd, pe) for simd in (1, 3) for pe in (1, 2)}
    assert Schedule(layer, LayerFolding(simd=3, pe=2)).cycles == 4 * 4 * 2 * 4 * 9


@pytest.mark.parametrize(("name", "folding", "line"), [
    ("groups", LayerFolding(simd=2),
     "c.folding.simd: expected a divisor of the 3 channels of a group, found 2; nearest that fits: 1 or 3"),
    ("groups", LayerFolding(pe=3), "c.folding.pe: expected 1 to 2, found 3"),
    ("code", LayerFolding(simd=3),
     "c.folding.simd: expected a divisor of 4 channels, 4 times 2 to 3 kernel columns, or 36, the whole window, "
     "found 3; nearest that fits: 2 or 4"),
])
def test_foldings_that_do_not_fit(name: str, folding: LayerFolding, line: str) -> None:
    with pytest.raises(InputError) as found:
        Schedule(CASES[name].layer(), folding)
    assert str(found.value) == line
