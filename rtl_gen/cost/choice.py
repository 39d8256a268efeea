"""The folding of a network for what a user asks: a speed, a device, knobs set by hand, or nothing at all."""

import dataclasses
from collections.abc import Mapping

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network

from ..engine.design import plan_of
from ..engine.graph_folding import fold_graph, graph_foldings, least_graph_cycles
from ..folding import LayerFolding, default_foldings, fold_for_cycles, least_cycles

__all__ = ["fold", "fold_near"]


def fold(
    network: Network | Graph, *, cycles: int | None = None, device: str | None = None,
    budget: float | None = None, knobs: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, LayerFolding]:
    """Foldings of all layers, or convolutions of a graph, by name.

    Parameters
    ----------
    cycles : per image, to be reached with the least hardware; None: as fast as the device has room for, and
        without a device a balanced accelerator of middling size
    device : a name of :mod:`abc_hw.rtl_gen.cost.devices`;  budget : the share of it that may be
        taken; None: that of :meth:`abc_hw.rtl_gen.cost.search.Limits.of`
    knobs : simd, pe, mp, np and px of some layers, set by hand

    Raises
    ------
    InputError : a target that cannot be reached, a layer or device that is not there, a knob that does not fit
    """
    if isinstance(network, Graph):
        chosen = graph_foldings(network, cycles)
    elif device is not None:
        chosen = _for_device(network, device, budget, cycles)
    else:
        chosen = default_foldings(network) if cycles is None else fold_for_cycles(network, cycles)
    knobs = knobs or {}
    strangers = [name for name in knobs if name not in chosen]
    if strangers:
        raise InputError(f"folding: expected the layers {', '.join(chosen)}, found {', '.join(strangers)}")
    foldings = {name: dataclasses.replace(folding, **knobs.get(name, {})) for name, folding in chosen.items()}
    plan_of(network, foldings)
    return foldings


def fold_near(network: Network | Graph, cycles: int) -> dict[str, LayerFolding]:
    """The foldings with the least hardware for so many cycles per image, or as near as any come."""
    if isinstance(network, Graph):
        return fold_graph(network, max(cycles, least_graph_cycles(network)))
    return fold_for_cycles(network, max(cycles, least_cycles(network)))


def _for_device(
    network: Network, device: str, budget: float | None, cycles: int | None
) -> dict[str, LayerFolding]:
    from .devices import find_device
    from .solver import Limits, Solver

    part = find_device(device)
    solver = Solver(network, part, Limits.of(part, budget))
    return solver.best()[1] if cycles is None else solver.for_cycles(cycles)
