"""A few words that are all there at once: what a memory would be if every word had readers of its own."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .memory_plan import LOAD_BITS, MemoryPlan, write_signature

__all__ = ["Registers"]


class Registers(wiring.Component):
    """Words in registers, written in parts of ``LOAD_BITS`` bits.

    Parameters
    ----------
    plan : their number and width, as of a memory that is written in parts

    Members
    -------
    words : Out, [words] of ``width`` bits
    write : In, :func:`abc_hw.rtl_gen.parts.memory_plan.write_signature`
    """

    def __init__(self, plan: MemoryPlan) -> None:
        if plan.write != "parts":
            raise ValueError(f"Registers must be written in parts, not {plan.write}")
        self._plan = plan
        super().__init__({
            "words": Out(data.ArrayLayout(unsigned(plan.width), plan.words)),
            "write": In(write_signature(plan)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        words = []
        for word in range(plan.words):
            parts = []
            for part, start in enumerate(range(0, plan.width, LOAD_BITS)):
                size = min(LOAD_BITS, plan.width - start)
                held = Signal(size, name=f"word{word}_part{part}", reset_less=True)
                with m.If(self.write.en[part] & (self.write.addr == word)):
                    m.d.sync += held.eq(self.write.data[:size])
                parts.append(held)
            words.append(Cat(parts))
        m.d.comb += self.words.as_value().eq(Cat(words))
        return m
