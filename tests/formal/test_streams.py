# amaranth: UnusedElaboratable=no
"""Proofs of the blocks on streams: nothing is lost, doubled or changed, and what waits stays as it is."""

from __future__ import annotations

import pytest
from amaranth.hdl import Cat, Mux, Signal, unsigned
from formal import Spec, bounded, by_induction, holds, transfers

from abc_hw.rtl_gen.blocks.classifier import ArgMax, ArgMaxPlan
from abc_hw.rtl_gen.blocks.fork import Fork, ForkPlan
from abc_hw.rtl_gen.blocks.lanes import AdapterPlan, LaneAdapter
from abc_hw.rtl_gen.blocks.pool import MaxPool, PoolPlan
from abc_hw.rtl_gen.parts.arith import ceil_div
from abc_hw.rtl_gen.parts.skid import Skid
from abc_hw.rtl_gen.parts.stream import CodeStream

CODE = unsigned(2)


def place(spec: Spec, event: object, length: int, name: str) -> tuple[Signal, Signal]:
    """Transfer within the pixel (or image), and pixels (images) before it, modulo 16."""
    index, whole = Signal(range(max(length, 2)), name=f"{name}_index"), Signal(4, name=f"{name}_whole")
    with spec.m.If(event):
        spec.m.d.sync += index.eq(Mux(index == length - 1, 0, index + 1))
        with spec.m.If(index == length - 1):
            spec.m.d.sync += whole.eq(whole + 1)
    return index, whole


def adapter(channels: int, i_lanes: int, o_lanes: int) -> Spec:
    """One code of any pixel and channel is followed through the adapter; the channel is a constant of the solver's
    choice, so that it stands for all."""
    dut = LaneAdapter(AdapterPlan(
        shape=(1, 1, channels), i=CodeStream(i_lanes, CODE), o=CodeStream(o_lanes, CODE)
    ))
    spec = Spec(dut)
    spec.assume(spec.stable(dut.i, "i"))
    spec.prove(spec.stable(dut.o, "o"))
    i_index, i_whole = place(spec, transfers(dut.i), ceil_div(channels, i_lanes), "i")
    o_index, o_whole = place(spec, transfers(dut.o), ceil_div(channels, o_lanes), "o")
    channel, pixel = spec.constant(range(channels), "channel"), spec.constant(4, "pixel")
    spec.assume(channel < channels)
    kept, known = Signal(CODE), Signal()
    for number in range(channels):
        enters = transfers(dut.i) & (i_whole == pixel) & (i_index == number // i_lanes) & (channel == number)
        leaves = dut.o.valid & (o_whole == pixel) & (o_index == number // o_lanes) & (channel == number)
        with spec.m.If(enters):
            spec.m.d.sync += [kept.eq(dut.i.payload[number % i_lanes]), known.eq(1)]
        if i_lanes == o_lanes:
            spec.prove(~leaves | (dut.o.payload[number % o_lanes] == dut.i.payload[number % i_lanes]))
        else:
            spec.prove(~leaves | (known & (dut.o.payload[number % o_lanes] == kept)))
        spec.cover(f"channel {number} leaves", leaves)
    last = ceil_div(channels, o_lanes) - 1
    for lane in range(channels - last * o_lanes, o_lanes):
        if o_lanes > i_lanes:  # where the adapter fills up; otherwise the lane is what came in
            spec.prove(~(dut.o.valid & (o_index == last)) | (dut.o.payload[lane] == 0))
    # A pixel that has come waits for nothing but its taker.
    starved = Signal(3)
    with spec.m.If((i_whole == o_whole) | dut.o.valid):
        spec.m.d.sync += starved.eq(0)
    with spec.m.Elif(starved != 7):
        spec.m.d.sync += starved.eq(starved + 1)
    spec.prove(starved < 7)
    spec.covers = dict(list(spec.covers.items())[-1:])  # the last one cannot happen without the others
    return spec


@pytest.mark.parametrize(("channels", "i_lanes", "o_lanes"), [
    (3, 1, 2), pytest.param(5, 4, 2, marks=pytest.mark.long), pytest.param(5, 2, 3, marks=pytest.mark.long),
])
def test_lane_adapter(channels: int, i_lanes: int, o_lanes: int) -> None:
    holds(bounded(adapter(channels, i_lanes, o_lanes), steps=14, mutants=3))


def skid() -> Spec:
    """All that came stands inside, in order, and goes out; it is ready whenever one more finds room."""
    dut = Skid(CodeStream(1, CODE).signature)
    spec = Spec(dut)
    spec.assume(spec.stable(dut.i, "i"))
    spec.prove(spec.stable(dut.o, "o"))
    came, went = (spec.count(transfers(port), 8, name) for port, name in ((dut.i, "i"), (dut.o, "o")))
    inside, number, kept = (came - went)[:8], spec.constant(8, "number"), Signal(CODE)
    with spec.m.If(transfers(dut.i) & (came == number)):
        spec.m.d.sync += kept.eq(dut.i.payload[0])
    for waits, register in enumerate((dut.o.payload[0], spec.inner("spare", CODE))):
        ours = (inside > waits) & ((went + waits)[:8] == number)
        spec.prove(~ours | (register == kept))
    spec.prove((inside <= 2) & (dut.o.valid == (inside != 0)) & (dut.i.ready == (inside != 2)))
    spec.cover("one is put aside", inside == 2)
    spec.cover("one goes through each cycle", transfers(dut.i) & transfers(dut.o) & (went == 3))
    return spec


def test_skid() -> None:
    holds(by_induction(skid(), cover_at=6))


def fork(branches: int) -> Spec:
    dut = Fork(ForkPlan(branches=branches, lanes=1, shape=CODE, transfers=3))
    spec = Spec(dut)
    spec.assume(spec.stable(dut.i, "i"))
    taken = spec.count(transfers(dut.i), 8, "i")
    for index in range(branches):
        branch = dut.o[index]
        spec.prove(spec.stable(branch, f"o{index}"))
        spec.prove(~branch.valid | (branch.payload.as_value() == dut.i.payload.as_value()))
        ahead = (spec.count(transfers(branch), 8, f"o{index}") - taken)[:8]
        spec.prove(ahead == spec.inner(f"has_{index}", 1))  # as many as came, or the one that is at the input more
        spec.prove((ahead == 0) | dut.i.valid)
    spec.cover("one waits for the other", (dut.o[0].ready != dut.o[1].ready) & dut.i.valid)
    spec.cover("all have it", transfers(dut.i))
    return spec


@pytest.mark.parametrize("branches", [2, 3])
def test_fork(branches: int) -> None:
    holds(by_induction(fork(branches), cover_at=4))


def argmax(classes: int) -> Spec:
    """Against the greatest so far, of equals the first, in three registers that wait with the answer."""
    dut = ArgMax(ArgMaxPlan(classes=classes, score=CODE))
    spec = Spec(dut)
    spec.assume(spec.stable(dut.i, "i"))
    spec.prove(spec.stable(dut.o, "o"))
    taken = transfers(dut.i)
    index, _ = place(spec, taken, classes, "i")
    score = dut.i.payload[0]
    best, label = Signal(CODE), Signal(range(classes))
    better = (index == 0) | (score > best)
    answer = Cat(score, index == classes - 1, Mux(better, index, label))
    with spec.m.If(taken & better):
        spec.m.d.sync += [best.eq(score), label.eq(index)]
    waits = dut.o.valid & ~dut.o.ready
    there, answers = [Signal() for _ in range(3)], [Signal(len(answer)) for _ in range(3)]
    # Of the scores that stand in the first two: their places, and the greatest before them.
    places = [Signal(range(classes)) for _ in range(2)]
    earlier = [[Signal(CODE), Signal(range(classes))] for _ in range(2)]
    with spec.m.If(~waits):
        spec.m.d.sync += [mine.eq(before) for mine, before in zip(there, [taken, *there], strict=False)]
        spec.m.d.sync += [mine.eq(before) for mine, before in zip(answers, [answer, *answers], strict=False)]
        spec.m.d.sync += [places[0].eq(index), places[1].eq(places[0])]
        spec.m.d.sync += [earlier[0][0].eq(best), earlier[0][1].eq(label)]
        spec.m.d.sync += [later.eq(one) for one, later in zip(*earlier, strict=True)]
    spec.prove(dut.i.ready == ~waits)
    spec.prove(dut.o.valid == there[2])
    spec.prove(~there[2] | (Cat(dut.o.payload.score, dut.o.payload.last, dut.o.payload.label) == answers[2]))
    spec.prove((index < classes) & (index == spec.inner("index", range(classes))))
    # What makes the induction close: the two scores under way, and the greatest of those before.
    beats = [
        (where == 0) | (one[:2] > before[0])
        for where, one, before in zip(places, answers, earlier, strict=False)
    ]
    now = Cat(best, label)
    behind = [now, Mux(there[0], Cat(*earlier[0]), now)]  # the greatest with each of the two
    stands = [
        (spec.inner(f"{name}score", 2), spec.inner(f"{name}place", range(classes))) for name in ("", "compared_")
    ]
    for stage, name in enumerate(("", "compared_")):
        missing, seen = ~there[stage], answers[stage]
        spec.prove(spec.inner("compared" if stage else "there", 1) == there[stage])
        spec.prove(missing | (Cat(stands[stage][0], spec.inner(f"{name}last", 1)) == seen[:3]))
        spec.prove(missing | (stands[stage][1] == places[stage]))
        spec.prove(missing | (seen[3:] == Mux(beats[stage], places[stage], earlier[stage][1])))
        spec.prove(missing | (
            behind[stage] == Mux(beats[stage], Cat(seen[:2], places[stage]), Cat(*earlier[stage]))
        ))
    spec.prove(~there[0] | (spec.inner("first", 1) == (places[0] == 0)))
    kept = Mux(there[1], Cat(*earlier[1]), behind[1])
    first = Mux(there[1], places[1], Mux(there[0], places[0], index)) == 0
    spec.prove(first | (Cat(spec.inner("best", 2), spec.inner("best_index", range(classes))) == kept))
    found = spec.inner("better", 1)
    spec.prove(~there[1] | (found == beats[1]))
    spec.prove(there[1] | first | ~found | (Cat(*stands[1]) == kept))
    spec.cover("the last wins", dut.o.valid & dut.o.payload.last & (dut.o.payload.label == classes - 1))
    return spec


def test_argmax() -> None:
    holds(by_induction(argmax(3), cover_at=7))


def pool(height: int, width: int, side: int) -> Spec:
    """One output pixel of the first image, of the solver's choice, against the greatest of what came."""
    dut = MaxPool(PoolPlan(shape=(height, width, 1), side=side, i=CodeStream(1, CODE)))
    spec = Spec(dut)
    spec.assume(spec.stable(dut.i, "i"))
    spec.prove(spec.stable(dut.o, "o"))
    rows, columns = height // side, width // side
    came, _ = place(spec, transfers(dut.i), height * width, "i")
    went, images = place(spec, transfers(dut.o), rows * columns, "o")
    chosen = spec.constant(range(rows * columns), "chosen")
    spec.assume(chosen < rows * columns)
    greatest, seen = Signal(CODE), Signal(range(side * side + 1))
    code = dut.i.payload[0]
    for pixel in range(height * width):
        y, x = divmod(pixel, width)
        if y // side < rows and x // side < columns:
            inside = transfers(dut.i) & (came == pixel) & (chosen == y // side * columns + x // side)
            with spec.m.If(inside & (images == 0) & (seen != side * side)):
                spec.m.d.sync += [greatest.eq(Mux(code > greatest, code, greatest)), seen.eq(seen + 1)]
    out = dut.o.valid & (went == chosen) & (images == 0)
    spec.prove(~out | ((seen == side * side) & (dut.o.payload[0] == greatest)))
    spec.cover("the last square comes", out & (chosen == rows * columns - 1))
    return spec


@pytest.mark.long
def test_pool() -> None:
    holds(bounded(pool(3, 4, 2), steps=14, mutants=8))
