"""Random small accelerators of which a wanted part is the slowest."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
from random_networks import random_network

from abc_hw.errors import InputError
from abc_hw.network import Layer, Network
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding, Schedule, candidates

KINDS = ("input", "adapter", "layer", "pool", "scores")
"""What can be the slowest part: a pool is as slow as its layer, at the most."""

SIZES = {"input": (6, 4), "adapter": (4, 8), "layer": (6, 4), "pool": (6, 5), "scores": (2, 16)}
"""Sides of images and channels of layers, at the most."""

MOST_CYCLES, MOST_XNORS = 400, 250


@dataclasses.dataclass(frozen=True)
class Limited:
    """An accelerator and where its weights come from."""

    network: Network
    foldings: dict[str, LayerFolding]
    weights: str

    @property
    def plan(self) -> AcceleratorPlan:
        return AcceleratorPlan.of(self.network, self.foldings, weights=self.weights)


def slowest(plan: AcceleratorPlan) -> set[str]:
    """The kinds of parts that take as many cycles as the whole."""
    cycles = {
        "input": [plan.i_transfers],
        "adapter": [adapter.cycles for adapter in plan.adapters[:-1] if adapter.needed],
        "layer": [layer.schedule.cycles for layer in plan.layers],
        "pool": [layer.pool.cycles for layer in plan.layers if layer.pool is not None],
        "scores": [plan.argmax.cycles],
    }
    return {kind for kind, each in cycles.items() if plan.cycles in each}


def folding(rng: np.random.Generator, layer: Layer, kind: str) -> LayerFolding:
    """One with which a part of the kind may be the slowest."""
    every = sorted(candidates(layer), key=lambda schedule: schedule.cycles)
    if kind == "pool" and layer.pool > 1:
        every = [one for one in every if one.folding.pe // one.out_lanes == one.group_cycles] or every
    elif kind == "adapter":  # lanes of which neither divide the other, at times
        for _ in range(20):
            knobs = LayerFolding(
                simd=int(rng.integers(2, layer.in_shape[2] + 2)),
                pe=int(rng.integers(1, layer.out_channels + 1)),
                mp=layer.weight_bases.count, np=layer.input_bases.count,
            )
            try:
                return Schedule(layer.fused, knobs).folding
            except InputError:
                continue
    elif kind != "layer":
        every = every[: 1 + len(every) // 8]
    return every[int(rng.integers(len(every)))].folding


def alike(number: int) -> AcceleratorPlan:
    """A random accelerator of that number whose layers take nearly as long as each other, and as the input."""
    rng = np.random.default_rng([len(KINDS), number])
    network = random_network(rng, side=int(rng.integers(4, 13)), channels=int(rng.integers(2, 13)))
    target = int(rng.integers(1, 4)) * network.input_shape[0] * network.input_shape[1]
    foldings = {}
    for layer in network.layers:
        every = candidates(layer, several=True)
        fast = [one for one in every if one.cycles <= target] or [min(every, key=lambda one: one.cycles)]
        near = [one for one in fast if one.cycles >= 0.7 * max(other.cycles for other in fast)]
        foldings[layer.name] = near[int(rng.integers(len(near)))].folding
    return AcceleratorPlan.of(network, foldings)


def pooled(*, side: int, channels: int, pool: int, simd: int) -> AcceleratorPlan:
    """A layer and its pool that are busy in every cycle, before a layer that takes ``simd`` of its channels."""
    rng = np.random.default_rng(0)
    conv = random_layer(
        rng, name="conv", in_shape=(side, side, 1), out_channels=channels, kernel=(3, 3), padding=1, N=1, M=1,
        pool=pool, levels=2,
    )
    dense = random_layer(
        rng, name="dense", in_shape=conv.out_shape, out_channels=2, kernel=conv.out_shape[:2], N=1, M=1,
        levels=None,
    )
    network = Network(name="pooled", layers=(conv, dense), classes=("a", "b"))
    foldings = {"conv": LayerFolding(simd=9, pe=channels), "dense": LayerFolding(simd=simd, pe=2)}
    return AcceleratorPlan.of(network, foldings)


def limited(kind: str, number: int) -> Limited:
    """The accelerator of that number, of which nothing else is as slow; every third one has loaded weights."""
    alone = {"layer", "pool"} if kind == "pool" else {kind}
    side, channels = SIZES[kind]
    for attempt in itertools.count():
        rng = np.random.default_rng([KINDS.index(kind), number, attempt])
        count = int(rng.integers(1 + (kind == "adapter"), 4))
        network = random_network(rng, layers=count, side=side, channels=channels)
        foldings = {layer.name: folding(rng, layer, kind) for layer in network.layers}
        made = Limited(network, foldings, "loaded" if number % 3 == 0 else "rom")
        plan = made.plan
        xnors = sum(layer.schedule.xnors for layer in plan.layers)
        if slowest(plan) == alone and plan.cycles <= MOST_CYCLES and xnors <= MOST_XNORS:
            return made
    raise AssertionError("the count never ends")
