"""A stream for several takers."""

import dataclasses

from amaranth.hdl import Cat, Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..parts.stream import code_stream

__all__ = ["Fork", "ForkPlan"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ForkPlan:
    """A fork.

    Members
    -------
    branches : how many take the stream, at least two
    lanes, shape : numbers of a transfer, and the shape of each
    transfers : of an image
    """

    branches: int
    lanes: int
    shape: Shape
    transfers: int

    def __post_init__(self) -> None:
        if self.branches < 2:
            raise ValueError(f"A fork must have at least two branches, not {self.branches}")

    @property
    def latency(self) -> int:
        """Cycles from a transfer taken to the same handed on: none."""
        return 0

    @property
    def cycles(self) -> int:
        """Cycles per image: one for each transfer."""
        return self.transfers


class Fork(wiring.Component):
    """Every transfer goes to each branch once, and leaves the input when all branches have it.

    Eager: a branch takes a transfer as soon as it can, whether the others can or not; a bit for each branch keeps
    who has it already. So no branch waits for another within a transfer, and no ready depends on a ready.

    Members
    -------
    i : In, stream;  o : Out, a stream for each branch
    """

    def __init__(self, plan: ForkPlan) -> None:
        self._plan = plan
        signature = code_stream(plan.lanes, plan.shape)
        super().__init__({"i": In(signature), "o": Out(signature).array(plan.branches)})

    @property
    def plan(self) -> ForkPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        branches = [self.o[index] for index in range(self._plan.branches)]
        has = [Signal(name=f"has_{index}") for index in range(len(branches))]
        done = [mine | (branch.valid & branch.ready) for mine, branch in zip(has, branches, strict=True)]
        m.d.comb += self.i.ready.eq(Cat(done).all())
        for mine, had, branch in zip(has, done, branches, strict=True):
            m.d.comb += [branch.payload.eq(self.i.payload), branch.valid.eq(self.i.valid & ~mine)]
            m.d.sync += mine.eq(had & self.i.valid & ~self.i.ready)
        return m
