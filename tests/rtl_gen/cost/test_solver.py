"""The solver: nothing is better than what it chooses, by trying everything; what it says where nothing fits."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from random_networks import random_network

from abc_hw.errors import InputError
from abc_hw.network import Network
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.cost.devices import DEVICES, Device
from abc_hw.rtl_gen.cost.estimate import Estimator, estimate
from abc_hw.rtl_gen.cost.solver import Choice, Limits, Option, Solver, search
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding, candidates

ECP5 = DEVICES["ecp5-25k"]


def random_options(rng: np.random.Generator) -> list[list[Option]]:
    """One to four layers with a few foldings each, of any cost."""
    return [
        [
            Option(
                luts=int(rng.integers(1, 60)), ffs=int(rng.integers(1, 60)), brams=int(rng.integers(0, 8)),
                dsps=int(rng.integers(0, 3)), cycles=int(rng.integers(1, 8)),
                i=(1, int(rng.choice([1, 2, 3])) if place else 1), o=(1, int(rng.choice([1, 2, 3]))),
                folding=LayerFolding(),
            )
            for _ in range(rng.integers(1, 8))
        ]
        for place in range(rng.integers(1, 5))
    ]


def every_cost(
    layers: list[list[Option]], adapters: dict[tuple[int, int, int], tuple[int, ...]], cycles: int,
    limits: Limits,
) -> list[tuple[int, int, int, int]]:
    """(LUTs, flip-flops, block RAMs, multipliers) of every choice that is fast and small enough."""
    found = []
    for choice in itertools.product(*layers):
        lanes = [option.o[1] for option in choice]
        between = [
            adapters[index, before, option.i[1]]
            for index, (before, option) in enumerate(zip(lanes, choice[1:], strict=False), 1)
        ] + [adapters[len(layers), lanes[-1], 1]]
        cost = (
            sum(option.luts for option in choice) + sum(one[0] for one in between),
            sum(option.ffs for option in choice) + sum(one[1] for one in between),
            sum(option.brams for option in choice) + sum(one[2] for one in between),
            sum(option.dsps for option in choice),
        )
        small = all(taken <= limit for taken, limit in zip(
            cost, (limits.luts, limits.ffs, limits.brams, limits.dsps), strict=True
        ))
        if small and max(*(option.cycles for option in choice), *(one[3] for one in between)) <= cycles:
            found.append(cost)
    return found


def test_search_finds_the_optimum_of_300_random_cases() -> None:
    outcomes = {True: 0, False: 0}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        layers = random_options(rng)
        places = itertools.product(range(1, len(layers) + 1), (1, 2, 3), (1, 2, 3))
        adapters = {
            place: tuple(int(rng.integers(*span)) for span in ((0, 30), (0, 30), (0, 2), (1, 5)))
            if place[1] != place[2] else (0, 0, 0, 0)
            for place in places
        }
        cycles = int(rng.integers(2, 9))
        limits = Limits(
            luts=int(rng.integers(20, 60 * len(layers))), ffs=int(rng.integers(20, 60 * len(layers))),
            brams=int(rng.integers(0, 7 * len(layers))), dsps=int(rng.integers(0, 2 * len(layers))),
        )
        found = search(
            layers, lambda index, before, after, costs=adapters: costs[index, before[1], after[1]], cycles, limits
        )
        every = every_cost(layers, adapters, cycles, limits)
        assert (found is None) == (not every), seed
        outcomes[found is None] += 1
        if found is not None:
            assert found[:4] == min(every), seed
            chosen = found.options()
            assert all(option in options for option, options in zip(chosen, layers, strict=True))
            assert max(option.cycles for option in chosen) <= cycles
    assert min(outcomes.values()) > 30, "both outcomes are tried"


def small_networks() -> list[Network]:
    """Networks with at most 400 foldings."""
    found = []
    for seed in itertools.count():
        network = random_network(np.random.default_rng(seed), layers=2, side=5, channels=4)
        if 20 < math.prod(len(candidates(layer, several=True)) for layer in network.layers) <= 400:
            found.append(network)
        if len(found) == 6:
            return found
    raise AssertionError


@pytest.mark.parametrize("network", small_networks(), ids=lambda network: str(network.digest[:6]))
def test_networks_against_every_folding(network: Network) -> None:
    """Areas and cycles by the estimator of the whole accelerator, for every folding there is."""
    solver = Solver(network, ECP5)
    estimator = Estimator(network, ECP5.family)
    every = []
    for choice in itertools.product(*(candidates(layer, several=True) for layer in network.layers)):
        made = estimator.accelerator({schedule.layer.name: schedule.folding for schedule in choice})
        every.append((made.cycles, made.area.luts))
    for cycles in solver.targets[:: max(1, len(solver.targets) // 4)]:
        chosen = estimate(network, solver.for_cycles(cycles))
        assert chosen.cycles <= cycles
        least = min(luts for reached, luts in every if reached <= cycles)
        assert chosen.area.luts <= least + len(network.layers) * 2, "but for rounding up"


def network() -> Network:
    rng = np.random.default_rng(3)
    conv = random_layer(rng, name="conv1", in_shape=(12, 12, 4), out_channels=16, kernel=(3, 3), levels=3)
    dense = random_layer(
        rng, name="dense2", in_shape=conv.out_shape, out_channels=10, kernel=conv.out_shape[:2], N=2, levels=None
    )
    return Network(name="small", layers=(conv, dense), classes=tuple("abcdefghij"))


def test_fastest_is_the_fastest_that_fits() -> None:
    solver = Solver(network(), ECP5, Limits(luts=4000, brams=12))
    cycles, foldings = solver.best()
    made = estimate(network(), foldings)
    assert made.cycles == cycles
    assert made.area.luts <= 4000
    assert made.area.brams <= 12
    faster = solver.faster(cycles)
    assert faster is not None
    assert faster[0] < cycles
    assert solver.cheapest(faster[0]) is None, "one step faster does not fit"
    assert estimate(network(), faster[1]).cycles == faster[0]


def test_every_target_is_reached_by_some_folding() -> None:
    solver = Solver(network(), ECP5, Limits())
    for cycles in solver.targets:
        foldings = solver.for_cycles(cycles)
        assert AcceleratorPlan.of(network(), foldings).cycles <= cycles
    with pytest.raises(InputError, match="conv1: expected a target of at least 144 cycles per image"):
        solver.for_cycles(solver.targets[0] - 1)


@pytest.mark.parametrize(("limits", "message"), [
    (Limits(luts=3000), r"conv1: expected at most 3,000 LUTs of ecp5-25k for the network at 300 cycles per image, "
                        r"found [\d,]+, [\d,]+ of them here; nearest that fits: [\d,]+ cycles per image$"),
    (Limits(luts=3000, brams=1), r"dense2: expected at most 1 block RAMs .*; no folding fits, --budget 0.2 has "
                                 r"room$"),
    (Limits(luts=10), r"expected at most 10 LUTs of .*; no folding fits, --budget 0.1 has room$"),
])
def test_refusals_name_layer_resource_need_limit_and_what_works(limits: Limits, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Solver(network(), ECP5, limits).for_cycles(300)


@pytest.mark.parametrize(("luts", "share", "what"), [
    (400, 0.5, "ecp5-25k has room"), (83_641, 0.001, "--budget 0.1 has room"),
])
def test_refusals_name_a_budget_or_a_device_that_works(luts: int, share: float, what: str) -> None:
    device = Device(name="x", family="ecp5", luts=luts, ffs=luts, brams=56, bram_bits=18432, dsps=3, clock=1)
    with pytest.raises(InputError, match=f"; no folding fits, {what}$"):
        Solver(network(), device, Limits.of(device, share)).best()


def test_refusals_where_nothing_has_room() -> None:
    device = dataclasses.replace(DEVICES["ecp5-85k"], brams=0)
    dense = random_layer(
        np.random.default_rng(0), name="dense", in_shape=(1, 1, 2048), out_channels=1024, kernel=(1, 1),
        levels=None,
    )
    large = Network(name="large", layers=(dense,), classes=tuple(map(str, range(1024))))
    with pytest.raises(InputError, match=r"; no folding fits, nor any larger device of the family$"):
        Solver(large, device, Limits.of(device)).best()


def test_a_share_of_a_device() -> None:
    device = Device(name="x", family="ecp5", luts=1001, ffs=1001, brams=9, bram_bits=18432, dsps=3, clock=1)
    assert Limits.of(device, 0.5) == Limits(luts=500, ffs=500, brams=4, dsps=1)


def test_choice_without_layers_has_no_options() -> None:
    assert Choice(0, 0, 0, 0).options() == []
