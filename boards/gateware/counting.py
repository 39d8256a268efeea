"""How often what has happened: the numbers of :class:`abc_hw.boards.link.Counters`."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..link import Cause, Counters

__all__ = ["Tally", "number_of", "stepped"]

WIDTH = 16
COUNT = 8 * Counters.LAYOUT.size // WIDTH


def stepped(counts: Value, register: Value, other: Value, *, down: bool = False) -> Value:
    """``register`` and one, or less one, where it ``counts``, or else ``other``: a cell for each bit where carries
    have a cell's own way, as what decides stands in the place of the one."""
    ones = counts.replicate(len(register))
    return Mux(counts, register + ones if down else register - ones, other)


def number_of(cause: Value) -> Value:
    """Number of the counter of a cause; that of frames that were used is 0."""
    return (cause + 1)[: (COUNT - 1).bit_length()]


class Tally(wiring.Component):
    """Counters in a ring, of which the one in front counts and is read.

    An event waits until its counter is in front, ``COUNT`` cycles or so. A frame takes longer, on the line as in
    :class:`abc_hw.boards.gateware.opening.FrameOpener`. Nothing counts between the two bytes of a counter that is
    read; those of two counters may be of moments some cycles apart.

    Parameters
    ----------
    width : bits of a counter, more than a byte's and no more than those of two

    Members
    -------
    fault, cause : In, a frame was dropped before it was looked at
    accepted : In(1), a frame was used;  refused : In(1), one was not, for ``refusal``, which stays for a while
    number, high : In, which counter, and which byte of it;  read : In(1), is it wanted?
    ready : Out(1), it is at ``byte``, until something else is to be counted
    """

    def __init__(self, width: int = WIDTH) -> None:
        self._width = width
        super().__init__({
            "fault": In(1), "cause": In(Cause), "accepted": In(1), "refused": In(1), "refusal": In(Cause),
            "number": In(range(COUNT)), "high": In(1), "read": In(1), "ready": Out(1), "byte": Out(8),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counters = [Signal(self._width, name=f"counter_{place}") for place in range(COUNT)]
        front, front_number = counters[0], Signal(range(COUNT))
        fault_due, fault_number = Signal(), Signal(range(COUNT))
        due, is_refusal = Signal(), Signal()
        counts, wanted, found = Signal(), Signal(range(COUNT)), Signal()
        m.d.comb += [
            counts.eq((fault_due | due) & ~(self.read & self.high)),
            wanted.eq(Mux(fault_due, fault_number, Mux(is_refusal, number_of(self.refusal), 0))),
            self.ready.eq(found & ~counts),
            self.byte.eq(front.word_select(self.high, 8)),
        ]
        with m.If(~counts):
            m.d.comb += wanted.eq(self.number)
        m.d.comb += found.eq(front_number == wanted)
        with m.If((counts | self.read) & ~found):
            m.d.sync += [front_number.eq(front_number + 1), Cat(counters[1:]).eq(Cat(counters[2:], front))]
        with m.Elif(counts):
            m.d.sync += [fault_due.eq(0), due.eq(due & fault_due)]
        with m.If((counts & ~front.all()) | (self.read & ~found)):
            m.d.sync += front.eq(stepped(found, front, counters[1]))
        with m.If(self.fault):
            m.d.sync += [fault_due.eq(1), fault_number.eq(number_of(self.cause))]
        with m.If(self.accepted | self.refused):
            m.d.sync += [due.eq(1), is_refusal.eq(self.refused)]
        return m
