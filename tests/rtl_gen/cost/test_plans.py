"""One owner for every fact: solver and estimator see the same layers, and one bound counts all parts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from random_networks import random_network

from abc_hw import zoo
from abc_hw.errors import InputError
from abc_hw.network import Network
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.cost.devices import DEVICES
from abc_hw.rtl_gen.cost.estimate import Estimator, LayerEstimate, total
from abc_hw.rtl_gen.cost.solver import Option, Solver, whole
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding, candidates, default_foldings, fold_for_cycles, least_cycles


@pytest.mark.parametrize("name", zoo.chains())
def test_solver_and_estimator_agree_on_every_candidate(name: str) -> None:
    network, device = zoo.load(name), DEVICES["ecp5-85k"]
    solver, estimator = Solver(network, device), Estimator(network, device.family)
    options = solver._options
    rng = np.random.default_rng(0)
    for _ in range(50):
        chosen: list[Option] = []
        for of_layer in options:
            joined = [one for one in of_layer if not chosen or one.i[0] == chosen[-1].o[0]]
            chosen.append(joined[int(rng.integers(len(joined)))])
        made = estimator.accelerator({
            layer.name: option.folding for layer, option in zip(network.layers, chosen, strict=True)
        })
        for index, (option, layer) in enumerate(zip(chosen, made.layers, strict=True)):
            same(option, layer)
            if index:
                joins = solver._adapter(index, chosen[index - 1].o, option.i)
                cycles = made.plan.adapters[index].cycles
                assert joins == (*whole(layer.blocks["adapter"])[:3], cycles)


def same(option: Option, layer: LayerEstimate) -> None:
    """What the solver and the estimator say of a layer is equal, the adapter before it apart."""
    assert option[:4] == whole(total(area for block, area in layer.blocks.items() if block != "adapter"))
    i, o = layer.plan.i, layer.plan.o
    assert (option.cycles, option.i, option.o[:2]) == (layer.plan.cycles, (i.px, i.lanes), (o.px, o.lanes))


@pytest.mark.long
@pytest.mark.parametrize("name", zoo.chains())
def test_they_agree_on_all_there_are(name: str) -> None:
    """Every folding of every layer, with all numbers of pixels that may come at once."""
    network, device = zoo.load(name), DEVICES["ecp5-85k"]
    estimator = Estimator(network, device.family)
    for index, options in enumerate(Solver(network, device)._options):
        for option in options:
            same(option, estimator.layer(estimator.plan(index, option.folding, option.i[0])))
        print(f"{network.layers[index].name}: {len(options)} candidates")


def test_no_block_is_slower_than_its_layer_says() -> None:
    """What follows the array keeps up with it, and the slowest part is the accelerator's bound."""
    for seed in range(30):
        network = random_network(np.random.default_rng(seed), side=6, channels=4)
        foldings = {
            layer.name: (every := candidates(layer))[seed * 7 % len(every)].folding for layer in network.layers
        }
        plan = AcceleratorPlan.of(network, foldings)
        for layer in plan.layers:
            assert layer.cycles == max(layer.schedule.cycles, layer.i.transfers(layer.numbers.layer.in_shape))
            assert layer.o.transfers(layer.numbers.layer.out_shape) <= layer.schedule.cycles
        parts = [layer.cycles for layer in plan.layers] + [adapter.cycles for adapter in plan.adapters]
        assert plan.cycles == max(plan.i_transfers, plan.argmax.cycles, *parts)


def mlp(classes: int) -> Network:
    rng = np.random.default_rng(classes)
    hidden = random_layer(
        rng, name="hidden", in_shape=(4, 4, 1), out_channels=16, kernel=(4, 4), M=1, N=8, input_kind="planes",
        levels=2,
    )
    dense = random_layer(
        rng, name="dense", in_shape=(1, 1, 16), out_channels=classes, kernel=(1, 1), M=1, N=1, levels=None
    )
    return Network(name="mlp", layers=(hidden, dense), classes=tuple(map(str, range(classes))))


def refused(network: Network, cycles: int) -> str:
    with pytest.raises(InputError) as caught:
        fold_for_cycles(network, cycles)
    return str(caught.value)


def test_scores_and_pixels_count() -> None:
    network = mlp(100)
    assert least_cycles(network) == 100
    assert refused(network, 16) == (
        "output: expected a target of at least 100 cycles per image, one for each score: output limits, found 16"
    )
    plan = AcceleratorPlan.of(network, fold_for_cycles(network, 100))
    assert (plan.cycles, plan.limiting) == (100, "output")
    assert AcceleratorPlan.of(network, default_foldings(network)).cycles >= 100
    few = mlp(2)
    assert refused(few, 9) == (
        "hidden: expected a target of at least 16 cycles per image, one for each transfer of its input: input "
        "limits, found 9"
    )
    assert AcceleratorPlan.of(few, fold_for_cycles(few, 16)).limiting == "input"


@pytest.mark.parametrize("name", ["input", "output"])
def test_a_layer_may_be_called_like_a_part(name: str) -> None:
    network, fast = mlp(100), fold_for_cycles(mlp(2), 16)["hidden"]
    hidden = dataclasses.replace(network.layers[0], name=name)
    named = dataclasses.replace(network, layers=(hidden, network.layers[1]))
    plan = AcceleratorPlan.of(named, {name: fast, "dense": LayerFolding(simd=16, pe=100)})
    assert plan.layers[0].cycles == plan.i_transfers == 16
    assert plan.cycles == 100


def test_lanes_that_do_not_divide_count() -> None:
    """Between 3 and 4 lanes codes pass one by one."""
    network = mlp(12)
    foldings = {"hidden": LayerFolding(simd=1, pe=6, np=8), "dense": LayerFolding(simd=4, pe=12)}
    plan = AcceleratorPlan.of(network, foldings)
    adapter = plan.adapters[1]
    assert adapter.cycles == -(-16 // math.gcd(adapter.i.lanes, adapter.o.lanes)) <= plan.cycles
