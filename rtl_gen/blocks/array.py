# amaranth: UnusedElaboratable=no
"""The PE array: codes in, dots out."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from amaranth.hdl import Cat, Const, Module, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import Bases, IntArray
from abc_hw.network.codings import CODINGS

from ..parts.arith import ceil_div, select
from ..parts.coding import ParityCoder, ParityPlan, operand_word
from ..parts.delay import copied, delayed
from ..parts.memory_plan import MemoryPlan
from ..parts.popcount import TARGETS
from ..parts.shared import placed
from .pe import ElementPlan, ProcessingElement

__all__ = ["ArrayPlan", "PEArray", "basis_bit"]


def basis_bit(bases: Bases, code: Value, index: int) -> Value:
    """Basis ``index`` of ``code``, 1 for +1: :meth:`abc_hw.network.Bases.expand` in hardware.

    A basis past the last is 0 for every code; its coefficient is 0.
    """
    if index >= bases.count:
        return Value.cast(0)
    bit: Value = CODINGS[bases.kind].hardware(code, index)
    return bit


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArrayPlan:
    """What the array is.

    Members
    -------
    weight_bases, input_bases : how codes stand for bases
    simd, pe, mp, np, px : folding
    dot_length : K
    pipeline : adder levels between registers of the popcounts
    target : technology, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`
    """

    weight_bases: Bases
    input_bases: Bases
    simd: int
    pe: int
    mp: int
    np: int
    dot_length: int
    px: int = 1
    pipeline: int = 1
    target: str = "generic"

    @property
    def code(self) -> str:
        """Of the operands, one of :data:`abc_hw.rtl_gen.parts.coding.CODES`."""
        return TARGETS[self.target].code

    @property
    def element(self) -> ElementPlan:
        """One output channel's part."""
        return ElementPlan(
            simd=self.simd, mp=self.mp, np=self.np, dot_length=self.dot_length, pipeline=self.pipeline,
            target=self.target, code=self.code,
        )

    @property
    def groups_m(self) -> int:
        """Groups of mp weight bases."""
        return ceil_div(self.weight_bases.count, self.mp)

    @property
    def groups_n(self) -> int:
        """Groups of np activation bases."""
        return ceil_div(self.input_bases.count, self.np)

    # -- weights --------------------------------------------------------------------------------------------

    @property
    def stores_bases(self) -> bool:
        """Are the bits of a stored weight its bases, not its level?"""
        return self.weight_bases.bits == self.weight_bases.count

    @property
    def word_width(self) -> int:
        """Bits of the weights of a cycle."""
        return self.pe * self.simd * self.weight_bases.bits

    def stored(self, levels: npt.NDArray[Any]) -> IntArray:
        """Level codes of words, [..., simd], as the weights of :attr:`PEArray.w`."""
        if not self.stores_bases:
            return (self.weight_bases.levels - 1 - levels).astype(np.int64)
        bits = (~self.weight_bases.expand(levels)).astype(np.int64)
        coded = np.stack(operand_word([bits[..., position, :] for position in range(self.simd)], self.code), -2)
        return coded @ (1 << np.arange(self.weight_bases.count))

    # -- cycles ---------------------------------------------------------------------------------------------

    @property
    def operand_latency(self) -> int:
        """Cycles from activation codes to the operands of the PEs."""
        return ParityPlan(self.simd - 1).latency if self.code == "parity" else 1

    @property
    def weight_delay(self) -> int:
        """Cycles from an activation word to its weights."""
        return self.operand_latency - int(self.groups_m > 1) if self.stores_bases else 0

    @property
    def counts_stored(self) -> bool:
        """Are stored weights the counters' operands, with no register of the array before them?"""
        return self.weight_delay == self.operand_latency

    @property
    def latency(self) -> int:
        """Cycles from the last word of a dot to ``valid``."""
        return self.operand_latency + self.element.latency

    # -- cost -----------------------------------------------------------------------------------------------

    @property
    def memories(self) -> list[MemoryPlan]:
        """None."""
        return []

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with."""
        pairs = self.px * self.pe * self.mp * self.np
        weights, activations = self.pe * self.mp * self.simd, self.px * self.np * self.simd
        counts = {name: pairs * number for name, number in self.element.popcount.quantities.items()}
        return counts | {
            "pairs": pairs, "dot bits": pairs * self.dot_length.bit_length(), "narrow": pairs * (self.simd < 4),
            "weights": weights,
            "expanded weights": 0 if self.stores_bases else weights,
            "chosen weights": weights * (self.groups_m - 1),
            "activations": activations,
            "expanded activations": 0 if self.input_bases.bits == self.input_bases.count else activations,
            "chosen activations": activations * (self.groups_n - 1),
        }


class PEArray(wiring.Component):
    """``px`` pixels times ``pe`` channels times ``simd`` positions times ``mp`` x ``np`` bases, a word per cycle.

    ::

        a codes --> expand np of N, per pixel --> code --+--> every PE of the pixel
        w words --> pick mp of M, per channel -----------+--> PE 0 .. PE px pe-1 --> dots[px pe][mp][np]

    Weights come as :meth:`ArrayPlan.stored` puts them into memory: basis bits, complemented and coded as the
    counters want them, where that takes no more bits than level codes (M up to 2, bit-planes); else level codes of
    the negated weight, expanded here.

    Parameters
    ----------
    plan : what it is

    Members
    -------
    a : In, [px simd] codes, pixel by pixel;  w : In, [pe][simd] stored weights, ``weight_delay`` cycles later
    group_n, group_m : In, which np of the N (mp of the M) bases are wanted; with the codes (the weights)
    word, last : In(1), codes are valid; they are the last of a dot; the words of a dot come without a pause
    dots : Out, [px pe][mp][np], pixel by pixel;  valid : Out(1), they are complete; ``latency`` cycles after the
        last word
    complete : Out(px pe), the same for each pixel and channel
    """

    def __init__(self, plan: ArrayPlan) -> None:
        self._plan = plan
        count = unsigned(plan.dot_length.bit_length())
        super().__init__({
            "a": In(data.ArrayLayout(unsigned(plan.input_bases.bits), plan.px * plan.simd)),
            "w": In(data.ArrayLayout(data.ArrayLayout(unsigned(plan.weight_bases.bits), plan.simd), plan.pe)),
            "group_m": In(range(max(plan.groups_m, 2))),
            "group_n": In(range(max(plan.groups_n, 2))),
            "word": In(1),
            "last": In(1),
            "dots": Out(data.ArrayLayout(
                data.ArrayLayout(data.ArrayLayout(count, plan.np), plan.mp), plan.px * plan.pe)),
            "valid": Out(1),
            "complete": Out(plan.px * plan.pe),
        })

    @property
    def plan(self) -> ArrayPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pixels = [self._activations(m, pixel) for pixel in range(self._plan.px)]
        weights = [self._weights(m, index) for index in range(self._plan.pe)]
        # What clears and takes the dots is told to every element by a register of its own.
        late, elements = self._plan.latency - 1, len(pixels) * len(weights)
        goes_on = delayed(m, self.word & ~self.last, late, name="goes_on", reset_less=False)
        valid = delayed(m, self.word & self.last, late, name="valid", reset_less=False)
        ends = copied(m, ~goes_on, elements, name="ends")
        m.d.comb += [
            self.complete.eq(Cat(copied(m, valid, elements, name="complete_of"))), self.valid.eq(self.complete[0]),
        ]
        for place, (activation, weight) in enumerate(itertools.product(pixels, weights)):
            element = placed(m, f"pe{place}", ProcessingElement, self._plan.element, platform, kind="pe")
            m.d.comb += [
                element.a.as_value().eq(Cat(activation)),
                element.b.as_value().eq(Cat(weight)),
                element.ends.eq(ends[place]),
                self.dots[place].eq(element.dots),
            ]
        return m

    def _activations(self, m: Module, pixel: int) -> list[Value]:
        """The operands of a pixel, one per basis at once."""
        codes = [self.a[pixel * self._plan.simd + position] for position in range(self._plan.simd)]
        picked = self._expand(
            lambda code, index: basis_bit(self._plan.input_bases, code, index), codes, self.group_n,
            self._plan.groups_n, self._plan.np,
        )
        place = f"{pixel}_" if pixel else ""
        return [self._coded(m, bits, f"a_{place}{slot}") for slot, bits in enumerate(picked)]

    def _weights(self, m: Module, index: int) -> list[Value]:
        """The operands of channel ``index``, one per basis at once."""
        def basis(code: Value, index: int) -> Value:
            if not self._plan.stores_bases:
                # -B_m of a level is the basis as far from the other end of the negated one.
                return basis_bit(self._plan.weight_bases, code, self._plan.weight_bases.count - 1 - index)
            return code[index] if index < len(code) else Const(0, 1)

        picked = self._expand(basis, self.w[index], self.group_m, self._plan.groups_m, self._plan.mp)
        if not self._plan.stores_bases:
            return [self._coded(m, bits, f"w_{index}_{slot}") for slot, bits in enumerate(picked)]
        cycles = self._plan.operand_latency - self._plan.weight_delay
        return [delayed(m, Cat(bits), cycles, name=f"w_{index}_{slot}") for slot, bits in enumerate(picked)]

    def _coded(self, m: Module, bits: list[Value], name: str) -> Value:
        """A word of basis bits as an operand, ``_operand_latency`` cycles later."""
        if self._plan.code == "plain" or len(bits) == 1:
            return delayed(m, Cat(bits), self._plan.operand_latency, name=name)
        m.submodules[f"code_{name}"] = coder = ParityCoder(ParityPlan(len(bits) - 1))
        m.d.comb += coder.i.eq(Cat(bits[:-1]))
        return Cat(coder.o, delayed(m, bits[-1], coder.plan.latency, name=f"{name}_last"))

    @staticmethod
    def _expand(
        basis: Callable[[Value, int], Value], codes: Iterable[Value], group: Value, groups: int, at_once: int
    ) -> list[list[Value]]:
        """Bits of the ``at_once`` bases of a group, [basis][position]."""
        codes = list(codes)
        return [
            [select(group, [basis(code, g * at_once + slot) for g in range(groups)]) for code in codes]
            for slot in range(at_once)
        ]
