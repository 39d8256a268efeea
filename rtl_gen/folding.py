"""Foldings: those with the least hardware for a speed, without looking at a device."""

from collections.abc import Iterable, Sequence
from functools import lru_cache

from amaranth.hdl import unsigned

from abc_hw.errors import InputError
from abc_hw.network import Layer, Network

from .blocks.classifier import ArgMaxPlan
from .blocks.lanes import AdapterPlan
from .blocks.window import WindowPlan
from .parts.arith import ceil_div
from .parts.stream import CodeStream
from .schedule import KNOBS, LayerFolding, Schedule, candidates

__all__ = [
    "DEFAULT_XNORS", "KNOBS", "LayerFolding", "Rank", "Schedule", "candidates", "default_foldings",
    "fold_for_cycles", "least_cycles", "rank", "refusal",
]

DEFAULT_XNORS = 1024
"""XNORs per cycle that :func:`default_foldings` aims at over all layers."""

Lanes = tuple[int, int]
"""Of a layer's streams, in and out."""


# -- cycles of what lies between layers ---------------------------------------------------------------------


@lru_cache(maxsize=1 << 16)
def _between(shape: tuple[int, int, int], o_lanes: int, i_lanes: int) -> int:
    """Cycles per image of the adapter between two layers."""
    bit = unsigned(1)
    return AdapterPlan(shape=shape, i=CodeStream(o_lanes, bit), o=CodeStream(i_lanes, bit)).cycles


def _output_cycles(network: Network) -> int:
    return ArgMaxPlan(classes=network.layers[-1].out_channels, score=unsigned(1)).cycles


# -- the search ---------------------------------------------------------------------------------------------


def _least(network: Network, layers: Sequence[Iterable[Schedule]]) -> int:
    """The fewest cycles per image that a chain of foldings, one for each layer, has."""
    at: dict[int, int] = {}
    for index, options in enumerate(layers):
        own: dict[Lanes, int] = {}
        for schedule in options:
            lanes = schedule.lanes, schedule.out_lanes
            cycles = WindowPlan(schedule).cycles
            own[lanes] = min(cycles, own.get(lanes, cycles))
        reached: dict[int, int] = {}
        shape = network.layers[index].in_shape
        for (i_lanes, o_lanes), cycles in own.items():
            before = min((max(so_far, _between(shape, lanes, i_lanes)) for lanes, so_far in at.items()), default=0)
            reached[o_lanes] = min(max(before, cycles), reached.get(o_lanes, max(before, cycles)))
        at = reached
    return max(min(at.values()), _output_cycles(network))


def least_cycles(network: Network) -> int:
    """The fewest cycles per image that any folding has."""
    return _least(network, [candidates(layer) for layer in network.layers])


Rank = tuple[int, ...]
"""Least in the best folding: of a layer, or summed over layers."""


def rank(schedule: Schedule, place: int) -> Rank:
    """What is least in the best folding of a layer; summed over layers, of an accelerator."""
    return (
        schedule.rows, schedule.xnors, schedule.scale_lanes.total, schedule.cycles, -schedule.folding.simd, place
    )


def _cheapest(network: Network, cycles: int) -> list[LayerFolding] | None:
    """One folding for each layer, of the least rank, with which nothing takes longer than ``cycles``."""
    at: dict[int, tuple[Rank, list[LayerFolding]]] = {}
    for layer in network.layers:
        own: dict[Lanes, tuple[Rank, LayerFolding]] = {}
        for place, schedule in enumerate(candidates(layer)):
            if WindowPlan(schedule).cycles <= cycles:
                lanes, ranked = (schedule.lanes, schedule.out_lanes), (rank(schedule, place), schedule.folding)
                if lanes not in own or ranked[0] < own[lanes][0]:
                    own[lanes] = ranked
        reached: dict[int, tuple[Rank, list[LayerFolding]]] = {}
        for (i_lanes, o_lanes), (added, folding) in own.items():
            before = [
                chosen for lanes, chosen in at.items() if _between(layer.in_shape, lanes, i_lanes) <= cycles
            ]
            if layer is not network.layers[0] and not before:
                continue
            ahead, foldings = min(before, key=lambda one: one[0], default=((0,) * len(added), []))
            total = tuple(a + b for a, b in zip(ahead, added, strict=True))
            if o_lanes not in reached or total < reached[o_lanes][0]:
                reached[o_lanes] = total, [*foldings, folding]
        at = reached
    return min(at.values(), key=lambda one: one[0])[1] if at else None


# -- for people ---------------------------------------------------------------------------------------------


def refusal(network: Network, cycles: int, *, least: int | None = None) -> str | None:
    """Why no folding reaches ``cycles`` per image, in a line; None if one does.

    ``least`` is the fewest cycles that any folding has, where foldings with several pixels at once count too.
    """
    several = least is not None
    least = least_cycles(network) if least is None else least
    if cycles >= least:
        return None
    limits = [_limit_of(layer, layer is network.layers[0], several) for layer in network.layers]
    limits.append((_output_cycles(network), "output", "one for each score: output limits"))
    limits.append((least, "lanes", "the fewest between layers of any lanes"))
    short = max((limit for limit in limits[:-1] if limit[0] > cycles), default=limits[-1], key=lambda one: one[0])
    text = f"{short[1]}: expected a target of at least {short[0]:,} cycles per image, {short[2]}, found {cycles:,}"
    return text if short[0] == least else f"{text}; nearest that fits: {least:,}"


def _limit_of(layer: Layer, first: bool, several: bool) -> tuple[int, str, str]:
    every = candidates(layer, several=several)
    px = layer.in_shape[1] if several and not first else 1  # that may come at once
    least = min(WindowPlan(schedule, px_in=px).cycles for schedule in every)
    if min(schedule.cycles for schedule in every) == least:
        return least, layer.name, "its fastest folding"
    return least, layer.name, "one for each transfer of its input: input limits" if first else (
        "one for each transfer that comes in")


def fold_for_cycles(network: Network, cycles: int) -> dict[str, LayerFolding]:
    """For each layer the folding with the fewest XNORs that takes at most ``cycles`` per image, such that lane
    adapters between the layers take no longer either.

    Whole windows in a word are taken only where nothing else is as fast. Of equal ones, the one with the fewest
    scale lanes and then the widest word is taken.

    Raises
    ------
    InputError
        if a layer, the input or the output cannot reach the target at any folding; the message names it and its
        best.
    """
    chosen = _cheapest(network, cycles) if cycles >= _output_cycles(network) else None
    if chosen is None:
        raise InputError(refusal(network, cycles))
    return {layer.name: folding for layer, folding in zip(network.layers, chosen, strict=True)}


def default_foldings(network: Network) -> dict[str, LayerFolding]:
    """A balanced accelerator of middling size: every layer as fast as the slowest one needs.

    The target is the cycles that all layers' XNORs take at ``DEFAULT_XNORS`` per cycle, or what the slowest part
    can reach with words of one kernel row.
    """
    fastest = _least(network, [[one for one in candidates(layer) if one.rows == 1] for layer in network.layers])
    return fold_for_cycles(network, max(fastest, ceil_div(network.binary_macs, DEFAULT_XNORS)))
