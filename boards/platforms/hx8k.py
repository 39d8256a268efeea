"""Lattice iCE40-HX8K breakout board."""

from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform

from abc_hw.rtl_gen.cost.devices import DEVICES
from abc_hw.rtl_gen.emit import synthesis

from ..board import Board

HX8K = Board(
    name="hx8k",
    title="iCE40-HX8K breakout board (iCE40HX8K)",
    platform=ICE40HX8KBEVNPlatform,
    pll="ice40-core",
    clock=72_000_000,
    part=DEVICES["ice40-hx8k"],
    serial="second port of its USB bridge",
    network="zoo:digits-lenet-m3n3",
    cycles=16_000,
    bitstream="bin",
    overrides={"synth_opts": synthesis.ICE40_HX},
    lights={"configured": ("led", 0, ""), "busy": ("led", 1, ""), "error": ("led", 2, "")},
)
