"""The queue behind a layer's blocks, where they meet somebody who may not be ready."""

import dataclasses
from functools import cached_property

from amaranth.hdl import Module, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.arith import bits_of, ceil_div
from ..parts.fifo import Fifo, FifoPlan
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.memory_plan import MemoryPlan
from ..parts.skid import Skid
from ..parts.stream import CodeStream

__all__ = ["Queue", "QueuePlan"]

SPARE_CYCLES = 5
"""Of each group: from a transfer that leaves the queue to a step that knows of it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueuePlan:
    """Transfers that are under way or wait: enough that the array never waits for its own latency.

    Members
    -------
    i : what comes, and so what leaves
    per_group : transfers that a group of work brings
    group_cycles : from one group to the next
    apart : cycles from one transfer of a group to the next
    under_way : cycles from a group's last word to its first transfer
    transfers : per image
    technology : of its memory
    """

    i: CodeStream
    per_group: int
    group_cycles: int
    under_way: int
    transfers: int
    apart: int = 1
    technology: Technology = GENERIC

    @property
    def o(self) -> CodeStream:
        """What leaves."""
        return self.i

    @cached_property
    def depth(self) -> int:
        """Transfers that it holds, those included that groups under way will bring; two more at the output."""
        late, depth = 0, 2
        while (latency := self._storage(depth).latency) > late:  # the deeper, the later a word is there
            late = latency
            waits = self.under_way + self.per_group * self.apart + SPARE_CYCLES + late
            depth = (ceil_div(waits, self.group_cycles) + 2) * self.per_group
        return depth

    @property
    def capacity(self) -> int:
        """Transfers that it holds if nobody takes any, those at the output included."""
        return self.depth + 2

    def _storage(self, depth: int) -> FifoPlan:
        return FifoPlan(width=self.i.width, words=depth - 1, technology=self.technology)

    @cached_property
    def storage(self) -> FifoPlan:
        """All of ``depth`` but the transfer that stands behind the memory."""
        return self._storage(self.depth)

    @property
    def memories(self) -> list[MemoryPlan]:
        return [self.storage.memory]

    @property
    def latency(self) -> int:
        """Cycles from a transfer that finds the queue empty to it at the output."""
        return self.storage.latency + 1

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per transfer."""
        return self.transfers

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        return {"one": 1, "depth bits": bits_of(self.depth), "word": self.i.width}


class Queue(wiring.Component):
    """First in, first out; nobody asks whether there is room: who puts something in knows.

    ::

        w --> memory --> skid buffer --> o
                    |
                    +--> left

    Parameters
    ----------
    plan : how much

    Members
    -------
    w_en, w_data : In, takes a transfer in
    left : Out(1), one has left the memory
    o : Out, stream
    """

    def __init__(self, plan: QueuePlan) -> None:
        self._plan = plan
        super().__init__({
            "w_en": In(1), "w_data": In(unsigned(plan.i.width)), "left": Out(1), "o": Out(plan.o.signature),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = fifo = Fifo(self._plan.storage)
        m.submodules.skid = skid = Skid(self._plan.o.signature)
        m.d.comb += [
            fifo.w_en.eq(self.w_en), fifo.w_data.eq(self.w_data), fifo.r_en.eq(skid.i.ready),
            skid.i.valid.eq(fifo.r_rdy), skid.i.payload.as_value().eq(fifo.r_data),
            self.left.eq(fifo.r_rdy & skid.i.ready),
        ]
        wiring.connect(m, skid.o, wiring.flipped(self.o))
        return m
