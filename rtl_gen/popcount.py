"""Counting ones: the adder tree behind every dot product."""

from amaranth.hdl import Module, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .arith import ceil_div, extend, total

__all__ = ["Popcount"]


class Popcount(wiring.Component):
    """Number of ones among ``width`` bits: ``o`` is the count of ``i``, ``latency`` cycles later.

    Equals :func:`sim.golden.xnor_popcount` once the XNOR is applied. Three bits at a leaf, then a tree of
    adders, each as wide as its count needs.

    Parameters
    ----------
    width : bits to count
    pipeline : adder levels between two registers; 0 for none at all

    Members
    -------
    i : In(width);  o : Out, wide enough for ``width``
    """

    def __init__(self, width: int, *, pipeline: int = 3) -> None:
        if width < 1:
            raise ValueError(f"Popcount width must be a positive integer, not {width}")
        if pipeline < 0:
            raise ValueError(f"Levels between registers must be 0 or more, not {pipeline}")
        self._width = width
        self._pipeline = pipeline
        super().__init__({"i": In(width), "o": Out(width.bit_length())})

    @property
    def width(self) -> int:
        return self._width

    @property
    def pipeline(self) -> int:
        return self._pipeline

    @property
    def levels(self) -> int:
        """Depth of the tree: three bits at the leaves, two operands at each adder."""
        return 1 + (ceil_div(self._width, 3) - 1).bit_length()

    @property
    def latency(self) -> int:
        """Cycles from ``i`` to ``o``."""
        return ceil_div(self.levels, self._pipeline) if self._pipeline else 0

    def elaborate(self, platform: object) -> Module:
        m = Module()
        leaves = [list(self.i[start : start + 3]) for start in range(0, self._width, 3)]
        most = [len(leaf) for leaf in leaves]
        counts = [total(leaf, unsigned(len(leaf).bit_length())) for leaf in leaves]
        for level in range(1, self.levels + 1):
            if self._pipeline and (level == self.levels or level % self._pipeline == 0):
                counts = [self._registered(m, count, level, index) for index, count in enumerate(counts)]
            if level < self.levels:
                counts, most = self._add_pairs(counts, most)
        m.d.comb += self.o.eq(counts[0])
        return m

    @staticmethod
    def _add_pairs(counts: list[Value], most: list[int]) -> tuple[list[Value], list[int]]:
        sums, limits = [], []
        for index in range(0, len(counts) - 1, 2):
            limit = most[index] + most[index + 1]
            sums.append(extend(counts[index] + counts[index + 1], unsigned(limit.bit_length())))
            limits.append(limit)
        if len(counts) % 2:
            sums.append(counts[-1])
            limits.append(most[-1])
        return sums, limits

    @staticmethod
    def _registered(m: Module, value: Value, level: int, index: int) -> Value:
        register = Signal(value.shape(), name=f"count{level}_{index}", reset_less=True)
        m.d.sync += register.eq(value)
        return register
