"""1BitSquared iCEBreaker."""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from abc_hw.rtl_gen.cost.devices import DEVICES
from abc_hw.rtl_gen.emit import synthesis

from ..board import Board

ICEBREAKER = Board(
    name="icebreaker",
    title="iCEBreaker (iCE40UP5K)",
    platform=ICEBreakerPlatform,
    pll="ice40-pad",
    clock=24_000_000,
    part=DEVICES["ice40-up5k"],
    serial="second port of its USB bridge",
    network="zoo:mnist-lenet-m1n1",
    cycles=200_000,
    bitstream="bin",
    weights="loaded",
    overrides={"synth_opts": synthesis.ICE40_UP},
    lights={"error": ("led", 0, ""), "alive": ("led", 1, "")},
)
