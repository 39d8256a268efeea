"""Nested counters and the addresses that follow them."""

import dataclasses
import math
from collections.abc import Iterable, Mapping

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .arith import range_shape
from .delay import delayed

__all__ = ["Affine", "AffineCounter", "LoopNest", "Loops", "Quotient"]


Change = tuple[int, int, int]
"""Of an :class:`AffineCounter` in a step: a number, another where the rest is at least the third."""


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
    ends : Out(1) per loop: it and all inside it stand at their last value; registered
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
        will_end: Value | None = None  # with the next step
        for level, bound in reversed(list(enumerate(self._loops.bounds.values()))):
            at_first, at_last = Signal(init=1, name=f"first{level}"), Signal(init=bound == 1, name=f"last{level}")
            ends = inner_ends
            if bound > 1:
                left = Signal(range(bound), init=bound - 1, name=f"left{level}")
                with m.If(self.step & inner_ends):
                    m.d.sync += left.eq(Mux(at_last, bound - 1, left - 1))
                    m.d.sync += at_last.eq(~at_last & (left == 1))
                    m.d.sync += at_first.eq(at_last)
                if will_end is None:  # the innermost that counts: it moves with every step
                    ends, will_end = at_last, ~at_last & (left == 1)
                else:  # where all inside it come to their ends it has not moved
                    ends, will_end = Signal(name=f"end{level}"), at_last & will_end
                    with m.If(self.step):
                        m.d.sync += ends.eq(will_end)
            m.d.comb += [self.at_first[level].eq(at_first), self.at_last[level].eq(at_last)]
            m.d.comb += self.ends[level].eq(ends)
            inner_ends = self.ends[level]
        with m.If(self.step):
            m.d.sync += [begins.eq(ends) for begins, ends in zip(self.begins, self.ends, strict=True)]
        return m


@dataclasses.dataclass(frozen=True, kw_only=True)
class Affine:
    """A number that is affine in the counters of loops: ``start + sum_l index[l] * strides[l]``.

    Members
    -------
    loops : by name
    strides : change of the value when a loop advances by one, of any sign; 0 of those that are not named
    start : where all stand at their first value
    """

    loops: Loops
    strides: Mapping[str, int]
    start: int = 0

    @property
    def reaches(self) -> list[int]:
        """What each loop adds from its first value to its last, outermost first."""
        strides = self.loops.strides(self.strides)
        return [(bound - 1) * stride for bound, stride in zip(self.loops.bounds.values(), strides, strict=True)]

    @property
    def deltas(self) -> list[int]:
        """What to add when a loop advances and all inside it go back to their first value, outermost first."""
        reaches, strides = self.reaches, self.loops.strides(self.strides)
        return [stride - sum(reaches[level + 1 :]) for level, stride in enumerate(strides)]

    @property
    def ends(self) -> tuple[int, int]:
        """Least and greatest value."""
        low = sum(min(reach, 0) for reach in self.reaches)
        high = sum(max(reach, 0) for reach in self.reaches)
        return self.start + low, self.start + high

    @property
    def values(self) -> set[int]:
        """All that it can be."""
        found = {self.start}
        for bound, stride in zip(self.loops.bounds.values(), self.loops.strides(self.strides), strict=True):
            found = {one + index * stride for one in found for index in range(bound if stride else 1)}
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class Quotient:
    """A part of a number: ``step * floor(of / divisor)``.

    Members
    -------
    of : what is divided
    divisor, step : positive
    """

    of: Affine
    divisor: int
    step: int

    def at(self, value: int) -> int:
        """The part for one value of ``of``."""
        return self.step * (value // self.divisor)


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
    plus : what comes to it of another number of the same loops
    late : cycles by which the value is later than the nest's; in the last of them a sum is made, and nothing else.
        It is not the value that waits but what comes to it, which has fewer bits; with ``plus`` at most 1

    Members
    -------
    step, ends : In, as in the nest
    rest : In, only with ``plus``: its number modulo its divisor
    value : Out, registered
    """

    def __init__(
        self, loops: Loops, strides: Mapping[str, int], *, start: int = 0, turn: int = 0, modulus: int = 0,
        plus: Quotient | None = None, late: int = 0,
    ) -> None:
        if not modulus and turn:
            raise ValueError(f"Without a modulus the turn must be 0, not {turn}")
        if plus is not None and late > 1:
            raise ValueError(f"With another number the value can be a cycle late, not {late}")
        self._bounds = tuple(loops.bounds.values())
        self._modulus, self._plus, self._late = modulus, plus, late
        affine = Affine(loops=loops, strides=strides, start=start)
        self._deltas = [*affine.deltas, turn - sum(affine.reaches)]
        low, high = affine.ends
        if plus is not None:
            start += plus.at(plus.of.start)
            low, high = (end + plus.at(other) for end, other in zip((low, high), plus.of.ends, strict=True))
        if modulus:
            start, low, high = start % modulus, 0, modulus - 1
        members = {
            "step": In(1),
            "ends": In(1).array(len(self._bounds)),
            "value": Out(range_shape(low, high), init=start),
        }
        super().__init__(members if plus is None else members | {"rest": In(range(max(plus.divisor, 2)))})

    def follow(self, step: Value, ends: Iterable[Value]) -> list[object]:
        """Statements that tie the counter to a nest."""
        return [self.step.eq(step), *(mine.eq(theirs) for mine, theirs in zip(self.ends, ends, strict=True))]

    def _changes(self) -> list[Change]:
        """What to add when a loop advances, and last when the nest turns: (number, the same where the rest
        is at least the third, from where on another multiple of the divisor is passed)."""
        found = [(delta, delta, 0) for delta in self._deltas]
        if self._plus is not None:
            divisor, step, of = self._plus.divisor, self._plus.step, self._plus.of
            moves = [*of.deltas, -sum(of.reaches)]
            found = [
                (delta + step * (move // divisor), delta + step * (move // divisor + (move % divisor > 0)),
                 divisor - move % divisor)
                for delta, move in zip(self._deltas, moves, strict=True)
            ]
        if not self._modulus:
            return found
        return [(delta % self._modulus, carried % self._modulus, least) for delta, carried, least in found]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        *changes, turn = self._changes()
        # Loops of bound 1 never advance.
        used = {level: change for level, change in enumerate(changes) if self._bounds[level] > 1}
        kinds = list(dict.fromkeys([turn, *used.values()]))
        step = delayed(m, self.step, self._late, name="stepped", reset_less=False)
        kind = self._kind(m, kinds, used)
        following: Value = self.value + self._delta(m, kinds, kind, 0)
        if self._modulus:
            # Both candidates at once; the one past the modulus is wrong where it is negative.
            wrapped = Signal(range(-self._modulus, self._modulus))
            m.d.comb += wrapped.eq(self.value + self._delta(m, kinds, kind, self._modulus))
            following = Mux(wrapped < 0, following, wrapped)
        if any(delta for change in kinds for delta in change[:2]):
            with m.If(step):
                m.d.sync += self.value.eq(following)
        return m

    def _kind(self, m: Module, kinds: list[Change], used: Mapping[int, Change]) -> Value:
        """Which of the changes a step makes, all cycles but the last one of ``late`` later."""
        kind = Signal(range(len(kinds)), name="kind")
        # The loop that advances is the innermost one not at its end: later assignments win.
        for level, change in used.items():
            with m.If(~self.ends[level]):
                m.d.comb += kind.eq(kinds.index(change))
        return delayed(m, kind, max(self._late - 1, 0), name="kind")

    def _delta(self, m: Module, kinds: list[Change], kind: Value, less: int) -> Value:
        """What a step adds, less a constant: chosen among constants, no sum stands before the one that adds it."""
        numbers = [number - less for change in kinds for number in change[:2]]
        delta = Signal(range_shape(min(*numbers, 0), max(*numbers, 0)), name="lowered" if less else "delta")

        def added(change: Change) -> Value:
            number, carried = (Const(one - less, delta.shape()) for one in change[:2])
            return number if change[0] == change[1] else Mux(self.rest >= change[2], carried, number)

        with m.Switch(kind):
            for index, change in enumerate(kinds):
                with m.Case(index):
                    m.d.comb += delta.eq(added(change))
        return delayed(m, delta, min(self._late, 1), name="late")
