"""Adders side by side: the rows that counting trees are made of, and the registers between them."""

import dataclasses
from collections.abc import Sequence
from functools import cache, cached_property
from typing import TypeVar

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value

from .arith import ceil_div
from .delay import UNREAD

__all__ = ["Adder", "Bits", "CountPlan", "Mismatch", "Stages", "ccu2c_row", "chain_row", "count_plan"]

Bits = list[Value]
"""A number as its bits, lowest first."""


@dataclasses.dataclass(frozen=True)
class Mismatch:
    """The bit ``a ^ b``, not yet computed: a row that can takes the two operands itself."""

    a: Value
    b: Value

    @property
    def bit(self) -> Value:
        return self.a ^ self.b

    @property
    def operands(self) -> tuple[tuple[str, Value], tuple[str, Value]]:
        """Both operands with their names."""
        return ("a", self.a), ("b", self.b)


@dataclasses.dataclass(frozen=True)
class Adder:
    """``left + right + carry``, of which ``width`` bits are wanted."""

    left: Sequence[Value | Mismatch]
    right: Sequence[Value | Mismatch]
    carry: Value | Mismatch | None
    width: int

    @property
    def operand_width(self) -> int:
        return max(len(self.left), len(self.right))


class Stages:
    """Where a tree of ``levels`` levels has registers: after every ``pipeline`` levels and at its end."""

    def __init__(self, m: Module, *, levels: int, pipeline: int) -> None:
        self._m, self._levels, self._pipeline = m, levels, pipeline
        self._offset = 0

    @staticmethod
    def latency(levels: int, pipeline: int) -> int:
        """Cycles through a tree of ``levels`` levels."""
        return ceil_div(levels, pipeline) if pipeline else 0

    def beyond(self, level: int) -> "Stages":
        """The same registers, for a part that begins behind ``level``."""
        part = Stages(self._m, levels=self._levels, pipeline=self._pipeline)
        part._offset = self._offset + level
        return part

    def registered(self, level: int) -> bool:
        """Is there a register behind this level (1 .. levels)?"""
        depth = self._offset + level
        return self._pipeline > 0 and level > 0 and (depth == self._levels or depth % self._pipeline == 0)

    def after(self, level: int, value: Value, name: str) -> Value:
        """What leaves ``level`` with ``value`` at its end: a signal, for an expression is built at each use."""
        result = Signal(value.shape(), name=name, reset_less=True, attrs=UNREAD)
        self._m.d["sync" if self.registered(level) else "comb"] += result.eq(value)
        return result

    def bits_after(self, level: int, bits: Sequence[Value], name: str) -> Bits:
        """As :meth:`after`, for a number."""
        return list(self.after(level, Cat(bits), name))

    def carried(self, value: Value, start: int, end: int, name: str) -> Value:
        """A value that left level ``start``, to be used beside what leaves level ``end``."""
        for level in range(start + 1, end + 1):
            if self.registered(level):
                value = self.after(level, value, f"{name}_{level}")
        return value


# -- which adders ---------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class CountPlan:
    """How ``size`` bits are counted in ``level`` levels: the sum of two counts, and one bit as the carry-in."""

    size: int
    level: int
    left: "CountPlan | None" = None
    right: "CountPlan | None" = None
    carry: int = 0

    @cached_property
    def positions(self) -> int:
        """Of the chains of all adders: the bits of their operands, and a carry-in."""
        if self.left is None or self.right is None:
            return 0
        return self.left.positions + self.right.positions + self.operand_width + 1

    @property
    def operand_width(self) -> int:
        """Bits of the adder's wider operand."""
        return 0 if self.left is None else self.left.size.bit_length()

    def adders(self) -> "list[CountPlan]":
        """Of all levels, in the order in which each level's are chained."""
        if self.left is None or self.right is None:
            return []
        return [self, *self.left.adders(), *self.right.adders()]

    def slice_positions(self, slots: int) -> int:
        """Of the carry slices that its rows become (:func:`ccu2c_row`), two to a slice."""
        every = self.adders()
        found = 0
        for level in range(1, self.level + 1):
            for chain in _chains([adder for adder in every if adder.level == level], slots):
                last = chain[-1]
                feeds = len(chain) - 1 + chain[0].carry + (last.size.bit_length() > last.operand_width)
                found += 2 * ceil_div(sum(adder.operand_width for adder in chain) + feeds, 2)
        return found

    def registers(self, pipeline: int, input_bits: int) -> int:
        """Flip-flops behind all adders but the last, and of inputs (of so many bits each) and counts that wait for
        what is added to them; with a register behind every ``pipeline`` levels, at least one."""
        if self.left is None or self.right is None:
            return 0

        def behind(level: int) -> int:
            """Registers behind the levels from this one on, up to what this adder takes."""
            return (self.level - 1) // pipeline - (level - 1) // pipeline

        held = self.carry * input_bits * behind(1)
        for part in (self.left, self.right):
            held += input_bits * behind(1) if part.size == 1 else part.size.bit_length() * behind(part.level)
        return held + self.left.registers(pipeline, input_bits) + self.right.registers(pipeline, input_bits)


def count_plan(size: int) -> CountPlan:
    """The cheapest tree of adders with carry-in for ``size`` bits among those of least depth.

    A tree of L levels counts up to 2**(L+1) - 1 bits: each adder takes one more bit than its two operands count.
    """
    return _plan(size, size.bit_length() - 1)[1]


@cache
def _plan(size: int, level: int) -> tuple[int, CountPlan]:
    """(bits of all adders, plan); the size must not exceed 2**(level+1) - 1."""
    if size <= 1:
        return 0, CountPlan(size, 0)
    options = []
    if size < 1 << level:
        options.append(_plan(size, level - 1))
    most = (1 << level) - 1
    for carry in (1, 0):
        half = ceil_div(size - carry, 2)
        lefts = set(range(half, size - carry + 1)) if size <= 64 else {half, most}
        for left in sorted(one for one in lefts if half <= one <= min(most, size - carry)):
            right = size - carry - left
            (cost_left, plan_left), (cost_right, plan_right) = _plan(left, level - 1), _plan(right, level - 1)
            cost = cost_left + cost_right + left.bit_length() + 1
            options.append((cost, CountPlan(size, level, plan_left, plan_right, carry)))
    return min(options, key=lambda option: option[0])


# -- rows -----------------------------------------------------------------------------------------------------


Chained = TypeVar("Chained", Adder, CountPlan)


def _chains(adders: Sequence[Chained], slots: int) -> list[list[Chained]]:
    """Adders for one carry chain after the other, each of at most ``slots`` positions (or one adder)."""
    chains: list[list[Chained]] = []
    used = slots
    for adder in adders:
        need = adder.operand_width + 1
        if used + need > slots or not chains:
            chains.append([])
            used = 1
        chains[-1].append(adder)
        used += need
    return chains


def chain_row(m: Module, adders: Sequence[Adder], *, slots: int, name: str) -> list[Bits]:
    """Sums of ``adders``, several of them as one addition in plain operators.

    Between two adders lies a position where both operands are the next adder's carry-in: its sum is the carry
    out of the adder before, its carry the carry-in of the next. So a carry-in costs no position of its own.
    """
    results = []
    for number, chain in enumerate(_chains(adders, slots)):
        one: Bits = []
        other: Bits = []
        places = []
        for adder in chain:
            if one or adder.carry is not None:
                feed = Const(0, 1) if adder.carry is None else _bit(adder.carry)
                one.append(feed)
                other.append(feed)
            places.append((len(one), adder.width))
            for index in range(adder.operand_width):
                one.append(_bit(adder.left[index]) if index < len(adder.left) else Const(0, 1))
                other.append(_bit(adder.right[index]) if index < len(adder.right) else Const(0, 1))
        sums: dict[int, Value] = {}
        for place, (start, width) in enumerate(places):
            count = Signal(width, name=f"{name}_{number}_{place}")
            sums |= {start + index: count[index] for index in range(width)}
            results.append(list(count))
        for index in range(max(sums)):
            if index not in sums:  # named and kept, so that what lints the emitted text sees that it is meant
                sums[index] = Signal(name=f"{name}_{number}_unused{index}", attrs={"keep": 1})
        m.d.comb += Cat(sums[index] for index in range(len(sums))).eq(Cat(one) + Cat(other))
    return results


def _bit(value: Value | Mismatch) -> Value:
    return value.bit if isinstance(value, Mismatch) else value


def ccu2c_row(m: Module, adders: Sequence[Adder], *, slots: int, name: str) -> list[Bits]:
    """As :func:`chain_row`, in ECP5 carry slices: a mismatch is computed inside the slice that adds it.

    A slice has a LUT4 before each carry bit. Its sum is that LUT's output xor the carry; its carry out is the
    carry in where the LUT gives 1, else what the LUT gives with its last two inputs at 0.
    """
    results = []
    for number, chain in enumerate(_chains(adders, slots)):
        positions: list[tuple[list[Value], int]] = []
        places = []
        for adder in chain:
            if positions or adder.carry is not None:
                positions.append(_feed(adder.carry))
            places.append((len(positions), adder.width))
            for index in range(adder.operand_width):
                left = adder.left[index] if index < len(adder.left) else Const(0, 1)
                right = adder.right[index] if index < len(adder.right) else Const(0, 1)
                positions.append(_sum(left, right))
        start, width = places[-1]
        if start + width > len(positions):
            positions.append(_feed(None))
        sums = Signal(len(positions) + len(positions) % 2, name=f"{name}_{number}")
        carry: Value = Const(0, 1)
        for low in range(0, len(positions), 2):
            pair = [*positions[low : low + 2], _feed(None)][:2]
            next_carry = Signal(name=f"{name}_{number}_carry{low}")
            pins = {
                f"i_{pin}{half}": value
                for half, (inputs, _) in enumerate(pair)
                for pin, value in zip("ABCD", inputs, strict=True)
            }
            m.submodules[f"{name}_{number}_{low}"] = Instance(
                "CCU2C", p_INIT0=Const(pair[0][1], 16), p_INIT1=Const(pair[1][1], 16),
                p_INJECT1_0="NO", p_INJECT1_1="NO", i_CIN=carry, o_COUT=next_carry,
                o_S0=sums[low], o_S1=sums[low + 1], **pins,
            )
            carry = next_carry
        results += [list(sums[start : start + width]) for start, width in places]
    return results


_ONE = Const(1, 1)
_ZERO = Const(0, 1)


def _feed(carry: Value | Mismatch | None) -> tuple[list[Value], int]:
    """A position whose LUT gives 0 (the sum is the carry before it) and whose carry out is ``carry``."""
    if carry is None:
        return [_ZERO, _ZERO, _ONE, _ONE], 0x0000
    if isinstance(carry, Mismatch):
        return [carry.a, carry.b, _ONE, _ONE], 0x0006
    return [carry, _ZERO, _ONE, _ONE], 0x000A


def _sum(left: Value | Mismatch, right: Value | Mismatch) -> tuple[list[Value], int]:
    """A position that adds two bits."""
    if isinstance(left, Mismatch) and isinstance(right, Mismatch):
        return [left.a, left.b, right.a, right.b], 0x6996
    if isinstance(left, Mismatch):  # the plain operand decides nothing at 0, as it must
        return [left.a, left.b, _bit(right), _ZERO], 0x6996
    if isinstance(right, Mismatch):
        return [right.a, right.b, left, _ZERO], 0x6996
    return [left, right, _ONE, _ONE], 0x600A
