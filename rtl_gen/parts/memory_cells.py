"""Single block memories, of which :class:`abc_hw.rtl_gen.parts.memory.Memory` is made: the place of a macro."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["STYLES", "CellMaker", "MemoryCell", "PlainCell", "Unit", "storage_attributes"]

STYLES = {"block": "block", "distributed": "distributed", "large": "huge", "logic": "logic"}
"""What Yosys calls each :data:`abc_hw.rtl_gen.parts.memory_mapping.Kind`, as the attribute ``ram_style``."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Unit:
    """A block memory, one of the two halves of one with two ports, or a bank of look-up tables.

    Members
    -------
    width, depth : bits of a word, words
    shape : (bits of a word, words) that the block is used with, at least as large
    kind : of cell
    settled : must a word that is read and written at once be the old one?
    contents : int64 [depth]; None: unknown, it is written
    write : ``none``; ``word``: by a port of its own; ``parts``: through the port that reads, and then does not
    held : has it an enable?
    registered : has it a register at its output?
    """

    width: int
    depth: int
    shape: tuple[int, int]
    kind: str = "block"
    settled: bool = False
    contents: np.ndarray | None = None
    write: str = "none"
    held: bool = False
    registered: bool = True

    @property
    def latency(self) -> int:
        """Cycles from an address to its word; with ``held``, those with ``en``."""
        return 1 + self.registered

    @property
    def signature(self) -> wiring.Signature:
        """``addr`` and ``data``; ``en``; ``w_en``, ``w_data`` and, of a port of its own, ``w_addr``."""
        address = range(max(self.depth, 2))
        members: dict[str, wiring.Member] = {"addr": Out(address), "data": In(unsigned(self.width))}
        if self.held:
            members["en"] = Out(1)
        if self.write != "none":
            members |= {"w_en": Out(1), "w_data": Out(unsigned(self.width))}
        if self.write == "word":
            members["w_addr"] = Out(address)
        return wiring.Signature(members)


class MemoryCell(wiring.Component):
    """Base of block memories: a member ``port0`` (and ``port1``) with the signature of each unit.

    The words of an ASIC's macro go here: a cell that holds one instance of it, given to
    :class:`abc_hw.rtl_gen.parts.memory_mapping.Technology` together with the macro's shapes.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = tuple(units)
        super().__init__({f"port{index}": In(unit.signature) for index, unit in enumerate(units)})

    @property
    def units(self) -> tuple[Unit, ...]:
        return self._units

    @property
    def ports(self) -> list[wiring.PureInterface]:
        return [getattr(self, f"port{index}") for index in range(len(self._units))]


CellMaker = Callable[[Sequence[Unit]], MemoryCell]
"""Makes a block memory of its units."""


def storage_attributes(kind: str, *, settled: bool = False) -> dict[str, object]:
    """Attributes of a memory that is to become this kind; unless ``settled``, what comes of reading and writing
    one address at once does not count."""
    style: dict[str, object] = {"ram_style": STYLES[kind]} if kind in STYLES else {}
    return style if settled else {**style, "no_rw_check": 1}


class PlainCell(MemoryCell):
    """Its words in plain words of the language, for the synthesiser to put into cells of their kind."""

    def elaborate(self, platform: object) -> Module:
        m = Module()
        unit, = self._units
        port, = self.ports
        init = [] if unit.contents is None else [int(word) for word in unit.contents]
        m.submodules[f"{unit.kind}_ram"] = memory = Memory(
            shape=unsigned(unit.width), depth=max(unit.depth, 2), init=init,
            attrs=storage_attributes(unit.kind, settled=unit.settled or unit.write == "none"),
        )
        read = memory.read_port()
        m.d.comb += read.addr.eq(port.addr)
        if unit.held:
            m.d.comb += read.en.eq(port.en)
        if unit.write != "none":
            write = memory.write_port()
            m.d.comb += [
                write.addr.eq(port.w_addr if unit.write == "word" else port.addr), write.data.eq(port.w_data),
                write.en.eq(port.w_en),
            ]
        if unit.write == "parts":
            m.d.comb += read.en.eq(~port.w_en)
        if not unit.registered:
            m.d.comb += port.data.eq(read.data)
            return m
        register = Signal(unit.width, name="word", reset_less=True)
        with m.If(port.en if unit.held else 1):
            m.d.sync += register.eq(read.data)
        m.d.comb += port.data.eq(register)
        return m
