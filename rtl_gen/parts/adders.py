"""Sums of many values, with registers."""

from amaranth.hdl import Const, Module, Shape, Value

from .arith import extend
from .delay import delayed

__all__ = ["registered_sum", "sum_cycles"]


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
