"""When transfers happen where nothing behind holds them up, all of a stream at once.

:mod:`.timing` goes from transfer to transfer and knows who waits for whom; here each component takes what it is
offered as soon as it can by itself, and whoever takes its results is ready. So a stream is an array of cycles.
"""

from typing import NamedTuple

import numpy as np

from abc_hw.network import IntArray

from .flow import Flow

__all__ = ["Moments", "in_turn", "is_in_turn", "last_needed", "through_row"]


class Moments(NamedTuple):
    """Cycles of a component's transfers, int64 each.

    Members
    -------
    taken : [inputs] in which each is taken
    given : [outputs] from which on each is offered
    """

    taken: IntArray
    given: IntArray


def in_turn(offered: IntArray) -> IntArray:
    """One after the other, none before it is offered, at most one a cycle."""
    if is_in_turn(offered):
        return offered
    index = np.arange(len(offered))
    return np.asarray(np.maximum.accumulate(offered - index) + index)


def is_in_turn(offered: IntArray) -> bool:
    """Is each offered after the one before it?"""
    return bool((offered[1:] > offered[:-1]).all())


def through_row(offered: IntArray, latency: int, flow: Flow) -> Moments:
    """Taken as they come; each output so many cycles after the last input that it needs."""
    taken = in_turn(offered)
    return Moments(taken, taken[last_needed(flow, len(offered))] + latency)


def last_needed(flow: Flow, inputs: int) -> IntArray:
    """The index of the input after which each output comes, for so many inputs of whole images."""
    outputs = np.arange(1, inputs // flow.inputs * flow.outputs + 1)
    return np.asarray(flow.needed(outputs) - 1)
