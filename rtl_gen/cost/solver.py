"""The folding with the fewest look-up tables for a speed, and the fastest one that a device has room for.

Layers are told apart by what their neighbours see of them, the lanes of their streams: adapters between lanes cost
too. So the search goes along the network, and keeps for every number of lanes that a layer may hand on all partial
foldings that no other one beats in look-up tables, block RAMs and multipliers at once. Nothing that could be part
of the best is dropped: the result is the optimum over :func:`abc_hw.rtl_gen.folding.candidates`.
"""

import dataclasses
import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np

from abc_hw.errors import InputError
from abc_hw.network import Network

from ..blocks.classifier import ArgMaxPlan
from ..folding import LayerFolding, candidates, least_cycles, refusal
from ..parts.stream import AdapterPlan, CodeStream
from .devices import DEVICES, Device
from .estimate import Estimator

__all__ = ["RESOURCES", "Choice", "Limits", "Option", "Solver", "search"]

RESOURCES = {"luts": "LUTs", "ffs": "flip-flops", "brams": "block RAMs", "dsps": "multipliers"}
"""Fields of :class:`Limits`, and their names for people."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that may be taken of each resource."""

    luts: float = math.inf
    ffs: float = math.inf
    brams: float = math.inf
    dsps: float = math.inf

    @classmethod
    def of(cls, device: Device, share: float) -> "Limits":
        """A share, 0 to 1, of what the device has."""
        return cls(
            luts=math.floor(share * device.luts), ffs=math.floor(share * device.luts),
            brams=math.floor(share * device.brams), dsps=math.floor(share * device.dsps),
        )


class Option(NamedTuple):
    """A folding of a layer: what it takes, cycles per image, lanes of its streams."""

    luts: int
    ffs: int
    brams: int
    dsps: int
    cycles: int
    i_lanes: int
    o_lanes: int
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


Costed = TypeVar("Costed", Option, Choice)

Adapters = Callable[[int, int, int], tuple[int, int, int]]
"""(LUTs, flip-flops, cycles per image) before layer ``index``, or behind the last, for lanes on either side."""


def search(
    layers: Sequence[Sequence[Option]], adapters: Adapters, cycles: int, limits: Limits
) -> Choice | None:
    """The choice of one option per layer with the fewest LUTs, none slower than ``cycles``, within the limits.

    Of equal ones, that with the fewest flip-flops, then block RAMs, then multipliers. None if there is none.
    """
    # Flip-flops seldom run short. Without a limit on them far fewer partial choices must be kept, and what is
    # found is the answer if it keeps the limit all the same.
    found = _search(layers, adapters, cycles, dataclasses.replace(limits, ffs=math.inf))
    if found is None or found.ffs <= limits.ffs:
        return found
    return _search(layers, adapters, cycles, limits)


def _search(
    layers: Sequence[Sequence[Option]], adapters: Adapters, cycles: int, limits: Limits
) -> Choice | None:
    """As :func:`search`."""
    count_ffs = limits.ffs < math.inf
    at: dict[int, list[Choice]] = {0: [Choice(0, 0, 0, 0)]}
    for index, options in enumerate(layers):
        reached: dict[int, list[Choice]] = {}
        fast = (option for option in options if option.cycles <= cycles)
        for (i_lanes, o_lanes), fitting in _useful(fast, count_ffs):
            for lanes, choices in at.items():
                luts, ffs, between = adapters(index, lanes, i_lanes) if index else (0, 0, 0)
                if between > cycles:
                    continue
                reached.setdefault(o_lanes, []).extend(
                    Choice(
                        before.luts + option.luts + luts, before.ffs + option.ffs + ffs,
                        before.brams + option.brams, before.dsps + option.dsps, option, before,
                    )
                    for before in choices for option in fitting
                )
        at = {lanes: _front(choices, limits) for lanes, choices in reached.items()}
    ends = []
    for lanes, choices in at.items():
        luts, ffs, behind = adapters(len(layers), lanes, 1)
        if behind > cycles:
            continue
        ends += [choice._replace(luts=choice.luts + luts, ffs=choice.ffs + ffs) for choice in choices]
    return min(_front(ends, limits), key=lambda one: one[:4], default=None)


def _useful(
    options: Iterable[Option], count_ffs: bool
) -> Iterable[tuple[tuple[int, int], list[Option]]]:
    """Options by (input lanes, output lanes), without those that another one beats in every resource."""
    groups: dict[tuple[int, int], list[Option]] = {}
    for option in options:
        groups.setdefault((option.i_lanes, option.o_lanes), []).append(option)
    for lanes, group in groups.items():
        yield lanes, _unbeaten(sorted(group, key=lambda one: one[:5]), count_ffs)


def _front(choices: Iterable[Choice], limits: Limits) -> list[Choice]:
    """Those within the limits that no other one beats in every resource."""
    within = (
        one for one in choices
        if one.luts <= limits.luts and one.ffs <= limits.ffs and one.brams <= limits.brams
        and one.dsps <= limits.dsps
    )
    return _unbeaten(sorted(within, key=lambda one: one[:4]), limits.ffs < math.inf)


def _unbeaten(ordered: Iterable[Costed], count_ffs: bool) -> list[Costed]:
    """Of what is ordered by LUTs, flip-flops, block RAMs, multipliers: what nothing before beats in all (without
    ``count_ffs`` in all but flip-flops)."""
    kept: list[Costed] = []
    points = np.empty((64, 3), np.int64)  # of what is kept
    for one in ordered:
        point = one.ffs if count_ffs else 0, one.brams, one.dsps
        if (points[: len(kept)] <= point).all(axis=1).any():
            continue
        if len(kept) == len(points):
            points = np.concatenate([points, np.empty_like(points)])
        points[len(kept)] = point
        kept.append(one)
    return kept


class Solver:
    """Chooses foldings for a network on one device.

    Parameters
    ----------
    network : to be folded
    device : what its parts cost
    limits : of the resources; those of the whole device if not given
    """

    def __init__(self, network: Network, device: Device, limits: Limits | None = None) -> None:
        self._network, self._device = network, device
        self._limits = limits or Limits.of(device, 1)
        self._estimator = Estimator(network, device.family)
        self._options = [self._options_of(index) for index in range(len(network.layers))]
        self._adapters: dict[tuple[int, int, int], tuple[int, int, int]] = {}

    @property
    def network(self) -> Network:
        return self._network

    @property
    def device(self) -> Device:
        return self._device

    @property
    def limits(self) -> Limits:
        return self._limits

    def _options_of(self, index: int) -> list[Option]:
        options = []
        for schedule in candidates(self._estimator.numbers[index].layer):
            plan = self._estimator.plan(index, schedule.folding)
            area = self._estimator.layer(plan).area
            options.append(Option(
                math.ceil(area.luts), math.ceil(area.ffs), area.brams, area.dsps, plan.cycles, plan.i.lanes,
                plan.o.lanes, plan.folding,
            ))
        return options

    def _adapter(self, index: int, i_lanes: int, o_lanes: int) -> tuple[int, int, int]:
        """(LUTs, flip-flops, cycles) before layer ``index``, or behind the last."""
        key = index, i_lanes, o_lanes
        if key not in self._adapters:
            last = index == len(self._network.layers)
            numbers = self._estimator.numbers[index - 1]
            layer = numbers.layer
            shape = (1, 1, layer.out_channels) if last else layer.out_shape
            code = numbers.output_shape
            plan = AdapterPlan(shape=shape, i=CodeStream(i_lanes, code), o=CodeStream(o_lanes, code))
            area, cycles = self._estimator.block("adapter", plan.quantities), plan.cycles
            if last:
                argmax = ArgMaxPlan(classes=layer.out_channels, score=numbers.output_shape)
                area += self._estimator.block("argmax", argmax.quantities)
                cycles = max(cycles, argmax.cycles)
            self._adapters[key] = math.ceil(area.luts), math.ceil(area.ffs), cycles
        return self._adapters[key]

    # -- search ---------------------------------------------------------------------------------------------

    @cached_property
    def _least(self) -> int:
        return least_cycles(self._network)

    @cached_property
    def targets(self) -> list[int]:
        """All cycles per image that any folding has, the fewest first, from what the slowest part can reach."""
        every = {option.cycles for options in self._options for option in options}
        for index, (before, after) in enumerate(itertools.pairwise(self._options), 1):
            lanes = itertools.product({one.o_lanes for one in before}, {one.i_lanes for one in after})
            every |= {self._adapter(index, *pair)[2] for pair in lanes}
        return sorted({cycles for cycles in every if cycles > self._least} | {self._least})

    def cheapest(self, cycles: int, limits: Limits | None = None) -> dict[str, LayerFolding] | None:
        """The folding with the fewest LUTs of those with at most ``cycles`` per image, within the limits.

        Of equal ones, that with the fewest flip-flops, then block RAMs, then multipliers. None if there is none.
        """
        found = self._search(cycles, limits or self._limits)
        if found is None:
            return None
        names = [layer.name for layer in self._network.layers]
        return {name: option.folding for name, option in zip(names, found.options(), strict=True)}

    def _search(self, cycles: int, limits: Limits) -> Choice | None:
        return search(self._options, self._adapter, cycles, limits)

    def fastest(self) -> tuple[int, dict[str, LayerFolding]] | None:
        """The fewest cycles per image within the limits, and the folding with the fewest LUTs for them."""
        targets = self.targets
        first = bisect_left(targets, True, key=lambda cycles: self.cheapest(cycles) is not None)
        if first == len(targets):
            return None
        chosen = self.cheapest(targets[first])
        assert chosen is not None  # as the search has just found
        return targets[first], chosen

    def faster(self, cycles: int) -> tuple[int, dict[str, LayerFolding]] | None:
        """The next fewer cycles per image than ``cycles``, and the cheapest folding for them; limits aside."""
        targets = [target for target in self.targets if target < cycles]
        if not targets:
            return None
        chosen = self.cheapest(targets[-1], Limits())
        assert chosen is not None  # every target has a folding where nothing is limited
        return targets[-1], chosen

    # -- with words -----------------------------------------------------------------------------------------

    def for_cycles(self, cycles: int) -> dict[str, LayerFolding]:
        """As :meth:`cheapest`.

        Raises
        ------
        InputError
            if there is none; the message names layer, resource, need, limit and what would do.
        """
        chosen = self.cheapest(cycles)
        if chosen is None:
            raise InputError(self._why_not(cycles))
        return chosen

    def best(self) -> tuple[int, dict[str, LayerFolding]]:
        """As :meth:`fastest`.

        Raises
        ------
        InputError
            if the device has no room at any speed.
        """
        found = self.fastest()
        if found is None:
            raise InputError(self._why_not(self.targets[-1]))
        return found

    def _why_not(self, cycles: int) -> str:
        unreachable = refusal(self._network, cycles)
        if unreachable is not None:
            return unreachable
        scarce, relaxed = self._scarcest(cycles)
        there = [getattr(option, scarce) for option in relaxed.options()]
        layer = self._network.layers[there.index(max(there))].name
        found = self.fastest()
        if found is not None:
            nearest = f"nearest that fits: {found[0]:,} cycles per image"
        else:
            nearest = self._larger_device()
        return (
            f"{layer}: expected at most {getattr(self._limits, scarce):,.0f} {RESOURCES[scarce]} of "
            f"{self._device.name} for the network at {cycles:,} cycles per image, found "
            f"{getattr(relaxed, scarce):,}, {max(there):,} of them here; {nearest}"
        )

    def _scarcest(self, cycles: int) -> tuple[str, Choice]:
        """The resource that is short by the largest factor, and the choice that is best where it has no limit."""
        short = []
        for resource in RESOURCES:
            within = dataclasses.replace(self._limits, **{resource: math.inf})
            found = self._search(cycles, within) or self._search(cycles, Limits())
            assert found is not None  # without limits every reachable target has a folding
            short.append((getattr(found, resource) / max(getattr(self._limits, resource), 0.5), resource, found))
        _, resource, found = max(short, key=lambda one: one[0])
        return resource, found

    def _larger_device(self) -> str:
        """The smallest device of the family with room, at the same share."""
        share = self._limits.luts / self._device.luts
        for device in DEVICES.values():
            if device.family == self._device.family and device.luts > self._device.luts:
                limits = Limits.of(device, share)
                if self._search(self.targets[-1], limits) is not None:
                    return f"no folding fits, {device.name} has room"
        return "no folding fits, nor any larger device of the family"

