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

RESIDUE = 0xDEBB20E3
"""What stands in the register behind any bytes and the four of their CRC."""


class FrameCheck(wiring.Component):
    """CRC-32 of a frame, ``STEPS`` cycles for a byte.

    Members
    -------
    bits : In, the next ones of a byte, lowest first;  step : In(1), take them in
    start : In(1), forget all that came
    state : Out(32), the register: the CRC's bits inverted, ``RESIDUE`` behind bytes and their CRC. What its own
        lowest bits are taken in for moves it on and changes nothing else
    """

    def __init__(self) -> None:
        super().__init__({"bits": In(BITS), "step": In(1), "start": In(1), "state": Out(32, init=(1 << 32) - 1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        state: Value = self.state
        for bit in self.bits:
            state = Cat(state[1:], 0) ^ Mux(state[0] ^ bit, POLYNOMIAL, 0)
        with m.If(self.start):
            m.d.sync += self.state.eq(self.state.init)
        with m.Elif(self.step):
            m.d.sync += self.state.eq(state)
        return m
