# amaranth: UnusedElaboratable=no
"""Proofs of what holds a layer together: credit of the queue, rows of the window, joins."""

from __future__ import annotations

import dataclasses
import itertools
from functools import cached_property
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Array, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from formal import Spec, bounded, by_induction, holds, transfers

from abc_hw.network import Layer
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.blocks.add import Add, AddPlan
from abc_hw.rtl_gen.blocks.queue import QueuePlan
from abc_hw.rtl_gen.blocks.ring import row_plan
from abc_hw.rtl_gen.blocks.window import WindowBuffer
from abc_hw.rtl_gen.engine.layer import LayerEngine, LayerPlan
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.rtl_gen.parts.delay import delayed
from abc_hw.rtl_gen.parts.fifo import Fifo, FifoPlan
from abc_hw.rtl_gen.parts.loops import LoopNest
from abc_hw.rtl_gen.parts.matches import LayerNumbers


def made(shape: tuple[int, int, int], channels: int, kernel: tuple[int, int], **more: int) -> Layer:
    options = {"M": 1, "N": 1, "levels": 2, **more}
    return random_layer(
        np.random.default_rng(3), name="conv", in_shape=shape, out_channels=channels, kernel=kernel, **options,
    )


def planned(layer: Layer, **folding: int) -> LayerPlan:
    return LayerPlan(numbers=LayerNumbers(layer), folding=LayerFolding(**folding))


# -- the queue --------------------------------------------------------------------------------------------------


def fifo(words: int) -> Spec:
    """One word, of the solver's choice, through the queue: it comes out once, in its turn, as it went in."""
    spec = Spec(Fifo(FifoPlan(width=2, words=words)))
    dut = spec.dut
    leaves = dut.r_rdy & dut.r_en
    inside = Signal(range(words + 3))
    spec.m.d.sync += inside.eq(inside + dut.w_en - leaves)
    spec.assume(~dut.w_en | (inside != words + 1))
    came, went = spec.count(dut.w_en, 4, "came"), spec.count(leaves, 4, "went")
    chosen, kept, known = spec.constant(4, "chosen"), Signal(2), Signal()
    with spec.m.If(dut.w_en & (came == chosen) & ~known):
        spec.m.d.sync += [kept.eq(dut.w_data), known.eq(1)]
    spec.prove(~dut.r_rdy | (inside != 0))
    spec.prove(inside <= words + 1)
    ours = dut.r_rdy & (went == chosen) & (came != went)
    spec.prove(~ours | (known & (dut.r_data == kept)))
    spec.prove(dut.w_rdy | (inside >= words))
    waited = Signal(3)
    with spec.m.If((inside == 0) | dut.r_rdy):
        spec.m.d.sync += waited.eq(0)
    with spec.m.Elif(waited != 7):
        spec.m.d.sync += waited.eq(waited + 1)
    spec.prove(waited < 5)
    spec.cover("it is as full as it may be", inside == words + 1)
    spec.cover("the fifth word leaves", ours & (chosen == 4))
    return spec


@pytest.mark.parametrize("words", [1, pytest.param(3, marks=pytest.mark.long)])
def test_queue(words: int) -> None:
    holds(bounded(fifo(words), steps=13, mutants=3))


class Credit(wiring.Component):
    """The loops and the queue of a layer; what is between them brings what it likes, when it likes."""

    careless = False

    def __init__(self, plan: LayerPlan) -> None:
        self._plan = plan
        super().__init__({
            "wants": In(1), "came": In(1), "o": Out(plan.queue.o.signature), "begins": Out(1),
            "brings": Out(range(plan.queue.per_group + 1)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        m.submodules.loops = nest = LoopNest(plan.schedule.loops)
        output = SimpleNamespace(o=Const(0, plan.queue.o.width), valid=self.came)
        queued, room = LayerEngine(plan)._build_queue(m, nest, output)  # type: ignore[arg-type]
        group = nest.loops.level("group")
        group_begins = nest.begins[nest.loops.level(nest.loops.inside("group"))]
        m.d.comb += nest.step.eq(self.wants & (~group_begins | room | Const(self.careless, 1)))
        last = plan.schedule.out_transfers - (plan.schedule.channel_groups - 1) * plan.queue.per_group
        m.d.comb += [
            self.begins.eq(nest.step & group_begins),
            self.brings.eq(Mux(nest.at_last[group], last, plan.queue.per_group)),
        ]
        wiring.connect(m, queued, wiring.flipped(self.o))
        return m


class CarelessCredit(Credit):
    """As it would be if groups began whether there is room or not."""

    careless = True


def credit(plan: LayerPlan, kind: type[Credit] = Credit) -> Spec:
    """Whatever lies between a group's first word and its last code, the queue has room for it when it comes."""
    depth = plan.queue.depth
    spec = Spec(kind(plan))
    dut = spec.dut
    out = spec.inner("queue.left", 1)
    owed, waits = (Signal(range(2 * depth + 2), name=name) for name in ("owed", "waits"))
    spec.m.d.sync += [
        owed.eq(owed + Mux(dut.begins, dut.brings, 0) - dut.came), waits.eq(waits + dut.came - out)
    ]
    spec.assume(~dut.came | (owed != 0))
    spec.prove(waits + dut.came <= depth)
    if dut.careless:
        return spec
    free = spec.inner("free", range(depth + 1))
    left = sum(spec.inner(f"left_{cycle}", 1) for cycle in (1, 2))
    spec.prove((owed + waits + free + left) == depth)
    spec.prove(~dut.begins | (free >= dut.brings))
    # What makes the induction close.
    spec.prove(~spec.inner("room", 1) | (free >= plan.queue.per_group))
    level = spec.inner("queue.fifo.level", range(plan.queue.storage.memory.words + 1))
    stages = plan.queue.storage.memory.latency
    under_way = [spec.inner(f"queue.fifo.under_way_{stage}", 1) for stage in range(1, stages + 1)]
    spec.prove(waits == level + sum(under_way))
    spec.prove(spec.inner("queue.fifo.filled", 1) == (level != 0))
    spec.cover("the queue is full", waits == depth)
    spec.cover("a group waits for room", (free < plan.queue.per_group) & dut.wants & ~dut.begins)
    return spec


class Short(LayerPlan):
    """With a queue as short as it can be: what it holds then is soon reached."""

    @cached_property
    def queue(self) -> QueuePlan:
        return dataclasses.replace(super().queue, under_way=0)


def credited() -> LayerPlan:
    """Groups of two channels, the last of one, of two cycles each."""
    return Short(numbers=LayerNumbers(made((1, 2, 2), 3, (1, 1))), folding=LayerFolding(simd=1, pe=2))


def test_credit() -> None:
    holds(by_induction(credit(credited()), cover_at=25, mutants=4))


@pytest.mark.long
def test_credit_is_needed() -> None:
    proof = bounded(credit(credited(), CarelessCredit), steps=27, mutants=0)
    assert not proof.proven


# -- rows of the window -----------------------------------------------------------------------------------------


def rows(layer: Layer) -> Spec:
    """The handshake between writing and reading: any steps, any rows that come."""
    plan = planned(layer, simd=layer.in_shape[2]).window
    spec = Spec(WindowBuffer(plan))
    dut, loops, ring = spec.dut, plan.loops, plan.ring
    wanted = row_plan(layer.fused)
    transfers_in_row = plan.i_transfers // layer.in_shape[0]
    ends_row, row, within = dut.ends[loops.level("column")], Signal(range(len(wanted))), Signal()
    last = row == len(wanted) - 1
    spec.assume(dut.ends[loops.level("row")] == (ends_row & last))
    spec.assume(~dut.step | within | dut.row_ready)  # a row of windows begins when its rows are there
    steps_on = dut.step & ends_row
    place, written, gone = Signal(range(max(transfers_in_row, 2))), Signal(6), Signal(6)
    row_done = transfers(dut.i) & (place == transfers_in_row - 1)
    table = [Array(Const(one[index], 6) for one in wanted) for index in (0, 1)]
    need, freed = table[0][row], table[1][row]
    with spec.m.If(transfers(dut.i)):
        spec.m.d.sync += place.eq(Mux(row_done, 0, place + 1))
    spec.m.d.sync += written.eq(written + row_done)
    with spec.m.If(dut.step):
        spec.m.d.sync += within.eq(~ends_row)
    with spec.m.If(steps_on):
        spec.m.d.sync += [gone.eq(gone + freed), row.eq(Mux(last, 0, row + 1))]
    held = (written - gone)[:6]
    spec.prove(~dut.step | (held >= need))  # no row is read that is not there
    spec.prove(~transfers(dut.i) | (held < ring.capacity))  # no row that is still needed is written over
    # What makes the induction close.
    spec.prove(held == spec.inner("held", range(ring.capacity + 1)))
    spec.prove((held <= ring.capacity) & (row < len(wanted)) & (place < max(transfers_in_row, 1)))
    spec.prove(~within | (held >= need))
    spec.prove(~spec.inner("room", 1) | (held < ring.capacity))
    for name, value in (("need", need), ("freed", freed)):
        spec.prove(spec.inner(name, range(ring.capacity + 1)) == value)
    following = [freed_then + wanted[(index + 1) % len(wanted)][0] for index, (_, freed_then) in enumerate(wanted)]
    then = Array(Const(one, 6) for one in following)[row]
    spec.prove(spec.inner("then", range(2 * ring.capacity + 1)) == then)
    spec.prove(dut.row_ready == (held >= need))  # and it waits for no longer than it must
    if len(wanted) > 1:
        spec.prove(row == spec.inner("row", range(len(wanted))))
    if transfers_in_row > 1:
        spec.prove(spec.inner("left", range(transfers_in_row)) == transfers_in_row - 1 - place)
    spec.cover("the ring is full", held == ring.capacity)
    spec.cover("the next image comes while this one is read", transfers(dut.i) & last & (written > len(wanted)))
    return spec


@pytest.mark.parametrize(("shape", "kernel", "more"), [
    ((3, 2, 1), (3, 3), {"padding": 1}),
    pytest.param((4, 2, 1), (2, 1), {}, marks=pytest.mark.long),
    pytest.param((5, 1, 1), (2, 1), {"stride": 2}, marks=pytest.mark.long),
])
def test_rows_of_the_window(shape: tuple[int, int, int], kernel: tuple[int, int], more: dict[str, int]) -> None:
    holds(by_induction(rows(made(shape, 1, kernel, **more)), cover_at=26, mutants=6))


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_rows_that_are_planned_are_those_that_are_read(stride: int, padding: int) -> None:
    """What the proof takes from the plan: rows needed and let go, against the rows that windows lie on."""
    for height, kernel in itertools.product(range(1, 9), range(1, 6)):
        if kernel > height + 2 * padding or padding >= kernel:
            continue
        layer = made((height, kernel, 1), 1, (kernel, kernel), stride=stride, padding=padding)
        gone = 0
        plan = row_plan(layer.fused)
        for index, (need, freed) in enumerate(plan):
            top = index * stride - padding
            read = [row for row in range(top, top + kernel) if 0 <= row < height]
            assert all(gone <= row < gone + need for row in read)
            assert freed <= need
            gone += freed
        assert gone == height


class Reader(wiring.Component):
    """A window buffer and the loops that read it, as they are in a layer."""

    def __init__(self, plan: LayerPlan) -> None:
        self._plan = plan.window
        self._window = WindowBuffer(self._plan)
        super().__init__({
            "i": In(self._plan.i.signature), "wants": In(1), "step": Out(1),
            "a": Out(len(self._window.a.as_value())),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.window = window = self._window
        m.submodules.loops = nest = LoopNest(self._plan.loops)
        begins = nest.begins[nest.loops.level("column")]
        wiring.connect(m, wiring.flipped(self.i), window.i)
        m.d.comb += [
            nest.step.eq(self.wants & (~begins | window.row_ready)), self.step.eq(nest.step),
            window.step.eq(nest.step), *map(Value.eq, window.ends, nest.ends), self.a.eq(window.a),
        ]
        return m


def windows(layer: Layer) -> Spec:
    """One code of a window, of the solver's choice, against the code that came for its place."""
    plan = planned(layer, np=layer.input_bases.count)  # each window is read once
    spec = Spec(Reader(plan))
    dut = spec.dut
    spec.assume(spec.stable(dut.i, "i"))
    (height, width, _), (rows_out, columns_out, _) = layer.in_shape, layer.conv_shape
    places = [
        (row * layer.stride - layer.padding + down, column * layer.stride - layer.padding + across)
        for row in range(rows_out) for column in range(columns_out)
        for down in range(layer.kernel[0]) for across in range(layer.kernel[1])
    ]
    inside = [0 <= y < height and 0 <= x < width for y, x in places]
    chosen, image = spec.constant(range(len(places)), "chosen"), spec.constant(2, "image")
    spec.assume(chosen < len(places))
    came = Signal(6)
    spec.m.d.sync += came.eq(came + transfers(dut.i))
    seen = delayed(spec.m, dut.step, plan.window.latency, name="seen", reset_less=False)
    index, images = Signal(range(len(places))), Signal(2)
    with spec.m.If(seen):
        spec.m.d.sync += index.eq(Mux(index == len(places) - 1, 0, index + 1))
        with spec.m.If(index == len(places) - 1):
            spec.m.d.sync += images.eq(images + 1)
    at = Array(Const(y * width + x if there else 0, 6) for (y, x), there in zip(places, inside, strict=True))
    there = Array(Const(one, 1) for one in inside)
    kept, known = Signal(len(dut.a)), Signal()
    with spec.m.If(transfers(dut.i) & (came == at[chosen] + image * (height * width)) & ~known):
        spec.m.d.sync += [kept.eq(dut.i.payload.as_value()), known.eq(1)]
    ours = seen & (index == chosen) & (images == image)
    spec.prove(~ours | Mux(there[chosen], known & (dut.a == kept), dut.a == 0))
    spec.cover("the second image's last code is read", ours & (image == 1) & (chosen == len(places) - 1))
    return spec


@pytest.mark.long
@pytest.mark.parametrize(("shape", "kernel", "more", "steps"), [
    ((3, 2, 1), (2, 2), {}, 20), ((2, 1, 1), (2, 2), {"padding": 1}, 20),
])
def test_windows(shape: tuple[int, int, int], kernel: tuple[int, int], more: dict[str, int], steps: int) -> None:
    holds(bounded(windows(made(shape, 1, kernel, **more)), steps=steps, mutants=3, cover_at=60))


# -- joins ------------------------------------------------------------------------------------------------------


def join() -> Spec:
    """Each pair of transfers becomes one sum, in the width of all sums."""
    from abc_hw.network import Integers

    plan = AddPlan(one=Integers(-3, 2, (1, 2, 1)), other=Integers(-1, 4, (1, 2, 1)), lanes=1)
    spec = Spec(Add(plan))
    dut = spec.dut
    taken = []
    for name, least, greatest in (("i_one", -3, 2), ("i_other", -1, 4)):
        stream = getattr(dut, name)
        spec.assume(spec.stable(stream, name))
        spec.assume((stream.payload[0] >= least) & (stream.payload[0] <= greatest))
        taken.append(transfers(stream))
    spec.prove(taken[0] == taken[1])
    spec.prove(spec.stable(dut.o, "o"))
    held, total = spec.before(taken[0], "taken"), Signal(signed(8))
    spec.m.d.sync += total.eq(dut.i_one.payload[0] + dut.i_other.payload[0])
    spec.prove(~held | (dut.o.valid & (dut.o.payload[0] == total)))
    gone = spec.before(transfers(dut.o), "gone")
    spec.prove(~(gone & ~held) | ~dut.o.valid)
    spec.prove(~(dut.o.valid & ~dut.o.ready) | ~taken[0])
    spec.cover("sums follow one another", held & taken[0])
    return spec


def test_join() -> None:
    holds(by_induction(join(), cover_at=4))
