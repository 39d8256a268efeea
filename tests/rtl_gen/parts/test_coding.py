"""Operand codes: the coder in hardware against the code itself."""

import itertools
import random

import pytest
from amaranth.sim import Simulator

from abc_hw.rtl_gen.parts.coding import ParityCoder, ParityPlan, operand_word, parity_code


def bits_of(number: int, width: int) -> list[int]:
    return [number >> index & 1 for index in range(width)]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 8, 9, 17, 40, 63, 150])
def test_coder_equals_the_code_after_its_latency(width: int) -> None:
    source = random.Random(width)
    words = [0, (1 << width) - 1, *(source.getrandbits(width) for _ in range(20))]
    coder = ParityCoder(ParityPlan(width))
    found = []

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for cycle in range(len(words) + coder.plan.latency - 1):
            ctx.set(coder.i, words[min(cycle, len(words) - 1)])
            await ctx.tick()
            if cycle + 1 >= coder.plan.latency:
                found.append(bits_of(ctx.get(coder.o), width))

    simulator = Simulator(coder)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == [parity_code(bits_of(word, width)) for word in words]


def test_parity_code_is_linear_and_ends_in_the_parity() -> None:
    for a, b in itertools.product(range(16), repeat=2):
        codes = [parity_code(bits_of(value, 4)) for value in (a, b, a ^ b)]
        assert [one ^ other for one, other in zip(*codes[:2], strict=True)] == codes[2]
        assert codes[0][-1] == a.bit_count() % 2


def test_operand_words() -> None:
    assert operand_word([1, 1, 1, 0], "plain") == [1, 1, 1, 0]
    assert operand_word([1, 1, 1, 0], "parity") == [1, 1, 1, 0]
    assert operand_word([1, 1, 0, 1, 1], "parity") == [1, 0, 0, 1, 1]
    assert operand_word([1], "parity") == [1]
