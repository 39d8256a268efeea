# amaranth: UnusedElaboratable=no
"""The PE array: codes in, dots out."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import Bases

from .arith import ceil_div, select
from .pe import ProcessingElement

__all__ = ["PEArray", "basis_bit", "delayed"]


def basis_bit(bases: Bases, code: Value, index: int) -> Value:
    """Basis ``index`` of ``code``, 1 for +1: :meth:`abc_hw.network.Bases.expand` in hardware.

    A basis past the last is 0 for every code; its coefficient is 0.
    """
    if index >= bases.count:
        return Value.cast(0)
    return code > index if bases.kind == "thermometer" else code[index]


def delayed(m: Module, value: Value, cycles: int, *, name: str, reset_less: bool = True) -> Value:
    """``value`` as it was ``cycles`` ago."""
    for cycle in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{cycle + 1}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


class PEArray(wiring.Component):
    """``pe`` output channels times ``simd`` positions times ``mp`` x ``np`` bases, one word per cycle.

    ::

        a codes --> expand np of N ------------+--> every PE
        w codes --> expand mp of M, per PE ----+--> PE 0 .. PE pe-1 --> dots[pe][mp][np]

    Parameters
    ----------
    weight_bases, input_bases : how codes stand for bases
    simd, pe, mp, np : folding
    dot_length : K
    pipeline : adder levels between registers of the popcounts

    Members
    -------
    a : In, ``simd`` codes;  w : In, [pe][simd] codes
    group_m, group_n : In, which mp of the M (np of the N) bases are wanted
    word, first, last : In(1), codes are valid; they are the first (last) of a dot
    dots : Out, [pe][mp][np];  valid : Out(1), the dots are complete; ``latency`` cycles after the last word
    """

    def __init__(
        self, *, weight_bases: Bases, input_bases: Bases, simd: int, pe: int, mp: int, np: int, dot_length: int,
        pipeline: int = 3,
    ) -> None:
        self._weight_bases, self._input_bases = weight_bases, input_bases
        self._simd, self._mp, self._np = simd, mp, np
        self._elements = [
            ProcessingElement(simd=simd, mp=mp, np=np, dot_length=dot_length, pipeline=pipeline) for _ in range(pe)
        ]
        self._groups_m = ceil_div(weight_bases.count, mp)
        self._groups_n = ceil_div(input_bases.count, np)
        count = unsigned(dot_length.bit_length())
        super().__init__({
            "a": In(data.ArrayLayout(unsigned(input_bases.bits), simd)),
            "w": In(data.ArrayLayout(data.ArrayLayout(unsigned(weight_bases.bits), simd), pe)),
            "group_m": In(range(max(self._groups_m, 2))),
            "group_n": In(range(max(self._groups_n, 2))),
            "word": In(1),
            "first": In(1),
            "last": In(1),
            "dots": Out(data.ArrayLayout(data.ArrayLayout(data.ArrayLayout(count, np), mp), pe)),
            "valid": Out(1),
        })

    @property
    def latency(self) -> int:
        """Cycles from the last word of a dot to ``valid``."""
        return self._elements[0].latency

    def elaborate(self, platform: object) -> Module:
        m = Module()
        activations = self._expand(self._input_bases, self.a, self.group_n, self._groups_n, self._np)
        first = delayed(m, self.first, self.latency - 1, name="first")
        for index, element in enumerate(self._elements):
            m.submodules[f"pe{index}"] = element
            weights = self._expand(self._weight_bases, self.w[index], self.group_m, self._groups_m, self._mp)
            m.d.comb += [
                element.a.as_value().eq(Cat(activations)),
                element.b.as_value().eq(Cat(weights)),
                element.first.eq(first),
                self.dots[index].eq(element.dots),
            ]
        m.d.comb += self.valid.eq(
            delayed(m, self.word & self.last, self.latency, name="valid", reset_less=False)
        )
        return m

    @staticmethod
    def _expand(bases: Bases, codes: Iterable[Value], group: Value, groups: int, at_once: int) -> list[Value]:
        """Bits of ``at_once`` bases over all codes: basis by basis, position by position."""
        codes = list(codes)
        return [
            select(group, [basis_bit(bases, code, g * at_once + slot) for g in range(groups)])
            for slot in range(at_once)
            for code in codes
        ]
