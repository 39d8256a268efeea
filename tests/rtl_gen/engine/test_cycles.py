"""The array does not idle: measured cycles between images against the bound of the slowest layer."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from places import EXAMPLES
from random_networks import random_images

from abc_hw import zoo
from abc_hw.network import Layer, Network
from abc_hw.network.description import load, random_layer
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding, default_foldings, fold_for_cycles
from abc_hw.rtl_gen.parts.arith import ceil_div
from abc_hw.sim.runner import simulate


def chain(*, name: str, shape: tuple[int, int, int], blocks: list[dict[str, object]], seed: int) -> Network:
    """A network of ``blocks`` (arguments of random_layer), the last one the classifier; M = N = 3 unless said."""
    rng = np.random.default_rng(seed)
    layers: list[Layer] = []
    for index, block in enumerate(blocks):
        options: dict[str, object] = {"M": 3, "N": 3} | block
        if index == 0:
            options |= {"N": 8, "input_kind": "planes"}
        if "kernel" not in options:
            options["kernel"] = shape[:2]
        levels = None if index == len(blocks) - 1 else 4
        layers.append(random_layer(rng, name=f"layer{index}", in_shape=shape, levels=levels, **options))  # type: ignore[arg-type]
        shape = layers[-1].out_shape
    return Network(name=name, layers=tuple(layers), classes=tuple(map(str, range(shape[2]))))


def formula(layer: Layer, folding: LayerFolding) -> int:
    """OH OW ceil(C_out/pe) ceil(M/mp) ceil(N/np) ceil(K/simd), written out once more."""
    height, width, channels = layer.conv_shape
    return (
        height * width * ceil_div(channels, folding.pe) * ceil_div(layer.weight_bases.count, folding.mp)
        * ceil_div(layer.input_bases.count, folding.np) * ceil_div(layer.dot_length, folding.simd)
    )


NETWORKS = {
    "lenet-like": chain(
        name="lenet-like", shape=(16, 16, 1), seed=1,
        blocks=[
            {"out_channels": 8, "kernel": (5, 5), "pool": 2}, {"out_channels": 8, "kernel": (3, 3), "pool": 2},
            {"out_channels": 16}, {"out_channels": 10},
        ],
    ),
    "vgg-like": chain(
        name="vgg-like", shape=(12, 12, 3), seed=2,
        blocks=[
            {"out_channels": 8, "kernel": (3, 3), "padding": 1},
            {"out_channels": 8, "kernel": (3, 3), "padding": 1, "pool": 2},
            {"out_channels": 12, "kernel": (3, 3), "padding": 1, "pool": 2}, {"out_channels": 10},
        ],
    ),
    "mlp": chain(
        name="mlp", shape=(8, 8, 1), seed=3,
        blocks=[{"out_channels": 32}, {"out_channels": 32}, {"out_channels": 10}],
    ),
}


@pytest.mark.parametrize(("name", "target", "simulated"), [
    ("lenet-like", 2000, True), ("lenet-like", 6000, False), ("vgg-like", 1500, False), ("vgg-like", 8000, True),
    ("mlp", 300, True), ("mlp", 1500, False),
])
def test_steady_state_meets_the_bound(name: str, target: int, simulated: bool) -> None:
    """By the plans' own account of every transfer; and in simulation, which shows the very same cycles."""
    network = NETWORKS[name]
    foldings = fold_for_cycles(network, target)
    bound = max(
        int(np.prod(network.input_shape)),
        *(formula(layer, foldings[layer.name]) for layer in network.layers),
    )
    plan = AcceleratorPlan.of(network, foldings)
    assert plan.cycles <= bound
    moments = plan.moments(5)
    between = [after - before for (_, before), (_, after) in itertools.pairwise(moments)]
    assert max(between[2:]) <= 1.01 * bound, (between, bound)
    if not simulated:
        return
    images = random_images(np.random.default_rng(0), network, 5)
    result = simulate(network, images, foldings=foldings, simulator="verilator")
    assert result.ok, result.layers
    assert result.cycles_between_images == between
    assert result.latencies == [classified - sent for sent, classified in moments]
    assert result.latencies[0] == result.planned == plan.latency


def test_a_whole_window_per_cycle() -> None:
    """A fully unrolled first layer takes pixels as they come."""
    network = chain(
        name="unrolled", shape=(11, 9, 1), seed=4,
        blocks=[{"out_channels": 4, "kernel": (3, 3), "padding": 1, "pool": 2}, {"out_channels": 3}],
    )
    height, width, _ = network.layers[0].conv_shape
    foldings = {
        "layer0": LayerFolding(simd=9, pe=4, mp=3, np=8),
        **{layer.name: LayerFolding(simd=16, pe=3, mp=3, np=3) for layer in network.layers[1:]},
    }
    made = AcceleratorPlan.of(network, foldings)
    assert made.layers[0].cycles == height * width == made.cycles
    images = random_images(np.random.default_rng(0), network, 5)
    result = simulate(network, images, foldings=foldings, simulator="verilator")
    assert result.ok, result.layers
    assert max(result.cycles_between_images[2:]) <= 1.01 * height * width, result.cycles_between_images
    assert result.latencies[0] == made.latency


def test_several_pixels_meet_the_bound() -> None:
    """From layer to layer as many pixels come as the one before hands on, through pools that take them as they are
    and one that does not."""
    network = NETWORKS["vgg-like"]
    pixels = {"layer0": 3, "layer1": 4, "layer2": 5}
    chosen = {
        name: dataclasses.replace(folding, px=pixels.get(name, 1))
        for name, folding in fold_for_cycles(network, 8000).items()
    }
    plan = AcceleratorPlan.of(network, chosen)
    assert [layer.i.px for layer in plan.layers] == [1, 3, 2, 3]
    assert plan.layers[2].pixels is not None
    images = random_images(np.random.default_rng(0), network, 4)
    result = simulate(network, images, foldings=chosen, simulator="verilator")
    assert result.ok, result.layers
    assert set(result.cycles_between_images[2:]) == {plan.cycles}


def named(name: str) -> Network:
    """An example, or a network of the zoo."""
    return zoo.load(name.removeprefix("zoo:")) if name.startswith("zoo:") else load(EXAMPLES / f"{name}.toml")[0]


SMALL = ["tiny", "digits-small"]
LARGE = [
    "lenet", "mlp", "vgg", "cnv", "cnv-m1n1",
    *(f"zoo:{name}" for name in zoo.chains() if f"zoo:{name}" not in SMALL),
]
"""Simulated by ``pytest -m long tests/rtl_gen/engine/test_cycles.py``, in minutes each."""


def test_no_example_is_forgotten() -> None:
    examples = {path.stem for path in EXAMPLES.glob("*.toml")}
    examples.remove("residual")  # a graph, of which no accelerator is made
    assert examples | {f"zoo:{name}" for name in zoo.chains()} == {*SMALL, *LARGE}


@pytest.mark.parametrize("name", [*SMALL, *(pytest.param(name, marks=pytest.mark.long) for name in LARGE)])
def test_examples_meet_the_bound_under_stalls(name: str) -> None:
    """At the default folding, whose bound leaves the input the time that it loses by being held back."""
    network = named(name)
    foldings = default_foldings(network)
    made = AcceleratorPlan.of(network, foldings)
    bound, transfers = made.cycles, made.i_transfers
    stalls = 0.2 if transfers < 0.75 * bound else 0.0
    images = random_images(np.random.default_rng(0), network, 5)
    result = simulate(network, images, foldings=foldings, simulator="verilator", stalls=stalls)
    assert result.ok, result.layers
    steady = result.cycles_between_images[2:]
    assert max(steady) <= 1.01 * bound, (result.cycles_between_images, bound)
    assert result.latency > max(transfers, max(layer.cycles for layer in made.layers))
    if not stalls:
        assert result.latencies[0] == made.latency


def test_foldings_differ() -> None:
    """The targets above lead to different hardware, and each folding divides its layer."""
    for network in NETWORKS.values():
        chosen = [fold_for_cycles(network, target) for target in (1500, 8000)]
        for one, other in itertools.pairwise(chosen):
            assert one != other
        for layer in network.layers:
            assert layer.dot_length % chosen[0][layer.name].simd == 0
