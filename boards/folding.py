"""Foldings for a board whose memories are scarce: which fit into its block RAMs and large memories.

The folding for a speed with the least hardware of those for whose memories there is room; weights that are loaded
go into large memories where that makes it. Block RAMs are what is short here, and small parts have a flip-flop
beside each look-up table, so that least is what takes the fewest of both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

from abc_hw.network import Network
from abc_hw.rtl_gen.blocks.buffer import behind_pool
from abc_hw.rtl_gen.blocks.lanes import AdapterPlan
from abc_hw.rtl_gen.engine.accelerator import WeightSource, layer_numbers
from abc_hw.rtl_gen.engine.layer import LayerPlan
from abc_hw.rtl_gen.folding import LayerFolding, Rank, Schedule, candidates, rank
from abc_hw.rtl_gen.parts.matches import LayerNumbers
from abc_hw.rtl_gen.parts.memory import MemoryPlan

__all__ = ["fold_into"]


class _Taken(NamedTuple):
    """Block RAMs, and large memories."""

    blocks: int
    large: int


class _Option(NamedTuple):
    """A folding of a layer, its weights in large memories or not."""

    rank: Rank
    plan: LayerPlan
    taken: _Taken


class _Chosen(NamedTuple):
    """Foldings of the layers up to one."""

    rank: Rank
    plans: tuple[LayerPlan, ...]


def fold_into(
    network: Network, cycles: int, *, target: str, weights: WeightSource, blocks: int, large: int, cells: int
) -> dict[str, LayerFolding] | None:
    """The folding with the least hardware with at most ``cycles`` per image whose memories take at most so many
    block RAMs and large memories, what is done at once at most so many cells; None if there is none."""
    at: dict[tuple[int, _Taken], _Chosen] = {(1, _Taken(0, 0)): _Chosen((), ())}
    for numbers in layer_numbers(network, weights):
        options = _options(numbers, cycles, target, _Taken(blocks, large), cells)
        reached: dict[tuple[int, _Taken], _Chosen] = {}
        joins: dict[tuple[int, int], int | None] = {}
        for (lanes, taken), chosen in at.items():
            for option in options:
                pair = lanes, option.plan.i.lanes
                if pair not in joins:
                    joins[pair] = _between(chosen.plans[-1], option.plan, cycles) if chosen.plans else 0
                between = joins[pair]
                if between is None:
                    continue
                whole = _Taken(taken.blocks + between + option.taken.blocks, taken.large + option.taken.large)
                if whole.blocks > blocks or whole.large > large:
                    continue
                ranked = tuple(map(sum, zip(chosen.rank or (0,) * len(option.rank), option.rank, strict=True)))
                key = option.plan.o.lanes, whole
                if ranked[0] > cells:
                    continue
                if key not in reached or ranked < reached[key].rank:
                    reached[key] = _Chosen(ranked, (*chosen.plans, option.plan))
        at = _unbeaten(reached)
    if not at:
        return None
    best = min(at.values(), key=lambda chosen: chosen.rank)
    return {plan.name: plan.folding for plan in best.plans}


def _unbeaten(
    reached: dict[tuple[int, _Taken], _Chosen]
) -> dict[tuple[int, _Taken], _Chosen]:
    """Without those that take no less than another of the same lanes and no greater rank."""
    found: dict[tuple[int, _Taken], _Chosen] = {}
    for (lanes, taken), chosen in sorted(reached.items(), key=lambda one: one[1].rank):
        others = (other for before, other in found if before == lanes)
        if not any(other.blocks <= taken.blocks and other.large <= taken.large for other in others):
            found[lanes, taken] = chosen
    return found


def _options(numbers: LayerNumbers, cycles: int, target: str, most: _Taken, cells: int) -> list[_Option]:
    """Of each pair of streams and each number of memories the folding with the least hardware."""
    fast = [
        (rank(schedule, place), schedule) for place, schedule in enumerate(candidates(numbers.layer))
        if schedule.cycles <= cycles
    ]
    found: dict[tuple[int, int, _Taken], _Option] = {}
    for ranked, schedule in fast:
        if schedule.xnors > cells:
            continue
        streams = schedule.lanes, schedule.out_lanes
        for plan, taken in _kept(numbers, schedule, target):
            if plan.cycles <= cycles and taken.blocks <= most.blocks and taken.large <= most.large:
                option = _Option((_bits_held(plan), *ranked), plan, taken)
                key = *streams, taken
                if key not in found or option.rank < found[key].rank:
                    found[key] = option
    return list(found.values())


def _bits_held(plan: LayerPlan) -> int:
    """XNORs, and bits of registers that are as many as things are done at once: of each pair of bases a sum, an
    accumulator and what is handed on; words of codes and weights and their operands; memories in registers. In
    cells of a look-up table and a flip-flop both count alike."""
    schedule, folding, layer = plan.schedule, plan.folding, plan.numbers.layer
    pairs = folding.px * folding.pe * folding.mp * folding.np
    words = folding.simd * (layer.input_bases.bits + 2 * folding.np + 2 * folding.pe * folding.mp)
    memories = [memory for block in plan.blocks.values() for memory in block.memories]
    registers = sum(one.bits for one in memories if one.mapped.kind == "logic" and one.write != "none")
    return schedule.xnors + 3 * pairs * layer.dot_length.bit_length() + words + registers


def _kept(numbers: LayerNumbers, schedule: Schedule, target: str) -> Iterator[tuple[LayerPlan, _Taken]]:
    """A layer with its weights in block RAMs, and in large memories if they can be."""
    plan = LayerPlan(numbers, schedule.folding, target=target)
    for one in (plan, dataclasses.replace(plan, large=True)):
        memories = [memory for block in one.blocks.values() for memory in block.memories]
        taken = _Taken(_cells(memories, "block"), _cells(memories, "large"))
        if not one.large or taken.large:
            yield one, taken


def _cells(memories: list[MemoryPlan], kind: str) -> int:
    return sum(memory.mapped.cells for memory in memories if memory.kept and memory.mapped.kind == kind)


def _between(before: LayerPlan, after: LayerPlan, cycles: int) -> int | None:
    """Block RAMs between two layers; None where what joins them takes longer than ``cycles``."""
    adapter = AdapterPlan(
        shape=after.numbers.layer.in_shape, i=dataclasses.replace(after.i, lanes=before.o.lanes), o=after.i
    )
    if max(adapter.cycles, after.window.i_transfers) > cycles:
        return None
    buffer = None if before.pool is None else behind_pool(before.pool, adapter)
    return 0 if buffer is None else _cells(buffer.memories, "block")
