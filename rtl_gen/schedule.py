"""How much of a layer is done at once, and the schedule that follows from it."""

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from typing import NamedTuple

from abc_hw.errors import InputError
from abc_hw.network import Layer
from abc_hw.network.fused import Fused

from .parts.arith import ceil_div
from .parts.loops import Loops

__all__ = ["KNOBS", "LayerFolding", "ScaleLanes", "Schedule", "candidates", "pixel_counts", "useful"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerFolding:
    """The five parallelism knobs of a layer.

    Members
    -------
    simd : positions of one dot per cycle: 1 .. C_in channels of one pixel, all channels of 2 .. kernel-width
        neighbouring pixels, or the whole window
    pe : output channels at once, 1 .. C_out
    mp, np : weight bases (of M) and activation bases (of N) at once
    px : neighbouring output pixels of a row at once, 1 .. OW, for each of which a weight word serves
    """

    simd: int = 1
    pe: int = 1
    mp: int = 1
    np: int = 1
    px: int = 1


MOST_PIXELS = 16
"""Pixels at once that foldings are looked for with."""

KNOBS = tuple(field.name for field in dataclasses.fields(LayerFolding))
"""Names of the knobs, in the order in which they are told everywhere."""


class ScaleLanes(NamedTuple):
    """What is scaled at once: pixels, channels and weight bases."""

    pixels: int
    channels: int
    bases: int

    @property
    def total(self) -> int:
        """Lanes in all."""
        return self.pixels * self.channels * self.bases


@dataclasses.dataclass(frozen=True)
class Schedule:
    """What a layer does when, under a folding.

    Per ``px`` output pixels and group of ``pe`` channels a *group* of work runs without a pause: for each pass
    over (np of N, mp of M) bases, ``words`` cycles of one window word each.

    Raises
    ------
    InputError
        if the folding does not fit the layer; the message gives the nearest settings that do.
    """

    layer: Fused
    folding: LayerFolding

    def __post_init__(self) -> None:
        layer, folding = self.layer, self.folding
        most = {
            "pe": layer.out_channels // layer.groups, "mp": layer.weight_bases.count,
            "np": layer.input_bases.count, "px": layer.conv_shape[1],
        }
        for knob, limit in most.items():
            value = getattr(folding, knob)
            if not 1 <= value <= limit:
                raise InputError(f"{layer.name}.folding.{knob}: expected 1 to {limit}, found {value}")
        if layer.groups > 1 and most["pe"] % folding.pe:
            raise InputError(
                f"{layer.name}.folding.pe: expected a divisor of the {most['pe']} channels of a group, found "
                f"{folding.pe}"
            )
        allowed, said = _widths(layer)
        if folding.simd not in allowed:
            below = max((simd for simd in allowed if simd < folding.simd), default=allowed[0])
            above = min((simd for simd in allowed if simd > folding.simd), default=allowed[-1])
            nearest = f"{below}" if below == above else f"{below} or {above}"
            raise InputError(
                f"{layer.name}.folding.simd: expected {said}, found {folding.simd}; nearest that fits: {nearest}"
            )

    # -- the window word ------------------------------------------------------------------------------------

    @cached_property
    def rows(self) -> int:
        """Kernel rows in one window word: 1, or all of them."""
        whole = self.folding.simd == self.layer.dot_length and self.layer.groups == 1
        return self.layer.kernel[0] if whole else 1

    @cached_property
    def columns(self) -> int:
        """Neighbouring pixels of each of those rows in one window word."""
        return max(1, self.folding.simd // (self.rows * self.layer.in_shape[2]))

    @cached_property
    def lanes(self) -> int:
        """Channels of each of those pixels: lanes of the stream that the window buffer takes in."""
        return self.folding.simd // (self.rows * self.columns)

    @cached_property
    def channel_words(self) -> int:
        """Window words for all channels of a pixel."""
        return ceil_div(self.layer.in_shape[2], self.lanes)

    @cached_property
    def dot_words(self) -> int:
        """Window words for the channels of a pixel that one output channel sees: those of its group."""
        return ceil_div(self.layer.in_shape[2] // self.layer.groups, self.lanes)

    @cached_property
    def column_words(self) -> int:
        """Window words for all columns of a kernel row."""
        return ceil_div(self.layer.kernel[1], self.columns)

    @property
    def row_words(self) -> int:
        """Window words for all rows of the kernel."""
        return self.layer.kernel[0] // self.rows

    @cached_property
    def words(self) -> int:
        """Cycles from one finished dot to the next."""
        return self.row_words * self.column_words * self.dot_words

    @cached_property
    def span(self) -> int:
        """Neighbouring input pixels of a row from which come the words of ``px`` output pixels."""
        return (self.folding.px - 1) * self.layer.stride[1] + self.columns

    # -- the passes -----------------------------------------------------------------------------------------

    @cached_property
    def channel_groups(self) -> int:
        """Groups of ``pe`` output channels."""
        return ceil_div(self.layer.out_channels, self.folding.pe)

    @property
    def channels(self) -> int:
        """Output channels of all groups, those included that are not there."""
        return self.channel_groups * self.folding.pe

    @property
    def groups_each(self) -> int:
        """Of them those that see the same input channels."""
        return self.channel_groups // self.layer.groups

    @property
    def passes_m(self) -> int:
        return ceil_div(self.layer.weight_bases.count, self.folding.mp)

    @property
    def passes_n(self) -> int:
        return ceil_div(self.layer.input_bases.count, self.folding.np)

    @cached_property
    def group_cycles(self) -> int:
        return self.passes_m * self.passes_n * self.words

    @property
    def pixel_groups(self) -> int:
        """Groups of ``px`` output pixels of a row."""
        return ceil_div(self.layer.conv_shape[1], self.folding.px)

    @property
    def absent(self) -> int:
        """Pixels that the last group of a row has too many."""
        return self.pixel_groups * self.folding.px - self.layer.conv_shape[1]

    @property
    def cycles(self) -> int:
        """Cycles per image: OH ceil(OW/px) ceil(C_out/pe) ceil(M/mp) ceil(N/np) words."""
        return self.layer.conv_shape[0] * self.pixel_groups * self.channel_groups * self.group_cycles

    @cached_property
    def loops(self) -> Loops:
        """What a layer runs through per image, a window word per step."""
        return Loops({
            "row": self.layer.conv_shape[0], "column": self.pixel_groups, "seen": self.layer.groups,
            "group": self.groups_each, "pass_n": self.passes_n, "pass_m": self.passes_m,
            "kernel_row": self.row_words, "kernel_column": self.column_words, "channel_word": self.dot_words,
        })

    # -- what follows the dots ------------------------------------------------------------------------------

    @cached_property
    def scale_lanes(self) -> ScaleLanes:
        """The fewest that keep up with the dots.

        They divide px, pe and mp; of equal products the one with fewer channels, then fewer bases is taken.
        """
        px, pe, mp = self.folding.px, self.folding.pe, self.folding.mp
        return min(
            (
                ScaleLanes(pixels, channels, bases)
                for pixels in divisors(px) for channels in divisors(pe) for bases in divisors(mp)
                if (px // pixels) * (pe // channels) * (mp // bases) <= self.words
            ),
            key=lambda lanes: (lanes.total, lanes.channels, lanes.bases),
        )

    @property
    def out_lanes(self) -> int:
        """Lanes of the layer's output stream."""
        return self.scale_lanes.channels

    @property
    def alpha_items(self) -> int:
        """Words of alphas of one pass."""
        lanes = self.scale_lanes
        return (self.folding.pe // lanes.channels) * (self.folding.mp // lanes.bases)

    @property
    def pixel_items(self) -> int:
        """Items of the scale unit that differ in their pixels only."""
        return self.folding.px // self.scale_lanes.pixels

    @property
    def scale_items(self) -> int:
        """Cycles in which the scale lanes work off the dots of one pass."""
        return self.alpha_items * self.pixel_items

    @property
    def out_transfers(self) -> int:
        """Transfers of the output stream per group of pixels before pooling."""
        return ceil_div(self.layer.out_channels, self.out_lanes)

    @property
    def xnors(self) -> int:
        """XNOR gates of the array: binary multiply-accumulates per cycle."""
        return self.folding.simd * self.folding.pe * self.folding.mp * self.folding.np * self.folding.px


def useful(schedules: Iterable[Schedule], cycles: int) -> float:
    """Share of the XNOR gates and cycles of an image that a binary multiply-accumulate of the network takes;
    waiting and what is past the ends of words, channels and rows count as idle. Of no gates none is idle: 1."""
    schedules = list(schedules)
    gates = sum(schedule.xnors for schedule in schedules)
    return 1.0 if not gates else sum(schedule.layer.binary_macs for schedule in schedules) / (gates * cycles)


def _widths(layer: Fused) -> tuple[list[int], str]:
    """Every ``simd`` that a layer can have, ascending, and what that is in words."""
    channels, (height, width) = layer.in_shape[2], layer.kernel
    if layer.groups > 1:
        each = channels // layer.groups
        return list(divisors(each)), f"a divisor of the {each} channels of a group"
    allowed, said = list(range(1, channels + 1)), f"1 to {channels} channels"
    if layer.padding_code and any(layer.padding):  # lanes past the last channel carry code 0, outside as well
        allowed, said = list(divisors(channels)), f"a divisor of {channels} channels"
    allowed += [channels * columns for columns in range(2, width + 1)]
    if height > 1:
        allowed.append(layer.dot_length)
    said = f"{said}, {channels} times 2 to {width} kernel columns, or {layer.dot_length}, the whole window"
    return allowed, said


def candidates(layer: Layer | Fused, *, several: bool = False) -> list[Schedule]:
    """Every folding of a layer that wastes no lane, with its schedule; with ``several`` pixels at once too
    (:func:`pixel_counts`)."""
    layer = layer.fused
    channels, (height, width) = layer.in_shape[2] // layer.groups, layer.kernel
    simds = list(divisors(channels))
    if layer.groups == 1:
        simds += [channels * columns for columns in range(2, width + 1) if width % columns == 0]
        if height > 1:
            simds.append(layer.dot_length)
    return [
        Schedule(layer, LayerFolding(simd=simd, pe=pe, mp=mp, np=np, px=px))
        for simd in simds
        for pe in divisors(layer.out_channels // layer.groups)
        for mp in divisors(layer.weight_bases.count)
        for np in divisors(layer.input_bases.count)
        for px in (pixel_counts(layer) if several else (1,))
    ]


def pixel_counts(layer: Fused) -> Sequence[int]:
    """Pixels at once that are worth a try: up to ``MOST_PIXELS``, none that takes as many turns for a row as fewer
    would, and such as the layer's pool takes."""
    width, side = layer.conv_shape[1], layer.pool
    found: dict[int, int] = {}
    for px in range(1, min(width, MOST_PIXELS) + 1):
        if not px % side or not side % px:
            found.setdefault(ceil_div(width, px), px)
    return tuple(found.values())


@cache
def divisors(number: int) -> Sequence[int]:
    """Ascending."""
    return tuple(divisor for divisor in range(1, number + 1) if number % divisor == 0)
