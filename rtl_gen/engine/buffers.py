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

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ..parts.flow import Flow, in_order

__all__ = ["Branch", "depths_of", "live_depths"]


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
    wanted = [branch.needed(taken + 1) - 1 for branch in branches]  # what the others must have taken of the fork
    return [
        _least_depth(branch, taken, np.max([need for other, need in enumerate(wanted) if other != index], axis=0))
        for index, branch in enumerate(branches)
    ]


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


# -- graphs -------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Branch:
    """A unit of a graph.

    Members
    -------
    name, sources : of the unit, and of those that it takes from, in order
    before : for each of these what lies between
    flow : of the unit, the same from each input
    """

    name: str
    sources: tuple[str, ...]
    before: tuple[Flow, ...]
    flow: Flow


def depths_of(branches: Sequence[Branch]) -> dict[str, list[int]]:
    """The least depths of the buffers in front of each join of a graph with which nothing stops for good, by unit,
    in the order of its inputs.

    Parameters
    ----------
    branches : in topological order

    Raises
    ------
    ValueError
        if the inputs of a join have no unit in common that all of them come from.
    """
    known = {branch.name: branch for branch in branches}
    found: dict[str, list[int]] = {}
    for branch in branches:
        if len(branch.sources) > 1:
            fork = _fork_of(branch, known)
            ways = [
                _way(fork, source, before, known, found)
                for source, before in zip(branch.sources, branch.before, strict=True)
            ]
            found[branch.name] = live_depths(ways)
    return found


def _ancestors(name: str, known: Mapping[str, Branch]) -> list[str]:
    """A unit and all that it depends on, nearest first."""
    order, queue = [], [name]
    while queue:
        here = queue.pop(0)
        if here not in order:
            order.append(here)
            queue += known[here].sources if here in known else ()
    return order


def _fork_of(join: Branch, known: Mapping[str, Branch]) -> str:
    """The nearest unit (or the input) through which every way to the join leads."""
    places = {name: index for index, name in enumerate(["input", *known])}
    common = set.intersection(*(set(_ancestors(source, known)) for source in join.sources))
    for name in sorted(common, key=places.__getitem__, reverse=True):
        if all(_all_through(source, name, known) for source in join.sources):
            return name
    raise ValueError(f"The inputs of {join.name} must come from one unit")


def _all_through(name: str, fork: str, known: Mapping[str, Branch]) -> bool:
    """Does every way from the input to ``name`` lead through ``fork``?"""
    if name == fork:
        return True
    return name in known and all(_all_through(source, fork, known) for source in known[name].sources)


def _way(
    fork: str, name: str, before: Flow, known: Mapping[str, Branch], depths: Mapping[str, Sequence[int]]
) -> Flow:
    """From a fork to what ``before`` makes of the output of a unit behind it, inner joins' buffers included."""
    if name == fork:
        return before
    branch = known[name]
    flows = [
        _way(fork, source, link, known, depths) for source, link in zip(branch.sources, branch.before, strict=True)
    ]
    if len(flows) > 1:
        flows = [
            flow.then(in_order(flow.outputs, depth))
            for flow, depth in zip(flows, depths[branch.name], strict=True)
        ]
    need, take = np.array([flow.need for flow in flows]), np.array([flow.take for flow in flows])
    joined = Flow(flows[0].inputs, need.max(axis=0), take.min(axis=0))
    return joined.then(branch.flow).then(before)
