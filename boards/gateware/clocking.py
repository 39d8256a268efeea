"""Clock and reset of a board: from its oscillator, through a PLL where another frequency is better."""

import dataclasses
from typing import Any, Literal

from amaranth.hdl import ClockDomain, ClockSignal, Const, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

__all__ = ["Clocking", "PllSettings", "ecp5_settings", "gowin_settings", "ice40_settings"]

PllKind = Literal["none", "ice40-pad", "ice40-core", "ecp5", "gowin"]

POWER_ON_SECONDS = 15e-6
"""An iCE40's block RAM reads as zero for some microseconds after configuration; the reset outlasts that."""


@dataclasses.dataclass(frozen=True)
class PllSettings:
    """A PLL's parameters, and the frequency that they give in Hz."""

    clock: int
    parameters: dict[str, Any]


def ice40_settings(source: int, clock: int) -> PllSettings:
    """SB_PLL40: ``clock = source (DIVF + 1) / 2**DIVQ``, with the oscillator inside at 533 to 1066 MHz.

    Raises
    ------
    ValueError
        if it cannot be made exactly.
    """
    found = [
        (abs(source * (divf + 1) / (1 << divq) - clock), divf, divq)
        for divq in range(1, 7)
        for divf in range(64)
        if 533e6 <= source * (divf + 1) <= 1066e6
    ]
    error, divf, divq = min(found, default=(clock, 0, 0))
    _check(source, clock, error)
    settings = {"FEEDBACK_PATH": "SIMPLE", "DIVR": Const(0, 4), "DIVF": Const(divf, 7), "DIVQ": Const(divq, 3)}
    settings["FILTER_RANGE"] = Const(1 if source < 17e6 else 2 if source < 26e6 else 3, 3)
    return PllSettings(source * (divf + 1) // (1 << divq), settings)


def ecp5_settings(source: int, clock: int) -> PllSettings:
    """EHXPLLL: ``clock = source CLKFB_DIV / CLKI_DIV``, with the oscillator inside at 400 to 800 MHz.

    Raises
    ------
    ValueError
        if it cannot be made exactly.
    """
    found = [
        (abs(source * feedback / divider - clock), divider, feedback, op)
        for divider in range(1, 9)
        for feedback in range(1, 65)
        for op in [round(600e6 * divider / (source * feedback))]
        if 1 <= op <= 128 and 400e6 <= source * feedback / divider * op <= 800e6 and source / divider >= 3.125e6
    ]
    error, divider, feedback, op = min(found, default=(clock, 1, 1, 1))
    _check(source, clock, error)
    settings: dict[str, Any] = {
        "CLKI_DIV": divider, "CLKFB_DIV": feedback, "CLKOP_DIV": op, "FEEDBK_PATH": "CLKOP",
        "CLKOP_ENABLE": "ENABLED", "CLKOP_CPHASE": op - 1, "CLKOP_FPHASE": 0,
    }
    return PllSettings(source * feedback // divider, settings)


def gowin_settings(source: int, clock: int) -> PllSettings:
    """rPLL: ``clock = source (FBDIV_SEL + 1) / (IDIV_SEL + 1)``, with the oscillator inside at 400 to 1,200 MHz.

    Raises
    ------
    ValueError
        if it cannot be made exactly.
    """
    found = [
        (abs(source * (feedback + 1) / (divider + 1) - clock), divider, feedback, output)
        for divider in range(8)
        for feedback in range(64)
        for output in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)
        if 400e6 <= source * (feedback + 1) / (divider + 1) * output <= 1200e6 and source / (divider + 1) >= 3e6
    ]
    error, divider, feedback, output = min(found, default=(clock, 0, 0, 2))
    _check(source, clock, error)
    settings: dict[str, Any] = {
        "FCLKIN": f"{source / 1e6:g}", "IDIV_SEL": divider, "FBDIV_SEL": feedback, "ODIV_SEL": output,
        "DYN_IDIV_SEL": "false", "DYN_FBDIV_SEL": "false", "DYN_ODIV_SEL": "false", "CLKFB_SEL": "internal",
        "CLKOUT_BYPASS": "false",
    }
    return PllSettings(source * (feedback + 1) // (divider + 1), settings)


def _check(source: int, clock: int, error: float) -> None:
    if error:
        raise ValueError(f"The clock must be one that the PLL makes of {source} Hz, not {clock} Hz")


class Clocking(Elaboratable):
    """Drives the domain ``sync``, which its parent defines, from the platform's default clock.

    Reset goes on at once, also without a clock, and off in step with the clock: after configuration, when the PLL
    has locked.

    Parameters
    ----------
    kind : which PLL
    clock : Hz; that of the oscillator where the kind is ``none``
    """

    def __init__(self, kind: PllKind, clock: int) -> None:
        self._kind, self._clock = kind, clock

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        port = platform.request(platform.default_clk, dir="-")
        source = int(platform.default_clk_constraint.frequency)
        clock, locked = Signal(name="clock"), Signal(init=1)
        m.d.comb += ClockSignal("sync").eq(clock)
        if self._kind == "ice40-pad":
            m.submodules.pll = Instance(
                "SB_PLL40_PAD", *_parameters(ice40_settings(source, self._clock)), i_PACKAGEPIN=port.io,
                i_RESETB=Const(1), i_BYPASS=Const(0), o_PLLOUTGLOBAL=clock, o_LOCK=locked,
            )
        else:
            m.submodules.buffer = buffer = io.Buffer("i", port)
            if self._kind == "ice40-core":
                m.submodules.pll = Instance(
                    "SB_PLL40_CORE", *_parameters(ice40_settings(source, self._clock)), i_REFERENCECLK=buffer.i,
                    i_RESETB=Const(1), i_BYPASS=Const(0), o_PLLOUTGLOBAL=clock, o_LOCK=locked,
                )
            elif self._kind == "ecp5":
                m.submodules.pll = Instance(
                    "EHXPLLL", *_parameters(ecp5_settings(source, self._clock)), i_CLKI=buffer.i, i_CLKFB=clock,
                    i_RST=Const(0), i_STDBY=Const(0), i_ENCLKOP=Const(0), i_PHASESEL0=Const(0),
                    i_PHASESEL1=Const(0), i_PHASEDIR=Const(0), i_PHASESTEP=Const(0), i_PHASELOADREG=Const(0),
                    i_PLLWAKESYNC=Const(0), o_CLKOP=clock, o_LOCK=locked,
                )
            elif self._kind == "gowin":
                m.submodules.pll = Instance(
                    "rPLL", *_parameters(gowin_settings(source, self._clock)), i_CLKIN=buffer.i,
                    i_CLKFB=Const(0), i_RESET=Const(0), i_RESET_P=Const(0), i_FBDSEL=Const(0, 6),
                    i_IDSEL=Const(0, 6), i_ODSEL=Const(0, 6), i_PSDA=Const(0, 4), i_DUTYDA=Const(0, 4),
                    i_FDLY=Const(0, 4), o_CLKOUT=clock, o_LOCK=locked,
                )
            else:
                m.d.comb += clock.eq(buffer.i)
        platform.add_clock_constraint(clock, self._clock)
        self._build_reset(m, locked)
        return m

    def _build_reset(self, m: Module, locked: Signal) -> None:
        m.domains += ClockDomain("power_on", local=True)
        m.d.comb += ClockSignal("power_on").eq(ClockSignal("sync"))
        m.submodules.locked = ResetSynchronizer(~locked, domain="power_on")
        cycles = int(POWER_ON_SECONDS * self._clock)
        count, waiting = Signal(range(cycles + 1)), Signal(init=1)
        with m.If(count == cycles):
            m.d.power_on += waiting.eq(0)
        with m.Else():
            m.d.power_on += count.eq(count + 1)
        m.d.comb += ResetSignal("sync").eq(waiting)


def _parameters(settings: PllSettings) -> list[tuple[str, str, Any]]:
    """Parameters as an Instance takes them."""
    return [("p", name, value) for name, value in settings.parameters.items()]
