"""The registers behind AXI4-Lite, as their description has them."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .axi import LITE_ADDRESS_BITS, Response, lite_members
from .register_map import Register

__all__ = ["LiteRegisters"]


class LiteRegisters(wiring.Component):
    """A subordinate of AXI4-Lite: one read and one write at a time, an answer to each.

    A read of a register that can only be written is answered by SLVERR; so is a write of one that can only be
    read, without all four bytes, with bits where the register has none, or while it is not ``free``. Where there
    is no register the answer is DECERR. All these change nothing, and such a read gives 0.

    Parameters
    ----------
    registers : all of them

    Members
    -------
    s_awaddr, ... : AXI4-Lite
    REGISTER_FIELD : In, of each field that can be read and is not constant: what it is
    REGISTER_free : In(1), of each register that can be written: may it be, in this cycle?
    REGISTER_strobe : Out(1), of each: it is written with ``data``;  data : Out(32)
    """

    def __init__(self, registers: Sequence[Register]) -> None:
        self._registers = tuple(registers)
        members: dict[str, wiring.Member] = {**lite_members("s"), "data": Out(32)}
        for one in registers:
            if one.writes:
                members |= {f"{one.name}_free": In(1), f"{one.name}_strobe": Out(1)}
            else:
                members |= {
                    f"{one.name}_{field.name}": In(field.bits) for field in one.fields if field.constant is None
                }
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._build_reads(m)
        self._build_writes(m)
        return m

    def _build_reads(self, m: Module) -> None:
        taken = self.s_arvalid & self.s_arready
        m.d.comb += self.s_arready.eq(~self.s_rvalid)
        with m.If(self.s_rready):
            m.d.sync += self.s_rvalid.eq(0)
        with m.If(taken):
            m.d.sync += self.s_rvalid.eq(1)
            with m.Switch(self.s_araddr):
                for one in self._registers:
                    with m.Case(one.address):
                        value = Const(0, 32) if one.writes else self._value(one)
                        answer = Response.SLVERR if one.writes else Response.OKAY
                        m.d.sync += [self.s_rdata.eq(value), self.s_rresp.eq(answer)]
                with m.Default():
                    m.d.sync += [self.s_rdata.eq(0), self.s_rresp.eq(Response.DECERR)]

    def _value(self, one: Register) -> Value:
        """What a register reads as."""
        bits: list[Value] = []
        place = 0
        for field in one.fields:
            value: Value = (
                getattr(self, f"{one.name}_{field.name}") if field.constant is None
                else Const(field.constant, unsigned(field.bits))
            )
            bits += [Const(0, field.lsb - place), value]
            place = field.lsb + field.bits
        return Cat(*bits, Const(0, 32 - place))

    def _build_writes(self, m: Module) -> None:
        address, word = Signal(LITE_ADDRESS_BITS), Signal(32)
        strobes = Signal(4)
        has_address, has_word = Signal(), Signal()
        m.d.comb += [self.s_awready.eq(~has_address), self.s_wready.eq(~has_word), self.data.eq(word)]
        with m.If(self.s_awvalid & self.s_awready):
            m.d.sync += [has_address.eq(1), address.eq(self.s_awaddr)]
        with m.If(self.s_wvalid & self.s_wready):
            m.d.sync += [has_word.eq(1), word.eq(self.s_wdata), strobes.eq(self.s_wstrb)]
        with m.If(self.s_bready):
            m.d.sync += self.s_bvalid.eq(0)
        acts = has_address & has_word & (~self.s_bvalid | self.s_bready)
        with m.If(acts):
            m.d.sync += [has_address.eq(0), has_word.eq(0), self.s_bvalid.eq(1)]
            with m.Switch(address):
                for one in self._registers:
                    with m.Case(one.address):
                        if one.writes:
                            may = getattr(self, f"{one.name}_free") & strobes.all() & self._fits(one, word)
                            m.d.comb += getattr(self, f"{one.name}_strobe").eq(may)
                            m.d.sync += self.s_bresp.eq(Mux(may, Response.OKAY, Response.SLVERR))
                        else:
                            m.d.sync += self.s_bresp.eq(Response.SLVERR)
                with m.Default():
                    m.d.sync += self.s_bresp.eq(Response.DECERR)

    @staticmethod
    def _fits(one: Register, word: Value) -> Value:
        """Are all bits of ``word`` that no field has 0?"""
        mask = sum(((1 << field.bits) - 1) << field.lsb for field in one.fields)
        return (word & Const(0xFFFF_FFFF ^ mask, 32)) == 0
