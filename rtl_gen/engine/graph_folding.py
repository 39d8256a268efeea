"""Foldings of a graph: those with the least hardware for a speed, without looking at a device.

The search goes through the units in order. What the units still to come see of those before are the lanes of the
streams that they take, so for each choice of these lanes one partial folding is kept, the best. On a chain that is
a number of lanes at a time, in a residual block two. Nothing that could be part of the best is dropped.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from amaranth.hdl import unsigned

from abc_hw.errors import InputError
from abc_hw.network.fused import Fused
from abc_hw.network.graph import INPUT, Graph

from ..blocks.lanes import AdapterPlan
from ..blocks.window import WindowPlan
from ..folding import DEFAULT_XNORS, Rank, rank
from ..parts.arith import ceil_div
from ..parts.stream import CodeStream, MapShape
from ..schedule import LayerFolding, Schedule, candidates
from .lowering import Unit, units_of
from .units import first_of_input, unit_plan

__all__ = ["fold_graph", "graph_foldings", "least_graph_cycles", "unit_candidates"]

Lanes = tuple[tuple[str, int], ...]
"""Of the streams that are still to be taken, by unit."""


class _Choice(NamedTuple):
    """A folding of the first units: cycles of the slowest part, rank, the last unit's folding, those before."""

    cycles: int
    rank: Rank
    folding: tuple[str, LayerFolding] | None = None
    before: "_Choice | None" = None

    def foldings(self) -> dict[str, LayerFolding]:
        """By unit, in order."""
        found = {} if self.before is None else self.before.foldings()
        return found if self.folding is None else found | dict([self.folding])


class _Option(NamedTuple):
    """A way for a unit to be: lanes in and out, cycles of its slowest part, rank and folding if it has one."""

    i_lanes: int
    o_lanes: int
    cycles: int
    rank: Rank
    folding: LayerFolding | None


@lru_cache(maxsize=1 << 16)
def _between(shape: MapShape, given: int, taken: int) -> int:
    """Cycles per image of the adapter between two units."""
    bit = unsigned(1)
    return AdapterPlan(shape=shape, i=CodeStream(given, bit), o=CodeStream(taken, bit)).cycles


@dataclasses.dataclass(frozen=True, eq=False)
class _Search:
    """Over all foldings with at most ``limit`` cycles per image, and with whole windows in a word or without."""

    graph: Graph
    limit: float
    whole_windows: bool = True

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        return units_of(self.graph)

    @cached_property
    def last_taken(self) -> Mapping[str, int]:
        """The place of the last unit that takes from each."""
        return {source: place for place, unit in enumerate(self.units) for source in unit.inputs}

    def best(self, key: Callable[[_Choice], Any]) -> _Choice | None:
        """The best by ``key``, whose order must not change when a part is added to both; None if there is none."""
        at = self._starts()
        for place, unit in enumerate(self.units):
            reached: dict[Lanes, _Choice] = {}
            for lanes, choice in at.items():
                for after, found in self._with(place, unit, dict(lanes), choice):
                    if found.cycles <= self.limit and (
                        after not in reached or key(found) < key(reached[after])
                    ):
                        reached[after] = found
            at = reached
        ends = []
        for lanes, choice in at.items():
            shape = self.units[-1].edge.shape
            cycles = max(_between(shape, dict(lanes)[self.units[-1].name], 1), math.prod(shape))
            if cycles <= self.limit:
                ends.append(choice._replace(cycles=max(choice.cycles, cycles)))
        return min(ends, key=key, default=None)

    def _starts(self) -> dict[Lanes, _Choice]:
        """The input with each number of lanes that it can have."""
        first = first_of_input(self.units, self.graph)
        lanes = {1} if first is None else {one.i_lanes for one in self._folded(first)}
        none: Rank = (0,) * len(rank(candidates(first.does)[0], 0)) if first is not None else ()  # type: ignore
        height, width, channels = self.graph.input_shape
        return {
            ((INPUT, count),): _Choice(height * width * ceil_div(channels, count), none) for count in sorted(lanes)
        }

    def _with(
        self, place: int, unit: Unit, lanes: dict[str, int], before: _Choice
    ) -> Iterable[tuple[Lanes, _Choice]]:
        """Every way to go on: the lanes that are left, and the choice."""
        given = [lanes[source] for source in unit.inputs]
        left = {
            name: count for name, count in lanes.items() if self.last_taken.get(name, -1) > place
        }
        for option in self._options(unit, given[0]):
            between = [
                _between(edge.shape, count, option.i_lanes)
                for edge, count in zip(unit.arriving, given, strict=True)
            ]
            total = tuple(a + b for a, b in zip(before.rank, option.rank, strict=False)) or option.rank
            folding = None if option.folding is None else (unit.name, option.folding)
            yield (*left.items(), (unit.name, option.o_lanes)), _Choice(
                max(before.cycles, option.cycles, *between), total if option.rank else before.rank,
                folding, before,
            )

    def _options(self, unit: Unit, given: int) -> list[_Option]:
        if isinstance(unit.does, Fused):
            first = first_of_input(self.units, self.graph)
            every = self._folded(unit)
            return [one for one in every if one.i_lanes == given] if unit is first else every
        plan = unit_plan(unit, given)
        return [_Option(given, given, plan.cycles, (), None)]

    @cached_property
    def _known(self) -> dict[str, list[_Option]]:
        return {}

    def _folded(self, unit: Unit) -> list[_Option]:
        """Of a convolution, for each pair of lanes the cheapest folding within the limit, and the fastest."""
        if unit.name not in self._known:
            assert isinstance(unit.does, Fused)
            found: dict[tuple[int, int, bool], _Option] = {}
            for place, schedule in enumerate(unit_candidates(unit.does)):
                one = _option(schedule, place)
                if one.cycles > self.limit or (schedule.rows > 1 and not self.whole_windows):
                    continue
                for fastest in (False, True):
                    lanes = one.i_lanes, one.o_lanes, fastest
                    order = (one.cycles, one.rank) if fastest else (one.rank,)
                    held = found.get(lanes)
                    if held is None or order < ((held.cycles, held.rank) if fastest else (held.rank,)):
                        found[lanes] = one
            self._known[unit.name] = list(dict.fromkeys(found.values()))
        return self._known[unit.name]


def unit_candidates(fused: Fused) -> list[Schedule]:
    """The foldings of a convolution that are tried, with several pixels at once where there are groups."""
    return candidates(fused, several=fused.groups > 1)


def _option(schedule: Schedule, place: int) -> _Option:
    height, width, channels = schedule.layer.conv_shape
    leaves = height * width * ceil_div(channels, schedule.out_lanes)  # one pixel at a time
    cycles = max(WindowPlan(schedule).cycles, leaves)
    return _Option(schedule.lanes, schedule.out_lanes, cycles, rank(schedule, place), schedule.folding)


def least_graph_cycles(graph: Graph, *, whole_windows: bool = True) -> int:
    """The fewest cycles per image that any folding has; with words of one kernel row if not ``whole_windows``."""
    found = _Search(graph, math.inf, whole_windows).best(lambda choice: choice.cycles)
    assert found is not None  # without a limit there is one
    return found.cycles


def fold_graph(graph: Graph, cycles: int) -> dict[str, LayerFolding]:
    """For each convolution, by the name of its unit, the folding with the fewest XNORs such that nothing, lane
    adapters and joins included, takes more cycles per image.

    Raises
    ------
    InputError
        if there is none; the message names what takes longest, and its best.
    """
    found = _Search(graph, cycles).best(lambda choice: choice.rank)
    if found is None:
        raise InputError(_refusal(graph, cycles))
    return found.foldings()


def graph_foldings(graph: Graph, cycles: int | None) -> dict[str, LayerFolding]:
    """As :func:`fold_graph`; without a target those of a balanced accelerator of middling size."""
    if cycles is None:
        fastest = least_graph_cycles(graph, whole_windows=False)
        cycles = max(fastest, ceil_div(graph.binary_macs, DEFAULT_XNORS))
    return fold_graph(graph, cycles)


def _refusal(graph: Graph, cycles: int) -> str:
    """Why no folding reaches ``cycles`` per image."""
    limits = [
        (min(_option(one, 0).cycles for one in unit_candidates(unit.does)), unit.name, "its fastest folding")
        for unit in units_of(graph) if isinstance(unit.does, Fused)
    ]
    limits.append((math.prod(units_of(graph)[-1].edge.shape), "output", "one for each number: output limits"))
    least = least_graph_cycles(graph)
    limits = [limit for limit in limits if limit[0] > cycles] or [
        (least, "lanes", "the fewest between units of any lanes")
    ]
    short = max(limits, key=lambda limit: limit[0])
    text = f"{short[1]}: expected a target of at least {short[0]:,} cycles per image, {short[2]}, found {cycles:,}"
    return text if short[0] == least else f"{text}; nearest that fits: {least:,}"
