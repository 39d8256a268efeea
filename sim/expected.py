"""What the golden model says that an accelerator hands on and out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from abc_hw.network import Graph, IntArray, Network
from abc_hw.network.fused import Fused
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.engine.design import AnyPlan

from . import golden

__all__ = ["Expected", "expected", "joined", "random_images"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Expected:
    """All that is compared.

    Members
    -------
    values : by the name of a layer or unit, and "input": what it hands on, [B, H, W, C]
    output : int64 [B, classes], or of a network without classes [B, H, W, C]
    classes : int64 [B], None where there are none
    """

    values: Mapping[str, npt.NDArray[Any]]
    output: IntArray
    classes: IntArray | None


def expected(plan: AnyPlan, images: npt.NDArray[Any]) -> Expected:
    """What an accelerator of that plan must make of images [B, H, W, C].

    Raises
    ------
    InputError : the images do not fit, see :func:`abc_hw.sim.golden.check_images`
    """
    values = {"input": golden.check_images(plan.network, images)}
    if isinstance(plan, AcceleratorPlan):
        trace = golden.run(plan.network, images)
        values |= {layer.name: _as_map(layer.output) for layer in trace.layers}
        return Expected(values=values, output=trace.scores, classes=trace.classes)
    found = golden.run_graph(plan.network, images)
    for unit in plan.units:
        if unit.name in found.values:
            values[unit.name] = _as_map(found.values[unit.name])
        else:  # a convolution before its correction
            assert isinstance(unit.does, Fused)
            values[unit.name] = golden.run_layer(unit.does, values[unit.inputs[0]]).output
    classes = found.classes if plan.network.classes else None
    return Expected(values=values, output=found.output.astype(np.int64), classes=classes)


def _as_map(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Scores [B, classes] as a map of one pixel."""
    return values if values.ndim == 4 else values[:, None, None, :]


def joined(one: Expected, other: Expected) -> Expected:
    """Of the images of both, one after the other."""
    assert one.classes is not None
    assert other.classes is not None
    return Expected(
        values={name: np.concatenate([values, other.values[name]]) for name, values in one.values.items()},
        output=np.concatenate([one.output, other.output]), classes=np.concatenate([one.classes, other.classes]),
    )


def random_images(network: Network | Graph, count: int, rng: np.random.Generator) -> npt.NDArray[Any]:
    """Random numbers as the network takes them: uint8, or int8 where they are signed, [count, H, W, C]."""
    levels = network.input.bases.levels
    codes = rng.integers(levels, size=(count, *network.input_shape), dtype=np.uint8)
    return (codes.astype(np.int64) - levels // 2).astype(np.int8) if network.signed else codes
