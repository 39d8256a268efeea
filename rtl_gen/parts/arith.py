"""Widths from real bounds, and arithmetic by constants."""

from collections.abc import Iterable, Sequence

from amaranth.hdl import Cat, Const, Mux, Shape, Value, ValueCastable, ValueLike, signed, unsigned

__all__ = ["bits_of", "ceil_div", "constant_product", "extend", "range_shape", "select", "signed_digits", "total"]


def ceil_div(dividend: int, divisor: int) -> int:
    """Least integer that is not below dividend / divisor; both positive."""
    return -(-dividend // divisor)


def bits_of(count: int) -> int:
    """Bits that tell ``count`` things apart."""
    return (count - 1).bit_length()


def range_shape(low: int, high: int) -> Shape:
    """Narrowest shape that holds every integer of low..high; signed only if low is negative."""
    if low > high:
        raise ValueError(f"Lower bound must not exceed the upper bound, not {low} > {high}")
    if low >= 0:
        return unsigned(max(high.bit_length(), 1))
    return signed(max((-low - 1).bit_length(), high.bit_length()) + 1)


def extend(value: ValueLike | ValueCastable, shape: Shape) -> Value:
    """``value`` in the given shape: sign- or zero-extended by its own sign, or cut where it is wider.

    Cutting is right where the result's range is known to fit: two's complement sums are exact modulo 2**width.
    """
    plain = Value.cast(value)
    missing = shape.width - len(plain)
    if missing > 0:
        padding = plain[-1].replicate(missing) if plain.shape().signed else Const(0, missing)
        joined: Value = Cat(plain, padding)
    else:
        joined = plain[: shape.width]
    return joined.as_signed() if shape.signed else joined.as_unsigned()


def total(values: Sequence[Value], shape: Shape) -> Value:
    """Sum of ``values`` as a balanced tree of adders, all in ``shape``, which must hold the sum."""
    if not values:
        return Const(0, shape)
    terms = [extend(value, shape) for value in values]
    while len(terms) > 1:
        paired = [extend(a + b, shape) for a, b in zip(terms[::2], terms[1::2], strict=False)]
        terms = paired + ([terms[-1]] if len(terms) % 2 else [])
    return terms[0]


def signed_digits(value: int) -> list[tuple[int, int]]:
    """(sign, shift) terms of the non-adjacent form of ``value``: the fewest signed powers of two."""
    digits = []
    shift = 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            digits.append((sign, shift))
            value -= sign
        value >>= 1
        shift += 1
    return digits


def constant_product(value: Value, factor: int, shape: Shape) -> list[Value]:
    """Addends in ``shape`` whose sum modulo 2**width is ``value * factor``: shifts only, no multiplier."""
    addends = []
    for sign, shift in signed_digits(factor):
        shifted = extend(value << shift, shape)
        addends.append(shifted if sign > 0 else extend(-shifted, shape))
    return addends


def select(index: Value, choices: Iterable[Value]) -> Value:
    """``choices[index]`` as a tree of two-way multiplexers; an index past the end gives any of them."""
    level = list(choices)
    bit = 0
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        merged = [Value.cast(Mux(index[bit], high, low)) for low, high in pairs]
        level = merged + ([level[-1]] if len(level) % 2 else [])
        bit += 1
    return level[0]
