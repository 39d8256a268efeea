"""The queue behind a layer's blocks, where they meet somebody who may not be ready."""

import dataclasses
from functools import cached_property

from ..parts.arith import bits_of, ceil_div
from ..parts.fifo import Fifo, FifoPlan
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.memory_plan import MemoryPlan
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

    @property
    def depth(self) -> int:
        """Transfers that it holds, those included that groups under way will bring."""
        waits = self.under_way + self.per_group * self.apart + SPARE_CYCLES + self.latency
        groups = ceil_div(waits, self.group_cycles) + 2
        return groups * self.per_group

    @cached_property
    def storage(self) -> FifoPlan:
        """All but the transfer that stands at the output."""
        return FifoPlan(width=self.i.width, words=self.depth - 1, technology=self.technology)

    @property
    def memories(self) -> list[MemoryPlan]:
        return [self.storage.memory]

    @property
    def latency(self) -> int:
        """Cycles from a transfer that finds the queue empty to it at the output."""
        return FifoPlan(width=self.i.width, words=1, technology=self.technology).latency

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per transfer."""
        return self.transfers

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        return {"one": 1, "depth bits": bits_of(self.depth), "word": self.i.width}


class Queue(Fifo):
    """First in, first out; nobody asks whether there is room: who puts something in knows.

    Parameters
    ----------
    plan : how much
    """

    def __init__(self, plan: QueuePlan) -> None:
        super().__init__(plan.storage)
