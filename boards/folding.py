"""Foldings for a board whose memories are scarce: which fit into its block RAMs and large memories.

The folding for a speed with the least hardware of those for whose memories there is room; weights that are loaded
go into large memories where that makes it. Block RAMs are what is short here, and small parts have a flip-flop
beside each look-up table, so that least is what takes the fewest of both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from abc_hw.network import Network
from abc_hw.rtl_gen.cost.search import END, Limits, Option, Stream, search
from abc_hw.rtl_gen.cost.solver import joint
from abc_hw.rtl_gen.engine.accelerator import WeightSource, layer_numbers
from abc_hw.rtl_gen.engine.layer import LayerPlan
from abc_hw.rtl_gen.folding import LayerFolding, candidates
from abc_hw.rtl_gen.parts.matches import LayerNumbers
from abc_hw.rtl_gen.parts.memory_mapping import TECHNOLOGIES
from abc_hw.rtl_gen.parts.memory_plan import MemoryPlan

__all__ = ["fold_into"]


def fold_into(
    network: Network, cycles: int, *, target: str, weights: WeightSource, blocks: int, large: int, cells: int
) -> dict[str, LayerFolding] | None:
    """The folding with the least hardware with at most ``cycles`` per image whose memories take at most so many
    block RAMs and large memories, what is done at once at most so many cells; None if there is none."""
    every = layer_numbers(network, weights)

    def joins(index: int, before: Stream, after: Stream) -> tuple[int, int, int, int]:
        if after is END:
            return 0, 0, 0, 0
        adapter, buffer = joint(every[index - 1], before, after, TECHNOLOGIES[target])
        return 0, 0, 0 if buffer is None else _cells(buffer.memories, "block"), adapter.cycles

    # Cells take the place of look-up tables, and large memories that of multipliers, which have no limit here.
    layers = [list(_options(numbers, cycles, target, cells)) for numbers in every]
    found = search(layers, joins, cycles, Limits(luts=cells, brams=blocks, dsps=large))
    if found is None:
        return None
    return {layer.name: option.folding for layer, option in zip(network.layers, found.options(), strict=True)}


def _options(numbers: LayerNumbers, cycles: int, target: str, cells: int) -> Iterator[Option]:
    """A layer under every folding that is fast enough, its weights in block RAMs, and in large memories if they
    can be."""
    for schedule in candidates(numbers.layer):
        if schedule.cycles > cycles or schedule.xnors > cells:
            continue
        plan = LayerPlan(numbers, schedule.folding, target=target)
        for one in (plan, dataclasses.replace(plan, large=True)):
            memories = [memory for block in one.blocks.values() for memory in block.memories]
            large = _cells(memories, "large")
            if one.large and not large:
                continue
            pooled = 0 if one.pool is None else one.pool.i.px
            yield Option(
                luts=_bits_held(one), ffs=0, brams=_cells(memories, "block"), dsps=large,
                cycles=max(one.cycles, one.window.i_transfers), i=(one.i.px, one.i.lanes),
                o=(one.o.px, one.o.lanes, pooled), folding=one.folding,
            )


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


def _cells(memories: list[MemoryPlan], kind: str) -> int:
    return sum(memory.mapped.cells for memory in memories if memory.kept and memory.mapped.kind == kind)
