"""Quantisers of QONNX as cuts, against the qonnx package's own functions in float64."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from abc_hw.conversion.quantisers import Quantiser, rounding_named
from abc_hw.conversion.values import Affine, Clip, Steps, thresholds_of
from abc_hw.errors import InputError

ROUNDINGS = ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN"]

NUMBERS = st.fractions(min_value=-8, max_value=8, max_denominator=8)


def exact(value: float) -> Fraction:
    return Fraction(float(value))


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(("signed", "narrow", "bits"), [(1, 1, 2), (1, 0, 3), (0, 0, 2), (0, 1, 3), (1, 1, 4)])
@pytest.mark.parametrize("zero", [0.0, 1.0])
def test_uniform_equals_qonnx(rounding: str, signed: int, narrow: int, bits: int, zero: float) -> None:
    intquant = pytest.importorskip("qonnx.custom_op.general.intquant", reason="judged by the qonnx package")
    scale, width = 0.5, np.array(float(bits))
    x = np.arange(-12, 12.01, 0.125)
    expected = intquant.int_quant(x, np.array(scale), np.array(zero), width, signed, narrow, rounding)
    low, high = (int(limit(signed, narrow, bits)) for limit in (intquant.min_int, intquant.max_int))
    quantiser = Quantiser.uniform(exact(scale), exact(zero), low, high, rounding_named(rounding, "node"))
    found = [float(quantiser.start + quantiser.step * quantiser.code(exact(value))) for value in x]
    assert found == expected.tolist()


def test_a_rounding_that_is_not_known_is_named() -> None:
    with pytest.raises(InputError, match=r"^node: expected a rounding of ROUND, .*, found SIDEWAYS$"):
        rounding_named("SIDEWAYS", "node")


def test_bipolar_takes_zero_for_plus_one() -> None:
    quantiser = Quantiser.bipolar(Fraction(3))
    assert [quantiser.start + quantiser.step * quantiser.code(Fraction(x)) for x in (-1, 0, 1)] == [-3, 3, 3]
    assert quantiser.zero_code is None


def test_the_code_of_zero() -> None:
    assert Quantiser.uniform(Fraction(1, 4), Fraction(0), -3, 3).zero_code == 3
    assert Quantiser.thresholds([Fraction(1), Fraction(2)], Fraction(1), Fraction(1)).zero_code is None


@given(
    factors=st.lists(NUMBERS, min_size=1, max_size=3), offsets=st.lists(NUMBERS, min_size=3, max_size=3),
    relu_after=st.integers(0, 3), bits=st.integers(1, 3), rounding=st.sampled_from(ROUNDINGS),
)
def test_thresholds_equal_the_functions_themselves(
    factors: list[Fraction], offsets: list[Fraction], relu_after: int, bits: int, rounding: str
) -> None:
    steps = Steps()
    for index, (factor, offset) in enumerate(zip(factors, offsets, strict=False)):
        if index == relu_after:
            steps = steps.then(Clip(Fraction(0), None))
        steps = steps.then(Affine((factor,), (offset,)))
    quantiser = Quantiser.uniform(
        Fraction(1, 2), Fraction(0), -(1 << bits) + 1, (1 << bits) - 1, rounding_named(rounding, "")
    )
    low, high = -9, 11
    thresholds, sign = thresholds_of([quantiser], steps, 0, low, high)
    for x in range(low, high + 1):
        code = sum(sign * x >= threshold for threshold in thresholds)
        assert code == quantiser.code(steps.apply(Fraction(x), 0))
    least, most = sorted((sign * low, sign * high))
    assert all(least <= threshold <= most + 1 for threshold in thresholds)
