# amaranth: UnusedElaboratable=no
"""Thresholds of many levels: the code is searched bit by bit, with one comparison for each."""

import dataclasses
from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value

from abc_hw.network import IntArray
from abc_hw.network.edges import Integers
from abc_hw.network.nodes import Threshold

from ..parts.arith import range_shape
from ..parts.elastic import Elastic
from ..parts.memory import Memory
from ..parts.memory_plan import MemoryPlan, pack_fields
from .lanewise import LanewiseBlock, LanewisePlan
from .pointwise import edge_shape

__all__ = ["Search", "SearchPlan", "is_searched"]

LEAST_BITS = 5
"""Of the codes: with fewer a comparison for each threshold is no larger."""


def is_searched(node: Threshold) -> bool:
    """Are there so many levels that each bit of a code is searched by itself?"""
    return node.bases.kind == "planes" and node.bases.bits >= LEAST_BITS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SearchPlan(LanewisePlan):
    """A threshold node of many levels.

    Members
    -------
    node : its bases are bit-planes
    edge : integers
    """

    node: Threshold
    edge: Integers

    def __post_init__(self) -> None:
        if self.node.bases.kind != "planes":
            raise ValueError(f"Codes that are searched must be bit-planes, not {self.node.bases.kind} bases")

    @property
    def i_shape(self) -> Shape:
        """Of a number that arrives."""
        return edge_shape(self.edge)

    @property
    def o_shape(self) -> Shape:
        """Of a code."""
        return edge_shape(self.node.output(self.edge))

    @property
    def bits(self) -> int:
        """Of a code."""
        return self.node.bases.bits

    @property
    def latency(self) -> int:
        """Cycles from a transfer taken to its codes handed out, if nothing waits: two for each bit."""
        return 2 * self.bits

    # -- thresholds -------------------------------------------------------------------------------------------

    @cached_property
    def shape(self) -> Shape:
        """Of a threshold."""
        return range_shape(int(self.node.thresholds.min()), int(self.node.thresholds.max()))

    @cached_property
    def kept_words(self) -> int:
        """Transfers of a pixel that have thresholds of their own: one where all channels have the same."""
        return 1 if (self.node.thresholds == self.node.thresholds[:1]).all() else self.words

    def asked(self, lane: int, level: int) -> IntArray:
        """The thresholds that decide bit ``level``, 0 being the highest, of a lane, by the bits above it: int64
        [kept words, 2**level]."""
        channels = np.arange(self.kept_words) * self.lanes + lane
        thresholds = self.node.thresholds[np.where(channels < len(self.node.thresholds), channels, 0)]
        step = 1 << (self.bits - level)
        return np.asarray(thresholds[:, step // 2 - 1 :: step])

    def memory(self, lane: int, level: int) -> MemoryPlan | None:
        """Of the thresholds of a lane's bit, by transfer of a pixel and bits above it; None where it is one."""
        words = self.kept_words << level
        if words == 1:
            return None

        def contents() -> list[int]:
            return [pack_fields([(int(value), self.shape.width)]) for value in self.asked(lane, level).flat]

        return MemoryPlan(
            width=self.shape.width, words=words, contents=contents, held=True, registered=False,
            technology=self.technology, name=f"lane{lane}_bit{self.bits - 1 - level}",
        )

    @property
    def memories(self) -> list[MemoryPlan]:
        """All there are."""
        every = (self.memory(lane, level) for lane in range(self.lanes) for level in range(self.bits))
        return [memory for memory in every if memory is not None]


class Search(LanewiseBlock[SearchPlan]):
    """Takes a transfer in each cycle in which its output can move; results in order.

    ::

        number --> x >= threshold[word] --> x >= threshold[word, bit] --> ... --> code
                    highest bit              the next one

    Equals the golden function ``threshold``, lane by lane. Lanes past the last channel carry anything.

    Members
    -------
    i : In, stream of integers;  o : Out, stream of codes
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        row = Elastic(m, valid=self.i.valid, ready=self.o.ready, places=plan.latency)
        m.d.comb += [self.i.ready.eq(row.ready), self.o.valid.eq(row.valid)]
        words = self._words(m, row)
        for lane in range(plan.lanes):
            number = self._number(lane)
            m.d.comb += self.o.payload[lane].eq(self._code(m, row, lane, number, words))
        return m

    def _words(self, m: Module, row: Elastic) -> list[Value]:
        """Which transfer of a pixel stands in front of each place that reads thresholds."""
        plan = self._plan
        if plan.kept_words == 1:
            return [Const(0, 0)] * plan.bits
        word = Signal(range(plan.words))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += word.eq(Mux(word == plan.words - 1, 0, word + 1))
        found: list[Value] = [word]
        for place in range(1, plan.latency - 1):
            found.append(row.held(place, found[-1], f"word_{place}"))
        return found[::2]

    def _code(self, m: Module, row: Elastic, lane: int, number: Value, words: list[Value]) -> Value:
        plan = self._plan
        code: Value = Const(0, 0)
        for level in range(plan.bits):
            place, name = 2 * level, f"{lane}_{level}"
            threshold = self._threshold(m, row, lane, level, Cat(code, words[level]))
            number = row.held(place + 1, number, f"number_{name}")
            if level:
                code = row.held(place + 1, code, f"above_{name}")
            reaches = row.held(place + 2, number >= threshold, f"reaches_{name}")
            code = Cat(reaches, row.held(place + 2, code, f"code_{name}")) if level else reaches
            number = row.held(place + 2, number, f"passed_{name}")
        return code

    def _threshold(self, m: Module, row: Elastic, lane: int, level: int, address: Value) -> Value:
        """What a number is compared with, a place behind that of the address."""
        plan = self._plan
        planned = plan.memory(lane, level)
        if planned is None:
            return Const(int(plan.asked(lane, level)[0, 0]), plan.shape)
        m.submodules[planned.name] = memory = Memory(planned)
        m.d.comb += [memory.addr.eq(address), memory.en.eq(row.moves(2 * level + 1))]
        return memory.data.as_signed() if plan.shape.signed else memory.data
