"""The parts that foldings are chosen for, and that boards carry."""

import dataclasses

from abc_hw.registry import Registry

from .estimate import TARGETS

__all__ = ["DEVICES", "Device", "find_device"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """A part.

    Members
    -------
    name : on the command line
    family : how it is estimated, a key of :data:`abc_hw.rtl_gen.cost.estimate.TARGETS`
    luts : look-up tables of four inputs
    ffs : flip-flops; of an iCE40 as many as look-up tables, whose logic cells both share
    brams : block RAMs of ``bram_bits`` bits
    dsps : hardware multipliers
    large : large memories of one port and without contents
    clock : MHz that whole accelerators reach in it
    """

    name: str
    family: str
    luts: int
    ffs: int
    brams: int
    bram_bits: int
    dsps: int = 0
    large: int = 0
    clock: float

    @property
    def target(self) -> str:
        """Technology that accelerators are generated for, a key of
        :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`."""
        return TARGETS[self.family]


def _ecp5(size: str, luts: int, brams: int, dsps: int) -> Device:
    return Device(
        name=f"ecp5-{size}", family="ecp5", luts=luts, ffs=luts, brams=brams, bram_bits=18_432, dsps=dsps,
        clock=100,
    )


DEVICES: Registry[Device] = Registry("device", "abc_hw.devices", {
    device.name: device
    for device in (
        _ecp5("25k", luts=24_288, brams=56, dsps=28),
        _ecp5("45k", luts=43_848, brams=108, dsps=72),
        _ecp5("85k", luts=83_640, brams=208, dsps=156),
        Device(
            name="ice40-up5k", family="ice40", luts=5_280, ffs=5_280, brams=30, bram_bits=4_096, dsps=8, large=4,
            clock=24,
        ),
        Device(name="ice40-hx8k", family="ice40", luts=7_680, ffs=7_680, brams=32, bram_bits=4_096, clock=72),
        Device(name="gw1n-9c", family="gowin", luts=8_640, ffs=6_480, brams=26, bram_bits=18_432, clock=54),
    )
})
"""By name, the smallest of a family first."""


def find_device(name: str) -> Device:
    """The device of that name.

    Raises
    ------
    InputError
        if there is none.
    """
    return DEVICES.find(name)
