# amaranth: UnusedElaboratable=no
"""The processing element: one output channel's XNOR-popcounts."""

import dataclasses

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from ..parts.delay import delayed
from ..parts.popcount import PopcountPlan, XorPopcount
from ..parts.popcount_rows import Adder, chain_row

__all__ = ["ElementPlan", "ProcessingElement"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ElementPlan:
    """One output channel's XNOR-popcounts.

    Members
    -------
    simd : bits of one basis per cycle
    mp, np : weight and activation bases at once
    dot_length : most matches a dot can have, K
    pipeline : adder levels between registers of the popcount
    target : technology of the popcount, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`
    code : of the operands, one of :data:`abc_hw.rtl_gen.parts.coding.CODES`
    """

    simd: int
    mp: int
    np: int
    dot_length: int
    pipeline: int = 1
    target: str = "generic"
    code: str = "plain"

    @property
    def popcount(self) -> PopcountPlan:
        """Of each pair of bases, on all positions but the last."""
        return PopcountPlan(
            width=max(self.simd - 1, 1), pipeline=self.pipeline, target=self.target, code=self.code
        )

    @property
    def latency(self) -> int:
        """Cycles from a word to the dot that includes it."""
        return self.popcount.latency


class ProcessingElement(wiring.Component):
    """``mp`` weight bases against ``np`` activation bases: mp x np popcounts that grow over the words of a dot.

    ::

        b[mp] --+--> xor --> popcount --> add ---+--> dots[m][n]      one of these per pair (m, n)
        a[np] --+                          ^     |
                                          dot <--+ unless the dot ends here

    Counts the positions where weights and activations differ; with the weights complemented it equals
    :func:`abc_hw.sim.golden.xnor_popcount` summed over the words of a dot. The last position of a word is the
    carry-in of the sum, the others are counted by a tree.

    Parameters
    ----------
    plan : what it counts, and how

    Members
    -------
    b, a : In, ``simd`` bits per weight (activation) basis, as :func:`abc_hw.rtl_gen.parts.coding.operand_word`
        codes them
    ends : In(1), the dot does not go on after this word; ``latency`` cycles after it
    dots : Out, [mp][np] counts of the dots up to the word, ``latency`` cycles after it
    """

    def __init__(self, plan: ElementPlan) -> None:
        self._plan = plan
        count = unsigned(plan.dot_length.bit_length())
        super().__init__({
            "b": In(data.ArrayLayout(unsigned(plan.simd), plan.mp)),
            "a": In(data.ArrayLayout(unsigned(plan.simd), plan.np)),
            "ends": In(1),
            "dots": Out(data.ArrayLayout(data.ArrayLayout(count, plan.np), plan.mp)),
        })

    @property
    def plan(self) -> ElementPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        popcount = self._plan.popcount
        for basis_m in range(self._plan.mp):
            for basis_n in range(self._plan.np):
                place = f"{basis_m}_{basis_n}"
                m.submodules[f"count_{place}"] = count = XorPopcount(popcount)
                a, b = self.a[basis_n], self.b[basis_m]
                m.d.comb += [count.a.eq(a[: popcount.width]), count.b.eq(b[: popcount.width])]
                carry = None
                if self._plan.simd > popcount.width:
                    carry = delayed(m, a[-1] ^ b[-1], self._plan.latency, name=f"carry_{place}")
                port = self.dots[basis_m][basis_n]
                dot = Signal(port.shape(), name=f"dot_{place}", reset_less=True)
                adder = Adder(list(dot), list(count.o), carry, len(port))
                (total,) = chain_row(m, [adder], slots=len(port) + 2, name=f"sum_{place}")
                m.d.comb += port.eq(Cat(total))
                m.d.sync += dot.eq(port)
                with m.If(self.ends):
                    m.d.sync += dot.eq(0)
        return m
