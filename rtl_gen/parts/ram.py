"""Memories whose contents come from outside."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from .arith import ceil_div

__all__ = ["LOAD_BITS", "SINGLE_PORT", "Ram", "write_signature"]

LOAD_BITS = 16
"""Bits that are written at once."""

SINGLE_PORT = "single_port"
"""Attribute of the memories, for those who choose what to make of them."""


def write_signature(width: int, depth: int) -> wiring.Signature:
    """What writes a memory of ``depth`` words: one part of ``LOAD_BITS`` bits of the word at ``addr``.

    ``en`` has a bit for each part of a word, the lowest first, of which at most one is 1.
    """
    return wiring.Signature({
        "addr": Out(range(max(depth, 2))),
        "data": Out(unsigned(LOAD_BITS)),
        "en": Out(unsigned(ceil_div(width, LOAD_BITS))),
    })


class Ram(wiring.Component):
    """As :class:`abc_hw.rtl_gen.parts.rom.Rom`, but written, not made: its words are unknown until then.

    One port reads and writes by turns, so that single-port memories will do: while ``write.en`` is not 0, ``data``
    does not follow ``addr``.

    Parameters
    ----------
    width : bits of a word
    depth : words

    Members
    -------
    addr : In;  data : Out, the word at the ``addr`` of two cycles before
    write : In, :func:`write_signature`
    """

    def __init__(self, *, width: int, depth: int) -> None:
        if depth < 1:
            raise ValueError(f"A memory must have at least one word, not {depth}")
        self._width, self._depth = width, max(depth, 2)
        super().__init__({
            "addr": In(range(self._depth)),
            "data": Out(unsigned(width)),
            "write": In(write_signature(width, depth)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        writes = self.write.en.any()
        addr = Mux(writes, self.write.addr, self.addr)
        words = []
        whole = self._width // LOAD_BITS * LOAD_BITS
        for name, start, end in (("memory", 0, whole), ("rest", whole, self._width)):
            if start == end:
                continue
            part = min(end - start, LOAD_BITS)
            memory = Memory(shape=unsigned(end - start), depth=self._depth, init=[], attrs={SINGLE_PORT: 1})
            m.submodules[name] = memory
            write, read = memory.write_port(granularity=part), memory.read_port()
            register = Signal(end - start, name=f"{name}_word", reset_less=True)
            m.d.sync += register.eq(read.data)
            m.d.comb += [
                write.addr.eq(addr),
                write.data.eq(self.write.data[:part].replicate((end - start) // part)),
                write.en.eq(self.write.en[start // LOAD_BITS :]),
                read.addr.eq(addr),
                read.en.eq(~writes),
            ]
            words.append(register)
        m.d.comb += self.data.eq(Cat(words))
        return m
