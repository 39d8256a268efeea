"""Does a network fit a board? Told before synthesis: block RAMs as they will be, LUTs at the least."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from abc_hw.errors import InputError
from abc_hw.network import Bases, Graph, Network
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.cost.graph_estimate import estimated_luts
from abc_hw.rtl_gen.engine.accelerator import WeightSource
from abc_hw.rtl_gen.engine.design import folded_names, plan_of
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.rtl_gen.parts.memory_plan import MemoryPlan

from .board import Board

CERTAIN_SHARE = 0.85
"""Of the LUTs that are estimated (docs/estimates.md), the share that a design takes for certain."""

LINK_LUTS = 800
"""At the least, for line, frames, image buffer and answers."""

Needs = Callable[[Mapping[str, LayerFolding]], int]
"""The block RAMs that a network takes with these foldings."""


def block_count(memories: Iterable[MemoryPlan]) -> int:
    """Block RAMs that the memories of a design take, beside the part's large ones."""
    return sum(memory.mapped.cells for memory in memories if memory.mapped.kind == "block")


def least_luts(
    board: Board, network: Network | Graph, foldings: Mapping[str, LayerFolding], weights: WeightSource
) -> int:
    """LUTs without which the design cannot be: nearly what is estimated."""
    return LINK_LUTS + round(CERTAIN_SHARE * estimated_luts(network, foldings, board.part.family, weights))


def check(
    board: Board, network: Network | Graph, foldings: Mapping[str, LayerFolding], weights: WeightSource,
    needs: Needs,
) -> None:
    """
    Raises
    ------
    InputError
        if a resource is short; the message says which, by how much, and what would fit.
    """
    short = []
    for resource, needed, there_are in (
        ("LUTs", least_luts(board, network, foldings, weights), board.part.luts),
        ("block RAMs", needs(foldings), board.part.brams),
    ):
        if needed > there_are:
            short.append((f"{there_are:,} {resource}", f"{needed:,}, {needed - there_are:,} too many"))
    if short:
        expected, found = (" and ".join(parts) for parts in zip(*short, strict=True))
        raise InputError(
            f"{network.name}: expected at most {expected} on {board.name}, found at least {found}; "
            f"{remedy(board, network, weights, needs)}"
        )


def remedy(board: Board, network: Network | Graph, weights: WeightSource, needs: Needs) -> str:
    """What would fit: a slower folding, or fewer weight bases."""
    for slow in slower(board, network):
        if least_luts(board, network, slow, weights) > board.part.luts:
            continue
        if needs(slow) <= board.part.brams:
            cycles = plan_of(network, slow).cycles
            return f"a folding for {cycles:,} cycles per image has room enough"
    bits = board.part.brams * board.technology.bits_of("block")
    weighted = [layer.numbers.layer for layer in plan_of(network, _slowest(network)).layers]
    sizes = sum(layer.weights.size for layer in weighted)
    for count in range(max(layer.weight_bases.count for layer in weighted) - 1, 0, -1):
        if sizes * Bases(kind="thermometer", count=count).bits <= bits:
            return f"no folding fits, M = {count} may"
    return f"no folding and no M fits: {sizes:,} weights, {bits:,} bits of block RAM"


def slower(board: Board, network: Network | Graph) -> Iterable[Mapping[str, LayerFolding]]:
    """Foldings for the board's own cycles, for twice as many, and so on."""
    slowest = plan_of(network, _slowest(network)).cycles
    cycles = board.cycles
    last = None
    while cycles < 2 * slowest:
        try:
            foldings = fold(network, cycles=cycles)
        except InputError:
            foldings = None  # no folding is that fast
        if foldings and foldings != last:
            yield foldings
        last = foldings
        cycles *= 2


def _slowest(network: Network | Graph) -> Mapping[str, LayerFolding]:
    """Foldings of one XNOR each."""
    return {name: LayerFolding() for name in folded_names(network)}
