"""The nodes of a network and the typed edges between them.

An edge carries maps H x W x C, channels innermost: :class:`Codes`, which stand for bases, or :class:`Integers`,
whose least and greatest value are known for each channel. A signal of length L is a map 1 x L x C, a vector of
features 1 x 1 x C. Every node is one class here, and one function of the name ``kind`` in :mod:`abc_hw.sim.golden`
says what it computes; ``output`` says what leaves it:

============= ============================ ====================================================================
node          in -> out                    exact meaning
============= ============================ ====================================================================
Table         Codes -> Codes               one entry per input code
Conv          Codes -> Integers            ``sum_m alpha[c, m] sum_n beta[n] (2 popcount - K)`` of each window
Threshold     Integers -> Codes            ``#{j : x >= thresholds[c, j]}``
Encode        Integers -> Codes (planes)   ``x - low``
Decode        Codes -> Integers            ``sum_n beta[n] A_n`` of each code
Requantise    Integers -> Integers         ``clip((x factor[c] + offset[c]) >> shift, low, high)``
Add           2 Integers -> Integers       their sum
MaxPool       either -> the same           greatest (where ``least[c]``: least) of each window
SumPool       Integers -> Integers         sum of each window
Scores        Integers -> Integers         ``x + bias[c]``, one pixel: the scores; the class is their first maximum
Output        either -> the same           what a network without classes hands out
============= ============================ ====================================================================

A value that several nodes take is a fork; it needs no node.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np

from ..errors import NetworkError
from ..registry import Registry
from . import rules
from .bases import Bases, BoolArray, CodeArray, IntArray, ScaleForm
from .convolution import Conv
from .edges import Codes, Edge, Integers, Padding, swept
from .node import Node, check_form, check_window

EXACT = 1 << 52
"""Products of a requantisation stay below this in magnitude."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Table(Node):
    """Each code becomes its entry: ``codes [..., C] -> entries[code]``; the first node at most.

    Members
    -------
    entries : uint8 [levels of the input], codes of ``bases``
    bases : of the output
    """

    kind: ClassVar[str] = "table"
    entries: CodeArray
    bases: Bases

    def __post_init__(self) -> None:
        super().__post_init__()
        self._freeze("entries", np.uint8)
        if self.entries.ndim != 1:
            self._refuse("entries", "one entry per input code", f"shape {self.entries.shape}")
        if self.entries.size and int(self.entries.max()) >= self.bases.levels:
            self._refuse("entries", f"codes below {self.bases.levels}", int(self.entries.max()))

    def output(self, *edges: Any) -> Codes:
        """Codes of ``bases``, same shape."""
        edge = self._codes(edges[0])
        if self.entries.size != edge.bases.levels:
            self._refuse("entries", f"one entry for each of {edge.bases.levels} input codes", self.entries.size)
        return Codes(self.bases, edge.shape)


NEVER = 1 << 62
"""A threshold that no value reaches."""

ALWAYS = -NEVER
"""A threshold that every value reaches."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Threshold(Node):
    """``code = #{j : x >= thresholds[c, j]}``, same shape.

    Members
    -------
    thresholds : int64 [C, levels - 1], ascending in each channel. In a graph they are kept within
        ``low[c]`` .. ``high[c] + 1`` of what arrives; :data:`ALWAYS` and :data:`NEVER` become these ends
    bases : of the output
    """

    kind: ClassVar[str] = "threshold"
    thresholds: IntArray
    bases: Bases

    def __post_init__(self) -> None:
        super().__post_init__()
        self._freeze("thresholds", np.int64)
        check_thresholds(self.name, self.thresholds, self.thresholds.shape[0] if self.thresholds.ndim else 0)
        if self.thresholds.shape[1] != self.bases.levels - 1:
            expected = f"{self.bases.levels - 1} per channel for {self.bases.count} {self.bases.kind} bases"
            self._refuse("thresholds", expected, self.thresholds.shape[1])

    def output(self, *edges: Any) -> Codes:
        """Codes of ``bases``."""
        return Codes(self.bases, self._integers(edges[0], self.thresholds.shape[0]).shape)

    def within(self, edge: Integers) -> Threshold:
        """The same function of values of ``edge``, with thresholds in ``low[c] .. high[c] + 1``."""
        clipped = np.clip(self.thresholds, edge.low[:, None], edge.high[:, None] + 1)
        if np.array_equal(clipped, self.thresholds):
            return self
        return dataclasses.replace(self, thresholds=clipped)


def check_thresholds(name: str, thresholds: IntArray, channels: int) -> None:
    """NetworkError unless the thresholds are [channels, at least one], ascending in each channel."""
    if thresholds.ndim != 2 or thresholds.shape[0] != channels or thresholds.shape[1] < 1:
        raise NetworkError(f"{name}.thresholds", f"shape {channels or 'C'} x (levels - 1)", thresholds.shape)
    unsorted = np.flatnonzero((thresholds[:, 1:] < thresholds[:, :-1]).any(axis=1))
    if unsorted.size:
        channel = int(unsorted[0])
        found = f"{thresholds[channel].tolist()} in channel {channel}"
        raise NetworkError(f"{name}.thresholds", "ascending values in each channel", found)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Encode(Node):
    """``code = x - low`` as ``bits`` bit-planes, same shape.

    Members
    -------
    low : at most the least value that arrives
    bits : planes of the output, at most 8; ``low + 2**bits`` is above the greatest value that arrives
    """

    kind: ClassVar[str] = "encode"
    low: int
    bits: int

    def __post_init__(self) -> None:
        super().__post_init__()
        rules.integer(f"{self.name}.low", self.low)
        Bases(kind="planes", count=self.bits)

    def output(self, *edges: Any) -> Codes:
        """Codes of ``bits`` planes."""
        edge = self._integers(edges[0])
        if edge.least < self.low or edge.greatest >= self.low + (1 << self.bits):
            last = self.low + (1 << self.bits) - 1
            self._refuse("inputs", f"values within {self.low} .. {last}", edge)
        return Codes(Bases(kind="planes", count=self.bits), edge.shape)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Decode(Node):
    """``x = sum_n beta[n] A_n`` of each code, same shape; the range is that of these values.

    Members
    -------
    input_bases : how the code stands for N bases
    beta : int64 [N];  beta_scale : its form
    """

    kind: ClassVar[str] = "decode"
    input_bases: Bases
    beta: IntArray
    beta_scale: ScaleForm

    def __post_init__(self) -> None:
        super().__post_init__()
        self._freeze("beta", np.int64)
        if self.beta.shape != (self.input_bases.count,):
            self._refuse("beta", f"shape {(self.input_bases.count,)}", self.beta.shape)
        check_form(self, "beta", self.beta_scale)

    @property
    def values(self) -> IntArray:
        """The value of each code, int64 [levels]."""
        return self.input_bases.values(self.beta)

    def output(self, *edges: Any) -> Integers:
        """Integers from the least to the greatest value of a code."""
        edge = self._codes(edges[0], self.input_bases)
        return Integers(self.values.min(), self.values.max(), edge.shape)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Requantise(Node):
    """``clip((x factor[c] + offset[c]) >> shift, low, high)``, same shape; the shift is arithmetic, a floor.

    Half a step in ``offset`` makes it round as ``floor(y + 1/2)``.

    Members
    -------
    factor : int64 [C], of either sign;  factor_scale : its form
    offset : int64 [C]
    shift : at least 0
    low, high : ends of the range, ``low < high``
    """

    kind: ClassVar[str] = "requantise"
    factor: IntArray
    factor_scale: ScaleForm
    offset: IntArray
    shift: int
    low: int
    high: int

    def __post_init__(self) -> None:
        super().__post_init__()
        self._freeze("factor", np.int64)
        self._freeze("offset", np.int64)
        if self.factor.ndim != 1 or self.factor.shape != self.offset.shape:
            self._refuse("offset", f"shape {self.factor.shape}, one per channel as factor", self.offset.shape)
        check_form(self, "factor", self.factor_scale)
        rules.integer(f"{self.name}.shift", self.shift, least=0)
        if self.shift > 52:
            self._refuse("shift", "at most 52", self.shift)
        low, high = rules.integer(f"{self.name}.low", self.low), rules.integer(f"{self.name}.high", self.high)
        if low >= high:
            self._refuse("high", f"more than low, {low}", high)

    def output(self, *edges: Any) -> Integers:
        """The images of the ends of what arrives: the function rises or falls with x in each channel."""
        edge = self._integers(edges[0], self.factor.size)
        ends = np.stack([edge.low, edge.high]) * self.factor
        if (beyond := np.abs(ends) + np.abs(self.offset) >= EXACT).any():
            self._refuse("factor", "products below 2**52", int(np.abs(ends)[beyond][0]))
        ends = np.clip((ends + self.offset) >> self.shift, self.low, self.high)
        return Integers(ends.min(axis=0), ends.max(axis=0), edge.shape)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Add(Node):
    """The sum of two maps of equal shape; their ranges add."""

    kind: ClassVar[str] = "add"
    arity: ClassVar[int] = 2

    def output(self, *edges: Any) -> Integers:
        """Integers from the sum of the lows to the sum of the highs."""
        one, other = (self._integers(edge) for edge in edges)
        if one.shape != other.shape:
            left, right = (" x ".join(map(str, edge.shape)) for edge in (one, other))
            expected = f"maps of equal shape from {' and '.join(self.inputs)}"
            raise NetworkError(f"{self.name}.inputs", expected, f"{left} and {right}")
        return Integers(one.low + other.low, one.high + other.high, one.shape)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MaxPool(Node):
    """The greatest value of each window, or its least in channels where ``least``; what is outside never wins.

    Of codes it is the greatest (least) code, which is that of the greatest (least) number that was cut.

    Members
    -------
    size, stride : (height, width)
    padding : rows above and below, columns left and right, each less than the window's side
    least : bool [C], or None where every channel takes its greatest
    """

    kind: ClassVar[str] = "max_pool"
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = (0, 0, 0, 0)
    least: BoolArray | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self, "size")
        if self.least is not None:
            flags = np.array(self.least)
            if flags.dtype != np.bool_ or flags.ndim != 1:
                self._refuse("least", "one boolean per channel", f"{flags.dtype} of shape {flags.shape}")
            flags.setflags(write=False)
            object.__setattr__(self, "least", flags if flags.any() else None)

    def output(self, *edges: Any) -> Edge:
        """The same codes or the same range, one value per window."""
        edge: Edge = edges[0]
        if self.least is not None and self.least.size != edge.shape[2]:
            self._refuse("least", f"{edge.shape[2]} booleans", self.least.size)
        size = swept(f"{self.name}.size", edge.shape, self.size, self.stride, self.padding)
        return dataclasses.replace(edge, shape=(*size, edge.shape[2]))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class SumPool(Node):
    """The sum of each window; what is outside counts nothing. The divisor of an average is in what follows.

    Members
    -------
    size, stride : (height, width)
    padding : rows above and below, columns left and right, each less than the window's side
    """

    kind: ClassVar[str] = "sum_pool"
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_window(self, "size")

    def output(self, *edges: Any) -> Integers:
        """The least and greatest sum of as many values as a window can hold, be it the whole or a clipped one."""
        edge = self._integers(edges[0])
        size = swept(f"{self.name}.size", edge.shape, self.size, self.stride, self.padding)
        whole, clipped = self.size[0] * self.size[1], 1 if any(self.padding) else self.size[0] * self.size[1]
        low, high = (np.stack([bound * clipped, bound * whole]) for bound in (edge.low, edge.high))
        return Integers(low.min(axis=0), high.max(axis=0), (*size, edge.shape[2]))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Scores(Node):
    """``x + bias[c]`` of the one pixel that arrives: a score per class; the class is the first of the greatest.

    Members
    -------
    bias : int64 [classes]
    scale, offset : ``scale * score + offset`` is the score as a real number; they change no class and no bit
    """

    kind: ClassVar[str] = "scores"
    bias: IntArray
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._freeze("bias", np.int64)
        if self.bias.ndim != 1:
            self._refuse("bias", "one integer per class", f"shape {self.bias.shape}")
        rules.check_bias(f"{self.name}.bias", self.bias)
        if not (isinstance(self.scale, float) and math.isfinite(self.scale) and self.scale > 0):
            self._refuse("scale", "a positive real number", repr(self.scale))
        if not (isinstance(self.offset, float) and math.isfinite(self.offset)):
            self._refuse("offset", "a real number", repr(self.offset))

    def output(self, *edges: Any) -> Integers:
        """Integers of shape 1 x 1 x classes."""
        edge = self._integers(edges[0])
        if edge.shape[:2] != (1, 1):
            self._refuse("inputs", "one pixel", edge)
        if self.bias.shape != edge.shape[2:]:
            self._refuse("bias", f"shape {edge.shape[2:]}", self.bias.shape)
        return Integers(edge.low + self.bias, edge.high + self.bias, edge.shape)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Output(Node):
    """What a network hands out that ends in codes or integers instead of scores."""

    kind: ClassVar[str] = "output"

    def output(self, *edges: Any) -> Edge:
        """The edge that arrives."""
        edge: Edge = edges[0]
        return edge


KINDS: Registry[type[Node]] = Registry("kind", "abc_hw.nodes", {
    node.kind: node
    for node in (
        Table, Conv, Threshold, Encode, Decode, Requantise, Add, MaxPool, SumPool, Scores, Output
    )
})
"""Every node class by its kind, which is also the name of its golden function; others have ``compute``."""
