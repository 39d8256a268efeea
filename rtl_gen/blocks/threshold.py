"""From accumulators to what a layer hands on: level codes, or the classifier's scores."""

import numpy as np
from amaranth.hdl import Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import IntArray, Layer

from ..folding import Schedule
from ..parts.arith import range_shape, total
from ..parts.delay import delayed
from ..parts.matches import match_bounds, match_offset, match_shape, match_thresholds, score_shape
from ..parts.rom import Rom, pack_fields

__all__ = ["OutputUnit", "constant_table", "output_shape"]


def output_shape(layer: Layer) -> Shape:
    """Shape of what the layer hands on per channel: a level code, or a score."""
    if layer.thresholds is None:
        return score_shape(layer)
    return unsigned(layer.thresholds.shape[1].bit_length())


def output_constants(layer: Layer) -> IntArray:
    """Per channel: thresholds on the matches; of the classifier, the constant of the score."""
    if layer.thresholds is not None:
        return match_thresholds(layer)
    bias = np.zeros(layer.out_channels, np.int64) if layer.bias is None else layer.bias
    return (bias - match_offset(layer))[:, None]


def constant_table(schedule: Schedule) -> tuple[IntArray, Shape]:
    """:func:`output_constants` as they are stored, [slots, lanes, constants per lane], and the shape of each."""
    layer = schedule.layer
    constants = output_constants(layer)
    _, greatest = match_bounds(layer)
    # A channel that is not there is always at level 0: its thresholds are above every accumulator.
    absent = 0 if layer.thresholds is None else int(greatest.max()) + 1
    padded = np.full((schedule.groups * schedule.folding.pe, constants.shape[1]), absent, np.int64)
    padded[: layer.out_channels] = constants
    # The constant of a score counts modulo 2**width, like the sum that it goes into.
    shape = score_shape(layer) if layer.is_classifier else range_shape(int(padded.min()), int(padded.max()))
    return padded.reshape(-1, schedule.out_lanes, constants.shape[1]), shape


class OutputUnit(wiring.Component):
    """Accumulated matches to level codes (thresholds) or scores (the classifier), channel by channel.

    Equals :func:`abc_hw.sim.golden.threshold` and :func:`abc_hw.sim.golden.scores`: ``level = #{n : matches >=
    T[n]}``,
    ``score = 2 matches + constant``. Groups that reach past the last channel are cut off there: lanes past it
    carry code 0, and transfers of only such lanes do not happen.

    Members
    -------
    matches : In, one accumulator per lane;  i_valid : In(1)
    o : Out, one code or score per lane;  valid : Out(1), ``latency`` cycles later
    """

    latency = Rom.latency + 2

    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule
        layer = schedule.layer
        super().__init__({
            "matches": In(data.ArrayLayout(match_shape(layer), schedule.out_lanes)),
            "i_valid": In(1),
            "o": Out(data.ArrayLayout(output_shape(layer), schedule.out_lanes)),
            "valid": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        schedule, layer, lanes = self._schedule, self._schedule.layer, self._schedule.out_lanes
        slots = schedule.groups * schedule.folding.pe // lanes
        slot = Signal(range(slots))
        with m.If(self.i_valid):
            m.d.sync += slot.eq(Mux(slot == slots - 1, 0, slot + 1))
        constants = self._read_constants(m, slot)
        for lane, row in enumerate(constants):
            value = delayed(m, Value.cast(self.matches[lane]), Rom.latency, name=f"matches_{lane}")
            if layer.thresholds is None:
                addends = [value << 1, row[0]]
            else:
                addends = [value >= threshold for threshold in row]
            addends = [delayed(m, addend, 1, name=f"addend_{lane}_{n}") for n, addend in enumerate(addends)]
            result = total(addends, output_shape(layer))
            m.d.comb += self.o[lane].eq(delayed(m, result, 1, name=f"result_{lane}"))
        real = self.i_valid & (slot < schedule.out_transfers) if slots > schedule.out_transfers else self.i_valid
        m.d.comb += self.valid.eq(delayed(m, Value.cast(real), self.latency, name="valid", reset_less=False))
        return m

    def _read_constants(self, m: Module, slot: Signal) -> list[list[Value]]:
        """The constants of a slot's lanes, ``Rom.latency`` later: [lane][constant]."""
        table, shape = constant_table(self._schedule)
        _, lanes, per_lane = table.shape
        words = [pack_fields([(int(value), shape.width) for value in row.flat]) for row in table]
        m.submodules.constants = rom = Rom(width=shape.width * lanes * per_lane, words=words)
        m.d.comb += rom.addr.eq(slot)
        fields = [rom.data[index * shape.width :][: shape.width] for index in range(lanes * per_lane)]
        typed = [field.as_signed() if shape.signed else field for field in fields]
        return [typed[lane * per_lane : (lane + 1) * per_lane] for lane in range(lanes)]
