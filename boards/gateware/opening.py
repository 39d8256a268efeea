"""The joints of a device's side of the link: how frames stand between its blocks."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..link import HEADER_BYTES, Cause

__all__ = ["FrameOpener", "frame_bytes", "head_layout", "request_layout"]

head_layout = data.StructLayout({"kind": 8, "length": 8, "tag": 32})
"""A frame's header."""

request_layout = data.StructLayout({"kind": 8, "tag": 32, "cause": Cause})
"""A frame's answer that is no score: its kind, tag and, if it is REFUSED, cause."""

frame_bytes = data.StructLayout({"data": 8, "last": 1})
"""A byte of a frame that is sent, and whether it is the frame's last."""


class FrameOpener(wiring.Component):
    """Parts frames into header and payload.

    Members
    -------
    i : In, stream of header and payload bytes, frame after frame
    head : Out, stream of :data:`head_layout`; valid as long as the frame's payload may be taken. Whoever takes it
        has done with the frame, and has taken all its payload
    valid : Out(1), ready : In(1), of the stream of the payload's bytes, which are those at ``i``
    left : Out, how many of them are still to come
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(stream.Signature(unsigned(8))),
            "head": Out(stream.Signature(head_layout)),
            "valid": Out(1),
            "ready": In(1),
            "left": Out(8),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        header = self.head.payload.as_value()
        field = Signal(range(HEADER_BYTES))
        with m.If(~self.head.valid):
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid):
                m.d.sync += [header.eq(Cat(header[8:], self.i.payload)), field.eq(field + 1)]
                with m.If(field == 1):
                    m.d.sync += self.left.eq(self.i.payload)
                with m.If(field == HEADER_BYTES - 1):
                    m.d.sync += [field.eq(0), self.head.valid.eq(1)]
        with m.Else():
            m.d.comb += [
                self.valid.eq(self.i.valid & (self.left != 0)),
                self.i.ready.eq(self.ready & (self.left != 0)),
            ]
            with m.If(self.valid & self.ready):
                m.d.sync += self.left.eq(self.left - 1)
            with m.If(self.head.ready):
                m.d.sync += self.head.valid.eq(0)
        return m
