"""Bytes from transfers of one size into transfers of another."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..parts.arith import select

__all__ = ["ByteGearbox", "byte_layout"]


def byte_layout(size: int) -> data.StructLayout:
    """Up to ``size`` bytes, the first lowest: the first ``count`` of them are there, and the others are 0."""
    return data.StructLayout({"bytes": unsigned(8 * size), "count": range(size + 1)})


class ByteGearbox(wiring.Component):
    """Bytes in order, so many at a time as are wanted.

    Parameters
    ----------
    i_size, o_size : most bytes of a transfer that comes in, and that leaves

    Members
    -------
    i : In, stream of :func:`byte_layout`
    want : In, bytes of the next transfer that leaves, 1 to ``o_size``; stays until it has left
    o : Out, stream of ``o_size`` bytes, those past ``want`` belong to later transfers
    """

    def __init__(self, *, i_size: int, o_size: int) -> None:
        if i_size < 1 or o_size < 1:
            raise ValueError(f"Transfers must have at least one byte, not {min(i_size, o_size)}")
        self._i_size, self._o_size = i_size, o_size
        super().__init__({
            "i": In(stream.Signature(byte_layout(i_size))), "want": In(range(o_size + 1)),
            "o": Out(stream.Signature(unsigned(8 * o_size))),
        })

    @property
    def depth(self) -> int:
        """Bytes that it holds: enough for a transfer in while one leaves."""
        return 2 * self._i_size + self._o_size

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = self.depth
        held = Signal(8 * depth, reset_less=True)
        count = Signal(range(depth + 1))
        leaves, comes = self.o.valid & self.o.ready, self.i.valid & self.i.ready
        m.d.comb += [
            self.o.valid.eq(count >= self.want), self.o.payload.eq(held[: 8 * self._o_size]),
            self.i.ready.eq(count <= depth - self._i_size),
        ]
        left = Signal(range(depth + 1))
        kept = Signal(8 * depth)
        moved = select(self.want, [_upper(held, 8 * size) for size in range(self._o_size + 1)])
        m.d.comb += [
            left.eq(count - Mux(leaves, self.want, 0)), kept.eq(Mux(leaves, moved, held)),
        ]
        places = [
            Cat(kept[: 8 * place], self.i.payload.bytes)[: 8 * depth] for place in range(depth - self._i_size + 1)
        ]
        m.d.sync += count.eq(left + Mux(comes, self.i.payload.count, 0))
        m.d.sync += held.eq(Mux(comes, select(left, places), kept))
        return m


def _upper(value: Value, start: int) -> Value:
    """``value`` without its lowest bits."""
    return value[start:]
