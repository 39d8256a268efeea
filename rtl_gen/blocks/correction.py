"""What positions outside a map added to a convolution, taken off again.

Where no code stands for 0, or channels have codes of their own outside, a convolution reads positions outside as
code 0; what that adds, or lacks, depends only on which part of the window lies outside. So there is one correction
for each way in which a window is clipped, and each channel.
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, Value

from abc_hw.network import IntArray
from abc_hw.network.edges import Integers, swept
from abc_hw.network.edges import Shape as MapShape
from abc_hw.network.nodes import Conv

from ..parts.arith import extend, range_shape
from ..parts.elastic import Elastic
from ..parts.memory import Memory
from ..parts.memory_plan import MemoryPlan, pack_fields
from .lanewise import LanewiseBlock, LanewisePlan

__all__ = ["Correct", "Correction", "CorrectionPlan"]


@dataclasses.dataclass(frozen=True, eq=False)
class Correction:
    """``x - table[class of the row, class of the column, c]``

    Members
    -------
    rows, columns : the class of each row and column of the map
    table : int64 [classes of rows, classes of columns, C]
    """

    rows: Sequence[int]
    columns: Sequence[int]
    table: IntArray

    @classmethod
    def of(cls, conv: Conv, shape: MapShape) -> "Correction":
        """Of a convolution on a map of ``shape``, for positions outside that are read as code 0."""
        height, width = swept(conv.name, shape, conv.kernel, conv.stride, conv.padding)
        down = _clips(shape[0], height, conv.kernel[0], conv.stride[0], conv.padding[0])
        along = _clips(shape[1], width, conv.kernel[1], conv.stride[1], conv.padding[2])
        rows, columns = (sorted(set(clips), key=clips.index) for clips in (down, along))
        taps = conv.outside_taps
        table = np.zeros((len(rows), len(columns), conv.out_channels), np.int64)
        for y, (top, bottom) in enumerate(rows):
            for x, (left, right) in enumerate(columns):
                table[y, x] = taps[:, top:bottom, left:right].sum(axis=(1, 2)) - taps.sum(axis=(1, 2))
        return cls([rows.index(clip) for clip in down], [columns.index(clip) for clip in along], table)

    @property
    def per_position(self) -> IntArray:
        """What is taken off at each position: int64 [H, W, C]."""
        return self.table[np.ix_(self.rows, self.columns)]


def _clips(size: int, windows: int, kernel: int, stride: int, before: int) -> list[tuple[int, int]]:
    """The part of the kernel that lies inside, for each window along an axis."""
    starts = [index * stride - before for index in range(windows)]
    return [(max(0, -start), min(kernel, size - start)) for start in starts]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CorrectionPlan(LanewisePlan):
    """A correction of a map.

    Members
    -------
    correction : what is taken off
    edge, o_edge : what arrives, and what leaves
    """

    correction: Correction
    edge: Integers
    o_edge: Integers

    @property
    def i_shape(self) -> Shape:
        """Of a number that arrives."""
        return range_shape(self.edge.least, self.edge.greatest)

    @property
    def o_shape(self) -> Shape:
        """Of a number that leaves."""
        return range_shape(self.o_edge.least, self.o_edge.greatest)

    @property
    def latency(self) -> int:
        """Cycles from a transfer taken to its results, if nothing waits."""
        return self.memory.latency + 2

    @property
    def amount(self) -> Shape:
        """Of what is taken off."""
        return range_shape(int(self.correction.table.min()), int(self.correction.table.max()))

    @cached_property
    def memory(self) -> MemoryPlan:
        """A word for each class of rows, class of columns and transfer of a pixel, in this order."""
        rows, columns, _ = self.correction.table.shape
        return MemoryPlan(
            width=self.lanes * self.amount.width, words=rows * columns * self.words, contents=self._contents,
            held=True, registered=False, technology=self.technology, name="corrections",
        )

    @property
    def memories(self) -> list[MemoryPlan]:
        """All there are."""
        return [self.memory]

    def _contents(self) -> list[int]:
        table = self.correction.table.reshape(-1, self.edge.shape[2])
        padded = np.zeros((len(table), self.words * self.lanes), np.int64)
        padded[:, : table.shape[1]] = table
        return [
            pack_fields([(int(value), self.amount.width) for value in word])
            for word in padded.reshape(-1, self.lanes)
        ]


class Correct(LanewiseBlock[CorrectionPlan]):
    """Takes a transfer in each cycle in which its output can move; results in order.

    Equals what :func:`abc_hw.sim.golden.conv` takes off where positions outside count nothing.

    Members
    -------
    i : In, stream of integers;  o : Out, stream of integers
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        row = Elastic(m, valid=self.i.valid, ready=self.o.ready, places=plan.latency)
        m.submodules.corrections = memory = Memory(plan.memory)
        m.d.comb += [
            self.i.ready.eq(row.ready), self.o.valid.eq(row.valid), memory.en.eq(row.moves(1)),
            memory.addr.eq(self._address(m, self.i.valid & self.i.ready)),
        ]
        amounts = row.held(2, memory.data, "amounts")
        width = plan.i_shape.width
        numbers = row.held(2, row.held(1, self.i.payload.as_value(), "arrived"), "numbers")
        for lane in range(plan.lanes):
            number = numbers[lane * width : (lane + 1) * width]
            number = number.as_signed() if plan.i_shape.signed else number
            amount = amounts[lane * plan.amount.width :][: plan.amount.width]
            amount = amount.as_signed() if plan.amount.signed else amount
            m.d.comb += self.o.payload[lane].eq(
                row.held(3, extend(number - amount, plan.o_shape), f"corrected_{lane}")
            )
        return m

    def _address(self, m: Module, taken: Value) -> Value:
        """Of the correction of the transfer that comes in."""
        plan, correction = self._plan, self._plan.correction
        _, columns, _ = correction.table.shape
        place = Signal(range(plan.words))
        pixel_ends = place == plan.words - 1
        column, row_ends = self._along(m, "column", correction.columns, taken & pixel_ends, plan.words)
        row, _ = self._along(m, "row", correction.rows, taken & pixel_ends & row_ends, columns * plan.words)
        with m.If(taken):
            m.d.sync += place.eq(Mux(pixel_ends, 0, place + 1))
        return row + column + place

    @staticmethod
    def _along(m: Module, name: str, classes: Sequence[int], moves: Value, step: int) -> tuple[Signal, Value]:
        """(``step`` times the class of the position along an axis, is it the last position)"""
        position = Signal(range(len(classes)), name=f"{name}_position")
        part = Signal(range(max(classes) * step + 1), init=classes[0] * step, name=f"{name}_part")
        last = position == len(classes) - 1
        with m.If(moves):
            m.d.sync += position.eq(Mux(last, 0, position + 1))
            with m.Switch(position):
                for index, here in enumerate(classes):
                    following = classes[(index + 1) % len(classes)]
                    if following != here:
                        with m.Case(index):
                            m.d.sync += part.eq(following * step)
        return part, last
