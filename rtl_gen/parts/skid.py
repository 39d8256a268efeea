"""A register between two streams in both directions: no path leads through it."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Skid"]


class Skid(wiring.Component):
    """A skid buffer: what comes while the answer at the output waits is put aside.

    ::

        i --+------------> head --> o
            +--> spare ----^

    Whether it is ready stands in a register, so that who puts something in never waits for who takes it, many
    layers of logic and of chip away. A transfer each cycle on both sides, one cycle from one to the other.

    Parameters
    ----------
    signature : of the stream

    Members
    -------
    i : In;  o : Out, streams
    """

    def __init__(self, signature: stream.Signature) -> None:
        super().__init__({"i": In(signature), "o": Out(signature)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        comes = Value.cast(self.i.payload)
        head, spare = (Signal(comes.shape(), name=name, reset_less=True) for name in ("head", "spare"))
        filled, full, moves = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(~full), self.o.valid.eq(filled), Value.cast(self.o.payload).eq(head),
            moves.eq(~filled | self.o.ready),
        ]
        with m.If(moves):
            m.d.sync += [
                head.eq(Mux(full, spare, comes)), filled.eq(full | self.i.valid), full.eq(0),
            ]
        with m.Elif(~full):
            m.d.sync += full.eq(self.i.valid)
        with m.If(~full):
            m.d.sync += spare.eq(comes)
        return m
