"""What a board is, and its design."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal
from amaranth.lib import io

from abc_hw.rtl_gen.engine.accelerator import WeightSource

from .gateware.clocking import Clocking, PllKind
from .gateware.top import LinkedAccelerator

__all__ = [
    "ECP5_BLOCK", "GOWIN_BLOCK", "ICE40_BLOCK", "LARGE_DEPTH", "LARGE_WIDTH", "Block", "Board", "BoardTop",
    "Capacity",
]

LARGE_WIDTH, LARGE_DEPTH = 16, 16_384
"""Of the large memories of an iCE40 UltraPlus."""


@dataclasses.dataclass(frozen=True)
class Block:
    """A part's block RAM.

    Members
    -------
    shapes : (bits of a word, words) that it can have
    ram_bits, rom_bits : for each block that a memory would take, the bits up to which Yosys makes it of LUTs or
        flip-flops instead, by the costs in Yosys's description of the part
    """

    shapes: tuple[tuple[int, int], ...]
    ram_bits: int
    rom_bits: int

    @property
    def bits(self) -> int:
        return max(width * words for width, words in self.shapes)


ICE40_BLOCK = Block(((2, 2048), (4, 1024), (8, 512), (16, 256)), ram_bits=64, rom_bits=1024)
ECP5_BLOCK = Block(
    ((1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512)), ram_bits=2048, rom_bits=2048
)
GOWIN_BLOCK = ECP5_BLOCK


@dataclasses.dataclass(frozen=True, kw_only=True)
class Capacity:
    """What a part has.

    Members
    -------
    luts : LUTs of four inputs
    blocks : block RAMs of kind ``block``
    multipliers : hardware multipliers
    large : memories of ``LARGE_WIDTH`` bits by ``LARGE_DEPTH`` words, of one port and without contents
    """

    luts: int
    blocks: int
    block: Block
    multipliers: int = 0
    large: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """A board with an FPGA that open tools make bitstreams for.

    Members
    -------
    name : on the command line;  title : for people
    platform : makes its amaranth-boards platform
    pll, clock : what makes the design's clock, and its frequency in Hz
    capacity : of the part
    serial : which pins or bridge carry the link, for people
    network : what is built where nothing else is asked for, as on the command line
    cycles : per image, the target of a network's folding
    weights : in the design, or loaded by the host
    bitstream : suffix of the file that is loaded
    target : technology that the popcounts are made for, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`
    overrides : for the platform's ``build``
    """

    name: str
    title: str
    platform: Callable[[], Any]
    pll: PllKind
    clock: int
    capacity: Capacity
    serial: str
    network: str
    cycles: int
    bitstream: str
    target: str
    weights: WeightSource = "rom"
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)


class BoardTop(Elaboratable):
    """A board's whole design: clock, reset, registered pins, accelerator behind the serial line."""

    def __init__(self, board: Board, linked: LinkedAccelerator) -> None:
        self._board, self._linked = board, linked

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.domains.sync = ClockDomain()
        m.submodules.clocking = Clocking(self._board.pll, self._board.clock)
        m.submodules.linked = linked = self._linked
        uart = platform.request("uart", 0, dir="-")
        m.submodules.rx = rx = io.FFBuffer("i", uart.rx)
        m.submodules.tx = tx = io.FFBuffer("o", uart.tx)
        idle = Signal(init=0)  # the output register has no reset: from configuration on, the line rests at 1
        m.d.sync += idle.eq(1)
        m.d.comb += [linked.rx.eq(rx.i), tx.o.eq(linked.tx | ~idle)]
        return m
