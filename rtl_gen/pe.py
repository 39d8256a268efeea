# amaranth: UnusedElaboratable=no
"""The processing element: one output channel's XNOR-popcounts."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .arith import extend
from .popcount import XorPopcount

__all__ = ["ProcessingElement"]


class ProcessingElement(wiring.Component):
    """``mp`` weight bases against ``np`` activation bases: mp x np popcounts that grow over the words of a dot.

    ::

        b[mp] --+--> xnor --> popcount --> add <--+      one of these per pair (m, n)
        a[np] --+                           |     |
                             first: from 0, else --+--> dots[m][n]

    Equals :func:`sim.golden.xnor_popcount` summed over the words of a dot.

    Parameters
    ----------
    simd : bits of one basis per cycle
    mp, np : weight and activation bases at once
    dot_length : most matches a dot can have, K
    pipeline : adder levels between registers of the popcount
    target : technology of the popcount, a key of :data:`rtl_gen.popcount.TARGETS`

    Members
    -------
    b, a : In, ``simd`` bits per weight (activation) basis, 1 for +1
    first : In(1), with the first word of a dot; aligned with the popcount's output, ``latency - 1`` after the word
    dots : Out, [mp][np] counts, ``latency`` cycles after the last word
    """

    def __init__(
        self, *, simd: int, mp: int, np: int, dot_length: int, pipeline: int = 3, target: str = "generic"
    ) -> None:
        self._counts = [
            [XorPopcount(simd, pipeline=pipeline, target=target) for _ in range(np)] for _ in range(mp)
        ]
        count = unsigned(dot_length.bit_length())
        super().__init__({
            "b": In(data.ArrayLayout(unsigned(simd), mp)),
            "a": In(data.ArrayLayout(unsigned(simd), np)),
            "first": In(1),
            "dots": Out(data.ArrayLayout(data.ArrayLayout(count, np), mp)),
        })

    @property
    def latency(self) -> int:
        """Cycles from a word to the dot that includes it."""
        return self._counts[0][0].latency + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for basis_m, row in enumerate(self._counts):
            for basis_n, count in enumerate(row):
                m.submodules[f"count_{basis_m}_{basis_n}"] = count
                port = self.dots[basis_m][basis_n]
                dot = Signal(port.shape(), name=f"dot_{basis_m}_{basis_n}", reset_less=True)
                m.d.comb += [count.a.eq(~self.a[basis_n]), count.b.eq(self.b[basis_m])]
                m.d.sync += dot.eq(extend(Mux(self.first, 0, dot) + count.o, port.shape()))
                m.d.comb += port.eq(dot)
        return m
