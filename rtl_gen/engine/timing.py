"""When a layer's groups of work begin, and its transfers come and go, to the cycle."""

from itertools import accumulate

import numpy as np

from abc_hw.network import IntArray

from ..blocks.queue import QueuePlan
from ..blocks.ring import row_plan
from ..blocks.threshold import OutputPlan
from ..blocks.window import WindowPlan
from ..parts.moments import Moments, in_turn, is_in_turn
from ..parts.timing import Bounded, Fifo, Taken

__all__ = ["LayerTiming", "layer_moments"]


class LayerTiming:
    """Rows come in, groups of work begin as soon as rows and room are there, and codes go through the queue.

    Parameters
    ----------
    window, output, queue : of the layer
    after : who takes what leaves the queue
    """

    def __init__(self, window: WindowPlan, output: OutputPlan, queue: QueuePlan, after: Taken) -> None:
        self._schedule, self._plan, self._rows = window.schedule, queue, window.ring.capacity
        self._late = 2 + window.waits  # cycles from a row's last step to a transfer that can take its place
        self._apart = output.items  # cycles from one transfer of a group to the next
        self._queue = Fifo(Bounded(after, 0, 2).take, queue.storage.memory.latency)  # a skid buffer behind it
        rows, self._height = row_plan(self._schedule.layer), self._schedule.layer.in_shape[0]
        self._row_transfers = window.i_transfers // self._height
        self._freed = list(accumulate(freed for _, freed in rows))  # rows let go with each row of windows
        self._needed = [
            before + need for before, (need, _) in zip([0, *self._freed[:-1]], rows, strict=True)
        ]
        in_last_group = self._schedule.out_transfers - (self._schedule.channel_groups - 1) * queue.per_group
        self._brings = [queue.per_group] * (self._schedule.channel_groups - 1) + [in_last_group]
        self._count, self._last = 0, -1  # transfers that came, and when the last one did
        self._ends: list[int] = []  # last steps of rows of windows
        self._begun, self._next = -2, 0  # when the last group began, and another one can
        self._brought = self._before = 0  # transfers of all groups that began, and without the last one
        self._gone: list[int] = []  # when transfers left the queue's memory

    def take(self, offered: int) -> int:
        """:data:`abc_hw.rtl_gen.parts.timing.Taken`."""
        row, place = divmod(self._count, self._row_transfers)
        self._last = max(offered, self._last + 1, self._room_for(row))
        self._count += 1
        if place == self._row_transfers - 1:
            self._next = max(self._next, self._last + 1)
            while self._in_all(self._needed, len(self._ends)) <= row + 1:
                self._row_of_windows()
        return self._last

    def _in_all(self, per_image: list[int], windows: int) -> int:
        """Rows at a row of windows, those of earlier images included."""
        image, index = divmod(windows, len(per_image))
        return per_image[index] + image * self._height

    def _room_for(self, row: int) -> int:
        """The first cycle in which a transfer of this row can be taken."""
        let_go = row - self._rows + 1
        if let_go <= 0:
            return 0
        image, rest = divmod(let_go - 1, self._height)
        index = next(index for index, freed in enumerate(self._freed) if freed > rest)
        return self._ends[image * len(self._freed) + index] + self._late

    def _row_of_windows(self) -> None:
        late = self._plan.group_cycles - 1 + self._plan.under_way
        for _ in range(self._schedule.pixel_groups):
            for brings in self._brings:
                begins = self._group_begins()
                self._before, self._brought = self._brought, self._brought + brings
                self._begun, self._next = begins, begins + self._plan.group_cycles
                self._gone += [self._queue.put(begins + late + place * self._apart) for place in range(brings)]
        self._ends.append(self._next - 1)

    def _group_begins(self) -> int:
        """When the next group does, for which all rows are there."""
        most, begins = self._plan.depth - self._plan.per_group, self._next
        if begins == self._begun + 1:  # what the one before it brings is not counted yet
            if self._knows_of(self._before + self._plan.per_group - most) <= begins:
                return begins
            begins += 1
        return max(begins, self._knows_of(self._brought - most))

    def _knows_of(self, transfers: int) -> int:
        """When so many have left the queue and a group can know of it."""
        return self._gone[transfers - 1] + 4 if transfers > 0 else 0


def layer_moments(window: WindowPlan, output: OutputPlan, queue: QueuePlan, offered: IntArray) -> Moments:
    """When a layer takes transfers, and hands on what its queue holds, if nobody behind waits.

    Parameters
    ----------
    offered : int64 [transfers of whole images], from which cycle on each is
    """
    schedule = window.schedule
    rows, height = row_plan(schedule.layer), schedule.layer.in_shape[0]
    per_row, images = window.i_transfers // height, len(offered) // window.i_transfers
    freed = np.cumsum([freed for _, freed in rows])
    needed = np.concatenate([[0], freed[:-1]]) + [need for need, _ in rows]
    shifts = np.arange(images)[:, None] * height
    freed, needed = (freed + shifts).reshape(-1), (needed + shifts).reshape(-1)
    cycles = schedule.pixel_groups * schedule.channel_groups * queue.group_cycles  # of a row of windows
    taken, last, index = np.empty_like(offered), -1, np.arange(per_row)
    steady = is_in_turn(offered)
    begins: list[int] = []  # of rows of windows
    free, next_ = 0, 0  # rows of windows that have let go enough; when the next one can begin
    for row, came in enumerate(offered.reshape(-1, per_row)):
        first = last + 1
        let_go = row - window.ring.capacity + 1
        if let_go > 0:
            while freed[free] < let_go:
                free += 1
            first = max(first, begins[free] + cycles + 1 + window.waits)
        turn = came
        if not steady or came[0] < first:
            turn = np.maximum.accumulate(np.maximum(came, first) - index) + index
        taken[row * per_row : (row + 1) * per_row] = turn
        last = int(turn[-1])
        while len(begins) < len(needed) and needed[len(begins)] <= row + 1:
            begins.append(max(next_, last + 1))
            next_ = begins[-1] + cycles
    groups = np.arange(schedule.pixel_groups * schedule.channel_groups).reshape(-1, schedule.channel_groups, 1)
    within = groups * queue.group_cycles + np.arange(queue.per_group) * output.items
    within = within.reshape(schedule.pixel_groups, -1)[:, : schedule.out_transfers].reshape(-1)
    late = queue.group_cycles - 1 + queue.under_way
    put = (np.array(begins)[:, None] + within + late).reshape(-1)
    return Moments(taken, in_turn(put) + queue.latency)
