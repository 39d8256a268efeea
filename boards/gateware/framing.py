"""Frames in hardware: the device's half of :mod:`abc_hw.boards.link`."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.rtl_gen.parts.memory import Memory
from abc_hw.rtl_gen.parts.memory_mapping import GENERIC, Technology
from abc_hw.rtl_gen.parts.memory_plan import MemoryPlan

from .. import link
from ..link import Cause
from .counting import stepped
from .crc import BITS, RESIDUE, STEPS, FrameCheck

__all__ = ["FrameReceiver", "FrameSender", "PacketBuffer", "frame_memory", "packet_memory"]


def packet_memory(depth: int, technology: Technology = GENERIC) -> MemoryPlan:
    """Of a :class:`PacketBuffer`."""
    return MemoryPlan(
        name="packets", width=8, words=depth, write="word", held=True, registered=False, technology=technology
    )


def frame_memory(technology: Technology = GENERIC) -> MemoryPlan:
    """Of a :class:`FrameSender`: a frame."""
    return MemoryPlan(
        name="frame", width=8, words=256, write="word", held=True, registered=False, technology=technology
    )


class PacketBuffer(wiring.Component):
    """Keeps a frame's bytes until it is known whether they count.

    Parameters
    ----------
    depth : bytes of memory, a power of two; one less can wait
    technology : of the memory

    Members
    -------
    data : In(8);  push : In, take it in as byte ``count`` of the frame
    count : In, bytes of the frame that comes, which are counted from 1
    commit : In, its first ``count`` bytes count; whatever else came after the last commit does not
    full : Out, there is no room for byte ``count``: a push does nothing
    o : Out, stream of the bytes that count
    """

    def __init__(self, *, depth: int, technology: Technology = GENERIC) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"The depth must be a power of two from 2, not {depth}")
        self._depth, self._technology = depth, technology
        super().__init__({
            "data": In(8),
            "push": In(1),
            "count": In(range(link.MAX_FRAME + 1)),
            "commit": In(1),
            "full": Out(1),
            "o": Out(stream.Signature(unsigned(8))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = read = Memory(packet_memory(self._depth, self._technology))
        write = read.write
        committed, tail = Signal(range(self._depth)), Signal(range(self._depth))  # the last that counts, that left
        head = Signal(range(self._depth))
        leaves, fetched = Signal(), Signal()
        m.d.comb += [
            head.eq(committed + self.count),
            self.full.eq(head == tail),
            write.addr.eq(head),
            write.data.eq(self.data),
            write.en.eq(self.push & ~self.full),
            read.addr.eq(tail),
            read.en.eq(leaves),
        ]
        with m.If(self.commit):
            m.d.sync += committed.eq(head)
        m.d.sync += [leaves.eq(0), fetched.eq(leaves)]
        with m.If(~self.o.valid & ~leaves & ~fetched & (tail != committed)):
            m.d.sync += [leaves.eq(1), tail.eq(tail + 1)]
        with m.If(fetched):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(read.data)]  # block RAM is slow: a register behind
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return m


class FrameReceiver(wiring.Component):
    """From the line's bytes to the header and payload of sound frames; equals :func:`abc_hw.boards.link.parse`.

    Parameters
    ----------
    depth : bytes of the packet buffer, a power of two
    technology : of its memory

    Members
    -------
    data, strobe, line_fault : In, as :class:`abc_hw.boards.gateware.uart.UartReceiver` gives them: ``strobe`` at
        least ``APART`` cycles apart, ``data`` until ``STEPS`` cycles behind it
    o : Out, stream of header and payload, frame after frame
    fault : Out, for one cycle: a frame was dropped;  cause : Out, why
    """

    APART = link.CRC_BYTES + 2

    def __init__(self, *, depth: int, technology: Technology = GENERIC) -> None:
        self._depth, self._technology = depth, technology
        super().__init__({
            "data": In(8),
            "strobe": In(1),
            "line_fault": In(1),
            "o": Out(stream.Signature(unsigned(8))),
            "fault": Out(1),
            "cause": Out(Cause),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.buffer = buffer = PacketBuffer(depth=self._depth, technology=self._technology)
        m.submodules.check = check = FrameCheck()
        wiring.connect(m, buffer.o, wiring.flipped(self.o))

        left = Signal(8, init=1)  # bytes until the next code byte, and that one
        zero_due = Signal()  # the block that ends stands for a zero behind it
        begun, spoilt, overflown, oversized = Signal(), Signal(), Signal(), Signal()
        count = Signal(range(link.MAX_FRAME + 1))
        missing = Signal(8)  # bytes, those that came behind the header's length taken off it
        steps = Signal(range(STEPS + 1))  # in which the byte that came is taken in, or those of the CRC let go
        zero, closing = Signal(), Signal()
        delimiter = self.strobe & (self.data == 0)
        is_code = left == 1
        emit = self.strobe & ~delimiter & (~is_code | zero_due)
        byte = Mux(zero, 0, self.data)
        comes = (steps == STEPS) & ~closing

        m.d.comb += [
            check.bits.eq(byte.word_select((-steps)[: (STEPS - 1).bit_length()], BITS)),
            check.step.eq((steps != 0) & ~closing),
            check.start.eq(delimiter),
            buffer.data.eq(byte),
            buffer.count.eq(count),
            buffer.push.eq(comes & ~oversized & ~overflown),
            buffer.commit.eq(closing & (steps == 0)),
        ]
        with m.If(self.line_fault):
            m.d.sync += [begun.eq(1), spoilt.eq(1)]
        with m.If(self.strobe & ~delimiter):
            m.d.sync += [begun.eq(1), left.eq(stepped(~is_code, left, self.data, down=True))]
            with m.If(is_code):
                m.d.sync += zero_due.eq(self.data != 255)
        with m.If(steps != 0):
            m.d.sync += steps.eq(steps - 1)
        with m.If(emit):
            m.d.sync += [steps.eq(STEPS), zero.eq(is_code), oversized.eq(count == link.MAX_FRAME)]
        with m.If(comes):
            m.d.sync += missing.eq(stepped(count != 2, missing, byte, down=True))
        with m.If(buffer.push & buffer.full):
            m.d.sync += overflown.eq(1)

        faulty = (spoilt | ~is_code, check.value == RESIDUE, overflown)
        good = self._build_verdict(m, oversized, count, missing, *faulty)
        with m.If(delimiter):
            m.d.comb += self.fault.eq(begun & ~good)
            m.d.sync += [
                signal.eq(signal.init) for signal in (left, zero_due, begun, spoilt, overflown, oversized)
            ]
        self._build_count(m, count, steps, closing, buffer.commit, more=emit & (count != link.MAX_FRAME),
                          ends=delimiter, good=begun & good)
        return m

    def _build_count(
        self, m: Module, count: Signal, steps: Signal, closing: Signal, closed: Value, *, more: Value, ends: Value,
        good: Value,
    ) -> None:
        """The bytes of the frame; of a ``good`` one those of the CRC are let go before it counts."""
        with m.If(ends & good):
            m.d.sync += [closing.eq(1), steps.eq(link.CRC_BYTES)]
        with m.If(closed):
            m.d.sync += closing.eq(0)
        with m.If(closed | (ends & ~good)):
            m.d.sync += count.eq(0)
        with m.Elif(more | closing):
            m.d.sync += count.eq(count + Cat(1, closing.replicate(len(count) - 1)))  # one more, or one less

    def _build_verdict(
        self, m: Module, oversized: Value, count: Value, missing: Value, malformed: Value, sound: Value,
        overflown: Value,
    ) -> Signal:
        """Is the frame that ends one that counts? ``cause`` tells why not."""
        good = Signal()
        overhead = link.HEADER_BYTES + link.CRC_BYTES
        with m.If(oversized):
            m.d.comb += self.cause.eq(Cause.OVERSIZED)
        with m.Elif(malformed | (count < overhead)):
            m.d.comb += self.cause.eq(Cause.MALFORMED)
        with m.Elif(~sound):
            m.d.comb += self.cause.eq(Cause.CHECKSUM)
        with m.Elif(missing != 256 + 2 - overhead):
            m.d.comb += self.cause.eq(Cause.MALFORMED)
        with m.Elif(overflown):
            m.d.comb += self.cause.eq(Cause.OVERFLOW)
        with m.Else():
            m.d.comb += good.eq(1)
        return good


class FrameSender(wiring.Component):
    """From header and payload to the bytes of a frame: CRC, stuffing and delimiter added.

    Parameters
    ----------
    technology : of its memory

    Members
    -------
    i : In, stream of bytes, the frame's last one with ``last``; at most ``MAX_FRAME - CRC_BYTES`` of them
    o : Out, stream of bytes for the line
    """

    def __init__(self, technology: Technology = GENERIC) -> None:
        self._technology = technology
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"data": 8, "last": 1}))),
            "o": Out(stream.Signature(unsigned(8))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.check = check = FrameCheck()
        m.submodules.memory = read = Memory(frame_memory(self._technology))
        write = read.write
        step, sent = Signal(range(STEPS)), Signal(range(link.CRC_BYTES))
        byte, put, moves, done = Signal(8), Signal(), Signal(), Signal()
        close = Signal()  # write the open block's code
        code, head, place = self._build_places(m, put=put, close=close, moves=moves, done=done)

        m.d.comb += [
            byte.eq(self.i.payload.data),
            check.bits.eq(self.i.payload.data.word_select(step, BITS)),
            write.en.eq(put | close),
            write.addr.eq(Mux(close, code, head)),
            write.data.eq(Mux(close, head - code, byte)),
            read.addr.eq(place),
            self.o.payload.eq(read.data),
            read.en.eq(moves),
        ]
        with m.If(check.step):
            m.d.sync += step.eq(step + 1)
        with m.FSM():
            with m.State("FILL"):
                m.d.comb += [
                    check.step.eq(self.i.valid), self.i.ready.eq(step == STEPS - 1),
                    put.eq(self.i.valid & (step == 0)), close.eq(put & (byte == 0)),
                ]
                with m.If(self.i.valid & self.i.ready & self.i.payload.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [
                    check.step.eq(1), check.bits.eq(~check.value[:BITS]), byte.eq(check.value[:8]),
                    put.eq(step == 0), close.eq(put & (byte == 0)),
                ]
                with m.If(step == STEPS - 1):
                    m.d.sync += sent.eq(sent + 1)
                    with m.If(sent == link.CRC_BYTES - 1):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += [close.eq(1), check.start.eq(1)]
                m.next = "DELIMITER"
            with m.State("DELIMITER"):
                m.d.comb += [byte.eq(0), put.eq(1)]
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += moves.eq(1)
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [self.o.valid.eq(1), moves.eq(self.o.ready), done.eq(self.o.ready & (place == head))]
                with m.If(done):
                    m.next = "FILL"
        return m

    def _build_places(
        self, m: Module, *, put: Value, close: Value, moves: Value, done: Value
    ) -> tuple[Signal, Signal, Signal]:
        """Where the open block's code goes, where the next byte, and which one is fetched."""
        code, head, place = Signal(8), Signal(8, init=1), Signal(8)
        with m.If(done):
            m.d.sync += [signal.eq(signal.init) for signal in (code, head, place)]
        with m.Else():
            with m.If(put):
                m.d.sync += head.eq(head + 1)
            with m.If(put & close):
                m.d.sync += code.eq(head)
            with m.If(moves):
                m.d.sync += place.eq(place + 1)
        return code, head, place
