"""One processing element against the counts of its words."""

import random

import pytest
from amaranth.sim import Simulator

from rtl_gen.pe import ProcessingElement


@pytest.mark.parametrize("pipeline", [0, 1, 3])
def test_dots_of_consecutive_words(pipeline: int) -> None:
    simd, mp, np, words, dots = 13, 2, 3, 4, 5
    source = random.Random(pipeline)
    element = ProcessingElement(simd=simd, mp=mp, np=np, dot_length=simd * words, pipeline=pipeline)
    b = [[source.getrandbits(simd) for _ in range(mp)] for _ in range(words * dots)]
    a = [[source.getrandbits(simd) for _ in range(np)] for _ in range(words * dots)]
    b[:words], a[:words] = [[0] * mp] * words, [[0] * np] * words  # all agree: the greatest count
    mask = (1 << simd) - 1
    expected = [
        [[sum((~(b[t][m] ^ a[t][n]) & mask).bit_count() for t in range(dot * words, (dot + 1) * words))
          for n in range(np)] for m in range(mp)]
        for dot in range(dots)
    ]
    found = []

    async def bench(ctx):  # type: ignore[no-untyped-def]
        for cycle in range(words * dots + element.latency):
            if cycle < words * dots:
                ctx.set(element.b, b[cycle])
                ctx.set(element.a, a[cycle])
            ctx.set(element.first, (cycle - (element.latency - 1)) % words == 0)
            await ctx.tick()
            finished = cycle + 1 - element.latency
            if finished >= 0 and finished % words == words - 1:
                found.append([[ctx.get(element.dots[m][n]) for n in range(np)] for m in range(mp)])

    simulator = Simulator(element)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert expected[0] == [[simd * words] * np] * mp
    assert found == expected
