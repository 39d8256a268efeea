"""Nested counters and affine addresses against the loops they stand for."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
from amaranth.hdl import Module
from clocked import simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from abc_hw.rtl_gen.parts.loops import Affine, AffineCounter, LoopNest, Loops, Quotient

BOUNDS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


def named(bounds: list[int]) -> Loops:
    """Loops of these bounds, named by their place."""
    return Loops({f"level{level}": bound for level, bound in enumerate(bounds)})


def watch(
    nest: LoopNest, counter: AffineCounter | None, steps: int, seed: int, beside: Module | None = None
) -> list[tuple[Any, ...]]:
    """(begins, ends, value) at each of ``steps`` steps, with pauses between them."""
    m = Module()
    m.submodules.nest = nest
    if counter is not None:
        m.submodules.counter = counter
        m.d.comb += counter.follow(nest.step, nest.ends)
    if beside is not None:
        m.submodules.beside = beside
    seen: list[tuple[Any, ...]] = []
    chance = random.Random(seed)

    async def bench(ctx: Any) -> None:
        while len(seen) < steps:
            step = chance.random() < 0.7
            ctx.set(nest.step, step)
            if step:
                value = ctx.get(counter.value) if counter is not None else 0
                seen.append(([ctx.get(bit) for bit in nest.begins], [ctx.get(bit) for bit in nest.ends], value))
            await ctx.tick()

    simulate(m, bench)
    return seen


@settings(max_examples=25)
@given(bounds=BOUNDS, seed=st.integers(0, 99))
def test_nest_counts_like_loops(bounds: list[int], seed: int) -> None:
    once = list(itertools.product(*map(range, bounds)))
    seen = watch(LoopNest(named(bounds)), None, 2 * len(once), seed)
    for (begins, ends, _), index in zip(seen, once * 2, strict=True):
        for level in range(len(bounds)):
            inner = index[level:]
            assert begins[level] == all(count == 0 for count in inner)
            assert ends[level] == (inner == tuple(bound - 1 for bound in bounds[level:]))


@settings(max_examples=25)
@given(data=st.data(), bounds=BOUNDS, start=st.integers(-9, 9), turn=st.integers(-9, 9), seed=st.integers(0, 99))
def test_affine_value(data: st.DataObject, bounds: list[int], start: int, turn: int, seed: int) -> None:
    strides = data.draw(st.lists(st.integers(-7, 7), min_size=len(bounds), max_size=len(bounds)))
    named_strides = dict(zip(named(bounds).bounds, strides, strict=True))
    modulus = data.draw(st.sampled_from([0, 5, 13]))
    turn = turn if modulus else 0
    counter = AffineCounter(named(bounds), named_strides, start=start, turn=turn, modulus=modulus)
    once = list(itertools.product(*map(range, bounds)))
    expected = [
        start + run * turn + sum(count * stride for count, stride in zip(index, strides, strict=True))
        for run in range(3)
        for index in once
    ]
    if modulus:
        expected = [value % modulus for value in expected]
    seen = watch(LoopNest(named(bounds)), counter, 3 * len(once), seed)
    assert [value for _, _, value in seen] == expected


@settings(max_examples=25)
@given(
    data=st.data(), bounds=BOUNDS, start=st.integers(-9, 9), divisor=st.integers(1, 9),
    modulus=st.sampled_from([0, 40]), seed=st.integers(0, 99),
)
def test_quotients(
    data: st.DataObject, bounds: list[int], start: int, divisor: int, modulus: int, seed: int
) -> None:
    """``4 floor(x / divisor) + index`` of an affine x whose rest another counter keeps."""
    loops = named(bounds)
    strides = dict(zip(loops.bounds, data.draw(
        st.lists(st.integers(-7, 7), min_size=len(bounds), max_size=len(bounds))), strict=True))
    x = Affine(loops=loops, strides=strides, start=start)
    nest = LoopNest(loops)
    counter = AffineCounter(
        loops, {"level0": 1}, modulus=modulus, plus=Quotient(of=x, divisor=divisor, step=4)
    )
    rest = AffineCounter(loops, strides, start=start, modulus=divisor)
    inner = Module()
    inner.submodules.rest = rest
    inner.d.comb += [*rest.follow(nest.step, nest.ends), counter.rest.eq(rest.value)]
    values = [
        index[0] + 4 * ((start + sum(count * strides[name] for count, name in zip(index, strides, strict=True)))
                        // divisor)
        for index in itertools.product(*map(range, bounds))
    ]
    assert {start + sum(n * strides[f"level{k}"] for k, n in enumerate(index))
            for index in itertools.product(*map(range, bounds))} == x.values
    seen = watch(nest, counter, 2 * len(values), seed, inner)
    assert [value for _, _, value in seen] == [value % modulus if modulus else value for value in values * 2]


@settings(max_examples=25)
@given(
    data=st.data(), bounds=BOUNDS, modulus=st.sampled_from([0, 13]), late=st.sampled_from([1, 2, 4]),
    seed=st.integers(0, 99),
)
def test_late_value_is_that_of_cycles_before(
    data: st.DataObject, bounds: list[int], modulus: int, late: int, seed: int
) -> None:
    loops, m = named(bounds), Module()
    strides = dict(zip(loops.bounds, data.draw(
        st.lists(st.integers(-7, 7), min_size=len(bounds), max_size=len(bounds))), strict=True))
    m.submodules.nest = nest = LoopNest(loops)
    m.submodules.plain = plain = AffineCounter(loops, strides, modulus=modulus)
    m.submodules.later = later = AffineCounter(loops, strides, modulus=modulus, late=late)
    m.d.comb += [*plain.follow(nest.step, nest.ends), *later.follow(nest.step, nest.ends)]
    chance, seen = random.Random(seed), []

    async def bench(ctx: Any) -> None:
        for _ in range(2 * loops.steps + 10):
            ctx.set(nest.step, chance.random() < 0.7)
            seen.append((ctx.get(plain.value), ctx.get(later.value)))
            await ctx.tick()

    simulate(m, bench)
    before, values = zip(*seen, strict=True)
    assert values == (before[0],) * late + before[:-late]


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"Loop bounds must be positive integers, not .'row': 3, 'column': 0."):
        Loops({"row": 3, "column": 0})
    with pytest.raises(ValueError, match="Strides must be of row, column, not of rows"):
        AffineCounter(Loops({"row": 3, "column": 2}), {"rows": 1})
    with pytest.raises(ValueError, match="Without a modulus the turn must be 0, not 4"):
        AffineCounter(Loops({"row": 3}), {"row": 1}, turn=4)
    x = Affine(loops=Loops({"row": 3}), strides={"row": 1})
    with pytest.raises(ValueError, match="With another number the value can be a cycle late, not 2"):
        AffineCounter(x.loops, {}, plus=Quotient(of=x, divisor=2, step=1), late=2)
