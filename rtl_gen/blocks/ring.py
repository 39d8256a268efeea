"""Where input rows lie in the banks of a window buffer, and for how long."""

import dataclasses
from functools import cached_property

from abc_hw.network import Layer

from ..folding import Schedule
from ..parts.arith import ceil_div

__all__ = ["Ring", "held_rows", "row_plan", "window_bounds"]


def window_bounds(schedule: Schedule) -> list[int]:
    """Bounds of the loops a layer runs per image, outermost first.

    Rows, columns, groups of channels, passes over N, passes over M, words of kernel rows, of kernel columns, of
    channels.
    """
    height, width, _ = schedule.layer.conv_shape
    return [
        height, width, schedule.groups, schedule.passes_n, schedule.passes_m,
        schedule.row_words, schedule.column_words, schedule.channel_words,
    ]


def row_plan(layer: Layer) -> list[tuple[int, int]]:
    """For each row of windows: rows it needs from the oldest one held, and rows to let go after it."""
    height, last = layer.in_shape[0], layer.conv_shape[0] - 1
    plan = []
    for row in range(last + 1):
        top = row * layer.stride - layer.padding
        oldest = max(0, top)
        if row == last:
            plan.append((height - oldest, height - oldest))
        else:
            freed = min(height, max(0, top + layer.stride)) - oldest
            plan.append((max(min(height, top + layer.kernel[0]) - oldest, freed), freed))
    return plan


def held_rows(layer: Layer) -> int:
    """Rows that a window buffer must hold: those of a window, and those that the next one waits for."""
    plan = row_plan(layer)
    return max(need for need, _ in plan) + max(*(freed for _, freed in plan), plan[0][0])


@dataclasses.dataclass(frozen=True)
class Ring:
    """The ring of rows in ``schedule.rows`` times ``schedule.columns`` banks.

    Row r of the images, one after the other, is in row bank r mod ``schedule.rows``, at slot
    r // ``schedule.rows`` modulo ``slots``; pixel x of it in column bank x mod ``schedule.columns``.

    Members
    -------
    schedule : layer and folding
    held : :func:`held_rows` of the layer
    """

    schedule: Schedule
    held: int

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
        return ceil_div(self.schedule.layer.in_shape[1], self.schedule.columns) * self.schedule.channel_words

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

    @cached_property
    def top_banks(self) -> list[int]:
        """Row banks that the top row of a window may be in."""
        layer, rows = self.schedule.layer, self.schedule.rows
        tops = {row * layer.stride - layer.padding for row in range(layer.conv_shape[0])}
        return sorted({(image * layer.in_shape[0] + top) % rows for image in range(rows) for top in tops})
