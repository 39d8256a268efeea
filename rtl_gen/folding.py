"""Folding: how much of a layer is done at once, and the schedule that follows from it."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

from abc_hw.errors import InputError
from abc_hw.network import Layer, Network

from .parts.arith import ceil_div
from .parts.matches import with_positive_alpha

__all__ = [
    "LayerFolding", "Schedule", "candidates", "cycle_bound", "default_foldings", "fold_for_cycles", "schedules",
]


DEFAULT_XNORS = 1024
"""XNORs per cycle that :func:`default_foldings` aims at over all layers."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerFolding:
    """The four parallelism knobs of a layer.

    Members
    -------
    simd : positions of one dot per cycle: 1 .. C_in channels of one pixel, all channels of 2 .. kernel-width
        neighbouring pixels, or the whole window
    pe : output channels at once, 1 .. C_out
    mp, np : weight bases (of M) and activation bases (of N) at once
    """

    simd: int = 1
    pe: int = 1
    mp: int = 1
    np: int = 1


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What a layer does when, under a folding.

    Per output pixel and group of ``pe`` channels a *group* of work runs without a pause: for each pass over
    (np of N, mp of M) bases, ``words`` cycles of one window word each.

    Raises
    ------
    InputError
        if the folding does not fit the layer; the message gives the nearest settings that do.
    """

    layer: Layer
    folding: LayerFolding

    def __post_init__(self) -> None:
        layer, folding = self.layer, self.folding
        channels, (height, width) = layer.in_shape[2], layer.kernel
        most = {"pe": layer.out_channels, "mp": layer.weight_bases.count, "np": layer.input_bases.count}
        for knob, limit in most.items():
            value = getattr(folding, knob)
            if not 1 <= value <= limit:
                raise InputError(f"{layer.name}.folding.{knob}: expected 1 to {limit}, found {value}")
        allowed = [*range(1, channels + 1), *(channels * columns for columns in range(2, width + 1))]
        if height > 1:
            allowed.append(layer.dot_length)
        if folding.simd not in allowed:
            below = max((simd for simd in allowed if simd < folding.simd), default=allowed[0])
            above = min((simd for simd in allowed if simd > folding.simd), default=allowed[-1])
            nearest = f"{below}" if below == above else f"{below} or {above}"
            raise InputError(
                f"{layer.name}.folding.simd: expected 1 to {channels} channels, {channels} times 2 to {width} "
                f"kernel columns, or {layer.dot_length}, the whole window, found {folding.simd}; "
                f"nearest that fits: {nearest}"
            )

    # -- the window word ------------------------------------------------------------------------------------

    @property
    def rows(self) -> int:
        """Kernel rows in one window word: 1, or all of them."""
        return self.layer.kernel[0] if self.folding.simd == self.layer.dot_length else 1

    @property
    def columns(self) -> int:
        """Neighbouring pixels of each of those rows in one window word."""
        return max(1, self.folding.simd // (self.rows * self.layer.in_shape[2]))

    @property
    def lanes(self) -> int:
        """Channels of each of those pixels: lanes of the stream that the window buffer takes in."""
        return self.folding.simd // (self.rows * self.columns)

    @property
    def channel_words(self) -> int:
        """Window words for all channels of a pixel."""
        return ceil_div(self.layer.in_shape[2], self.lanes)

    @property
    def column_words(self) -> int:
        """Window words for all columns of a kernel row."""
        return ceil_div(self.layer.kernel[1], self.columns)

    @property
    def row_words(self) -> int:
        """Window words for all rows of the kernel."""
        return self.layer.kernel[0] // self.rows

    @property
    def words(self) -> int:
        """Cycles from one finished dot to the next."""
        return self.row_words * self.column_words * self.channel_words

    # -- the passes -----------------------------------------------------------------------------------------

    @property
    def groups(self) -> int:
        """Groups of ``pe`` output channels."""
        return ceil_div(self.layer.out_channels, self.folding.pe)

    @property
    def passes_m(self) -> int:
        return ceil_div(self.layer.weight_bases.count, self.folding.mp)

    @property
    def passes_n(self) -> int:
        return ceil_div(self.layer.input_bases.count, self.folding.np)

    @property
    def group_cycles(self) -> int:
        return self.passes_m * self.passes_n * self.words

    @property
    def cycles(self) -> int:
        """Cycles per image: OH OW ceil(C_out/pe) ceil(M/mp) ceil(N/np) words."""
        height, width, _ = self.layer.conv_shape
        return height * width * self.groups * self.group_cycles

    # -- what follows the dots ------------------------------------------------------------------------------

    @cached_property
    def scale_lanes(self) -> tuple[int, int]:
        """(channels, weight bases) that are scaled at once: the fewest that keep up with the dots.

        They divide pe and mp; of equal products the one with fewer channels is taken.
        """
        pe, mp = self.folding.pe, self.folding.mp
        return min(
            (
                (channels, bases)
                for channels in range(1, pe + 1)
                for bases in range(1, mp + 1)
                if pe % channels == 0 and mp % bases == 0 and (pe // channels) * (mp // bases) <= self.words
            ),
            key=lambda lanes: (lanes[0] * lanes[1], lanes[0]),
        )

    @property
    def out_lanes(self) -> int:
        """Lanes of the layer's output stream."""
        return self.scale_lanes[0]

    @property
    def scale_items(self) -> int:
        """Cycles in which the scale lanes work off the dots of one pass."""
        channels, bases = self.scale_lanes
        return (self.folding.pe // channels) * (self.folding.mp // bases)

    @property
    def out_transfers(self) -> int:
        """Transfers of the output stream per pixel before pooling."""
        return ceil_div(self.layer.out_channels, self.out_lanes)

    @property
    def xnors(self) -> int:
        """XNOR gates of the array: binary multiply-accumulates per cycle."""
        return self.folding.simd * self.folding.pe * self.folding.mp * self.folding.np


def candidates(layer: Layer) -> list[Schedule]:
    """Every folding of a layer that wastes no lane, with its schedule."""
    channels, (height, width) = layer.in_shape[2], layer.kernel
    simds = [simd for simd in range(1, channels + 1) if channels % simd == 0]
    simds += [channels * columns for columns in range(2, width + 1) if width % columns == 0]
    if height > 1:
        simds.append(layer.dot_length)
    return [
        Schedule(layer, LayerFolding(simd=simd, pe=pe, mp=mp, np=np))
        for simd in simds
        for pe in _divisors(layer.out_channels)
        for mp in _divisors(layer.weight_bases.count)
        for np in _divisors(layer.input_bases.count)
    ]


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def fold_for_cycles(network: Network, cycles: int) -> dict[str, LayerFolding]:
    """For each layer the folding with the fewest XNORs that takes at most ``cycles`` per image.

    Whole windows in a word are taken only where nothing else is as fast. Of equal ones, the one with the fewest
    scale lanes and then the widest word is taken.

    Raises
    ------
    InputError
        if a layer cannot reach the target at any folding; the message names it and its best.
    """
    chosen = {}
    for layer in network.layers:
        every = candidates(layer)
        fitting = [schedule for schedule in every if schedule.cycles <= cycles]
        if not fitting:
            fastest = min(schedule.cycles for schedule in every)
            raise InputError(
                f"{layer.name}: expected a target of at least {fastest} cycles per image, its fastest folding, "
                f"found {cycles}"
            )
        best = min(fitting, key=lambda s: (
            s.rows, s.xnors, s.scale_lanes[0] * s.scale_lanes[1], s.cycles, -s.folding.simd
        ))
        chosen[layer.name] = best.folding
    return chosen


def default_foldings(network: Network) -> dict[str, LayerFolding]:
    """A balanced accelerator of middling size: every layer as fast as the slowest one needs.

    The target is the cycles that all layers' XNORs take at ``DEFAULT_XNORS`` per cycle, or what the slowest layer
    can reach with words of one kernel row.
    """
    fastest = max(
        min(schedule.cycles for schedule in candidates(layer) if schedule.rows == 1) for layer in network.layers
    )
    return fold_for_cycles(network, max(fastest, ceil_div(network.binary_macs, DEFAULT_XNORS)))


def cycle_bound(layers: Sequence[Schedule]) -> int:
    """Least cycles between images: those of the slowest layer, or of the input where that is slower."""
    height, width, _ = layers[0].layer.in_shape
    return max(height * width * layers[0].channel_words, *(schedule.cycles for schedule in layers), 0)


def schedules(network: Network, foldings: Mapping[str, LayerFolding]) -> list[Schedule]:
    """Schedules of all layers, each :func:`abc_hw.rtl_gen.parts.matches.with_positive_alpha`.

    Raises
    ------
    InputError
        if a layer has no folding, a folding no layer, or one does not fit.
    """
    names = [layer.name for layer in network.layers]
    strangers = sorted(set(foldings) - set(names))
    if strangers:
        raise InputError(f"folding: expected the layers {', '.join(names)}, found {', '.join(strangers)}")
    missing = [name for name in names if name not in foldings]
    if missing:
        raise InputError(f"folding: expected one for each layer, found none for {', '.join(missing)}")
    return [Schedule(with_positive_alpha(layer), foldings[layer.name]) for layer in network.layers]
