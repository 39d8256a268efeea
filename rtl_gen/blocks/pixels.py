"""From one number of pixels in a transfer to another."""

import dataclasses
import math
from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray

from ..parts.arith import bits_of, ceil_div, select
from ..parts.delay import delayed
from ..parts.flow import Flow
from ..parts.memory import Memory
from ..parts.memory_mapping import GENERIC, Technology
from ..parts.memory_plan import MemoryPlan
from ..parts.moments import Moments
from ..parts.stream import CodeStream, MapShape
from ..parts.timing import Row, Taken, at_once

__all__ = ["PixelAdapter", "PixelPlan"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelPlan:
    """From one number of pixels to any other, lanes as they are.

    Pixels are kept in *blocks*: as few as both numbers divide, or a row where that is less.

    Members
    -------
    shape : of the map that passes
    i, o : the streams on either side
    technology : of its memories
    """

    shape: MapShape
    i: CodeStream
    o: CodeStream
    technology: Technology = GENERIC

    def __post_init__(self) -> None:
        if dataclasses.replace(self.i, px=self.o.px) != self.o:
            raise ValueError(f"A pixel adapter must change nothing but pixels, not {self.i} to {self.o}")

    @property
    def needed(self) -> bool:
        """Do the streams differ?"""
        return self.i.px != self.o.px

    @property
    def words(self) -> int:
        """Transfers of a group of pixels."""
        return self.i.channel_words(self.shape[2])

    @property
    def block(self) -> int:
        """Pixels of a block: of every one but the last of a row."""
        width = self.shape[1]
        whole = (ceil_div(width, one.px) * one.px for one in (self.i, self.o))
        return min(math.lcm(self.i.px, self.o.px), max(whole))

    @property
    def blocks(self) -> int:
        """Blocks of a row."""
        return ceil_div(self.shape[1], self.block)

    @property
    def rest(self) -> int:
        """Pixels of the last block of a row."""
        return self.shape[1] - (self.blocks - 1) * self.block

    def block_groups(self, one: CodeStream) -> tuple[int, int]:
        """Groups of pixels of a block, and of the last one of a row."""
        return ceil_div(min(self.block, self.shape[1]), one.px), ceil_div(self.rest, one.px)

    @cached_property
    def half(self) -> MemoryPlan:
        """Each memory: a group of input pixels of two blocks."""
        return MemoryPlan(
            name="pixels", width=self.i.width, words=2 * self.words, write="word", held=True,
            technology=self.technology,
        )

    @property
    def memories(self) -> list[MemoryPlan]:
        count, _ = self.block_groups(self.i)
        return [dataclasses.replace(self.half, name=f"pixels{index}") for index in range(count)]

    @property
    def latency(self) -> int:
        """Cycles from the transfer that completes a block to the first of its transfers at ``o``."""
        return 2 + self.half.latency

    @cached_property
    def cycles(self) -> int:
        """Cycles between maps: a block is taken in while the one before it is handed out."""
        each = zip(self.block_groups(self.i), self.block_groups(self.o), strict=True)
        block, last = ((came * self.words, went * self.words) for came, went in each)
        came, went, before = 0, 0, 0  # when blocks were complete, and gone
        ends = []
        for _ in range(3):
            for came_in, went_in in ([block] * (self.blocks - 1) + [last]) * self.shape[0]:
                came = max(came, before) + came_in
                before, went = went, max(went, came) + went_in
            ends.append(went)
        return ends[2] - ends[1]

    @property
    def flow(self) -> Flow:
        """A transfer needs its whole block; while it waits, the block behind it is taken."""
        (i_each, i_last), (o_each, o_last) = self.block_groups(self.i), self.block_groups(self.o)
        last = np.arange(self.shape[0] * self.blocks) % self.blocks == self.blocks - 1
        taken = np.cumsum(np.where(last, i_last, i_each)) * self.words
        of = np.repeat(np.arange(len(last)), np.where(last, o_last, o_each) * self.words)
        following = np.roll(of, -1)
        following[-1] = len(last)
        image, place = np.divmod(following + 1, len(last))
        take = taken[place] + image * taken[-1]
        return Flow(int(taken[-1]), taken[of].astype(np.int64), take.astype(np.int64))

    def timing(self, after: Taken) -> Taken:
        """When transfers are taken, with ``after`` behind it."""
        return _Timing(self, after).take

    def moments(self, offered: IntArray) -> Moments:
        """When transfers are taken and offered, if nobody behind waits."""
        given: list[int] = []

        def end(offered: int) -> int:
            given.append(offered)
            return at_once(offered)

        take = self.timing(end)
        taken = [take(one) for one in offered.tolist()]
        return Moments(np.array(taken, np.int64), np.array(given, np.int64))

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        if not self.needed:
            return {}
        each, _ = self.block_groups(self.o)
        return {"one": 1, "word": self.o.width, "choices": (each - 1) * self.o.width,
                "words": bits_of(self.words), "groups": sum(map(bits_of, (each, self.block_groups(self.i)[0])))}


class _Timing:
    """Blocks come in while there is room for one, and go out as soon as they are complete."""

    def __init__(self, plan: PixelPlan, after: Taken) -> None:
        self._row = Row(after, plan.half.latency + 1)
        each = zip(plan.block_groups(plan.i), plan.block_groups(plan.o), strict=True)
        block, last = ((came * plan.words, went * plan.words) for came, went in each)
        self._blocks = [block] * (plan.blocks - 1) + [last]
        self._place, self._last, self._leaves = 0, -1, -1
        self._gone: list[int] = []  # when blocks had left their memories

    def take(self, offered: int) -> int:
        """:data:`abc_hw.rtl_gen.parts.timing.Taken`."""
        block = len(self._gone)  # all before it have gone as far as is known of them
        room = self._gone[block - 2] + 1 if block > 1 else 0
        self._last = max(offered, self._last + 1, room)
        comes, goes = self._blocks[block % len(self._blocks)]
        self._place += 1
        if self._place == comes:
            self._place, self._leaves = 0, max(self._leaves, self._last)
            for _ in range(goes):
                self._leaves = self._row.moves_at(self._leaves + 1)
                self._row.enters(self._leaves)
            self._gone.append(self._leaves)
        return self._last


class PixelAdapter(wiring.Component):
    """Takes blocks of pixels in, group by group of the one size, and hands them out in groups of the other.

    ::

        i --> one memory for each group of a block, two blocks each --> choose a group's pixels --> o

    Parameters
    ----------
    plan : both streams

    Members
    -------
    i : In, stream of codes;  o : Out, the same codes, with other pixels in a transfer
    """

    def __init__(self, plan: PixelPlan) -> None:
        self._plan = plan
        super().__init__({"i": In(plan.i.signature), "o": Out(plan.o.signature)})

    @property
    def plan(self) -> PixelPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        full = Signal(range(3))  # blocks
        came, gone, moves = Signal(), Signal(), Signal()
        m.d.sync += full.eq(full + came - gone)
        m.d.comb += self.i.ready.eq(full != 2)
        i_step = self.i.valid & self.i.ready
        i_half, i_group, i_word, _ = self._places(m, "i", plan.i, i_step, came)
        o_step = moves & (full != 0)
        o_half, o_group, o_word, last = self._places(m, "o", plan.o, o_step, gone)

        def later(value: Value, name: str, *, reset_less: bool = True) -> Value:
            return delayed(m, value, plan.half.latency, name=name, reset_less=reset_less, enable=moves)

        pixels: list[Value] = []
        size = plan.i.width // plan.i.px
        for index in range(len(plan.memories)):
            m.submodules[f"pixels{index}"] = memory = Memory(plan.half)
            m.d.comb += [
                memory.en.eq(moves), memory.addr.eq(self._address(o_half, o_word)),
                memory.write.addr.eq(self._address(i_half, i_word)),
                memory.write.data.eq(self.i.payload), memory.write.en.eq(i_step & (i_group == index)),
            ]
            pixels += [memory.data[start : start + size] for start in range(0, plan.i.width, size)]
        pixels += [Value.cast(0)] * plan.o.px  # past the last group
        found = self._chosen(pixels, later(o_group, "group"), later(last, "last"), size)
        valid, payload = Signal(), Signal(plan.o.width, reset_less=True)
        with m.If(moves):
            m.d.sync += [valid.eq(later(o_step, "there", reset_less=False)), payload.eq(found)]
        m.d.comb += [
            moves.eq(~valid | self.o.ready), self.o.valid.eq(valid), self.o.payload.eq(payload),
        ]
        return m

    def _address(self, half: Value, word: Value) -> Value:
        return Mux(half, word + self._plan.words, word)

    def _chosen(self, pixels: list[Value], group: Value, last: Value, size: int) -> Value:
        """The pixels of a group, those past the end of the row 0."""
        plan = self._plan
        found = []
        for pixel in range(plan.o.px):
            each = [pixels[index * plan.o.px + pixel] for index in range(plan.block_groups(plan.o)[0])]
            code = select(group, [Cat(one, *([0] * (size - len(one)))) for one in each])
            absent = [
                group == index for index in range(len(each)) if index * plan.o.px + pixel >= plan.rest
            ]
            found.append(Mux(last & Cat(absent).any(), 0, code) if absent else code)
        return Cat(found)

    def _places(
        self, m: Module, name: str, one: CodeStream, step: Value, ends: Signal
    ) -> tuple[Value, Value, Value, Value]:
        """(half, group, word, is the block the last of its row), counted with ``step``; ``ends`` with a block."""
        plan, (each, last_each) = self._plan, self._plan.block_groups(one)
        half = Signal(name=f"{name}_half")
        group = Signal(range(each), name=f"{name}_group")
        word = Signal(range(plan.words), name=f"{name}_word")
        block = Signal(range(plan.blocks), name=f"{name}_block")
        last = block == plan.blocks - 1
        word_ends = word == plan.words - 1
        group_ends = group == Mux(last, last_each - 1, each - 1)
        m.d.comb += ends.eq(step & word_ends & group_ends)
        with m.If(step):
            m.d.sync += word.eq(Mux(word_ends, 0, word + 1))
            with m.If(word_ends):
                m.d.sync += group.eq(Mux(group_ends, 0, group + 1))
        with m.If(ends):
            m.d.sync += [half.eq(~half), block.eq(Mux(last, 0, block + 1))]
        return half, group, word, last
