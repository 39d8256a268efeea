"""Nested counters and the addresses that follow them."""

import dataclasses
import math
from collections.abc import Iterable, Mapping

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .arith import range_shape

__all__ = ["AffineCounter", "LoopNest", "Loops"]


@dataclasses.dataclass(frozen=True)
class Loops:
    """Loops nested in one another, by name.

    Members
    -------
    bounds : how often each runs, outermost first; each positive
    """

    bounds: Mapping[str, int]

    def __post_init__(self) -> None:
        if not self.bounds or any(bound < 1 for bound in self.bounds.values()):
            raise ValueError(f"Loop bounds must be positive integers, not {dict(self.bounds)}")

    def level(self, name: str) -> int:
        """Place of a loop, 0 for the outermost one."""
        return list(self.bounds).index(name)

    def inside(self, name: str) -> str:
        """The next inner loop."""
        return list(self.bounds)[self.level(name) + 1]

    @property
    def steps(self) -> int:
        """Passes through the innermost body."""
        return math.prod(self.bounds.values())

    @property
    def counted(self) -> list[int]:
        """Bounds of the loops that need a counter."""
        return [bound for bound in self.bounds.values() if bound > 1]

    def strides(self, changes: Mapping[str, int]) -> list[int]:
        """What a number changes by when each loop advances, outermost first; loops that are not named leave it."""
        strangers = set(changes) - set(self.bounds)
        if strangers:
            raise ValueError(f"Strides must be of {', '.join(self.bounds)}, not of {', '.join(sorted(strangers))}")
        return [changes.get(name, 0) for name in self.bounds]


class LoopNest(wiring.Component):
    """Counters nested in one another, outermost first, that advance with ``step``.

    ::

        for a in range(bounds["a"]):
            for b in range(bounds["b"]):     one pass through the innermost body per cycle with step = 1
                ...

    Parameters
    ----------
    loops : their names and bounds

    Members
    -------
    step : In(1), the body runs in this cycle
    at_first, at_last : Out(1) per loop, outermost first: it stands at its first (last) value
    begins : Out(1) per loop: it and all inside it stand at their first value; registered
    ends : Out(1) per loop: it and all inside it stand at their last value
    """

    def __init__(self, loops: Loops) -> None:
        self._loops = loops
        count = len(loops.bounds)
        super().__init__({
            "step": In(1),
            "at_first": Out(1).array(count),
            "at_last": Out(1).array(count),
            "begins": Out(1, init=1).array(count),
            "ends": Out(1).array(count),
        })

    @property
    def loops(self) -> Loops:
        return self._loops

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner_ends: Value = Const(1)
        for level, bound in reversed(list(enumerate(self._loops.bounds.values()))):
            at_first, at_last = Signal(init=1, name=f"first{level}"), Signal(init=bound == 1, name=f"last{level}")
            if bound > 1:
                left = Signal(range(bound), init=bound - 1, name=f"left{level}")
                with m.If(self.step & inner_ends):
                    m.d.sync += left.eq(Mux(at_last, bound - 1, left - 1))
                    m.d.sync += at_last.eq(~at_last & (left == 1))
                    m.d.sync += at_first.eq(at_last)
            m.d.comb += [self.at_first[level].eq(at_first), self.at_last[level].eq(at_last)]
            m.d.comb += self.ends[level].eq(at_last & inner_ends)
            inner_ends = self.ends[level]
        with m.If(self.step):
            m.d.sync += [begins.eq(ends) for begins, ends in zip(self.begins, self.ends, strict=True)]
        return m


class AffineCounter(wiring.Component):
    """A number that is affine in the counters of a :class:`LoopNest`, kept by one addition per step.

    ``value = start + sum_l index[l] * strides[l] + turns * turn``, where ``turns`` counts how often the whole
    nest was run; modulo ``modulus`` where one is given.

    Parameters
    ----------
    loops : of the nest
    strides : change of the value when a loop advances by one, of any sign; 0 of those that are not named
    start : value before the first step
    turn : change of the value from one run of the nest to the next
    modulus : the value stays in 0..modulus - 1; without one, ``turn`` must be 0
    carry_loop, carry_reach : a loop whose stride is one more when ``carry`` is 1 in the step that advances it,
        and what its strides and carries add up to from its first value to its last

    Members
    -------
    step, ends : In, as in the nest
    carry : In(1), only with ``carry_loop``
    value : Out, registered
    """

    def __init__(
        self, loops: Loops, strides: Mapping[str, int], *, start: int = 0, turn: int = 0, modulus: int = 0,
        carry_loop: str | None = None, carry_reach: int = 0,
    ) -> None:
        if not modulus and turn:
            raise ValueError(f"Without a modulus the turn must be 0, not {turn}")
        self._bounds = tuple(loops.bounds.values())
        self._start = start
        self._modulus = modulus
        by_level = loops.strides(strides)
        reaches = [(bound - 1) * stride for bound, stride in zip(self._bounds, by_level, strict=True)]
        self._carry_level = None if carry_loop is None else loops.level(carry_loop)
        if self._carry_level is not None:
            reaches[self._carry_level] = carry_reach
        # What to add when loop l advances: its stride, and every loop inside it back to its first value.
        self._deltas = [stride - sum(reaches[level + 1 :]) for level, stride in enumerate(by_level)]
        self._turn_delta = turn - sum(reaches)
        if modulus:
            low, high = 0, modulus - 1
            self._start %= modulus
        else:
            low = start + sum(min(reach, 0) for reach in reaches)
            high = start + sum(max(reach, 0) for reach in reaches)
        members = {
            "step": In(1),
            "ends": In(1).array(len(self._bounds)),
            "value": Out(range_shape(low, high), init=self._start),
        }
        super().__init__(members if carry_loop is None else members | {"carry": In(1)})

    def follow(self, step: Value, ends: Iterable[Value]) -> list[object]:
        """Statements that tie the counter to a nest."""
        return [self.step.eq(step), *(mine.eq(theirs) for mine, theirs in zip(self.ends, ends, strict=True))]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        delta_of: dict[int, int] = {}  # which constant each level adds; loops of bound 1 never advance
        for level, bound in enumerate(self._bounds):
            if bound > 1:
                delta_of[level] = self._deltas[level] % self._modulus if self._modulus else self._deltas[level]
        turn = self._turn_delta % self._modulus if self._modulus else self._turn_delta
        deltas = [*delta_of.values(), turn]
        shape = range_shape(min(*deltas, 0), max(*deltas, 0) + (self._carry_level is not None))
        delta = Signal(shape)
        # The loop that advances is the innermost one not at its end: later assignments win.
        m.d.comb += delta.eq(turn)
        for level, constant in delta_of.items():
            with m.If(~self.ends[level]):
                m.d.comb += delta.eq(constant + self.carry if level == self._carry_level else constant)
        following: Value = self.value + delta
        if self._modulus:
            # Both candidates at once; the one past the modulus is wrong where it is negative.
            wrapped = Signal(range(-self._modulus, self._modulus))
            m.d.comb += wrapped.eq(self.value + (delta - self._modulus))
            following = Mux(wrapped < 0, following, wrapped)
        if any(deltas):
            with m.If(self.step):
                m.d.sync += self.value.eq(following)
        return m

