"""Operand codes of the XNOR-popcounts: how a word of bits goes to a counter."""

import dataclasses
from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from operator import xor
from typing import TypeVar

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["CODES", "ParityCoder", "ParityPlan", "operand_word", "parity_code"]

CODES = ("plain", "parity")
"""How the operands of :class:`abc_hw.rtl_gen.parts.popcount.XorPopcount` are coded."""

CHUNK = 4
"""Parities that one step of :class:`ParityCoder` runs over."""

Bit = TypeVar("Bit")


def parity_code(bits: Sequence[Bit]) -> list[Bit]:
    """The parity code of a word: every second bit, the last one included, becomes the parity up to it.

    Linear: the code of ``a ^ b`` is the code of a xor that of b. Bits are anything that has ``^``: integers, or
    arrays of them.
    """
    parities = list(accumulate(bits, xor))
    return [bit if (len(bits) - n) % 2 == 0 else parities[n] for n, bit in enumerate(bits)]


def operand_word(bits: Sequence[Bit], code: str) -> list[Bit]:
    """A word as a processing element takes it: the last bit as it is, those before it in ``code``."""
    return [*parity_code(bits[:-1]), bits[-1]] if code == "parity" and len(bits) > 1 else list(bits)


def _running(values: Sequence[Value]) -> list[Value]:
    """Parity up to each of ``values``, in steps that double as trees of wide gates."""
    if len(values) <= CHUNK:
        return [reduce(xor, values[: index + 1]) for index in range(len(values))]
    chunks = [_running(values[start : start + CHUNK]) for start in range(0, len(values), CHUNK)]
    before = _running([chunk[-1] for chunk in chunks[:-1]])
    later = [value ^ carry for chunk, carry in zip(chunks[1:], before, strict=True) for value in chunk]
    return [*chunks[0], *later]


@dataclasses.dataclass(frozen=True)
class ParityPlan:
    """A coder of words of ``width`` bits, at least one."""

    width: int

    @property
    def latency(self) -> int:
        """Cycles for a word: one for the parities of a few neighbours, one to join them."""
        return 1 if self.width <= 2 * CHUNK else 2


class ParityCoder(wiring.Component):
    """``o`` is :func:`parity_code` of ``i``, the plan's latency later.

    Parameters
    ----------
    plan : how wide
    """

    def __init__(self, plan: ParityPlan) -> None:
        self._plan = plan
        super().__init__({"i": In(plan.width), "o": Out(plan.width)})

    @property
    def plan(self) -> ParityPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self._plan.width
        odd = width % 2
        pairs = [list(self.i[:odd])] * odd
        pairs += [[self.i[index], self.i[index + 1]] for index in range(odd, width, 2)]
        chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
        local = Signal(len(pairs), name="parities", reset_less=True)
        plain = Signal(width // 2, name="bits", reset_less=True)
        m.d.sync += local.eq(Cat(
            parity for chunk in chunks for parity in _running([reduce(xor, pair) for pair in chunk])
        ))
        m.d.sync += plain.eq(self.i[odd::2])
        parities: Value = local
        bits: Value = plain
        if self._plan.latency == 2:
            totals = [local[min(end, len(pairs)) - 1] for end in range(CHUNK, len(pairs) + CHUNK, CHUNK)]
            before = _running(totals[:-1])
            joined = Signal(len(pairs), name="joined", reset_less=True)
            held = Signal(width // 2, name="held", reset_less=True)
            m.d.sync += [
                joined.eq(Cat(local[:CHUNK], *(
                    bit ^ carry for n, carry in enumerate(before, 1) for bit in local[n * CHUNK :][:CHUNK]
                ))),
                held.eq(plain),
            ]
            parities, bits = joined, held
        for index in range(width):
            pair, second = divmod(index + odd, 2)
            m.d.comb += self.o[index].eq(parities[pair] if second else bits[pair - odd])
        return m
