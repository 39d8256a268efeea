"""Registers in a row, and choices with registers in them."""

from collections.abc import Sequence
from functools import reduce
from operator import or_

from amaranth.hdl import Const, Module, Signal, Value

from .arith import ceil_div

__all__ = ["UNREAD", "chosen", "chosen_cycles", "chosen_gates", "copied", "delayed"]

UNREAD = {"unread_at_first": 1}
"""Attributes of a register whose first value is for nobody to read: synthesis may let it begin with anything
(:func:`abc_hw.rtl_gen.emit.yosys.without_first_values`)."""

INPUTS = 4
"""Of a look-up table, for :func:`chosen`."""


def delayed(
    m: Module, value: Value, cycles: int, *, name: str, reset_less: bool = True, enable: Value | None = None
) -> Value:
    """``value`` as it was ``cycles`` ago; with ``enable``, only cycles in which that is 1 count. What it is before
    that is for nobody to read, unless it is reset."""
    attributes = UNREAD if reset_less else {}
    for cycle in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{cycle + 1}", reset_less=reset_less, attrs=attributes)
        with m.If(Const(1) if enable is None else enable):
            m.d.sync += register.eq(value)
        value = register
    return value


def copied(m: Module, value: Value, copies: int, *, name: str, reset_less: bool = False) -> list[Value]:
    """``value`` as it was a cycle ago, in so many registers that no synthesiser makes one of: each is for users
    that lie together, so that none has a wire to all of them. What controls is to be reset."""
    found = []
    for copy in range(copies):
        attributes = {"keep": 1} if copies > 1 else {}
        register = Signal(value.shape(), name=f"{name}_{copy}", attrs=attributes, reset_less=reset_less)
        m.d.sync += register.eq(value)
        found.append(register)
    return found


def _levels(count: int) -> list[int]:
    """Gates on each level of :func:`chosen` among ``count`` values."""
    levels: list[int] = []
    while count > 1:
        count = ceil_div(count, INPUTS if levels else INPUTS // 2)
        levels.append(count)
    return levels


def chosen_cycles(count: int) -> int:
    """Cycles of :func:`chosen` among ``count`` values: a register behind each level of its tree."""
    return len(_levels(count))


def chosen_gates(count: int) -> int:
    """Gates of :func:`chosen` among ``count`` values, for each of their bits."""
    return sum(_levels(count))


def chosen(
    m: Module, enables: Value, values: Sequence[Value], name: str, enable: Value | None = None
) -> Value:
    """The value whose bit of ``enables`` is on, no more than one, :func:`chosen_cycles` later.

    With ``enable``, only cycles in which that is 1 count.

    A gate of four inputs takes two values with their enables, then four such gates: fewer than multiplexers are.
    """
    if len(values) == 1:
        return values[0]
    terms = [value & enable.replicate(len(value)) for value, enable in zip(values, enables, strict=True)]
    size = INPUTS // 2
    for level in range(chosen_cycles(len(values))):
        groups = [terms[start : start + size] for start in range(0, len(terms), size)]
        terms = [
            delayed(m, reduce(or_, group), 1, name=f"{name}_{level}_{place}", enable=enable)
            for place, group in enumerate(groups)
        ]
        size = INPUTS
    return terms[0]
