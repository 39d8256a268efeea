"""Weights of others as bases: the sum over the bases is the weight."""

from __future__ import annotations

import numpy as np
import pytest

from abc_hw.conversion.onnx_weights import ALPHA_FORM, as_bases
from abc_hw.errors import InputError

RANGES = [
    (-1, 1, 2), (0, 1, 2), (-2, 1, 3), (-3, 3, 3), (-4, 3, 4), (0, 3, 3), (-7, 7, 4), (-127, 127, 8), (-8, 7, 5),
]


@pytest.mark.parametrize(("low", "high", "most"), RANGES)
def test_every_weight_of_a_range(low: int, high: int, most: int) -> None:
    whole = np.arange(low, high + 1, dtype=np.int64)
    form = as_bases(whole, "node")
    assert form.bases.count <= most
    assert ALPHA_FORM.allows(np.array(form.alpha)).all()
    values = form.bases.values(np.array(form.alpha))
    assert (values[form.codes] == form.factor * whole).all()


def test_plus_and_minus_one_are_one_basis() -> None:
    form = as_bases(np.array([-1, 1, 1]), "node")
    assert (form.bases.count, form.alpha, form.factor, form.codes.tolist()) == (1, (1,), 1, [0, 1, 1])


def test_what_needs_nine_bases_is_refused() -> None:
    with pytest.raises(InputError, match=r"^node: expected weights that at most 8 bases hold.*found -128 .. 127$"):
        as_bases(np.arange(-128, 128), "node")
