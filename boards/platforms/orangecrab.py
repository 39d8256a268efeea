"""OrangeCrab r0.2. Its USB connector goes straight to the FPGA: the serial line is on the header."""

import dataclasses
from typing import Any, ClassVar

from amaranth.build import Attrs
from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform, OrangeCrabR0_2_85FPlatform
from amaranth_boards.resources import UARTResource

from abc_hw.rtl_gen.cost.devices import DEVICES
from abc_hw.rtl_gen.emit import synthesis

from ..board import Board

UART = UARTResource(0, rx="0", tx="1", conn=("io", 0), attrs=Attrs(IO_TYPE="LVCMOS33", PULLMODE="UP"))


class _WithoutSuffix:
    """No suffix for the USB boot loader: it would need a tool that pip has not got. ``dfu-suffix`` adds it."""

    resources: ClassVar[list[Any]] = [*OrangeCrabR0_2_25FPlatform.resources, UART]

    @property
    def required_tools(self) -> list[str]:
        return [tool for tool in super().required_tools if tool != "dfu-suffix"]  # type: ignore[misc]

    @property
    def command_templates(self) -> list[str]:
        return [line for line in super().command_templates if "dfu-suffix" not in line]  # type: ignore[misc]


class OrangeCrab25F(_WithoutSuffix, OrangeCrabR0_2_25FPlatform):
    """With the serial line on header pins 0 (rx) and 1 (tx)."""


class OrangeCrab85F(_WithoutSuffix, OrangeCrabR0_2_85FPlatform):
    """With the serial line on header pins 0 (rx) and 1 (tx)."""


ORANGECRAB_25F = Board(
    name="orangecrab-25f",
    title="OrangeCrab r0.2 (ECP5-25F)",
    platform=OrangeCrab25F,
    pll="ecp5",
    clock=80_000_000,
    part=DEVICES["ecp5-25k"],
    serial="header pins 0 (rx) and 1 (tx), 3.3 V",
    network="zoo:mnist-lenet-m3n3",
    cycles=40_000,
    bitstream="bit",
    overrides={"synth_opts": synthesis.ECP5, "nextpnr_opts": "--placer static"},
    lights={"configured": ("rgb_led", 0, "g"), "busy": ("rgb_led", 0, "b"), "error": ("rgb_led", 0, "r")},
)

ORANGECRAB_85F = dataclasses.replace(
    ORANGECRAB_25F,
    name="orangecrab-85f",
    title="OrangeCrab r0.2 (ECP5-85F)",
    platform=OrangeCrab85F,
    part=DEVICES["ecp5-85k"],
    cycles=20_000,
)
