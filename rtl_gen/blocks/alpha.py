"""Alphas as they are stored, and multiplied by."""

from collections.abc import Iterable

from amaranth.hdl import Mux, Shape, Value

from abc_hw.network import ScaleForm

from ..parts.arith import extend, range_shape
from ..parts.memory_plan import pack_fields

__all__ = ["AlphaCode"]


class AlphaCode:
    """How alphas are stored, and multiplied by.

    ``fixed``: a signed number and a multiplier. ``csd``, ``pow2``, and alphas of at most 1: per term a sign, a
    shift and an enable, each only as wide as the given alphas need.

    Parameters
    ----------
    form : of the layer's alphas
    alphas : every value to be stored
    """

    def __init__(self, form: ScaleForm, alphas: Iterable[int]) -> None:
        values = sorted({int(alpha) for alpha in alphas})
        self._values = values
        self.multiplies = form.kind == "fixed" and max(abs(value) for value in values) > 1
        """Does the product need a multiplier?"""
        self._number = range_shape(values[0], values[-1])
        self.term_count = 1
        """Addends of a product."""
        self.has_signs = False
        """Has a product single bits to add?"""
        self.shift_range = self._number.width
        """Bits by which a term may be longer than what is multiplied."""
        if self.multiplies:
            return
        self._terms = {value: form.terms_of(value) if form.kind != "fixed" else
                       ((value, 0),) if value else () for value in values}
        used = [term for terms in self._terms.values() for term in terms]
        self.term_count = max(len(terms) for terms in self._terms.values())
        self._low_shift = min((shift for _, shift in used), default=0)
        self.shift_range = max((shift for _, shift in used), default=0) - self._low_shift
        self.shift_bits = self.shift_range.bit_length()
        self.has_signs = any(sign < 0 for sign, _ in used)
        self.sign_bits = int(self.has_signs)
        self.enable_bits = int(min(len(terms) for terms in self._terms.values()) < self.term_count)

    @property
    def gates(self) -> int:
        """Gates of four inputs for each bit of a term: a multiplexer for each bit of its shift, of which the first
        has an input left for the enable and the last for the sign; without a shift a gate for both."""
        if self.multiplies:
            return 0
        others = self.sign_bits + self.enable_bits
        if not self.shift_bits:
            return min(others, 1)
        return self.shift_bits + max(others - min(self.shift_bits, 2), 0)

    @property
    def width(self) -> int:
        """Bits of a stored alpha."""
        if self.multiplies:
            return self._number.width
        return self.term_count * (self.shift_bits + self.sign_bits + self.enable_bits)

    def encode(self, alpha: int) -> int:
        if self.multiplies:
            return pack_fields([(alpha, self.width)])
        terms = [(sign, shift, 1) for sign, shift in self._terms[alpha]]
        terms += [(1, self._low_shift, 0)] * (self.term_count - len(terms))
        return pack_fields([
            field
            for sign, shift, enable in terms
            for field in (
                (shift - self._low_shift, self.shift_bits),
                (int(sign < 0), self.sign_bits),
                (enable, self.enable_bits),
            )
        ])

    def addends(self, code: Value, factor: Value, shape: Shape) -> tuple[list[Value], list[Value]]:
        """``alpha * factor`` for the alpha stored as ``code``: addends in ``shape``, and single bits to add.

        Their sum modulo 2**width is the product; a negative term is its complement and a bit.
        """
        if self.multiplies:
            number = code.as_signed() if self._number.signed else code
            return [extend(number * factor, shape)], []
        terms: list[Value] = []
        bits: list[Value] = []
        size = self.shift_bits + self.sign_bits + self.enable_bits
        for term in range(self.term_count):
            fields = code[term * size : (term + 1) * size]
            shifted = extend(factor << self._low_shift, shape)
            for bit in range(self.shift_bits):
                shifted = extend(Mux(fields[bit], extend(shifted << (1 << bit), shape), shifted), shape)
            if self.enable_bits:
                shifted = extend(Mux(fields[-1], shifted, 0), shape)
            if self.sign_bits:
                negative = fields[self.shift_bits]
                shifted = extend(shifted ^ negative.replicate(shape.width), shape)
                bits.append(negative)
            terms.append(shifted)
        return terms, bits
