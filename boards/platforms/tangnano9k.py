"""Sipeed Tang Nano 9K."""

from amaranth_boards.tang_nano_9k import TangNano9kPlatform

from abc_hw.rtl_gen.cost.devices import DEVICES
from abc_hw.rtl_gen.emit import synthesis

from ..board import Board


class TangNano9k(TangNano9kPlatform):
    """With the commands of nextpnr-himbaechel, which followed on the nextpnr-gowin that amaranth calls."""

    @property
    def required_tools(self) -> list[str]:
        return ["yosys", "nextpnr-himbaechel", "gowin_pack"]

    @property
    def command_templates(self) -> list[str]:
        synthesis, _, pack = super().command_templates
        place = r"""
        {{invoke_tool("nextpnr-himbaechel")}}
            {{quiet("--quiet")}}
            {{get_override("nextpnr_opts")|options}}
            --log {{name}}.tim
            --device {{platform.part}}
            --vopt family={{platform._chipdb_device}}
            --vopt cst={{name}}.cst
            --json {{name}}.syn.json
            --write {{name}}.pnr.json
        """
        return [synthesis, place, pack]


TANG_NANO_9K = Board(
    name="tangnano9k",
    title="Tang Nano 9K (GW1NR-9C)",
    platform=TangNano9k,
    pll="gowin",
    clock=54_000_000,
    part=DEVICES["gw1n-9c"],
    serial="second port of its USB bridge",
    network="zoo:mnist-lenet-m1n1",
    cycles=200_000,
    bitstream="fs",
    overrides={"synth_opts": synthesis.GOWIN, "nextpnr_opts": "--freq 54"},
    lights={"configured": ("led", 0, ""), "busy": ("led", 1, ""), "error": ("led", 2, "")},
)
