"""First in, first out, on a memory whose output register is in use."""

import dataclasses
from functools import cached_property

from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .delay import delayed
from .memory import Memory
from .memory_mapping import GENERIC, Technology
from .memory_plan import MemoryPlan

__all__ = ["Fifo", "FifoPlan"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FifoPlan:
    """Words that wait.

    Members
    -------
    width : bits of a word
    words : that have room in memory, which has one at least; one more stands at the output
    technology : of its memory
    """

    width: int
    words: int
    technology: Technology = GENERIC

    @cached_property
    def memory(self) -> MemoryPlan:
        """Of the words."""
        return MemoryPlan(
            name="storage", width=self.width, words=max(self.words, 1), write="word", held=True,
            technology=self.technology,
        )

    @property
    def latency(self) -> int:
        """Cycles from a word that finds it empty to the same word at the output."""
        return 1 + self.memory.latency


class Fifo(wiring.Component):
    """First in, first out; a word each cycle on both sides.

    Parameters
    ----------
    plan : how many of how many bits

    Members
    -------
    w_en, w_data : In, takes a word in;  w_rdy : Out, there is room; who knows that there is need not look
    r_rdy, r_data : Out, the oldest word, if there is one;  r_en : In, it is taken
    """

    def __init__(self, plan: FifoPlan) -> None:
        self._plan = plan
        width = unsigned(plan.width)
        super().__init__({
            "w_en": In(1), "w_data": In(width), "w_rdy": Out(1), "r_rdy": Out(1), "r_data": Out(width),
            "r_en": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory = self._plan.memory
        m.submodules.storage = storage = Memory(memory)
        words = memory.words
        head, tail = Signal(range(max(words, 2))), Signal(range(max(words, 2)))
        level, filled = Signal(range(words + 1), name="level"), Signal()  # words that are not yet on their way out
        moves, leaves = Signal(), Signal()
        m.d.comb += [
            self.w_rdy.eq(level != words),
            moves.eq(~self.r_rdy | self.r_en),
            leaves.eq(moves & filled),
            storage.addr.eq(tail), storage.en.eq(moves), self.r_data.eq(storage.data),
            storage.write.addr.eq(head), storage.write.data.eq(self.w_data), storage.write.en.eq(self.w_en),
            self.r_rdy.eq(delayed(
                m, leaves, memory.latency, name="under_way", reset_less=False, enable=moves
            )),
        ]
        # Whether a word leaves is known last: all is ready for either.
        m.d.sync += [
            level.eq(Mux(leaves, level - ~self.w_en, level + self.w_en)),
            filled.eq(self.w_en | Mux(leaves, level > 1, level > 0)),
        ]
        for place, step in ((head, self.w_en), (tail, leaves)):
            with m.If(step):
                m.d.sync += place.eq(_after(place, words))
        return m


def _after(place: Signal, words: int) -> Value:
    return Mux(place == words - 1, 0, place + 1)
