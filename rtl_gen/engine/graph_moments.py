"""How deep the buffers of joins must be that a graph keeps its pace, from when its transfers happen.

Images are sent as evenly as the slowest part takes them; each unit takes and hands on as soon as it can. A buffer
needs as much room as it has use for in that course of events, less what can as well wait in the registers in front
of it; for an input that does not wait, and is held up where it came too early, makes nothing come later.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from abc_hw.network import IntArray
from abc_hw.network.graph import INPUT

from ..blocks.add import AddPlan
from ..blocks.buffer import BufferPlan
from ..blocks.lanes import AdapterPlan
from ..parts.moments import Moments, in_turn

__all__ = ["Part", "Taker", "rate_depths"]


class Part(Protocol):
    """A unit with one input."""

    def moments(self, offered: IntArray) -> Moments: ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class Taker:
    """An input of a unit.

    Members
    -------
    unit, index : whose, and which of its inputs
    adapter : in front of it
    does : the unit
    places : transfers that can wait in registers in front of the buffer of a join
    pooled : what holds results of a pool in front of the adapter
    """

    unit: str
    index: int
    adapter: AdapterPlan
    does: Part | AddPlan
    places: int = 0
    pooled: BufferPlan | None = None


def rate_depths(
    sources: Mapping[str, list[Taker]], transfers: int, cycles: int, live: Mapping[str, list[int]],
    buffer: Callable[[str, int, int], BufferPlan],
) -> dict[str, list[int]]:
    """Depths with which images follow one another in ``cycles``, if nothing else waits, by join.

    Parameters
    ----------
    sources : who takes from the input, and from each unit, in topological order
    transfers : of the input per image
    live : the least depths with which nothing stops for good
    buffer : the plan of a buffer: of which unit, which input, how deep
    """
    found = {name: list(depths) for name, depths in live.items()}
    images, latencies = 3, _latencies(found, buffer)
    while True:
        sent = np.arange(images * transfers) * cycles // transfers
        course = _Course(sources, sent, found, latencies)
        before, enough = latencies, images >= course.longest // cycles + 3  # from then on all images are alike
        found, latencies = course.depths, _latencies(course.depths, buffer)
        if enough and course.is_same_with(before, latencies):
            return found
        images = max(images, course.longest // cycles + 3)


def _latencies(
    depths: Mapping[str, list[int]], buffer: Callable[[str, int, int], BufferPlan]
) -> dict[str, list[int]]:
    """Of each buffer; 0 where there is none."""
    return {
        name: [buffer(name, index, depth).latency if depth else 0 for index, depth in enumerate(mine)]
        for name, mine in depths.items()
    }


class _Course:
    """Of all transfers of some images, with buffers of these latencies that are never full."""

    def __init__(
        self, sources: Mapping[str, list[Taker]], sent: IntArray, least: Mapping[str, list[int]],
        latencies: Mapping[str, list[int]],
    ) -> None:
        self._least, self._latencies = least, latencies
        self._arrived: dict[tuple[str, int], IntArray] = {}
        self._places: dict[tuple[str, int], int] = {}
        self._given = {INPUT: sent}
        self.longest = 0
        """Cycles that a transfer waits in front of a join, at the most."""
        self._least_waits: dict[str, list[int]] = {}
        self.depths: dict[str, list[int]] = {}
        """What each join's buffers hold at the most, or the least where that is more."""
        for source, takers in sources.items():
            if takers:
                self._hand_out(self._given.pop(source), takers)

    def is_same_with(self, before: Mapping[str, list[int]], after: Mapping[str, list[int]]) -> bool:
        """Do other latencies of buffers than those before change nothing, as all transfers wait as long anyway?"""
        return all(
            new in (old, min(new, wait))
            for name, waits in self._least_waits.items()
            for old, new, wait in zip(before[name], after[name], waits, strict=True)
        )

    def _hand_out(self, given: IntArray, takers: list[Taker]) -> None:
        """To all takers; a fork's next transfer comes when all of them have the one before."""
        offered = in_turn(given)
        while True:
            taken = [self._take(taker, offered) for taker in takers]
            all_have = np.max(taken, axis=0)
            later = np.maximum(offered, np.concatenate([[0], all_have[:-1] + 1]))
            if len(takers) == 1 or (later == offered).all():
                return
            offered = later

    def _take(self, taker: Taker, offered: IntArray) -> IntArray:
        """When the transfers are taken; what follows from them is noted."""
        if taker.pooled is not None:
            later = dataclasses.replace(taker, pooled=None)
            self._take(later, in_turn(offered + taker.pooled.latency))
            return offered  # in turn already
        adapted = taker.adapter.moments(offered)
        if isinstance(taker.does, AddPlan):
            self._arrived[taker.unit, taker.index] = adapted.given
            self._places[taker.unit, taker.index] = taker.places
            if len([unit for unit, _ in self._arrived if unit == taker.unit]) == 2:
                self._join(taker.unit, taker.does)
            return adapted.taken
        done = taker.does.moments(adapted.given)
        self._given[taker.unit] = done.given
        if not taker.adapter.needed:
            return done.taken
        # What the adapter holds for its taker keeps the next transfers out.
        flow = taker.adapter.flow
        after = flow.needed(np.arange(1, len(adapted.given) + 1))
        held = np.zeros(len(offered) + 1, np.int64)
        np.maximum.at(held, after, done.taken)
        return taker.adapter.moments(np.maximum(offered, held[:-1])).taken

    def _join(self, name: str, plan: AddPlan) -> None:
        arrived = [self._arrived[name, index] for index in range(2)]
        late = [
            in_turn(came + latency) for came, latency in zip(arrived, self._latencies[name], strict=True)
        ]
        done = plan.moments(*late)
        self._given[name] = done.given
        waits = [done.taken - came for came in arrived]
        self.longest = max(self.longest, *(int(wait.max()) for wait in waits))
        self._least_waits[name] = [int(wait.min()) for wait in waits]
        self.depths[name] = [
            max(_held(came, done.taken, self._places[name, index]), least)
            for index, (came, least) in enumerate(zip(arrived, self._least[name], strict=True))
        ]


def _held(came: IntArray, taken: IntArray, places: int) -> int:
    """Transfers in a buffer at the most, less what can wait in so many registers in a row in front of it; 0 where
    each is taken in the cycle in which it comes."""
    if (came == taken).all():
        return 0
    index = np.arange(len(came))
    return int((index - np.searchsorted(taken, came - places)).max()) + 1 - places
