"""Numbers as codes: the edges by which the features of a table become the bytes that hardware sees."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import InputError

CODES = 256
"""Codes of a feature, 0..255."""

TAILS = (1.0, 99.0)
"""Percentiles of the training values between which the edges lie, so that a stray value does not take them all."""

Numbers = npt.NDArray[np.float64]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class Features(BaseModel):
    """One code per feature: how many of 255 edges, evenly spaced from ``low`` to ``high``, are at most its value.

    Members
    -------
    names : one per feature
    low, high : first and last edge of each feature
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    names: tuple[str, ...]
    low: tuple[Finite, ...]
    high: tuple[Finite, ...]

    @model_validator(mode="after")
    def _check(self) -> Features:
        if not 0 < len(self.names) == len(self.low) == len(self.high):
            raise ValueError("expected one name, low and high per feature")
        if any(low >= high for low, high in zip(self.low, self.high, strict=True)):
            raise ValueError("expected low below high")
        return self

    @classmethod
    def fit(cls, names: tuple[str, ...], values: Numbers) -> Features:
        """Edges for training values, float64 [count, features]: from their 1st to their 99th percentile.

        Where these are equal, from the least to the greatest value; a feature that never changes gets the code of
        its edges all the same.
        """
        low, high = np.percentile(values, TAILS, axis=0)
        flat = low >= high
        low, high = np.where(flat, values.min(0), low), np.where(flat, values.max(0), high)
        high = np.where(low >= high, np.maximum(low + 1, np.nextafter(low, np.inf)), high)
        return cls(names=names, low=tuple(low.tolist()), high=tuple(high.tolist()))

    @property
    def edges(self) -> Numbers:
        """Ascending, float64 [features, 255]."""
        low, high = np.array(self.low), np.array(self.high)
        steps = np.arange(CODES - 1) / (CODES - 2)
        return low[:, None] * (1 - steps) + high[:, None] * steps

    def codes(self, values: Numbers) -> npt.NDArray[np.uint8]:
        """Codes uint8 [count, 1, 1, features] of values, float64 [count, features].

        Raises
        ------
        InputError : another number of features
        """
        if values.shape[1:] != (len(self.names),):
            raise InputError(f"features: expected {len(self.names)} a row, found {values.shape[1:]}")
        codes = np.empty(values.shape, np.uint8)
        for index, edges in enumerate(self.edges):
            codes[:, index] = np.searchsorted(edges, values[:, index], side="right")
        return codes[:, None, None, :]
