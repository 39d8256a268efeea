"""A serial line: 8 data bits, no parity, 1 stop bit."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["UartReceiver", "UartTransmitter"]

LEAST_DIVISOR = 4


def _check(divisor: int) -> None:
    if divisor < LEAST_DIVISOR:
        raise ValueError(f"The clock must have at least {LEAST_DIVISOR} cycles per bit, not {divisor}")


class UartReceiver(wiring.Component):
    """From line to bytes; nothing can hold it back.

    A byte whose stop bit is low is a fault; the receiver then waits for the line to go high.

    Parameters
    ----------
    divisor : cycles per bit

    Members
    -------
    rx : In, the line, asynchronous
    data : Out(8), the byte, in the cycle of ``strobe`` and the next ``LEAST_DIVISOR``
    strobe : Out, a byte came;  fault : Out, something came that is no byte
    """

    def __init__(self, *, divisor: int) -> None:
        _check(divisor)
        self._divisor = divisor
        super().__init__({"rx": In(1, init=1), "data": Out(8), "strobe": Out(1), "fault": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronise = FFSynchronizer(self.rx, line, init=1)
        timer = Signal(range(self._divisor))
        bits = Signal(range(10))
        m.d.sync += [self.strobe.eq(0), self.fault.eq(0), timer.eq(timer - 1)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self._divisor // 2 - 1), bits.eq(9)]
                with m.If(~line):
                    m.next = "BITS"
            with m.State("BITS"), m.If(timer == 0):
                m.d.sync += [timer.eq(self._divisor - 1), bits.eq(bits - 1)]
                with m.If(bits == 0):
                    m.d.sync += [self.strobe.eq(line), self.fault.eq(~line)]
                    m.next = "IDLE"
                    with m.If(~line):
                        m.next = "RELEASE"
                with m.Elif((bits == 9) & line):
                    m.next = "IDLE"  # a glitch, no start bit
                with m.Elif(bits != 9):
                    m.d.sync += self.data.eq(Cat(self.data[1:], line))
            with m.State("RELEASE"), m.If(line):
                m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """From bytes to line.

    Members
    -------
    i : In, stream of bytes
    tx : Out, the line, from a register
    """

    def __init__(self, *, divisor: int) -> None:
        _check(divisor)
        self._divisor = divisor
        super().__init__({"i": In(stream.Signature(unsigned(8))), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = Signal(range(self._divisor))
        shift = Signal(9, init=0x1FF)
        bits = Signal(range(11))
        m.d.sync += self.tx.eq(shift[0])
        m.d.comb += self.i.ready.eq(bits == 0)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [shift.eq(Cat(0, self.i.payload)), bits.eq(10), timer.eq(self._divisor - 1)]
        with m.Elif(bits != 0):
            m.d.sync += timer.eq(timer - 1)
            with m.If(timer == 0):
                m.d.sync += [timer.eq(self._divisor - 1), shift.eq(Cat(shift[1:], 1)), bits.eq(bits - 1)]
        return m
