"""Activation bases fitted to numbers that were observed: thresholds and coefficients with least squared error."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from ..network import Bases

ROUNDS = 60
"""Of fitting levels to cells and cells to levels; the error falls with each and stops to fall long before."""

Values = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """``x ~ offset + sum_n beta_n A_n`` where the level of x is the number of thresholds that it reaches.

    Members
    -------
    thresholds : ascending, one less than there are levels
    beta : one per basis;  offset : what bases of +-1 cannot say
    error : mean squared error over mean square of the values
    """

    thresholds: Values
    beta: Values
    offset: float
    error: float


def fit(values: Values, bases: Bases) -> Fit:
    """The least squares fit to observed values: by rounds from evenly spaced cells and from equally full ones.

    Values that are all equal get thresholds beside them.
    """
    ordered = np.sort(values.ravel())
    if ordered[0] == ordered[-1]:
        ordered = ordered[0] + np.array([-1.0, 0.0, 1.0])
    cuts = np.arange(1, bases.levels) / bases.levels
    low, high = ordered[0], np.quantile(ordered, 0.999)
    high = high if high > low else ordered[-1]
    starts = low + cuts * (high - low), np.unique(np.quantile(ordered, cuts))
    return min((_rounds(ordered, _filled(start, bases, high - low), bases) for start in starts), key=_error)


def _error(found: Fit) -> float:
    return found.error


def _filled(start: Values, bases: Bases, span: float) -> Values:
    """As many thresholds as the bases have, where equal ones were dropped."""
    missing = bases.levels - 1 - len(start)
    return np.concatenate([start, start[-1] + span * np.arange(1, missing + 1) / (missing + 1)])


def _rounds(ordered: Values, thresholds: Values, bases: Bases) -> Fit:
    signs = np.where(bases.expand(np.arange(bases.levels)), 1.0, -1.0)
    design = np.concatenate([np.ones((bases.levels, 1)), signs], axis=1)  # offset, then one column per basis
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    beta, levels = np.zeros(bases.count + 1), np.zeros(bases.levels)
    for _ in range(ROUNDS):
        ends = np.concatenate([[0], np.searchsorted(ordered, thresholds), [len(ordered)]])
        counts, totals = np.diff(ends).astype(float), np.diff(sums[ends])
        weighted = design * counts[:, None]
        ridge = 1e-9 * len(ordered) * np.eye(bases.count + 1)
        beta = np.linalg.solve(design.T @ weighted + ridge, design.T @ totals + ridge @ beta)
        levels = design @ beta
        moved = np.sort((levels[1:] + levels[:-1]) / 2)
        if np.array_equal(moved, thresholds):
            break
        thresholds = moved
    code = np.searchsorted(thresholds, ordered, side="right")
    error = float(np.mean((ordered - levels[code]) ** 2) / max(float(np.mean(ordered**2)), 1e-30))
    return Fit(thresholds=thresholds, beta=beta[1:], offset=float(beta[0]), error=error)
