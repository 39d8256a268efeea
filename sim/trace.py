"""What every block of a layer should hand on, transfer by transfer, and where each number of it belongs.

For each block of a layer engine that can be watched in simulation (:data:`BLOCKS`) this is the golden model's
result in the order of the layer's loops: what finds the block in which a fault begins.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from abc_hw.network import CodeArray, IntArray
from abc_hw.rtl_gen.engine.layer import LayerPlan
from abc_hw.rtl_gen.folding import Schedule

from . import golden
from .parts import scale_matches

__all__ = ["BLOCKS", "Field", "Transfer", "transfers_of"]


class Field(NamedTuple):
    """A number in a transfer: image, (row, column) of the output pixel, channel, what it should be."""

    image: int
    pixel: tuple[int, int]
    channel: int
    value: int


class Transfer(NamedTuple):
    """Fields of ``bits`` bits, the first one lowest; None where any number will do."""

    bits: int
    fields: list[Field | None]


BLOCKS = {
    "window": ("array", "word", "a"),
    "array": ("array", "valid", "dots"),
    "scale": ("scale", "valid", "matches"),
    "threshold": ("output", "valid", "o"),
    "pool": ("", "o__valid", "o__payload"),
}
"""Block, in the order of the data -> the module in the layer's that shows its result, the port that tells when,
and the port with the result. A layer's own port has a ready beside its valid."""


def transfers_of(block: str, plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    """What a block of a layer hands on for input codes [B, H, W, C]."""
    return {
        "window": _windows, "array": _dots, "scale": _matches, "threshold": _codes, "pool": _pooled,
    }[block](plan, codes)


def _pixels(schedule: Schedule, images: int) -> Iterator[tuple[int, int, int]]:
    height, width, _ = schedule.layer.conv_shape
    return itertools.product(range(images), range(height), range(width))


def _windows(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    """Window words; a field's channel is its place in the kernel, (row, column, channel) in one number."""
    schedule, layer = plan.schedule, plan.numbers.layer
    height, width, channels = *layer.kernel, layer.in_shape[2]
    under = golden.windows(layer.conv, codes)
    across, deep = schedule.column_words * schedule.columns, schedule.channel_words * schedule.lanes
    place = np.full((height, across, deep), -1)
    place[:, :width, :channels] = np.arange(layer.dot_length).reshape(height, width, channels)
    words = place.reshape(
        schedule.row_words, schedule.rows, schedule.column_words, schedule.columns, schedule.channel_words,
        schedule.lanes,
    ).transpose(0, 2, 4, 1, 3, 5).reshape(schedule.words, -1)
    again = schedule.groups * schedule.passes_n * schedule.passes_m
    for image, row, column in _pixels(schedule, len(codes)):
        values = under[image, row, column]
        made = [
            Transfer(layer.input_bases.bits, [
                None if at < 0 else Field(image, (row, column), at, int(values[at])) for at in word.tolist()
            ])
            for word in words
        ]
        for _ in range(again):
            yield from made


def _dots(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    schedule, layer, folding = plan.schedule, plan.numbers.layer, plan.folding
    counts = golden.popcounts(layer.conv, codes)
    bits = layer.dot_length.bit_length()
    for image, row, column in _pixels(schedule, len(codes)):
        found = counts[image, row, column]
        for group, n, m in itertools.product(
            range(schedule.groups), range(schedule.passes_n), range(schedule.passes_m)
        ):
            fields: list[Field | None] = []
            for pe, mp, at in itertools.product(range(folding.pe), range(folding.mp), range(folding.np)):
                where = group * folding.pe + pe, m * folding.mp + mp, n * folding.np + at
                there = all(index < size for index, size in zip(where, found.shape, strict=True))
                fields.append(Field(image, (row, column), where[0], int(found[where])) if there else None)
            yield Transfer(bits, fields)


def _by_lanes(plan: LayerPlan, values: IntArray, bits: int, *, to: int) -> Iterator[Transfer]:
    """Numbers [B, H, W, C] as transfers of ``out_lanes``, ``to`` channels a pixel; those past C are None."""
    lanes, channels = plan.o.lanes, values.shape[-1]
    for image, row, column in itertools.product(*map(range, values.shape[:3])):
        found = values[image, row, column].tolist()
        for first in range(0, to, lanes):
            yield Transfer(bits, [
                Field(image, (row, column), channel, found[channel]) if channel < channels else None
                for channel in range(first, first + lanes)
            ])


def _matches(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    numbers, channels = plan.numbers, plan.schedule.groups * plan.folding.pe
    counts = golden.popcounts(numbers.layer.conv, codes)
    return _by_lanes(plan, scale_matches(numbers, counts), numbers.shape.width, to=channels)


def _codes(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    trace = golden.run_layer(plan.numbers.layer, codes)
    values: npt.NDArray[Any] = trace.output[:, None, None, :] if trace.levels is None else trace.levels
    return _by_lanes(plan, values, plan.o.shape.width, to=plan.schedule.out_transfers * plan.o.lanes)


def _pooled(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    layer = plan.numbers.layer
    output = golden.run_layer(layer, codes).output
    return _by_lanes(
        plan, output.reshape(len(codes), *layer.out_shape), plan.o.shape.width,
        to=plan.schedule.out_transfers * plan.o.lanes,
    )
