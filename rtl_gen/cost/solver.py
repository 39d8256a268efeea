"""The folding with the fewest look-up tables for a speed, and the fastest one that a device has room for.

Layers are told apart by what their neighbours see of them, pixels and lanes of their streams: adapters between
lanes cost too, and rows of as many pixels as come at once take other banks. The result is the optimum over
:func:`abc_hw.rtl_gen.folding.candidates` of all five knobs.
"""

import dataclasses
import itertools
import math
from bisect import bisect_left
from collections.abc import Mapping
from functools import cached_property

from abc_hw.errors import InputError
from abc_hw.network import Network

from ..blocks.buffer import BufferPlan, behind_pool
from ..blocks.classifier import ArgMaxPlan
from ..blocks.lanes import AdapterPlan
from ..blocks.pool import PoolPlan
from ..blocks.ring import Ring
from ..engine.accelerator import AcceleratorPlan
from ..engine.layer import LayerPlan
from ..folding import LayerFolding, Schedule, candidates, refusal
from ..parts.matches import LayerNumbers
from ..parts.memory_mapping import TECHNOLOGIES, Technology
from ..parts.stream import CodeStream
from .devices import DEVICES, Device
from .estimate import TARGETS, Area, Estimator
from .search import END, Choice, Limits, Option, Stream, search

__all__ = ["RESOURCES", "Choice", "Limits", "Option", "Solver", "joint", "search"]

RESOURCES = {"luts": "LUTs", "ffs": "flip-flops", "brams": "block RAMs", "dsps": "multipliers"}
"""Fields of :class:`Limits`, and their names for people."""

MOST_XNORS = 200_000
"""Of a layer, at once: more than any device has look-up tables for."""


def joint(
    numbers: LayerNumbers, before: Stream, after: Stream, technology: Technology
) -> tuple[AdapterPlan, BufferPlan | None]:
    """What lies between the stream of a layer and what takes it, a buffer behind its pool included."""
    layer = numbers.layer
    i, o = (CodeStream(lanes, numbers.output_shape, px) for px, lanes in (before[:2], after))
    adapter = AdapterPlan(shape=layer.out_shape, i=i, o=o)
    if layer.pool == 1:
        return adapter, None
    pooled = CodeStream(before[1], numbers.output_shape, before[2])
    pool = PoolPlan(shape=layer.conv_shape, side=layer.pool, i=pooled, technology=technology)
    return adapter, behind_pool(pool, adapter)


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
        self._options: list[list[Option]] = []
        streams: set[Stream] = {END}
        for index in range(len(network.layers)):
            self._options.append(_Options(self._estimator, index).all(sorted({px for px, *_ in streams})))
            streams = {option.o for option in self._options[-1]}
        self._adapters: dict[tuple[int, Stream, Stream], tuple[int, int, int, int]] = {}

    @property
    def network(self) -> Network:
        return self._network

    @property
    def device(self) -> Device:
        return self._device

    @property
    def limits(self) -> Limits:
        return self._limits

    def _adapter(self, index: int, before: Stream, after: Stream) -> tuple[int, int, int, int] | None:
        """(LUTs, flip-flops, block RAMs, cycles) before layer ``index``, or behind the last; None where pixels
        differ."""
        key = index, before, after
        if before[0] != after[0]:
            return None
        if key not in self._adapters:
            numbers = self._estimator.numbers[index - 1]
            plan, buffer = joint(numbers, before, after, TECHNOLOGIES[TARGETS[self._device.family]])
            area, cycles = self._estimator.between(plan, buffer), plan.cycles
            if index == len(self._network.layers):
                argmax = ArgMaxPlan(classes=numbers.layer.out_channels, score=numbers.output_shape)
                area += self._estimator.block("argmax", argmax.quantities)
                cycles = max(cycles, argmax.cycles)
            self._adapters[key] = *whole(area)[:3], cycles
        return self._adapters[key]

    # -- search ---------------------------------------------------------------------------------------------

    @cached_property
    def _least(self) -> int:
        """The fewest cycles per image that any folding has."""
        at: dict[Stream, float] = {}
        for index, options in enumerate(self._options):
            own: dict[tuple[Stream, Stream], int] = {}
            for option in options:
                own[option.i, option.o] = min(option.cycles, own.get((option.i, option.o), option.cycles))
            arrived = {i: self._reached(index, at, i) if index else 0 for i, _ in own}
            reached: dict[Stream, float] = {}
            for (i, o), cycles in own.items():
                taken = max(cycles, arrived[i])
                reached[o] = min(taken, reached.get(o, taken))
            at = reached
        return int(self._reached(len(self._options), at, END))

    def _reached(self, index: int, at: Mapping[Stream, float], i: Stream) -> float:
        """The fewest cycles of what comes before an input and joins it."""
        joined = ((cycles, self._adapter(index, o, i)) for o, cycles in at.items())
        return min((max(cycles, joins[3]) for cycles, joins in joined if joins is not None), default=math.inf)

    @cached_property
    def targets(self) -> list[int]:
        """All cycles per image that any folding has, the fewest first, from what the slowest part can reach."""
        every = {option.cycles for options in self._options for option in options}
        for index, (before, after) in enumerate(itertools.pairwise(self._options), 1):
            streams = itertools.product({one.o for one in before}, {one.i for one in after})
            joined = (self._adapter(index, *pair) for pair in streams)
            every |= {joins[3] for joins in joined if joins is not None}
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
        """The cheapest folding with fewer cycles per image than ``cycles``, and how many; limits aside."""
        targets = [target for target in self.targets if target < cycles]
        if not targets:
            return None
        chosen = self.cheapest(targets[-1], Limits())
        assert chosen is not None  # every target has a folding where nothing is limited
        return AcceleratorPlan.of(self._network, chosen, numbers=self._estimator.numbers).cycles, chosen

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
        if cycles < self._least:
            return refusal(self._network, cycles, least=self._least) or ""
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
        """The share of the device, else the smallest device of the family at the same share, that has room."""
        slowest, share = self.targets[-1], self._limits.luts / self._device.luts
        for budget in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0):
            if budget > share and self._search(slowest, Limits.of(self._device, budget)) is not None:
                return f"no folding fits, --budget {budget:g} has room"
        for device in DEVICES.values():
            larger = device.family == self._device.family and device.luts > self._device.luts
            if larger and self._search(slowest, Limits.of(device, share)) is not None:
                return f"no folding fits, {device.name} has room"
        return "no folding fits, nor any larger device of the family"


def whole(area: Area) -> tuple[int, int, int, int]:
    """LUTs, flip-flops, block RAMs and multipliers as whole numbers, whatever order they were added in."""
    return math.ceil(round(area.luts, 6)), math.ceil(round(area.ffs, 6)), area.brams, area.dsps


class _Options:
    """Every folding of a layer, and what it takes.

    Parameters
    ----------
    estimator : of the network
    index : of the layer
    """

    def __init__(self, estimator: Estimator, index: int) -> None:
        self._estimator, self._index = estimator, index
        self._latencies: dict[tuple[int, ...], int] = {}
        self._windows: dict[tuple[int, ...], tuple[Area, LayerPlan]] = {}

    def all(self, pixels: list[int]) -> list[Option]:
        """With each of these numbers of pixels coming at once."""
        found = []
        for schedule in candidates(self._estimator.numbers[self._index].layer, several=True):
            if schedule.xnors <= MOST_XNORS:
                found += self._of(schedule.folding, pixels)
        return found

    def _of(self, folding: LayerFolding, pixels: list[int]) -> list[Option]:
        """Of one folding. What comes at once decides on the window; on the rest only by the window's latency."""
        plan = self._plan(folding, pixels[0])
        weights = plan.weights.memory.latency - plan.array.weight_delay
        cycles = max(one.cycles for name, one in plan.blocks.items() if name in BEHIND)
        rest: dict[int, Area] = {}
        found = []
        for px in pixels:
            area, window = self._window(plan.schedule, px, weights)
            late = window.window.latency
            if late not in rest:
                rest[late] = self._rest(self._plan(folding, px))
            found.append(Option(
                *whole(area + rest[late]),
                max(plan.schedule.cycles, window.window.i_transfers, cycles), (px, window.i.lanes),
                (plan.o.px, plan.o.lanes, 0 if plan.pool is None else plan.pool.i.px), folding,
            ))
        return found

    def _rest(self, plan: LayerPlan) -> Area:
        """What all blocks but the window take."""
        return self._estimator.area_of(plan, (name for name in plan.blocks if name != "window"))

    def _plan(self, folding: LayerFolding, px: int) -> LayerPlan:
        return self._estimator.plan(self._index, folding, px)

    def _window(self, schedule: Schedule, px: int, weights: int) -> tuple[Area, LayerPlan]:
        """(what the window buffer takes if its words come no sooner than ``weights``, a layer that has it)"""
        key = schedule.folding.simd, schedule.folding.px, px, Ring(schedule, px).held
        if key not in self._latencies:
            plan = self._plan(schedule.folding, px)
            self._latencies[key] = dataclasses.replace(plan.window, waits=0).latency
        waits = max(weights - self._latencies[key], 0)
        waiting = *key, waits, Ring(schedule, px, waits).held if waits else 0
        if waiting not in self._windows:
            plan = self._plan(schedule.folding, px)
            self._windows[waiting] = self._estimator.area_of(plan, ["window"]), plan
        return self._windows[waiting]


BEHIND = ("scale", "output", "queue", "pixels", "pool")
"""Blocks that take their time beside the array and the window."""
