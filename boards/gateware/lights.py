"""What a board's lights show: that it is configured, that it computes, that something was refused."""

from typing import Literal

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["BUSY_TICKS", "ERROR_TICKS", "TICKS", "Lights", "Shows"]

Shows = Literal["configured", "busy", "error", "alive"]
"""What a light is on for; ``alive`` is configured and not busy, where there is no light for each."""

TICKS = 32
"""In a second."""

BUSY_TICKS, ERROR_TICKS = 2, 32
"""How long a light stays on, at the least but for a tick."""


class Lights(wiring.Component):
    """Events of a cycle made long enough to be seen.

    Parameters
    ----------
    clock : frequency in Hz

    Members
    -------
    working : In, an image is under way;  refused : In, a frame was damaged, or cannot be taken
    configured, busy, error, alive : Out, what :data:`Shows` says
    """

    def __init__(self, clock: int) -> None:
        self._period = max(2, clock // TICKS)
        super().__init__({
            "working": In(1), "refused": In(1), "configured": Out(1, init=1), "busy": Out(1), "error": Out(1),
            "alive": Out(1),
        })

    @property
    def period(self) -> int:
        """Cycles from tick to tick."""
        return self._period

    def elaborate(self, platform: object) -> Module:
        m = Module()
        passed = Signal(range(self._period))
        tick = passed == self._period - 1
        m.d.sync += passed.eq(passed + 1)
        with m.If(tick):
            m.d.sync += passed.eq(0)
        for name, event, light, ticks in (
            ("busy", self.working, self.busy, BUSY_TICKS), ("error", self.refused, self.error, ERROR_TICKS),
        ):
            left = Signal(range(ticks + 1), name=f"{name}_ticks")
            with m.If(event):
                m.d.sync += left.eq(ticks)
            with m.Elif(tick & left.any()):
                m.d.sync += left.eq(left - 1)
            m.d.comb += light.eq(left.any())
        m.d.comb += [self.configured.eq(1), self.alive.eq(~self.busy)]
        return m
