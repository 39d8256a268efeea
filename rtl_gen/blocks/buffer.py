# amaranth: UnusedElaboratable=no
"""A buffer between blocks: in front of an input of a join, or behind a pool."""

import dataclasses
from functools import cached_property
from typing import Protocol

import numpy as np
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.elastic import Elastic
from ..parts.fifo import Fifo, FifoPlan
from ..parts.flow import Flow, in_order
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.memory_plan import MemoryPlan
from ..parts.stream import CodeStream
from ..parts.timing import Bounded, Places, Taken
from .lanes import AdapterPlan

__all__ = ["Buffer", "BufferPlan", "behind_pool"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BufferPlan:
    """A queue of transfers.

    Members
    -------
    stream : what passes
    depth : transfers that find room, at least one
    technology : what its memory can be made of
    """

    stream: CodeStream
    depth: int
    technology: Technology = GENERIC

    def __post_init__(self) -> None:
        if self.depth < 1:
            raise ValueError(f"The depth of a buffer must be a positive integer, not {self.depth}")

    @cached_property
    def storage(self) -> FifoPlan | None:
        """None where it is a row of registers: through a memory so few transfers would not come fast enough."""
        found = FifoPlan(width=self.stream.width, words=self.depth, technology=self.technology)
        return found if self.depth > found.latency + 1 else None

    @property
    def memories(self) -> list[MemoryPlan]:
        """All there are."""
        return [] if self.storage is None else [self.storage.memory]

    @property
    def latency(self) -> int:
        """Cycles from a transfer that finds it empty to the same at the output."""
        return self.depth if self.storage is None else self.storage.latency

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with."""
        if self.storage is None:
            return {"places": self.depth, "register bits": self.depth * self.stream.width}
        return {"one": 1, "depth bits": self.depth.bit_length(), "word": self.stream.width}

    def timing(self, after: Taken) -> Taken:
        """When transfers are taken, with ``after`` behind it."""
        if self.storage is not None:
            return Bounded(after, self.storage.memory.latency, self.depth).take
        for _ in range(self.depth):
            after = Places(after, in_order(1, 1)).take
        return after


class Pooling(Protocol):
    """A pool's plan."""

    @property
    def flow(self) -> Flow: ...

    @property
    def cycles(self) -> int: ...

    @property
    def technology(self) -> Technology: ...


def behind_pool(pool: Pooling, adapter: AdapterPlan) -> BufferPlan | None:
    """Between a pool and an adapter that splits what it hands out.

    All maxima come with the last row of their squares. If they are taken more slowly than that, the pool would
    wait with them, and rows after them be late, though both have time enough on the whole: so they wait here.

    Returns
    -------
    As deep as it takes if transfers come to the pool steadily, in the least cycles that pool and adapter have for
    an image; None where no maximum waits for the one before it.
    """
    if adapter.narrow is None:
        return None
    flow = adapter.narrow.flow
    taken_for = np.tile(np.bincount(flow.need - 1, minlength=flow.inputs), 2)  # cycles of each, of two images
    cycles, parts = max(pool.cycles, flow.outputs), pool.flow.inputs
    # In parts of a cycle, of which there are as many as transfers that come to the pool:
    came = np.concatenate([pool.flow.need, pool.flow.need + parts]) * cycles
    before = np.cumsum(taken_for * parts) - taken_for * parts
    begun = np.maximum.accumulate(came - before) + before
    waiting = int((np.arange(1, len(came) + 1) - np.searchsorted(begun, came, side="right")).max())
    if not waiting:
        return None
    latency = FifoPlan(width=adapter.i.width, words=waiting, technology=pool.technology).latency
    return BufferPlan(stream=adapter.i, depth=waiting + latency + 1, technology=pool.technology)


class Buffer(wiring.Component):
    """First in, first out; finds room for ``depth`` transfers, not one more or less, whatever came before.

    Members
    -------
    i : In, stream;  o : Out, the same stream
    """

    def __init__(self, plan: BufferPlan) -> None:
        self._plan = plan
        super().__init__({"i": In(plan.stream.signature), "o": Out(plan.stream.signature)})

    @property
    def plan(self) -> BufferPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._plan.storage is None:
            self._build_registers(m)
        else:
            self._build_queue(m, self._plan.storage)
        return m

    def _build_registers(self, m: Module) -> None:
        depth = self._plan.depth
        row = Elastic(m, valid=self.i.valid, ready=self.o.ready, places=depth)
        word = self.i.payload.as_value()
        for place in range(1, depth + 1):
            word = row.held(place, word, f"word_{place}")
        m.d.comb += [
            self.i.ready.eq(row.ready), self.o.valid.eq(row.valid), self.o.payload.as_value().eq(word),
        ]

    def _build_queue(self, m: Module, storage: FifoPlan) -> None:
        m.submodules.queue = queue = Fifo(storage)
        held = Signal(range(self._plan.depth + 1))  # on their way out too
        taken, given = self.i.valid & self.i.ready, self.o.valid & self.o.ready
        m.d.comb += [
            self.i.ready.eq(held != self._plan.depth), queue.w_en.eq(taken), queue.w_data.eq(self.i.payload),
            self.o.valid.eq(queue.r_rdy), self.o.payload.eq(queue.r_data), queue.r_en.eq(given),
        ]
        m.d.sync += held.eq(held + taken - given)
