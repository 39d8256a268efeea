"""Radiona ULX3S."""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from abc_hw.rtl_gen.cost.devices import DEVICES
from abc_hw.rtl_gen.emit import synthesis

from ..board import Board

ULX3S_85F = Board(
    name="ulx3s-85f",
    title="ULX3S (ECP5-85F)",
    platform=ULX3S_85F_Platform,
    pll="ecp5",
    clock=80_000_000,
    part=DEVICES["ecp5-85k"],
    serial="its USB bridge",
    network="zoo:mnist-lenet-m3n3",
    cycles=20_000,
    bitstream="bit",
    overrides={"synth_opts": synthesis.ECP5, "nextpnr_opts": "--placer static", "ecppack_opts": "--compress"},
    lights={"configured": ("led", 0, ""), "busy": ("led", 1, ""), "error": ("led", 2, "")},
)
