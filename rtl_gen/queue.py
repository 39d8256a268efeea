# amaranth: UnusedElaboratable=no
"""The queue behind an engine, where finished codes wait for the layer that takes them."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from .arith import select
from .popcount import TARGETS
from .stream import code_stream

__all__ = ["Queue"]

SHIFTED_BITS = 64
"""Without small memories a queue of up to so many bits is a shift register: decoders would be larger than it."""


class Queue(wiring.Component):
    """Transfers of codes in the order in which they came; who writes keeps count of the room.

    Parameters
    ----------
    lanes : codes of a transfer
    shape : of a code
    depth : most transfers that are in the queue at once, at least 2
    target : technology, a key of :data:`rtl_gen.popcount.TARGETS`

    Members
    -------
    codes : In, a transfer;  write : In(1), it is there; never with ``depth`` of them in the queue
    o : Out, stream of transfers
    """

    def __init__(self, *, lanes: int, shape: Shape, depth: int, target: str = "generic") -> None:
        if depth < 2:
            raise ValueError(f"A queue must have room for at least 2 transfers, not {depth}")
        self._width, self._depth, self._target = lanes * shape.width, depth, target
        super().__init__({
            "codes": In(data.ArrayLayout(shape, lanes)), "write": In(1), "o": Out(code_stream(lanes, shape)),
        })

    @staticmethod
    def has_memory(width: int, depth: int, target: str) -> bool:
        """Is a queue of ``depth`` transfers of ``width`` bits a memory, of ``depth - 1`` words?"""
        return TARGETS[target].small_memories or width * (depth - 1) > SHIFTED_BITS

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.has_memory(self._width, self._depth, self._target):
            self._build_memory(m)
        else:
            self._build_shift_register(m)
        return m

    def _build_memory(self, m: Module) -> None:
        m.submodules.fifo = fifo = SyncFIFOBuffered(width=self._width, depth=self._depth)
        m.d.comb += [
            fifo.w_data.eq(self.codes),
            fifo.w_en.eq(self.write),
            self.o.valid.eq(fifo.r_rdy),
            Value.cast(self.o.payload).eq(fifo.r_data),
            fifo.r_en.eq(self.o.ready),
        ]

    def _build_shift_register(self, m: Module) -> None:
        """What comes moves all before it on; the oldest one stands at ``newer``."""
        slots = [Signal(self._width, name=f"slot_{n}", reset_less=True) for n in range(self._depth - 1)]
        payload, valid = Signal(self._width, name="payload", reset_less=True), Signal(name="valid")
        waiting = Signal()  # something stands in the slots
        newer = Signal(range(self._depth))  # how many came after the oldest
        with m.If(self.write):
            m.d.sync += Cat(slots).eq(Cat(self.codes, slots))
        takes = ~valid | self.o.ready
        leaves = waiting & takes
        with m.If(leaves):
            m.d.sync += payload.eq(select(newer, slots))
        with m.If(takes):
            m.d.sync += valid.eq(waiting)
        with m.If(self.write & ~leaves):
            m.d.sync += [waiting.eq(1), newer.eq(Mux(waiting, newer + 1, 0))]
        with m.Elif(leaves & ~self.write):
            m.d.sync += [waiting.eq(newer != 0), newer.eq(Mux(newer == 0, 0, newer - 1))]
        m.d.comb += [self.o.valid.eq(valid), Value.cast(self.o.payload).eq(payload)]
