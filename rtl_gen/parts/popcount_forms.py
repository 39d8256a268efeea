"""Ways to count ones: one function per form, from bits to the number of ones among them.

Each takes the bits (or the operands whose difference they are) and
:class:`abc_hw.rtl_gen.parts.popcount_rows.Stages`, which
says where registers stand, and returns the count's bits, lowest first. ``levels`` of the same form says how many
levels that takes.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned

from .arith import ceil_div, extend, total
from .popcount_rows import Adder, Bits, CountPlan, Mismatch, Stages, ccu2c_row, chain_row, count_plan

__all__ = ["FORMS", "Form", "parity_count", "parity_levels"]

Inputs = Sequence[Value | Mismatch]

GENERIC_SLOTS = 16
"""Positions of one carry chain in plain operators."""

CCU2C_SLOTS = 24
"""Positions of one chain of ECP5 carry slices."""


class Form(NamedTuple):
    """A way to count: its depth for a width, and what builds it."""

    levels: Callable[[int], int]
    build: Callable[[Module, Inputs, Stages], Bits]


def _bit(value: Value | Mismatch) -> Value:
    return value.bit if isinstance(value, Mismatch) else value


def _full_adder(m: Module, x: Value, y: Value, z: Value) -> tuple[Value, Value]:
    """Sum and carry of three bits; the carry in a form that takes few inputs beside x ^ y and the sum."""
    differ, low = Signal(name="differ"), Signal(name="low")
    m.d.comb += [differ.eq(x ^ y), low.eq(differ ^ z)]
    return low, Mux(differ, ~low, x)


# -- a tree of plain adders -----------------------------------------------------------------------------------


def _tree_levels(width: int) -> int:
    return 1 + (ceil_div(width, 3) - 1).bit_length()


def _tree(m: Module, inputs: Inputs, stages: Stages) -> Bits:
    """Three bits at a leaf, then adders of two operands."""
    bits = [_bit(value) for value in inputs]
    leaves = [bits[start : start + 3] for start in range(0, len(bits), 3)]
    most = [len(leaf) for leaf in leaves]
    counts = [total(leaf, unsigned(len(leaf).bit_length())) for leaf in leaves]
    for level in range(1, _tree_levels(len(bits)) + 1):
        if level > 1:
            pairs = [range(index, min(index + 2, len(counts))) for index in range(0, len(counts), 2)]
            most = [sum(most[index] for index in pair) for pair in pairs]
            counts = [
                extend(counts[pair[0]] + counts[pair[1]], unsigned(limit.bit_length())) if len(pair) == 2
                else counts[pair[0]]
                for pair, limit in zip(pairs, most, strict=True)
            ]
        counts = [stages.after(level, count, f"count{level}_{index}") for index, count in enumerate(counts)]
    return list(counts[0])


# -- adders with carry-in -------------------------------------------------------------------------------------


def _carry_levels(width: int) -> int:
    return max(1, count_plan(width).level)


class _PlannedTree:
    """A :class:`CountPlan` over given bits, built level by level."""

    def __init__(self, m: Module, inputs: Inputs, stages: Stages, *, slices: bool, name: str) -> None:
        self._m, self._stages, self._slices, self._name = m, stages, slices, name
        self._inputs = list(inputs)
        self._taken = 0

    def build(self, levels: int) -> Bits:
        """The count of all inputs, as it leaves level ``levels``."""
        top = _Node(count_plan(len(self._inputs)), self._take)
        for level in range(1, levels + 1):
            self._build_level([node for node in top.nodes() if node.plan.level == level], level)
        return self._at(top, levels)

    def _take(self, count: int) -> list[Value | Mismatch]:
        self._taken += count
        return self._inputs[self._taken - count : self._taken]

    def _build_level(self, nodes: "list[_Node]", level: int) -> None:
        if level == 1 and not self._slices:
            for node in nodes:
                bits = [_bit(value) for value in node.leaves]
                if len(bits) == 3:
                    node.result = list(_full_adder(self._m, *bits))
                else:
                    node.result = [bits[0] ^ bits[1], bits[0] & bits[1]]
        else:
            adders = [
                Adder(
                    self._operand(node.left, level - 1), self._operand(node.right, level - 1),
                    self._held(node.carry, level - 1, f"{self._name}_carry{level}_{index}"),
                    node.plan.size.bit_length(),
                )
                for index, node in enumerate(nodes)
            ]
            row, slots = (ccu2c_row, CCU2C_SLOTS) if self._slices else (chain_row, GENERIC_SLOTS)
            sums = row(self._m, adders, slots=slots, name=f"{self._name}_row{level}")
            for node, result in zip(nodes, sums, strict=True):
                node.result = result
        for index, node in enumerate(nodes):
            node.result = self._stages.bits_after(
                level, node.result, f"{self._name}{level}_{index}"
            )

    def _operand(self, node: "_Node", level: int) -> list[Value | Mismatch]:
        if node.plan.size == 1:
            leaf = self._held(node.leaves[0], level, f"{self._name}_held{node.first}")
            return [] if leaf is None else [leaf]
        return list(self._at(node, level))

    def _held(self, value: Value | Mismatch | None, level: int, name: str) -> Value | Mismatch | None:
        """An input to be used beside what leaves ``level``; in slices still two operands."""
        if isinstance(value, Mismatch) and self._slices:
            operands = (self._stages.carried(bit, 0, level, f"{name}_{side}") for side, bit in value.operands)
            return Mismatch(*operands)
        return None if value is None else self._stages.carried(_bit(value), 0, level, name)

    def _at(self, node: "_Node", level: int) -> Bits:
        """The node's count beside what leaves ``level``."""
        if node.plan.size == 0:
            return []
        bits = [_bit(node.leaves[0])] if node.plan.size == 1 else node.result
        name = f"{self._name}_held{node.first}"
        start = node.plan.level
        return list(self._stages.carried(Cat(bits), start, level, name))


class _Node:
    """A plan with its inputs and, once built, its count."""

    def __init__(self, plan: CountPlan, take: Callable[[int], list[Value | Mismatch]], first: int = 0) -> None:
        self.plan, self.first = plan, first
        self.result: Bits = []
        self.leaves: list[Value | Mismatch] = []
        self.carry: Value | Mismatch | None = None
        self.children: list[_Node] = []
        if plan.left is None or plan.right is None:
            self.leaves = take(plan.size)
            return
        self.left = _Node(plan.left, take, first)
        self.right = _Node(plan.right, take, first + plan.left.size)
        self.children = [self.left, self.right]
        if plan.carry:
            self.carry = take(1)[0]
        if plan.level == 1:
            self.leaves = self.left.leaves + self.right.leaves
            self.leaves += [] if self.carry is None else [self.carry]

    def nodes(self) -> "list[_Node]":
        return [self, *(node for child in self.children for node in child.nodes())]


def _carry(m: Module, inputs: Inputs, stages: Stages) -> Bits:
    """Full adders for the first row, then rows of adders that take one more bit as carry-in."""
    return _PlannedTree(m, inputs, stages, slices=False, name="count").build(_carry_levels(len(inputs)))


def _ccu2c(m: Module, inputs: Inputs, stages: Stages) -> Bits:
    """The same in ECP5 carry slices, which compute the bits to be counted themselves."""
    return _PlannedTree(m, inputs, stages, slices=True, name="count").build(_carry_levels(len(inputs)))


# -- compressors ----------------------------------------------------------------------------------------------


Heap = list[list[Value]]
"""Bits to be added, by weight."""


@cache
def _compressor_levels(width: int, sizes: tuple[int, ...]) -> int:
    heights = [width]
    levels = 0
    while max(heights) > 2:
        grown = [0] * (len(heights) + 2)
        for weight, height in enumerate(heights):
            used, left = _grouped(height, sizes)
            for size in used:
                for offset in range(size.bit_length()):
                    grown[weight + offset] += 1
            grown[weight] += left
        heights = grown
        levels += 1
    return levels + 1


def _grouped(height: int, sizes: tuple[int, ...]) -> tuple[list[int], int]:
    """Groups of a column of ``height`` bits, and how many bits stay as they are."""
    used = []
    for size in sizes:
        used += [size] * (height // size)
        height %= size
    return used, height


def _compressor(sizes: tuple[int, ...]) -> Form:
    """Columns of bits, each level of groups turned into their counts; two rows are left for one adder."""

    def build(m: Module, inputs: Inputs, stages: Stages) -> Bits:
        heap: Heap = [[_bit(value) for value in inputs]]
        level = 0
        while max(map(len, heap)) > 2:
            level += 1
            grown: Heap = [[] for _ in range(len(heap) + 2)]
            for weight, column in enumerate(heap):
                used, _ = _grouped(len(column), sizes)
                for size in used:
                    group, column = column[:size], column[size:]
                    count = _full_adder(m, *group) if size == 3 else list(_ones(group))
                    for offset, bit in enumerate(count):
                        grown[weight + offset].append(bit)
                grown[weight] += column
            heap = [
                stages.bits_after(level, column, f"column{level}_{weight}") if column else []
                for weight, column in enumerate(grown)
            ]
        width = len(inputs).bit_length()
        rows = [Cat(column[row] if row < len(column) else Const(0, 1) for column in heap) for row in range(2)]
        return stages.bits_after(level + 1, list(extend(rows[0] + rows[1], unsigned(width))), "count")

    return Form(lambda width: _compressor_levels(width, sizes), build)


def _ones(group: Sequence[Value]) -> Value:
    """Count of a few bits, for a mapper that has a look-up table for each of its bits."""
    return total(list(group), unsigned(len(group).bit_length()))


FORMS = {
    "tree": Form(_tree_levels, _tree),
    "carry": Form(_carry_levels, _carry),
    "ccu2c": Form(_carry_levels, _ccu2c),
    "full_adder": _compressor((3,)),
    "six_three": _compressor((6, 3)),
}
"""Forms by name: ``tree`` plain adders; ``carry`` adders with carry-in, several to a chain; ``ccu2c`` the same in
ECP5 carry slices; ``full_adder`` and ``six_three`` compressors."""


# -- parity-coded operands ------------------------------------------------------------------------------------


def parity_levels(width: int, form: Form) -> int:
    """Levels of :func:`parity_count`."""
    return 1 + (form.levels(width // 2) if width > 1 else 0)


def parity_count(m: Module, differences: Sequence[Mismatch], stages: Stages, form: Form) -> Bits:
    """Ones among the bits whose parity code is ``differences`` (see the class XorPopcount).

    With the parities before and after a pair at hand, the pair's carry is the parity before it if the pair
    changes the parity, else either bit of the pair: so two look-up tables of four inputs take in two bits and give
    one of weight 2, and what remains to be counted are those, half as many.
    """
    width = len(differences)
    parity: Value = differences[0].bit if width % 2 else Const(0, 1)
    carries = []
    for index in range(width % 2, width, 2):
        after = Signal(name=f"parity{index + 1}")
        m.d.comb += after.eq(differences[index + 1].bit)
        carries.append(Mux(parity ^ after, parity, differences[index].bit))
        parity = after
    lowest = stages.after(1, parity, "parity")
    if not carries:
        return [lowest]
    levels = form.levels(len(carries))
    later = stages.beyond(1)
    counted = form.build(m, stages.bits_after(1, carries, "pair"), later)
    return [stages.carried(lowest, 1, 1 + levels, "parity"), *counted]
