"""What a board is, and its design."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal
from amaranth.lib import io

from abc_hw.rtl_gen.cost.devices import Device
from abc_hw.rtl_gen.engine.accelerator import WeightSource
from abc_hw.rtl_gen.parts.memory_mapping import TECHNOLOGIES, Technology

from .gateware.clocking import Clocking, PllKind
from .gateware.lights import Lights, Shows
from .gateware.top import LinkedAccelerator

__all__ = ["Board", "BoardTop"]


Light = tuple[str, int, str]
"""Resource of the platform, its number, and the part of it, ``""`` if it has none."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """A board with an FPGA that open tools make bitstreams for.

    Members
    -------
    name : on the command line;  title : for people
    platform : makes its amaranth-boards platform
    pll, clock : what makes the design's clock, and its frequency in Hz
    part : what its FPGA has
    serial : which pins or bridge carry the link, for people
    network : what is built where nothing else is asked for, as on the command line
    cycles : per image, the target of a network's folding
    weights : in the design, or loaded by the host
    bitstream : suffix of the file that is loaded
    lights : what its lights show, each by its resource in the platform, number, and part of that if it has parts
    overrides : for the platform's ``build``
    """

    name: str
    title: str
    platform: Callable[[], Any]
    pll: PllKind
    clock: int
    part: Device
    serial: str
    network: str
    cycles: int
    bitstream: str
    weights: WeightSource = "rom"
    overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)
    lights: Mapping[Shows, Light] = dataclasses.field(default_factory=dict)

    @property
    def technology(self) -> Technology:
        """What its memories are made of."""
        return TECHNOLOGIES[self.part.target]


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
        if self._board.lights:
            m.submodules.lights = lights = Lights(self._board.clock)
            m.d.comb += [lights.working.eq(linked.working), lights.refused.eq(linked.refused)]
            for shows, pin in self._pins(platform).items():
                m.submodules[f"light_{shows}"] = light = io.Buffer("o", pin)
                m.d.comb += light.o.eq(getattr(lights, shows))
        return m

    def _pins(self, platform: Any) -> dict[Shows, Any]:
        """The pin of each light; unused parts of a resource are left alone."""
        lights, requested = self._board.lights, dict[tuple[str, int], Any]()
        for resource, number, part in lights.values():
            if (resource, number) not in requested:
                direction = dict.fromkeys("rgb", "-") if part else "-"
                requested[resource, number] = platform.request(resource, number, dir=direction)
        return {
            shows: getattr(requested[resource, number], part) if part else requested[resource, number]
            for shows, (resource, number, part) in lights.items()
        }
