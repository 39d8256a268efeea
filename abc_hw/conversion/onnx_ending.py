"""The end of an imported network: scores where real numbers rise with the integers alike, else integers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..errors import InputError
from ..network.edges import Integers
from ..network.nodes import Node, Output, Scores
from .onnx_state import Walk
from .values import Affine

__all__ = ["End", "finish"]


@dataclasses.dataclass(frozen=True)
class End:
    """Members
    -------
    classes : how many scores there are; 0 where the network ends in integers
    record : what the network's record keeps of the real numbers
    """

    classes: int
    record: dict[str, Any]


def finish(walk: Walk) -> tuple[list[Node], End]:
    """All nodes with the last one, and what it is.

    Raises
    ------
    InputError
        if the output does not depend on the image, or a ReLU or clip stands at the end.
    """
    number, place = walk.end, f"output {walk.source.said_output}"
    if number is None:
        raise InputError(f"{place}: expected one that depends on the image, found constants only")
    number = walk.integers(number)
    affine = number.steps.affine
    if affine is None:
        raise InputError(f"{place}: expected no ReLU or Clip at the end, found one")
    assert isinstance(number.edge, Integers)
    bias = _whole_bias(affine, number.channels)
    if number.edge.shape[:2] == (1, 1) and bias is not None:
        scale, offset = float(affine.factor[0]), float(affine.offset[0])
        node: Node = Scores(
            name="scores", inputs=(walk.source_of(number),), bias=bias, scale=scale, offset=offset
        )
        return [*walk.nodes, node], End(number.channels, {})
    factors, offsets = ([float(value) for value in values] for values in (affine.factor, affine.offset))
    node = Output(name="output", inputs=(walk.source_of(number),))
    return [*walk.nodes, node], End(0, {"output_scale": factors, "output_offset": offsets})


def _whole_bias(affine: Affine, channels: int) -> np.ndarray | None:
    """Integers to add so that one positive scale and one offset make the real numbers, if there are any."""
    if len(affine.factor) > 1 or affine.factor[0] <= 0:
        return None
    offsets = affine.offset * channels if len(affine.offset) == 1 else affine.offset
    biases = [(offset - offsets[0]) / affine.factor[0] for offset in offsets]
    if any(bias.denominator != 1 for bias in biases):
        return None
    return np.array([int(bias) for bias in biases], np.int64)
