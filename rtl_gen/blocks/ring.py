"""Where input rows lie in the banks of a window buffer, and for how long."""

import dataclasses
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate

from abc_hw.network.fused import Fused

from ..parts.arith import ceil_div
from ..schedule import Schedule

__all__ = ["Ring", "row_plan"]


def row_plan(layer: Fused) -> Sequence[tuple[int, int]]:
    """For each row of windows: rows it needs from the oldest one held, and rows to let go after it."""
    return _row_plan(layer.in_shape[0], layer.conv_shape[0], layer.kernel[0], layer.stride[0], layer.padding[0])


@lru_cache(maxsize=1 << 10)
def _row_plan(height: int, rows: int, kernel: int, stride: int, padding: int) -> Sequence[tuple[int, int]]:
    plan = []
    for row in range(rows):
        top = row * stride - padding
        oldest = max(0, top)
        if row == rows - 1:
            plan.append((height - oldest, height - oldest))
        else:
            freed = min(height, max(0, top + stride)) - oldest
            plan.append((max(min(height, top + kernel) - oldest, freed), freed))
    return tuple(plan)


TRIED = 8
"""Images that are followed to see how many cycles one takes: the first half fills the ring."""


@lru_cache(maxsize=1 << 14)
def _held(plan: Sequence[tuple[int, int]], height: int, row: int, windows: int, waits: int) -> int:
    """Rows to hold where one comes every ``row`` cycles and a row of windows takes ``windows``: at least those
    that a row of windows lets go and those that the next one needs, of which the last ones come meanwhile."""
    following = [*plan[1:], plan[0]]
    held = max(freed + need for (_, freed), (need, _) in zip(plan, following, strict=True))
    most = max(height * row, len(plan) * windows) * (TRIED // 2)
    while True:
        images = _complete(plan, height, row, windows, held, waits)
        if images[-1] - images[TRIED // 2 - 1] <= most:
            return held
        held += 1


def _complete(
    plan: Sequence[tuple[int, int]], height: int, row: int, windows: int, held: int, waits: int
) -> list[int]:
    """When each of the first images has come, into a ring of so many rows."""
    freed = list(accumulate(freed for _, freed in plan))
    needed = [before + need for before, (need, _) in zip([0, *freed[:-1]], plan, strict=True)]
    ends: list[int] = []  # of rows of windows
    came, free, images = 0, 0, []
    for index in range(height * TRIED):
        image, wanted = divmod(free, len(plan))
        while freed[wanted] + image * height <= index - held:
            free += 1
            image, wanted = divmod(free, len(plan))
        if index >= held:  # a row that is let go can be written a cycle later
            came = max(came, ends[free] + 1 + waits)
        came += row
        image, wanted = divmod(len(ends), len(plan))
        while needed[wanted] + image * height <= index + 1:
            ends.append(max(came, ends[-1] if ends else 0) + windows)
            image, wanted = divmod(len(ends), len(plan))
        if (index + 1) % height == 0:
            images.append(came)
    return images


@dataclasses.dataclass(frozen=True)
class Ring:
    """The ring of rows in ``schedule.rows`` times ``columns`` banks.

    Row r of the images, one after the other, is in row bank r mod ``schedule.rows``, at slot
    r // ``schedule.rows`` modulo ``slots``; pixel x of it in column bank x mod ``columns``, at words
    ``x // columns * channel_words`` and following of it.

    Members
    -------
    schedule : layer and folding
    px_in : pixels that come at once
    waits : cycles that rows are read later, and so let go
    """

    schedule: Schedule
    px_in: int = 1
    waits: int = 0

    @property
    def columns(self) -> int:
        """Column banks: as many as pixels are read at once, and a multiple of those that come."""
        return ceil_div(self.schedule.span, self.px_in) * self.px_in

    @cached_property
    def held(self) -> int:
        """Rows that must be held: those of a window and those that the next one waits for, and as many more as it
        takes that neither side waits for the other longer than the slower one takes for an image."""
        schedule, layer = self.schedule, self.schedule.layer
        windows = schedule.cycles // layer.conv_shape[0]
        held = _held(row_plan(layer), layer.in_shape[0], self.row_transfers, windows, self.waits)
        return held + self.read_late

    @property
    def row_transfers(self) -> int:
        """Transfers that a row comes with."""
        return ceil_div(self.schedule.layer.in_shape[1], self.px_in) * self.schedule.channel_words

    @property
    def read_late(self) -> int:
        """Rows that are let go and may still be read: one where the last step of a row of windows reads what the
        first transfer of a row brings, for that could be written before."""
        schedule, layer = self.schedule, self.schedule.layer
        last = (schedule.pixel_groups - 1) * schedule.folding.px * layer.stride[1] - layer.padding[2]
        last += (schedule.column_words - 1) * schedule.columns  # column of its first pixel
        return int(schedule.channel_words == 1 and last < self.px_in)

    @property
    def capacity(self) -> int:
        """Rows that may be held, those that are still read not counted."""
        return self.rows - self.read_late

    @property
    def slots(self) -> int:
        """Rows in one bank."""
        return ceil_div(self.held, self.schedule.rows)

    @property
    def rows(self) -> int:
        """Rows in all banks together."""
        return self.slots * self.schedule.rows

    @property
    def row_words(self) -> int:
        """Words of one row in one bank."""
        return ceil_div(self.schedule.layer.in_shape[1], self.columns) * self.schedule.channel_words

    @property
    def pitch(self) -> int:
        """Words from one slot to the next: a power of two where several row banks are at different slots."""
        return self.row_words if self.schedule.rows == 1 else 1 << (self.row_words - 1).bit_length()

    @property
    def words(self) -> int:
        """Words of one bank."""
        return (self.slots - 1) * self.pitch + self.row_words

    # -- windows of several rows ----------------------------------------------------------------------------

    def slot_of(self, bank: int, top: int) -> int:
        """Slot of the row in row bank ``bank`` of a window whose top row has place ``top`` in the ring."""
        rows = self.schedule.rows
        return (top + (bank - top) % rows) // rows % self.slots

    @property
    def top_banks(self) -> Sequence[int]:
        """Row banks that the top row of a window may be in."""
        layer = self.schedule.layer
        return _top_banks(
            layer.in_shape[0], layer.conv_shape[0], layer.stride[0], layer.padding[0], self.schedule.rows
        )


@lru_cache(maxsize=1 << 10)
def _top_banks(height: int, windows: int, stride: int, padding: int, rows: int) -> Sequence[int]:
    tops = {row * stride - padding for row in range(windows)}
    return tuple(sorted({(image * height + top) % rows for image in range(rows) for top in tops}))
