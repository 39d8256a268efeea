"""The last link before a board: the synthesised netlist, simulated, gives the golden model's scores."""

from __future__ import annotations

import numpy as np
import pytest
from random_networks import random_images

from abc_hw.errors import InputError
from abc_hw.network import Network
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.sim.netlist import synthesised
from abc_hw.sim.runner import simulate


def tiny_network() -> Network:
    rng = np.random.default_rng(4)
    conv = random_layer(
        rng, name="conv", in_shape=(5, 5, 2), out_channels=4, kernel=(3, 3), padding=1, M=2, N=3, pool=2, levels=4
    )
    dense = random_layer(
        rng, name="dense", in_shape=conv.out_shape, out_channels=3, kernel=conv.out_shape[:2], levels=None
    )
    return Network(name="tiny", layers=(conv, dense), classes=("a", "b", "c"))


@pytest.mark.parametrize("target", [
    "ecp5-slices", pytest.param("ecp5", marks=pytest.mark.long), pytest.param("ice40", marks=pytest.mark.long),
])
def test_netlist_equals_golden(target: str) -> None:
    network = tiny_network()
    foldings = {"conv": LayerFolding(simd=6, pe=2, mp=2, np=1), "dense": LayerFolding(simd=4, pe=1, mp=1, np=3)}
    images = random_images(np.random.default_rng(0), network, 4)
    result = simulate(network, images, foldings=foldings, simulator="icarus", stalls=0.2, netlist=target)
    assert result.ok, result.layers
    assert [layer.name for layer in result.layers] == ["output"]
    assert result.layers[0].bits_compared > 0


def test_unknown_target() -> None:
    with pytest.raises(InputError, match="netlist: expected ecp5, ecp5-slices, ice40, found z80"):
        synthesised("module m(); endmodule", top="m", target="z80")
