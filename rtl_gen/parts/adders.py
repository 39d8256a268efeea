"""Sums of many values, with registers."""

from collections.abc import Iterable

from amaranth.hdl import Const, Module, Shape, Value

from .arith import extend
from .delay import delayed

__all__ = ["registered_sum", "sum_cycles", "sum_positions"]


def sum_cycles(count: int) -> int:
    """Cycles of :func:`registered_sum` of so many values."""
    return max(count - 1, 0).bit_length()


def registered_sum(m: Module, values: list[Value], shape: Shape, name: str) -> Value:
    """Sum of ``values``, all in ``shape``: a tree of adders of two, with a register behind each."""
    if not values:
        return Const(0, shape)
    terms = [extend(value, shape) for value in values]
    for level in range(sum_cycles(len(values))):
        pairs = [terms[start : start + 2] for start in range(0, len(terms), 2)]
        terms = [
            delayed(m, extend(pair[0] + pair[1], shape) if len(pair) == 2 else pair[0], 1,
                    name=f"{name}_{level}_{index}")
            for index, pair in enumerate(pairs)
        ]
    return terms[0]


def sum_positions(values: Iterable[range], width: int) -> tuple[int, range]:
    """Bits of the adders of :func:`registered_sum` in ``width`` bits, of values that may differ from 0 in these
    bits only, and those of their sum. Below the higher of two lowest bits nothing is added."""
    terms, positions = list(values), 0
    while len(terms) > 1:
        sums = []
        for one, other in zip(terms[::2], terms[1::2], strict=False):
            summed = range(min(one.start, other.start), min(max(one.stop, other.stop) + 1, width))
            positions += max(summed.stop - max(one.start, other.start), 0)
            sums.append(summed)
        terms = sums + terms[2 * len(sums) :]
    return positions, terms[0] if terms else range(0)
