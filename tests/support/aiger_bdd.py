"""Combinational circuits as binary decision diagrams: equality of functions, proven, not sampled.

A reduced ordered diagram is canonical: two functions are equal if and only if their nodes are the same. Counts of
ones are symmetric functions, whose diagrams grow with the square of the number of inputs, so widths at which a
satisfiability solver does not end take a second.
"""

from collections.abc import Sequence

from amaranth.back import rtlil
from amaranth.lib import wiring

from abc_hw.rtl_gen.emit.yosys import run_yosys


class Diagrams:
    """Functions of ordered variables; 0 and 1 are the constants."""

    def __init__(self) -> None:
        self._nodes: list[tuple[int, int, int]] = [(1 << 30, 0, 0), (1 << 30, 1, 1)]
        self._index: dict[tuple[int, int, int], int] = {}
        self._known: dict[tuple[int, int, int], int] = {}

    def node(self, variable: int, low: int, high: int) -> int:
        if low == high:
            return low
        key = (variable, low, high)
        if key not in self._index:
            self._index[key] = len(self._nodes)
            self._nodes.append(key)
        return self._index[key]

    def choose(self, test: int, then: int, other: int) -> int:
        """``then`` where ``test`` holds, else ``other``."""
        if test < 2:
            return then if test else other
        if then == other:
            return then
        if (then, other) == (1, 0):
            return test
        key = (test, then, other)
        if key not in self._known:
            variable = min(self._nodes[node][0] for node in key)
            halves = [
                self.choose(*(
                    self._nodes[node][side] if self._nodes[node][0] == variable else node for node in key
                ))
                for side in (1, 2)
            ]
            self._known[key] = self.node(variable, *halves)
        return self._known[key]

    def both(self, a: int, b: int) -> int:
        return self.choose(min(a, b), max(a, b), 0)

    def negated(self, a: int) -> int:
        return self.choose(a, 0, 1)

    def xor(self, a: int, b: int) -> int:
        return self.choose(a, self.negated(b), b)


def circuit_outputs(
    component: wiring.Component, inputs: dict[str, Sequence[int]], diagrams: Diagrams, folder: str,
    cells: str | None = None,
) -> dict[str, list[int]]:
    """Output ports of ``component``, each bit a function, for input ports whose bits are the given functions.

    Yosys turns what Amaranth emits into AND gates and inverters; ``cells`` are options and file of
    ``read_verilog`` for vendor cells.
    """
    source, target, names = (f"{folder}/design.{ending}" for ending in ("il", "aag", "map"))
    with open(source, "w") as file:
        file.write(rtlil.convert(component, name="top", emit_src=False))
    first = [f"read_verilog {cells}"] if cells else []
    run_yosys(*first, f"read_rtlil {source}", "hierarchy -top top", "proc", "flatten", "opt_clean", "techmap",
              "aigmap", f"write_aiger -ascii -map {names} {target}")
    return _evaluate(target, names, inputs, diagrams)


def _evaluate(
    target: str, names: str, inputs: dict[str, Sequence[int]], diagrams: Diagrams
) -> dict[str, list[int]]:
    with open(target) as file:
        lines = file.read().splitlines()
    _, input_count, latches, output_count, ands = map(int, lines[0].split()[1:6])
    if latches:
        raise ValueError(f"Expected a combinational circuit, found {latches} registers")
    values = {0: 0}
    outputs: dict[str, list[int]] = {}
    with open(names) as file:
        ports = [line.split() for line in file]
    for _, position, bit, name in (port for port in ports if port[0] == "input"):
        values[int(lines[1 + int(position)]) >> 1] = inputs[name][int(bit)]
    start = 1 + input_count + output_count

    def value(literal: int) -> int:
        found = values[literal >> 1]
        return diagrams.negated(found) if literal & 1 else found

    for line in lines[start : start + ands]:
        gate, one, other = map(int, line.split())
        values[gate >> 1] = diagrams.both(value(one), value(other))
    for _, position, bit, name in (port for port in ports if port[0] == "output"):
        bits = outputs.setdefault(name, [])
        bits += [0] * (int(bit) + 1 - len(bits))
        bits[int(bit)] = value(int(lines[1 + input_count + int(position)]))
    return outputs


def count_of(bits: Sequence[int], diagrams: Diagrams) -> list[int]:
    """The number of ones among ``bits``, one after the other carried into a counter: the definition."""
    count = [0] * len(bits).bit_length()
    for bit in bits:
        carry = bit
        for index, digit in enumerate(count):
            count[index], carry = diagrams.xor(digit, carry), diagrams.both(digit, carry)
    return count
