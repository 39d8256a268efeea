# amaranth: UnusedElaboratable=no
"""Proofs of the blocks that hold control: gate, loops, counters."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from amaranth.hdl import Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from formal import Spec, bounded, by_induction, transfers

from abc_hw.rtl_gen.engine.loading import GatePlan, LoadGate
from abc_hw.rtl_gen.parts.loops import AffineCounter, LoopNest, Loops
from abc_hw.rtl_gen.parts.stream import CodeStream


class CarelessGate(LoadGate):
    """As it would be without the load in its rule: an image begins in the first cycle of a load."""

    def elaborate(self, platform: object) -> Module:
        m = super().elaborate(platform)
        m.d.comb += self._gate.allowed.eq(self._loader.loaded)
        return m


def load_gate(length: int, kind: type[LoadGate] = LoadGate) -> Spec:
    """Images of ``length`` transfers, two memories; any load, any image, any time in which images are done."""
    dut = kind(GatePlan(memories=[(20, 2), (7, 3)], i=CodeStream(1, unsigned(2)), transfers=length))
    spec = Spec(dut)
    for stream, name in ((dut.i, "i"), (dut.load, "load")):
        spec.assume(spec.stable(stream, name))
    taken, place, under_way = transfers(dut.i), Signal(range(length)), Signal(8)
    begins = taken & (place == 0)
    with spec.m.If(taken):
        spec.m.d.sync += place.eq(Mux(place == length - 1, 0, place + 1))
    spec.m.d.sync += under_way.eq(under_way + begins - dut.done)
    spec.assume(~dut.done | (under_way > (place != 0)))  # what is done has come
    spec.prove(~(begins & dut.load.valid))
    spec.prove(~(begins & ~dut.loaded))
    spec.prove(~(transfers(dut.load) & (under_way != 0)))
    spec.prove(spec.stable(dut.o, "o"))
    # Nothing is lost or doubled: what came in goes out as it is, and at most one transfer is inside.
    held, held_payload = spec.before(taken, "taken"), spec.before(Value.cast(dut.i.payload), "payload")
    spec.prove(~held | (dut.o.valid & (Value.cast(dut.o.payload) == held_payload)))
    gone = spec.before(transfers(dut.o), "gone")
    spec.prove(~(gone & ~held) | ~dut.o.valid)
    spec.prove(~(dut.o.valid & ~dut.o.ready) | ~dut.i.ready)
    # What makes the induction close.
    spec.prove((under_way == spec.inner("gate.under_way", 8)) & (place < length))
    if length > 1:
        spec.prove(Mux(place == 0, 0, length - place) == spec.inner("gate.left", range(length)))
        spec.prove((place == 0) | (under_way != 0))
    spec.cover("an image begins", begins)
    again = transfers(dut.load) & dut.load.payload.first & dut.loaded
    spec.cover("another load begins", again)
    spec.cover("images follow one another", begins & (under_way == 1))
    spec.cover("an image waits for a load", dut.i.valid & dut.loaded & dut.load.valid & (place == 0))
    return spec


@pytest.mark.parametrize("length", [1, 3])
def test_load_gate(length: int) -> None:
    proof = by_induction(load_gate(length), cover_at=18, mutants=5)
    assert proof.proven
    assert all(proof.covers.values()), proof.covers
    assert proof.refuted >= 1


def test_a_gate_that_ignores_the_load_is_refuted() -> None:
    proof = bounded(load_gate(3, CarelessGate), steps=14, mutants=0)
    assert not proof.proven
    assert proof.covers["an image begins"]


class Nest(wiring.Component):
    """A nest and a number that follows it."""

    def __init__(self, loops: Loops, counter: AffineCounter) -> None:
        self._nest, self._counter = LoopNest(loops), counter
        count = len(loops.bounds)
        super().__init__({
            "step": In(1),
            **{name: Out(1).array(count) for name in ("at_first", "at_last", "begins", "ends")},
            "value": Out(counter.value.shape()),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.nest, m.submodules.counter = nest, counter = self._nest, self._counter
        m.d.comb += [nest.step.eq(self.step), *counter.follow(self.step, list(nest.ends))]
        m.d.comb += self.value.eq(counter.value)
        for name in ("at_first", "at_last", "begins", "ends"):
            m.d.comb += [
                mine.eq(theirs) for mine, theirs in zip(getattr(self, name), getattr(nest, name), strict=True)
            ]
        return m


def nest(bounds: Sequence[int], strides: Sequence[int], start: int, turn: int, modulus: int) -> Spec:
    """The nest against indices that count in its bounds, the number against its closed form."""
    loops = Loops({f"level{level}": bound for level, bound in enumerate(bounds)})
    by_name = dict(zip(loops.bounds, strides, strict=True))
    dut = Nest(loops, AffineCounter(loops, by_name, start=start, turn=turn, modulus=modulus))
    spec, levels = Spec(dut), range(len(bounds))
    index = [Signal(range(max(bound, 2)), name=f"index{level}") for level, bound in enumerate(bounds)]
    first = [index[level] == 0 for level in levels]
    last = [index[level] == bound - 1 for level, bound in enumerate(bounds)]
    turns = Signal(range(max(modulus, 1)))  # modulo the modulus
    inner = dut.step
    for level in reversed(levels):
        with spec.m.If(inner):
            spec.m.d.sync += index[level].eq(Mux(last[level], 0, index[level] + 1))
        inner = inner & last[level]
    if modulus:
        with spec.m.If(inner):
            spec.m.d.sync += turns.eq(Mux(turns == modulus - 1, 0, turns + 1))
        spec.prove(turns < modulus)
    closed = start + sum(index[level] * stride for level, stride in enumerate(strides)) + turns * turn
    if modulus:
        most = abs(start) + sum(abs(s) * b for s, b in zip(strides, bounds, strict=True)) + modulus * abs(turn)
        closed = (closed + modulus * (most // modulus + 1)) % modulus
    spec.prove(dut.value == closed)
    for level, bound in enumerate(bounds):
        spec.prove(index[level] < bound)
        spec.prove(dut.at_first[level] == first[level])
        spec.prove(dut.at_last[level] == last[level])
        if bound > 1:
            spec.prove(spec.inner(f"nest.left{level}", range(bound)) == bound - 1 - index[level])
        for name, held in (("begins", first), ("ends", last)):
            spec.prove(getattr(dut, name)[level] == _all(held[level:]))
    spec.cover("the whole nest ends", dut.ends[0])
    return spec


def _all(conditions: list) -> object:  # type: ignore[type-arg]
    result = conditions[0]
    for condition in conditions[1:]:
        result = result & condition
    return result


@pytest.mark.parametrize(("bounds", "strides", "start", "turn", "modulus"), [
    ([3, 1, 4], [5, 7, -2], 3, 0, 0),
    ([2, 3], [4, 1], 6, 5, 7),
])
def test_loops_and_affine_counters(
    bounds: list[int], strides: list[int], start: int, turn: int, modulus: int
) -> None:
    proof = by_induction(nest(bounds, strides, start, turn, modulus), cover_at=13, mutants=4)
    assert proof.proven
    assert all(proof.covers.values())
    assert proof.refuted >= 1
