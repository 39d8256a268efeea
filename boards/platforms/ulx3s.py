"""Radiona ULX3S."""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from abc_hw.rtl_gen.emit import synthesis

from ..board import Board, Capacity

ULX3S_85F = Board(
    name="ulx3s-85f",
    title="ULX3S (ECP5-85F)",
    platform=ULX3S_85F_Platform,
    pll="ecp5",
    clock=80_000_000,
    capacity=Capacity(luts=83_640, blocks=208, multipliers=156),
    serial="its USB bridge",
    network="zoo:mnist-lenet-m3n3",
    cycles=20_000,
    bitstream="bit",
    target="ecp5-slices",
    overrides={"synth_opts": synthesis.ECP5, "ecppack_opts": "--compress"},
    lights={"configured": ("led", 0, ""), "busy": ("led", 1, ""), "error": ("led", 2, "")},
)
