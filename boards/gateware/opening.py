"""The joints of a device's side of the link: how frames stand between its blocks."""

import enum

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..link import HEADER_BYTES, Cause
from .counting import stepped

__all__ = ["Answer", "FrameOpener", "KeptTag", "frame_bytes", "request_layout", "state_signature", "tag_signature"]

KIND_BITS = 3
"""Of the kinds that a host sends; 0 stands for all others."""


class Answer(enum.IntEnum):
    """A frame's answer that is no score."""

    REFUSED = 0
    IDENTITY = 1
    COUNTERS = 2
    TAKEN = 3


request_layout = data.StructLayout({"answer": Answer, "cause": Cause})
"""What a frame is answered by, and why if it is REFUSED."""

frame_bytes = data.StructLayout({"data": 8, "last": 1})
"""A byte of a frame that is sent, and whether it is the frame's last."""

tag_signature = wiring.Signature({"value": Out(32), "begins": Out(1), "comes": Out(1), "byte": Out(8)})
"""The tag of the frame that came, and how it came: its ``byte``s, the lowest first, in cycles in which it
``comes``, behind one in which its frame ``begins``."""

state_signature = wiring.Signature({"tag": Out(8), "turn": In(1), "next": Out(16)})
"""The numbers of ``Identity.STATE``: load_next, and the bytes of load_tag, one after the other in a ring that
``turn``s."""


class KeptTag(wiring.Component):
    """A tag that is kept, in a ring of bytes.

    Members
    -------
    i : In, :data:`tag_signature` of the frames that come;  keep : In(1), the tag that came
    turn : In(1), after ``byte`` the next one is wanted; after four turns all is as before
    byte : Out, of the tag that is kept;  same : Out(1), the tag that came is the same
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(tag_signature), "keep": In(1), "turn": In(1), "byte": Out(8), "same": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        kept = Signal(32)
        m.d.comb += self.byte.eq(kept[:8])
        with m.If(self.keep):
            m.d.sync += kept.eq(self.i.value)
        with m.Elif(self.i.comes | self.turn):
            m.d.sync += kept.eq(kept.rotate_right(8))
        with m.If(self.i.begins):
            m.d.sync += self.same.eq(1)
        with m.Elif(self.i.comes & (self.i.byte != self.byte)):
            m.d.sync += self.same.eq(0)
        return m


class FrameOpener(wiring.Component):
    """Parts frames into header and payload.

    Members
    -------
    i : In, stream of header and payload bytes, frame after frame
    head : Out, stream of kinds, 0 for those that have more than ``KIND_BITS``; valid as long as the frame's
        payload may be taken. Whoever takes it has done with the frame, and has taken all its payload
    tag : Out, :data:`tag_signature`;  turn : In(1), its value moves on by a byte, in a ring
    valid : Out(1), ready : In(1), of the stream of the payload's bytes, which are those at ``i``
    left : Out, how many of them are still to come
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(stream.Signature(unsigned(8))),
            "head": Out(stream.Signature(unsigned(KIND_BITS))),
            "tag": Out(tag_signature),
            "turn": In(1),
            "valid": Out(1),
            "ready": In(1),
            "left": Out(8),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte, tag = self.i.payload, self.tag.value
        field = Signal(range(HEADER_BYTES))
        told = ~self.head.valid & self.i.valid & (field == 1)  # here comes the length
        m.d.comb += self.tag.byte.eq(byte)
        with m.If(~self.head.valid):
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.d.sync += field.eq(field + 1)
                with m.If(field == 0):
                    m.d.comb += self.tag.begins.eq(1)
                    m.d.sync += self.head.payload.eq(Mux(byte[KIND_BITS:] == 0, byte, 0))
                with m.If(field > 1):
                    m.d.comb += self.tag.comes.eq(1)
                with m.If(field == HEADER_BYTES - 1):
                    m.d.sync += [field.eq(0), self.head.valid.eq(1)]
        with m.Else():
            m.d.comb += [
                self.valid.eq(self.i.valid & (self.left != 0)),
                self.i.ready.eq(self.ready & (self.left != 0)),
            ]
            with m.If(self.head.ready):
                m.d.sync += self.head.valid.eq(0)
        with m.If(told | (self.valid & self.ready)):
            m.d.sync += self.left.eq(stepped(~told, self.left, byte, down=True))
        with m.If(self.tag.comes | self.turn):
            m.d.sync += tag.eq(Cat(tag[8:], Mux(self.turn, tag[:8], byte)))
        return m
