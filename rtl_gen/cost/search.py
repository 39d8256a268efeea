"""The choice of one option per layer that takes the least: the search goes along the network.

For every stream that a layer may hand on it keeps all choices so far that no other one beats in look-up tables,
block RAMs and multipliers at once. Nothing that could be part of the best is dropped.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from abc_hw.network import IntArray

from ..folding import LayerFolding
from .devices import Device

__all__ = ["END", "Adapters", "Choice", "Limits", "Option", "Stream", "search"]

LOGIC_SHARE, HARD_SHARE = 0.8, 0.95
"""Of a device, that are taken if nobody says how much."""

Stream = tuple[int, ...]
"""What a layer's neighbour sees of it: pixels and lanes of a transfer; of what it hands on also the pixels that
its pool takes at once, or 0."""

END: Stream = (1, 1)
"""What takes the scores."""

Adapters = Callable[[int, Stream, Stream], "tuple[int, int, int, int] | None"]
"""(LUTs, flip-flops, block RAMs, cycles per image) before layer ``index``, or behind the last, for the streams on
either side; None where nothing joins them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that may be taken of each resource."""

    luts: float = math.inf
    ffs: float = math.inf
    brams: float = math.inf
    dsps: float = math.inf

    @classmethod
    def of(cls, device: Device, share: float | None = None) -> "Limits":
        """A share, 0 to 1, of what the device has; None: ``LOGIC_SHARE`` of its logic and ``HARD_SHARE`` of its
        block RAMs and multipliers, which take no wires from others."""
        logic, hard = (LOGIC_SHARE, HARD_SHARE) if share is None else (share, share)
        return cls(
            luts=math.floor(logic * device.luts), ffs=math.floor(logic * device.ffs),
            brams=math.floor(hard * device.brams), dsps=math.floor(hard * device.dsps),
        )


class Option(NamedTuple):
    """A folding of a layer: what it takes, cycles per image, its streams."""

    luts: int
    ffs: int
    brams: int
    dsps: int
    cycles: int
    i: Stream
    o: Stream
    folding: LayerFolding


class Choice(NamedTuple):
    """What the first layers take together, the last one's option and the choice before it."""

    luts: int
    ffs: int
    brams: int
    dsps: int
    last: Option | None = None
    before: "Choice | None" = None

    def options(self) -> list[Option]:
        """One per layer."""
        if self.before is None or self.last is None:
            return []
        return [*self.before.options(), self.last]


class _Front(NamedTuple):
    """Choices that none beats: what they take, int64 [n, 4]; which front they come from, and which choice of it;
    the option that was added, by its place."""

    costs: IntArray
    front: IntArray
    choice: IntArray
    option: IntArray


def search(
    layers: Sequence[Sequence[Option]], adapters: Adapters, cycles: int, limits: Limits
) -> Choice | None:
    """The choice of one option per layer with the fewest LUTs, none slower than ``cycles``, within the limits.

    Of equal ones, that with the fewest flip-flops, then block RAMs, then multipliers. None if there is none.
    """
    # Flip-flops seldom run short. Without a limit on them far fewer partial choices must be kept, and what is
    # found is the answer if it keeps the limit all the same.
    found = _Search(layers, adapters, cycles, dataclasses.replace(limits, ffs=math.inf)).found()
    if found is None or found.ffs <= limits.ffs:
        return found
    return _Search(layers, adapters, cycles, limits).found()


class _Search:
    """One run, as :func:`search`."""

    def __init__(
        self, layers: Sequence[Sequence[Option]], adapters: Adapters, cycles: int, limits: Limits
    ) -> None:
        self._layers = [[option for option in options if option.cycles <= cycles] for options in layers]
        self._adapters, self._cycles = adapters, cycles
        self._count_ffs = limits.ffs < math.inf
        self._most = np.array([limits.luts, limits.ffs, limits.brams, limits.dsps])
        self._steps: list[list[_Front]] = []

    def found(self) -> Choice | None:
        if not all(self._layers):
            return None
        tables = [np.array([option[:4] for option in options], np.int64) for options in self._layers]
        floors = np.cumsum([table.min(axis=0) for table in tables][::-1], axis=0)[::-1]
        floors = np.vstack([floors, np.zeros((1, 4), np.int64)])  # what the layers from here on take at the least
        nothing = np.zeros(1, np.int64)
        at = {END: _Front(np.zeros((1, 4), np.int64), nothing, nothing, nothing)}
        for index, table in enumerate(tables):
            if (floors[0] > self._most).any():
                return None
            at = self._step(index, at, table, floors[index + 1])
        return self._best(at)

    def _step(
        self, index: int, at: dict[Stream, _Front], table: IntArray, floor: IntArray
    ) -> dict[Stream, _Front]:
        """The fronts behind a layer, by what it hands on."""
        self._steps.append(list(at.values()))
        groups: dict[tuple[Stream, Stream], list[int]] = {}
        for place, option in enumerate(self._layers[index]):
            groups.setdefault((option.i, option.o), []).append(place)
        arrived = {i: self._arrived(index, at, i) for i in dict.fromkeys(i for i, _ in groups)}
        parts: dict[Stream, list[_Front]] = {}
        for (i, o), members in groups.items():
            before = arrived[i]
            if before is None:
                continue
            places = np.array(members)[_unbeaten(table[members], self._count_ffs)]
            costs = (before.costs[:, None] + table[places]).reshape(-1, 4)
            rows = np.flatnonzero((costs + floor <= self._most).all(axis=1))
            choice, option_ = np.divmod(rows, len(places))
            parts.setdefault(o, []).append(
                _Front(costs[rows], before.front[choice], before.choice[choice], places[option_])
            )
        joined = {o: self._front(found) for o, found in parts.items()}
        return {o: front for o, front in joined.items() if len(front.costs)}

    def _arrived(self, index: int, at: dict[Stream, _Front], i: Stream) -> _Front | None:
        """All choices before a layer, what joins them to its input included."""
        parts = []
        for number, (o, front) in enumerate(at.items()):
            joins = self._adapters(index, o, i) if index else (0, 0, 0, 0)
            if joins is None or joins[3] > self._cycles:
                continue
            costs = front.costs + np.array([*joins[:3], 0])
            rows = np.arange(len(costs))
            parts.append(_Front(costs, np.full(len(rows), number), rows, rows))
        return self._front(parts) if parts else None

    def _front(self, parts: Sequence[_Front]) -> _Front:
        """Of several fronts what none beats."""
        joined = _Front(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
        kept = _unbeaten(joined.costs, self._count_ffs)
        return _Front(*(column[kept] for column in joined))

    def _best(self, at: dict[Stream, _Front]) -> Choice | None:
        self._steps.append(list(at.values()))
        last = self._arrived(len(self._layers), at, END)
        if last is None:
            return None
        within = np.flatnonzero((last.costs <= self._most).all(axis=1))
        if not len(within):
            return None
        first = min(within, key=lambda row: tuple(last.costs[row]))
        chosen, front, row = [], int(last.front[first]), int(last.choice[first])
        for options, fronts in zip(reversed(self._layers), reversed(self._steps[1:]), strict=True):
            there = fronts[front]
            chosen.append((options[there.option[row]], there.costs[row]))
            front, row = int(there.front[row]), int(there.choice[row])
        made = Choice(0, 0, 0, 0)
        for option, costs in reversed(chosen):
            luts, ffs, brams, dsps = costs.tolist()
            made = Choice(luts, ffs, brams, dsps, option, made)
        luts, ffs, brams, dsps = last.costs[first].tolist()
        return made._replace(luts=luts, ffs=ffs, brams=brams, dsps=dsps)


def _unbeaten(costs: IntArray, count_ffs: bool) -> IntArray:
    """Rows of costs that no other row beats in all (without ``count_ffs`` in all but flip-flops), by LUTs."""
    order = np.lexsort(costs.T[::-1])
    if not len(order):
        return order
    _, ffs, brams, dsps = costs[order].T
    if not count_ffs:
        kept = [np.flatnonzero(dsps == number) for number in np.unique(dsps)]
        order = order[np.sort(np.concatenate([rows[_falling(brams[rows])] for rows in kept]))]
        if len(kept) == 1:
            return order
        _, ffs, brams, dsps = costs[order].T
    others = np.stack([ffs if count_ffs else np.zeros_like(ffs), brams, dsps], axis=1)
    found: list[int] = []
    points = np.empty_like(others)
    for place, point in enumerate(others):
        if not (points[: len(found)] <= point).all(axis=1).any():
            points[len(found)] = point
            found.append(place)
    return order[found]


def _falling(values: IntArray) -> IntArray:
    """Where values are below all before them."""
    lowest = np.minimum.accumulate(values)
    return np.concatenate([[True], values[1:] < lowest[:-1]])
