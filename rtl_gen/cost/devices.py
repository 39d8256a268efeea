"""Devices that foldings are chosen for."""

import dataclasses

from abc_hw.registry import Registry

__all__ = ["DEVICES", "Device", "find_device"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Device:
    """A part.

    Members
    -------
    name : on the command line
    family : how it is estimated, a key of :data:`abc_hw.rtl_gen.cost.estimate.TARGETS`
    luts : look-up tables of four inputs, each with a flip-flop
    brams : block RAMs of ``bram_bits`` bits
    dsps : hardware multipliers
    clock : MHz that whole accelerators reach in it
    """

    name: str
    family: str
    luts: int
    brams: int
    bram_bits: int
    dsps: int
    clock: float


DEVICES: Registry[Device] = Registry("device", "abc_hw.devices", {
    device.name: device
    for device in (
        Device(name="ecp5-25k", family="ecp5", luts=24_288, brams=56, bram_bits=18_432, dsps=28, clock=100),
        Device(name="ecp5-45k", family="ecp5", luts=43_848, brams=108, bram_bits=18_432, dsps=72, clock=100),
        Device(name="ecp5-85k", family="ecp5", luts=83_640, brams=208, bram_bits=18_432, dsps=156, clock=100),
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
