"""The last link before a board: the netlist, block memories included, gives the golden model's scores."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from random_networks import random_images

from abc_hw.errors import InputError
from abc_hw.network import Network
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.sim.netlist import FLOWS
from abc_hw.sim.runner import SimulationResult, simulate

BLOCKS = {
    "ecp5": "DP16KD", "ice40": "SB_RAM40_4K", "ice40-up5k": "SB_RAM40_4K", "gowin": "SPX9", "asic": "$mem_v2"
}
FOLDINGS = {"conv": LayerFolding(simd=3, pe=2, mp=1, np=1), "dense": LayerFolding(simd=4, pe=1, mp=1, np=3)}


def small_network() -> Network:
    rng = np.random.default_rng(4)
    conv = random_layer(
        rng, name="conv", in_shape=(6, 6, 1), out_channels=16, kernel=(3, 3), padding=1, M=2, N=1, pool=2, levels=4
    )
    dense = random_layer(
        rng, name="dense", in_shape=conv.out_shape, out_channels=10, kernel=conv.out_shape[:2], levels=None, M=3
    )
    return Network(name="small", layers=(conv, dense), classes=tuple("abcdefghij"))


def of_netlist(netlist: str, simulator: str = "icarus", **more: object) -> SimulationResult:
    network = small_network()
    images = random_images(np.random.default_rng(0), network, 4)
    return simulate(
        network, images, foldings=FOLDINGS, simulator=simulator, stalls=0.2, netlist=netlist, **more,  # type: ignore[arg-type]
    )


def holds(result: SimulationResult, target: str) -> None:
    assert result.ok, result.layers
    assert [layer.name for layer in result.layers] == ["output"]
    assert result.layers[0].bits_compared > 0
    assert result.cells[BLOCKS[target]] > 0


@pytest.mark.parametrize("target", [
    "ecp5", *(pytest.param(target, marks=pytest.mark.long) for target in FLOWS if target != "ecp5")
])
def test_netlist_equals_golden(target: str, tmp_path: Path) -> None:
    holds(of_netlist(target, work_dir=tmp_path), target)
    kept = (tmp_path / "netlist.v").read_text()
    if target != "asic":
        assert BLOCKS[target] in kept
    assert (".CIN(1'hx)" in kept) == (target == "ecp5"), "chains of carries are those that are placed"


@pytest.mark.long
@pytest.mark.parametrize("target", FLOWS)
def test_in_verilator(target: str) -> None:
    holds(of_netlist(target, "verilator"), target)


@pytest.mark.long
@pytest.mark.parametrize("target", FLOWS)
def test_with_loaded_weights(target: str) -> None:
    result = of_netlist(target, weights="loaded")
    holds(result, target)
    if target == "ice40-up5k":
        assert result.cells["SB_SPRAM256KA"] > 0


@pytest.mark.long
def test_of_the_portable_form() -> None:
    """Verilog without vendor cells, of which Yosys makes block memories by itself."""
    holds(of_netlist("ecp5", target="ecp5"), "ecp5")


@pytest.mark.long
@pytest.mark.parametrize("target", ["ecp5", "ice40"])
def test_a_fault_is_noticed(target: str) -> None:
    """One bit of the index of the greatest score is kept the other way round."""

    def broken(text: str) -> str:
        registers = re.findall(r"(\\argmax\.best_index\S* +(?:\[\d+\] )?<= )", text)
        assert registers
        return text.replace(registers[0], f"{registers[0]}~")

    assert not of_netlist(target, mutate=broken).ok


def test_unknown_netlist() -> None:
    with pytest.raises(InputError, match="netlist: expected ecp5, ice40, ice40-up5k, gowin, asic, found z80"):
        of_netlist("z80")
