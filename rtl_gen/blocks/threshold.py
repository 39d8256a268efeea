"""From accumulators to what a layer hands on: level codes, or the classifier's scores."""

import dataclasses
import itertools
from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray

from ..parts.arith import bits_of, range_shape, total
from ..parts.delay import delayed
from ..parts.memory import Memory
from ..parts.memory_plan import MemoryPlan, pack_fields, write_signature
from ..parts.stream import CodeStream
from .folded import FoldedLayer

__all__ = ["OutputPlan", "OutputUnit"]


@dataclasses.dataclass(frozen=True)
class OutputPlan(FoldedLayer):
    """What becomes of accumulators.

    Members
    -------
    ahead : cycles by which it is told of them before they are there
    """

    ahead: int = 0

    @property
    def loaded(self) -> bool:
        """Are its constants loaded?"""
        return bool({"thresholds", "bias"} & self.numbers.learned)

    @property
    def o(self) -> CodeStream:
        """What leaves it."""
        return CodeStream(self.schedule.out_lanes, self.numbers.output_shape, self.schedule.folding.px)

    @property
    def pixels(self) -> int:
        """Pixels that come at once."""
        return self.schedule.scale_lanes.pixels

    @property
    def items(self) -> int:
        """Times that they come for a transfer."""
        return self.schedule.pixel_items

    # -- constants ------------------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """Words of constants: one per transfer, those that are cut off included."""
        return self.schedule.channels // self.schedule.out_lanes

    @property
    def constant_shape(self) -> Shape:
        """Of each."""
        padded = self.schedule.channels > self.numbers.layer.out_channels
        if self.loaded and not self.numbers.layer.hands_on_integers:
            return self.numbers.shape

        def make() -> Shape:
            constants = self.numbers.constants
            values = [int(constants.min()), int(constants.max())] + [self._absent] * padded
            return range_shape(min(values), max(values))

        # The constant of a score counts modulo 2**width, like the sum that it goes into.
        if self.numbers.layer.hands_on_integers:
            return self.numbers.output_shape
        return self.numbers.shared(("constant shape", padded), make)

    @property
    def _absent(self) -> int:
        """Constant of a channel that is not there: always at level 0, its thresholds above every accumulator."""
        return 0 if self.numbers.layer.hands_on_integers else int(self.numbers.bounds[1].max()) + 1

    def table(self) -> IntArray:
        """Constants as they are stored, [slots, lanes, constants per lane]."""
        constants = self.numbers.constants
        padded = np.full((self.schedule.channels, constants.shape[1]), self._absent, np.int64)
        padded[: len(constants)] = constants
        return padded.reshape(-1, self.schedule.out_lanes, constants.shape[1])

    @cached_property
    def constants(self) -> MemoryPlan:
        """The memory of constants."""
        lanes, each = self.schedule.out_lanes, self.numbers.constants.shape[1]
        return self.numbers.shared((self.technology.name, "constants", self.slots, lanes), lambda: MemoryPlan(
            name="constants", width=self.constant_shape.width * lanes * each, words=self.slots,
            contents=None if self.loaded else self.contents, write="parts" if self.loaded else "none",
            technology=self.technology, relayed=True,
        ))

    def contents(self) -> list[int]:
        """Words of its memory."""
        width = self.constant_shape.width
        return [pack_fields([(int(value), width) for value in row.flat]) for row in self.table()]

    @property
    def memories(self) -> list[MemoryPlan]:
        return [self.constants]

    # -- cycles ---------------------------------------------------------------------------------------------

    @property
    def latency(self) -> int:
        """Cycles from the first accumulators of a transfer to ``valid``, nothing between: as long as the last ones
        take, and those before them."""
        return self.item_latency - self.ahead + self.items - 1

    @property
    def compare_cycles(self) -> int:
        """Cycles of comparisons, whose sum has a cycle of its own."""
        return int(self.numbers.constants.shape[1] > 1)

    @property
    def item_latency(self) -> int:
        """Cycles from the last ``i_soon`` of a transfer to ``valid``: constants, comparisons, result."""
        return self.constants.latency + self.compare_cycles + 1

    @property
    def cycles(self) -> int:
        """Least cycles between images: one each time that something comes."""
        return self.schedule.layer.conv_shape[0] * self.schedule.pixel_groups * self.slots * self.items

    # -- cost -----------------------------------------------------------------------------------------------

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        layer, lanes, width = self.numbers.layer, self.pixels * self.schedule.out_lanes, self.numbers.shape.width
        compared = 0 if layer.thresholds is None else layer.thresholds.shape[1]
        return {
            "one": 1, "slots": bits_of(self.slots), "compared": lanes * compared * width,
            "levels": lanes * compared, "lanes": lanes * width,
            "scores": self.o.width if layer.hands_on_integers else 0,
            "collected": self.o.width * (self.items - 1) // self.items,
        }


class OutputUnit(wiring.Component):
    """Accumulated matches to level codes (thresholds) or scores (the classifier), channel by channel.

    Equals :func:`abc_hw.sim.golden.threshold` and :func:`abc_hw.sim.golden.scores`: ``level = #{n : matches >=
    T[n]}``,
    ``score = 2 matches + constant``. Groups that reach past the last channel are cut off there: lanes past it
    carry code 0, and transfers of only such lanes do not happen. Pixels past the end of a row carry code 0.

    Parameters
    ----------
    plan : what becomes of them

    Members
    -------
    i_soon : In(1), accumulators come ``ahead`` cycles later
    matches : In, those of a transfer's channels for some of its pixels, pixel by pixel
    o : Out, codes or scores of a transfer;  valid : Out(1)
    write_constants : In, if they are loaded: writes their memory
    """

    def __init__(self, plan: OutputPlan) -> None:
        self._plan = plan
        super().__init__({
            "matches": In(data.ArrayLayout(plan.numbers.shape, plan.pixels * plan.o.lanes)),
            "i_soon": In(1),
            "o": Out(plan.o.payload),
            "valid": Out(1),
            **({"write_constants": In(write_signature(plan.constants))} if plan.loaded else {}),
        })

    @property
    def plan(self) -> OutputPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, slots, real_slots = self._plan, self._plan.slots, self._plan.schedule.out_transfers
        item, slot = Signal(range(plan.items)), Signal(range(slots))
        complete = item == plan.items - 1
        with m.If(self.i_soon):
            m.d.sync += item.eq(Mux(complete, 0, item + 1))
            with m.If(complete):
                m.d.sync += slot.eq(Mux(slot == slots - 1, 0, slot + 1))
        constants = self._read_constants(m, slot)
        absent = self._absent(m, item, self.i_soon & complete & (slot == slots - 1))
        results = [
            self._result(m, pixel * plan.o.lanes + lane, row, absent[pixel])
            for pixel in range(plan.pixels) for lane, row in enumerate(constants)
        ]
        late = plan.item_latency - 1
        self._collect(m, results, delayed(m, self.i_soon, late, name="result_valid", reset_less=False))
        real = self.i_soon & complete
        real = real & (slot < real_slots) if slots > real_slots else real
        m.d.comb += self.valid.eq(
            delayed(m, Value.cast(real), plan.item_latency, name="valid", reset_less=False)
        )
        return m

    def _result(self, m: Module, lane: int, constants: list[Value], absent: Value | None) -> Value:
        """What becomes of an accumulator, a cycle before it goes out."""
        plan = self._plan
        waits = plan.constants.latency - plan.ahead
        value = delayed(m, Value.cast(self.matches[lane]), waits, name=f"matches_{lane}")
        if plan.numbers.layer.hands_on_integers:
            addends = [value << 1, constants[0]]
        else:
            addends = [
                delayed(m, value >= threshold, plan.compare_cycles, name=f"reached_{lane}_{n}")
                for n, threshold in enumerate(constants)
            ]
        result = total(addends, plan.o.shape)
        return result if absent is None else Mux(absent, Const(0, plan.o.shape), result)

    def _absent(self, m: Module, item: Value, row_moves: Value) -> list[Value | None]:
        """For each pixel at once: does it lie past the end of the row? A cycle before it goes out."""
        plan, schedule = self._plan, self._plan.schedule
        if not schedule.absent:
            return [None] * plan.pixels
        groups = schedule.pixel_groups
        group = Signal(range(groups))
        with m.If(row_moves):
            m.d.sync += group.eq(Mux(group == groups - 1, 0, group + 1))
        found: list[Value | None] = []
        for pixel in range(plan.pixels):
            items = [
                item == index for index in range(plan.items)
                if index * plan.pixels + pixel >= schedule.folding.px - schedule.absent
            ]
            here = (group == groups - 1) & Cat(items).any()
            late = plan.item_latency - 1
            found.append(delayed(m, here, late, name=f"absent_{pixel}") if items else None)
        return found

    def _collect(self, m: Module, results: list[Value], valid: Value) -> None:
        """The results of a transfer, which come one after another, in registers side by side."""
        plan = self._plan
        each = len(results)
        for index, result in enumerate(results):
            row = [
                Signal(plan.o.shape, name=f"result_{index}_{item + 1}", reset_less=True)
                for item in range(plan.items)
            ]
            with m.If(valid if plan.items > 1 else Const(1)):
                m.d.sync += row[-1].eq(result)
                m.d.sync += [earlier.eq(later) for earlier, later in itertools.pairwise(row)]
            m.d.comb += [self.o[item * each + index].eq(register) for item, register in enumerate(row)]

    def _read_constants(self, m: Module, slot: Signal) -> list[list[Value]]:
        """The constants of a slot's lanes, when the memory gives them: [lane][constant]."""
        memory, shape, lanes = self._plan.constants, self._plan.constant_shape, self._plan.o.lanes
        m.submodules.constants = rom = Memory(memory)
        m.d.comb += rom.addr.eq(slot)
        if self._plan.loaded:
            wiring.connect(m, wiring.flipped(self.write_constants), rom.write)
        fields = [rom.data[start : start + shape.width] for start in range(0, memory.width, shape.width)]
        typed = [field.as_signed() if shape.signed else field for field in fields]
        each = len(typed) // lanes
        return [typed[lane * each : (lane + 1) * each] for lane in range(lanes)]
