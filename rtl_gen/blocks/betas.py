"""Betas: what multiplying by those that stay takes; how those that are loaded are stored, and multiplied by."""

import dataclasses
from functools import cached_property

from amaranth.hdl import Module, Shape, Value, unsigned
from amaranth.lib import wiring

from ..parts.adders import sum_positions
from ..parts.arith import select, signed_digits, total
from ..parts.matches import LayerNumbers
from ..parts.memory_plan import MemoryPlan, pack_fields
from ..parts.registers import Registers
from .alpha import AlphaCode

__all__ = ["FixedBetas", "LoadedBetas"]


@dataclasses.dataclass(frozen=True)
class FixedBetas:
    """Betas that stay as they are.

    Members
    -------
    numbers : of the layer
    at_once : activation bases of a pass
    """

    numbers: LayerNumbers
    at_once: int

    @property
    def shift(self) -> bool:
        """Is each a power of two, and always the same?"""
        passes = self.numbers.beta_passes(self.at_once)
        return len(passes) == 1 and all([sign for sign, _ in signed_digits(one)] == [1] for one in passes[0])

    @property
    def work(self) -> tuple[int, int]:
        """(bits of adders, bits of choices) between the counts of an item and their weighted sum."""
        width, count = self.numbers.beta_shape(self.at_once).width, self.numbers.layer.dot_length.bit_length()
        adders, choices, products = 0, 0, []
        for slot in range(self.at_once):
            factors = {one[slot] for one in self.numbers.beta_passes(self.at_once)}
            reached = []
            for factor in factors:
                digits = signed_digits(factor)
                adders += sum(width - shift for sign, shift in digits if sign < 0)
                ends = [(shift, min(shift + count, width) if sign > 0 else width) for sign, shift in digits]
                positions, bits = sum_positions([range(*both) for both in ends], width)
                adders += positions
                reached.append(bits)
            products.append(range(min(bits.start for bits in reached), max(bits.stop for bits in reached)))
            choices += (len(factors) - 1) * len(products[-1])
        return adders + sum_positions(products, width)[0], choices


@dataclasses.dataclass(frozen=True)
class LoadedBetas:
    """Registers of betas, a pass over activation bases a word.

    Members
    -------
    numbers : of the layer, whose betas may become any others
    at_once : activation bases of a pass
    """

    numbers: LayerNumbers
    at_once: int

    @cached_property
    def code(self) -> AlphaCode:
        """How one is stored."""
        choices = self.numbers.beta_choices
        assert choices is not None  # they may become any others
        form = self.numbers.layer.beta_scale
        return self.numbers.shared(("beta code",), lambda: AlphaCode(form, choices))

    @cached_property
    def memory(self) -> MemoryPlan:
        """The registers."""
        words = len(self.numbers.beta_passes(self.at_once))
        return MemoryPlan(name="betas", width=self.code.width * self.at_once, words=words, write="parts")

    def contents(self) -> list[int]:
        """Words of the registers."""
        code = self.code
        return [
            pack_fields([(code.encode(beta), code.width) for beta in one])
            for one in self.numbers.beta_passes(self.at_once)
        ]

    @property
    def addends(self) -> int:
        """Of a sum over the activation bases of a pass."""
        return self.at_once * self.code.term_count + self.code.has_signs

    @property
    def choices(self) -> int:
        """Choices of an addend or the same shifted, for such a sum."""
        return 0 if self.code.multiplies else self.at_once * self.code.term_count * self.code.shift_bits

    @property
    def work(self) -> tuple[int, int]:
        """As that of :class:`FixedBetas`."""
        width = self.numbers.beta_shape(self.at_once).width
        return (self.addends - 1) * width, self.choices * width

    def read(self, m: Module, write: wiring.PureInterface, pass_n: Value) -> list[Value]:
        """The registers, written by ``write``: stored betas of the pass ``pass_n``."""
        m.submodules.betas = registers = Registers(self.memory)
        wiring.connect(m, write, registers.write)
        word = select(pass_n, [registers.words[index] for index in range(self.memory.words)])
        return [word[start : start + self.code.width] for start in range(0, self.memory.width, self.code.width)]

    def products(self, betas: list[Value], counts: list[Value], shape: Shape) -> list[Value]:
        """``addends`` whose sum in ``shape`` is ``sum beta count``, for betas as they are stored."""
        found: list[Value] = []
        bits: list[Value] = []
        for beta, count in zip(betas, counts, strict=True):
            terms, signs = self.code.addends(beta, count, shape)
            found += terms
            bits += signs
        return found if not bits else [*found, total(bits, unsigned(len(bits).bit_length()))]
