"""From accumulators to what a layer hands on: level codes, or the classifier's scores."""

import dataclasses
from functools import cached_property

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray

from ..cost.memories import GENERIC, Technology
from ..parts.arith import bits_of, range_shape, total
from ..parts.delay import delayed
from ..parts.matches import LayerNumbers
from ..parts.memory import Memory, MemoryPlan, pack_fields, write_signature
from ..parts.stream import CodeStream
from ..schedule import Schedule

__all__ = ["OutputPlan", "OutputUnit"]


@dataclasses.dataclass(frozen=True)
class OutputPlan:
    """What becomes of accumulators.

    Members
    -------
    numbers : of the layer
    schedule : layer and folding
    technology : of its memory
    """

    numbers: LayerNumbers
    schedule: Schedule
    technology: Technology = GENERIC

    @property
    def loaded(self) -> bool:
        """Are its constants loaded?"""
        return bool({"thresholds", "bias"} & self.numbers.learned)

    @property
    def o(self) -> CodeStream:
        """What leaves it."""
        return CodeStream(self.schedule.out_lanes, self.numbers.output_shape)

    # -- constants ------------------------------------------------------------------------------------------

    @property
    def slots(self) -> int:
        """Words of constants: one per transfer, those that are cut off included."""
        return self.schedule.groups * self.schedule.folding.pe // self.schedule.out_lanes

    @property
    def constant_shape(self) -> Shape:
        """Of each."""
        padded = self.schedule.groups * self.schedule.folding.pe > self.numbers.layer.out_channels
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
        channels = self.schedule.groups * self.schedule.folding.pe
        padded = np.full((channels, constants.shape[1]), self._absent, np.int64)
        padded[: len(constants)] = constants
        return padded.reshape(-1, self.schedule.out_lanes, constants.shape[1])

    @cached_property
    def constants(self) -> MemoryPlan:
        """The memory of constants."""
        lanes, each = self.schedule.out_lanes, self.numbers.constants.shape[1]
        return self.numbers.shared((self.technology.name, "constants", self.slots, lanes), lambda: MemoryPlan(
            name="constants", width=self.constant_shape.width * lanes * each, words=self.slots,
            contents=None if self.loaded else self.contents, write="parts" if self.loaded else "none",
            technology=self.technology,
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
        """Cycles from ``i_valid`` to ``valid``: constants, comparisons, sum."""
        return self.constants.latency + 2

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per transfer."""
        height, width, _ = self.schedule.layer.conv_shape
        return height * width * self.slots

    # -- cost -----------------------------------------------------------------------------------------------

    @property
    def quantities(self) -> dict[str, float]:
        """What its logic grows with; memories apart."""
        layer, lanes, width = self.numbers.layer, self.schedule.out_lanes, self.numbers.shape.width
        compared = 0 if layer.thresholds is None else layer.thresholds.shape[1]
        return {
            "one": 1, "slots": bits_of(self.slots), "compared": lanes * compared * width,
            "levels": lanes * compared, "lanes": lanes * width,
            "scores": self.o.width if layer.hands_on_integers else 0,
        }


class OutputUnit(wiring.Component):
    """Accumulated matches to level codes (thresholds) or scores (the classifier), channel by channel.

    Equals :func:`abc_hw.sim.golden.threshold` and :func:`abc_hw.sim.golden.scores`: ``level = #{n : matches >=
    T[n]}``,
    ``score = 2 matches + constant``. Groups that reach past the last channel are cut off there: lanes past it
    carry code 0, and transfers of only such lanes do not happen.

    Parameters
    ----------
    plan : what becomes of them

    Members
    -------
    matches : In, one accumulator per lane;  i_valid : In(1)
    o : Out, one code or score per lane;  valid : Out(1), ``latency`` cycles later
    write_constants : In, if they are loaded: writes their memory
    """

    def __init__(self, plan: OutputPlan) -> None:
        self._plan = plan
        super().__init__({
            "matches": In(data.ArrayLayout(plan.numbers.shape, plan.o.lanes)),
            "i_valid": In(1),
            "o": Out(data.ArrayLayout(plan.o.shape, plan.o.lanes)),
            "valid": Out(1),
            **({"write_constants": In(write_signature(plan.constants))} if plan.loaded else {}),
        })

    @property
    def plan(self) -> OutputPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, slots, real_slots = self._plan, self._plan.slots, self._plan.schedule.out_transfers
        slot = Signal(range(slots))
        with m.If(self.i_valid):
            m.d.sync += slot.eq(Mux(slot == slots - 1, 0, slot + 1))
        constants = self._read_constants(m, slot)
        for lane, row in enumerate(constants):
            value = delayed(m, Value.cast(self.matches[lane]), plan.constants.latency, name=f"matches_{lane}")
            if plan.numbers.layer.hands_on_integers:
                addends = [value << 1, row[0]]
            else:
                addends = [value >= threshold for threshold in row]
            addends = [delayed(m, addend, 1, name=f"addend_{lane}_{n}") for n, addend in enumerate(addends)]
            result = total(addends, plan.o.shape)
            m.d.comb += self.o[lane].eq(delayed(m, result, 1, name=f"result_{lane}"))
        real = self.i_valid & (slot < real_slots) if slots > real_slots else self.i_valid
        m.d.comb += self.valid.eq(delayed(m, Value.cast(real), plan.latency, name="valid", reset_less=False))
        return m

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
