"""The check of a frame, bit by bit: bytes on a line are far apart."""

from amaranth.hdl import Cat, Module, Mux, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["BITS", "RESIDUE", "STEPS", "FrameCheck"]

BITS = 2
"""Taken in at once: as many cells as for one, as a lookup table has room for two."""

STEPS = 8 // BITS
"""Cycles that a byte takes."""

POLYNOMIAL = 0xEDB88320
"""CRC-32 of Ethernet and zlib, lowest bit first."""

RESIDUE = 0x2144DF1C
"""The CRC of any bytes and the four of their CRC."""


class FrameCheck(wiring.Component):
    """CRC-32 of a frame, ``STEPS`` cycles for a byte.

    Members
    -------
    bits : In, the next ones of a byte, lowest first;  step : In(1), take them in
    start : In(1), forget all that came
    value : Out(32), of all that came, which has been nothing at first. Its own lowest bits, each the other way
        round, move it on and change nothing else
    """

    def __init__(self) -> None:
        super().__init__({"bits": In(BITS), "step": In(1), "start": In(1), "value": Out(32)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        value: Value = self.value
        for bit in self.bits:
            value = Cat(value[1:], 1) ^ Mux(value[0] ^ bit, 0, POLYNOMIAL)
        with m.If(self.start):
            m.d.sync += self.value.eq(0)
        with m.Elif(self.step):
            m.d.sync += self.value.eq(value)
        return m
