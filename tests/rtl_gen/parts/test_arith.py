"""Widths and constants."""

from __future__ import annotations

import itertools

import pytest
from amaranth.hdl import Module, Signal, signed, unsigned
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from abc_hw.rtl_gen.parts.arith import (
    ceil_div,
    constant_product,
    extend,
    range_shape,
    select,
    signed_digits,
    total,
)


@given(low=st.integers(-5000, 5000), span=st.integers(0, 9000))
def test_range_shape_is_the_narrowest(low: int, span: int) -> None:
    shape = range_shape(low, low + span)
    assert shape.signed == (low < 0)
    for value in (low, low + span):
        if shape.signed:
            assert -(1 << (shape.width - 1)) <= value < 1 << (shape.width - 1)
        else:
            assert 0 <= value < 1 << shape.width
    if shape.width > 1:
        half = 1 << (shape.width - 2) if shape.signed else 1 << (shape.width - 1)
        assert low < -half or low + span >= half


def test_range_shape_refuses_an_empty_range() -> None:
    with pytest.raises(ValueError, match="Lower bound must not exceed the upper bound, not 3 > 2"):
        range_shape(3, 2)


@given(value=st.integers(-(10**6), 10**6))
def test_signed_digits(value: int) -> None:
    digits = signed_digits(value)
    assert sum(sign << shift if sign > 0 else -(1 << shift) for sign, shift in digits) == value
    shifts = [shift for _, shift in digits]
    assert all(after - before >= 2 for before, after in itertools.pairwise(shifts)), "no neighbours"


@given(dividend=st.integers(1, 1000), divisor=st.integers(1, 50))
def test_ceil_div(dividend: int, divisor: int) -> None:
    assert (ceil_div(dividend, divisor) - 1) * divisor < dividend <= ceil_div(dividend, divisor) * divisor


@settings(max_examples=30)
@given(value=st.integers(-32, 31), factor=st.integers(-40, 40))
def test_constant_product(value: int, factor: int) -> None:
    shape = signed(13)
    operand, result = Signal(signed(6)), Signal(shape)
    m = Module()
    m.d.comb += result.eq(total(constant_product(operand, factor, shape), shape))

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        ctx.set(operand, value)
        assert ctx.get(result) == value * factor

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_select_and_extend() -> None:
    index, chosen, narrow, wide = Signal(3), Signal(4), Signal(signed(3)), Signal(signed(6))
    m = Module()
    m.d.comb += [chosen.eq(select(index, [extend(Signal(4, init=n), unsigned(4)) for n in (9, 4, 7, 1, 12)])),
                 wide.eq(extend(narrow, signed(6)))]

    async def bench(ctx) -> None:  # type: ignore[no-untyped-def]
        for place, value in enumerate((9, 4, 7, 1, 12)):
            ctx.set(index, place)
            assert ctx.get(chosen) == value
        ctx.set(narrow, -3)
        assert ctx.get(wide) == -3

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
