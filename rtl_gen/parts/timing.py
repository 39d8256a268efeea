"""When transfers happen, to the cycle: what a plan tells of its component without building it.

A component is told of its transfers one after the other, and tells those that follow from them to what stands
behind it. As transfers keep their order, none depends on one that comes after it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from .flow import Flow

__all__ = ["Aside", "Bounded", "Fifo", "Paced", "Places", "Row", "Taken", "at_once", "slowest_by_name"]

Taken = Callable[[int], int]
"""The cycle in which a transfer is taken, by the cycle from which on it is offered; of one after the other."""


def at_once(offered: int) -> int:
    """Somebody who is always ready."""
    return offered


def slowest_by_name(parts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Cycles by name, in the order of first mention; of parts of one name those of the slowest."""
    found: dict[str, int] = {}
    for name, cycles in parts:
        found[name] = max(cycles, found.get(name, 0))
    return found


class Paced:
    """What is as fast as its slowest part; for plans that know their parts."""

    @property
    def rates(self) -> Mapping[str, int]:
        """Least cycles between images of every part, by its name for people; input and output first."""
        raise NotImplementedError  # each plan has its own parts

    @property
    def cycles(self) -> int:
        """Least cycles between images: those of the slowest part."""
        return max(self.rates.values())

    @property
    def limiting(self) -> str:
        """The part that takes as long as the whole; of several the input or output, as foldings follow them."""
        return next(name for name, cycles in self.rates.items() if cycles == self.cycles)


class Row:
    """Registers in a row that move all together, and stand still while the last one's transfer waits.

    Parameters
    ----------
    after : who takes what comes out
    cycles : registers
    flow : which transfers have an answer, those that one needs last; None: each has
    """

    def __init__(self, after: Taken, cycles: int, flow: Flow | None = None) -> None:
        self._after, self._cycles = after, cycles
        self._answers = None if flow is None else np.isin(np.arange(flow.inputs) + 1, flow.need).tolist()
        self._waits: deque[tuple[int, int]] = deque()  # from when to when the last register's transfer waits
        self._last, self._count = -1, 0

    def moves_at(self, cycle: int) -> int:
        """The first cycle from this one on in which the registers move; cycles before it are of no interest any
        more."""
        while self._waits and self._waits[0][1] <= cycle:
            self._waits.popleft()
        return self._waits[0][1] if self._waits and self._waits[0][0] <= cycle else cycle

    def enters(self, cycle: int) -> int:
        """A transfer goes into the first register in this cycle, in which they move; tells when its answer is
        taken."""
        there = cycle + self._cycles
        for begins, ends in self._waits:
            if cycle < begins < there:
                there += ends - begins
        taken = self._after(there)
        if taken > there:
            self._waits.append((there, taken))
        return taken

    def take(self, offered: int) -> int:
        """:data:`Taken`."""
        self._last = self.moves_at(max(offered, self._last + 1))
        if self._answers is None or self._answers[self._count % len(self._answers)]:
            self.enters(self._last)
        self._count += 1
        return self._last


class Places:
    """Holds what it needs for an answer, and takes more in the cycle in which that is taken: splits and joins.

    Parameters
    ----------
    after : who takes what comes out
    flow : where what is needed for an answer is as much as is taken while it waits
    """

    def __init__(self, after: Taken, flow: Flow) -> None:
        self._after = after
        self._answers = np.bincount(flow.need - 1, minlength=flow.inputs).tolist()  # of each transfer
        self._last, self._free, self._count = -1, 0, 0

    def take(self, offered: int) -> int:
        """:data:`Taken`."""
        self._last = max(offered, self._last + 1, self._free)
        there = self._last + 1
        for _ in range(self._answers[self._count % len(self._answers)]):
            self._free = self._after(there)
            there = self._free + 1
        self._count += 1
        return self._last


class Aside:
    """Hands on in the same cycle; what has to wait is put aside, and the next is taken a cycle after it has gone.

    Parameters
    ----------
    after : who takes what comes out
    """

    def __init__(self, after: Taken) -> None:
        self._after, self._free = after, -1

    def take(self, offered: int) -> int:
        """:data:`Taken`."""
        taken = max(offered, self._free)
        self._free = self._after(taken) + 1
        return taken


class Fifo:
    """First in, first out, never full (:class:`abc_hw.rtl_gen.parts.fifo.Fifo`).

    Parameters
    ----------
    after : who takes what comes out
    latency : of its memory
    """

    def __init__(self, after: Taken, latency: int) -> None:
        self._row, self._leaves = Row(after, latency), -1

    def put(self, cycle: int) -> int:
        """A word is written in this cycle; tells when it is taken."""
        self._leaves = self._row.moves_at(max(cycle, self._leaves) + 1)
        return self._row.enters(self._leaves)


class Bounded:
    """First in, first out, with room for so many: :class:`abc_hw.rtl_gen.blocks.buffer.Buffer`, and
    :class:`abc_hw.rtl_gen.parts.skid.Skid`, which has room for two and no memory.

    Parameters
    ----------
    after : who takes what comes out
    latency : of its memory; 0 without one
    depth : transfers that find room
    """

    def __init__(self, after: Taken, latency: int, depth: int) -> None:
        self._queue, self._last = Fifo(after, latency), -1
        self._given: deque[int] = deque([-1] * depth, depth)  # when the last ones were taken

    def take(self, offered: int) -> int:
        """:data:`Taken`."""
        self._last = max(offered, self._last + 1, self._given[0] + 1)
        self._given.append(self._queue.put(self._last))
        return self._last
