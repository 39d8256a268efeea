"""How deep the buffers of a join must be, by analysis.

A fork hands each transfer to all its branches; a join waits for all of them. A branch that answers late (a
convolution needs rows before its first output) makes its neighbours hold what the fork has handed out since::

              +--> branch (need, take) --> buffer --+
      fork ---+                                     +--> join
              +--> branch (need, take) --> buffer --+

Eager forks let a branch be one transfer ahead of the slowest. So output k of the join, which needs n transfers
of the fork in one branch, comes if every other branch can take n - 1 while the join has taken k. Whether it can
follows from the order of the data alone: such a network of bounded queues stops, if it does, in the same state
under any stalls.
"""

from collections.abc import Sequence

import numpy as np

from ..parts.flow import Flow

__all__ = ["live_depths"]


def live_depths(branches: Sequence[Flow]) -> list[int]:
    """For each branch of a fork the least depth of the buffer between it and the join that never stops for good.

    Parameters
    ----------
    branches : from the fork to the join, without their buffers; all with as many inputs, and as many outputs

    Raises
    ------
    ValueError
        if the branches do not fit together.
    """
    inputs, outputs = branches[0].inputs, branches[0].outputs
    if any((branch.inputs, branch.outputs) != (inputs, outputs) for branch in branches):
        raise ValueError("The branches of a fork must have equal inputs and outputs")
    taken = np.arange(outputs, dtype=np.int64)
    ahead = [branch.need - 1 for branch in branches]  # what the others must have taken of the fork
    depths = []
    for index, branch in enumerate(branches):
        others = [need for other, need in enumerate(ahead) if other != index]
        wanted = np.max(others, axis=0)
        depths.append(_least_depth(branch, taken, wanted))
    return depths


def _least_depth(branch: Flow, taken: np.ndarray, wanted: np.ndarray) -> int:
    """The least depth d with ``branch.taken(taken + d) >= wanted`` everywhere; the left side grows with d."""
    low, high = 0, int(wanted.max()) + 1
    while low < high:
        middle = (low + high) // 2
        if (branch.taken(taken + middle) >= wanted).all():
            high = middle
        else:
            low = middle + 1
    return low
