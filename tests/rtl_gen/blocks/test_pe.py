"""One processing element against the counts of its words."""

import random

import pytest
from amaranth.sim import Simulator

from abc_hw.rtl_gen.blocks.pe import ElementPlan, ProcessingElement
from abc_hw.rtl_gen.parts.coding import CODES, operand_word


def coded(word: int, simd: int, code: str) -> int:
    bits = operand_word([word >> index & 1 for index in range(simd)], code)
    return sum(bit << index for index, bit in enumerate(bits))


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(("simd", "pipeline"), [(1, 1), (2, 0), (13, 0), (13, 1), (16, 3)])
def test_dots_between_words_that_belong_to_none(simd: int, pipeline: int, code: str) -> None:
    mp, np, words, dots, pause = 2, 3, 4, 5, 2
    source = random.Random(pipeline)
    element = ProcessingElement(ElementPlan(
        simd=simd, mp=mp, np=np, dot_length=simd * words, pipeline=pipeline, code=code
    ))
    length = (words + pause) * dots  # after each dot come words that belong to none
    b = [[source.getrandbits(simd) for _ in range(mp)] for _ in range(length)]
    a = [[source.getrandbits(simd) for _ in range(np)] for _ in range(length)]
    mask = (1 << simd) - 1
    b[:words], a[:words] = [[0] * mp] * words, [[mask] * np] * words  # all differ: the greatest count
    expected = [
        [[sum((b[t][m] ^ a[t][n]).bit_count() for t in range(start, start + words)) for n in range(np)]
         for m in range(mp)]
        for start in range(0, length, words + pause)
    ]
    found = []

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for cycle in range(length + element.plan.latency):
            for basis in range(mp):
                ctx.set(element.b[basis], coded(b[min(cycle, length - 1)][basis], simd, code))
            for basis in range(np):
                ctx.set(element.a[basis], coded(a[min(cycle, length - 1)][basis], simd, code))
            position = (cycle - element.plan.latency) % (words + pause)
            ctx.set(element.ends, cycle < element.plan.latency or position >= words - 1)
            if cycle >= element.plan.latency and position == words - 1:
                found.append([[ctx.get(element.dots[m][n]) for n in range(np)] for m in range(mp)])
            await ctx.tick()

    simulator = Simulator(element)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert expected[0] == [[simd * words] * np] * mp
    assert found == expected
