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

from abc_hw.network import CodeArray
from abc_hw.rtl_gen.engine.layer import LayerPlan
from abc_hw.rtl_gen.folding import Schedule
from abc_hw.rtl_gen.parts.stream import CodeStream

from . import golden
from .parts import scale_matches

__all__ = ["BLOCKS", "Field", "Transfer", "by_lanes", "transfers_of"]


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
    "scale": ("scale", "soon", "matches"),
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


def _groups(schedule: Schedule, images: int) -> Iterator[tuple[int, int, list[int | None]]]:
    """(image, row, columns of the pixels that are computed at once; None past the end of the row)"""
    (height, width, _), px = schedule.layer.conv_shape, schedule.folding.px
    for image, row, first in itertools.product(range(images), range(height), range(0, width, px)):
        yield image, row, [column if column < width else None for column in range(first, first + px)]


def _windows(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    """Window words; a field's channel is its place in the kernel, (row, column, channel) in one number."""
    schedule, layer = plan.schedule, plan.numbers.layer
    height, width, channels = *layer.kernel, layer.in_shape[2] // layer.groups
    under = [golden.windows(layer.conv, codes, group) for group in range(layer.groups)]
    across, deep = schedule.column_words * schedule.columns, schedule.dot_words * schedule.lanes
    place = np.full((height, across, deep), -1)
    place[:, :width, :channels] = np.arange(layer.dot_length).reshape(height, width, channels)
    words = place.reshape(
        schedule.row_words, schedule.rows, schedule.column_words, schedule.columns, schedule.dot_words,
        schedule.lanes,
    ).transpose(0, 2, 4, 1, 3, 5).reshape(schedule.words, -1)
    again = schedule.groups_each * schedule.passes_n * schedule.passes_m
    for (image, row, columns), seen in itertools.product(_groups(schedule, len(codes)), under):
        made = [
            Transfer(layer.input_bases.bits, [
                None if at < 0 or column is None
                else Field(image, (row, column), at, int(seen[image, row, column, at]))
                for column in columns for at in word.tolist()
            ])
            for word in words
        ]
        for _ in range(again):
            yield from made


def _dots(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    schedule, layer, folding = plan.schedule, plan.numbers.layer, plan.folding
    counts = golden.popcounts(layer.conv, codes)
    bits = layer.dot_length.bit_length()
    for image, row, columns in _groups(schedule, len(codes)):
        for group, n, m in itertools.product(
            range(schedule.channel_groups), range(schedule.passes_n), range(schedule.passes_m)
        ):
            fields: list[Field | None] = []
            for column, pe, mp, at in itertools.product(
                columns, range(folding.pe), range(folding.mp), range(folding.np)
            ):
                where = group * folding.pe + pe, m * folding.mp + mp, n * folding.np + at
                there = all(index < size for index, size in zip(where, counts.shape[3:], strict=True))
                fields.append(
                    Field(image, (row, column), where[0], int(counts[image, row, column][where]))
                    if there and column is not None else None
                )
            yield Transfer(bits, fields)


def by_lanes(
    values: npt.NDArray[Any], bits: int, lanes: int, px: int, *, to: int, at_once: int = 0
) -> Iterator[Transfer]:
    """Numbers [B, H, W, C] as transfers of ``lanes`` channels of ``px`` pixels, ``to`` channels a pixel; those
    past C or W are None. With ``at_once`` a transfer comes in pieces of so many pixels."""
    width, channels = values.shape[2:]
    each = at_once or px
    for image, row, group, first, start in itertools.product(
        range(len(values)), range(values.shape[1]), range(0, width, px), range(0, to, lanes), range(0, px, each)
    ):
        yield Transfer(bits, [
            Field(image, (row, column), channel, int(values[image, row, column, channel]))
            if channel < channels and column < width else None
            for column in range(group + start, group + start + each) for channel in range(first, first + lanes)
        ])


def _matches(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    numbers, schedule = plan.numbers, plan.schedule
    counts = golden.popcounts(numbers.layer.conv, codes)
    return by_lanes(
        scale_matches(numbers, counts), numbers.shape.width, schedule.out_lanes, schedule.folding.px,
        to=schedule.channels, at_once=schedule.scale_lanes.pixels,
    )


def _codes(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    layer = plan.numbers.layer
    trace = golden.run_layer(layer, codes)
    values: npt.NDArray[Any] = trace.output if trace.levels is None else trace.levels
    return _travelling(plan, values.reshape(len(codes), *layer.conv_shape), plan.output.o)


def _pooled(plan: LayerPlan, codes: CodeArray) -> Iterator[Transfer]:
    layer = plan.numbers.layer
    output = golden.run_layer(layer, codes).output
    return _travelling(plan, output.reshape(len(codes), *layer.out_shape), plan.o)


def _travelling(plan: LayerPlan, values: npt.NDArray[Any], stream: CodeStream) -> Iterator[Transfer]:
    to = plan.schedule.out_transfers * stream.lanes
    return by_lanes(values, stream.shape.width, stream.lanes, stream.px, to=to)
