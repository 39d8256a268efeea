"""Does a network fit a board? Told before synthesis: block RAMs as they will be, LUTs at the least."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping

from abc_hw.errors import InputError
from abc_hw.network import Bases, Network
from abc_hw.rtl_gen.cost.estimate import TARGETS, estimate, known_families
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding, fold_for_cycles
from abc_hw.rtl_gen.parts.arith import ceil_div
from abc_hw.rtl_gen.parts.ram import SINGLE_PORT

from .board import LARGE_DEPTH, LARGE_WIDTH, Board

LUTS_PER_XNOR = 1.0
"""A bound, no estimate: whole designs take 9 to 17, with popcounts, scaling, buffers and control."""

CERTAIN_SHARE = 0.85
"""Of the LUTs that are estimated (docs/estimates.md), the share that a design takes for certain."""

LINK_LUTS = 1000
"""At the least, for line, frames, image buffer and answers."""

Needs = Callable[[Mapping[str, LayerFolding]], int]
"""The block RAMs that a network takes with these foldings; of what has no room for certain, the least."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """A memory in a design.

    Members
    -------
    width, words : its size
    written : is it a RAM?
    single : does one port serve both reading and writing, and has it no contents to begin with?
    """

    width: int
    words: int
    written: bool = False
    single: bool = False


def memories(rtlil: str) -> list[Memory]:
    """Every memory of a design as Amaranth writes it."""
    found = []
    for module in re.split(r"(?<=\nend\n)", rtlil):
        written = set(re.findall(r"cell \$memwr_v2 \S+\n\s+parameter \\MEMID \"\\(\S+)\"", module))
        for single, width, words, name in MEMORY.findall(module):
            found.append(Memory(int(width), int(words), name in written, bool(single)))
    return found


MEMORY = re.compile(
    rf"^(  attribute \\{SINGLE_PORT} [^\n]*\n)?  memory width (\d+) size (\d+) (\S+)$", re.MULTILINE
)


def blocks(board: Board, memory: Memory) -> int:
    """Block RAMs that Yosys gives a memory; none if it is cheaper in LUTs or flip-flops."""
    kind = board.capacity.block
    fewest = min(ceil_div(memory.width, width) * ceil_div(memory.words, depth) for width, depth in kind.shapes)
    worth = kind.ram_bits if memory.written else kind.rom_bits
    return fewest if memory.width * memory.words > worth * fewest else 0


def in_large(board: Board, found: list[Memory]) -> set[int]:
    """Which of the memories go into the part's large ones: first those that would take most block RAMs."""
    left, chosen = board.capacity.large, set()
    for index in sorted(range(len(found)), key=lambda index: -blocks(board, found[index])):
        memory = found[index]
        takes = ceil_div(memory.width, LARGE_WIDTH) * ceil_div(memory.words, LARGE_DEPTH)
        if memory.single and blocks(board, memory) and takes <= left:
            chosen.add(index)
            left -= takes
    return chosen


def with_large_memories(board: Board, rtlil: str) -> str:
    """The design with the memories of :func:`in_large` marked for synthesis."""
    chosen = in_large(board, memories(rtlil))
    numbers = iter(range(len(MEMORY.findall(rtlil))))

    def mark(found: re.Match[str]) -> str:
        style = '  attribute \\ram_style "huge"\n' if next(numbers) in chosen else ""
        return style + found[0]

    return MEMORY.sub(mark, rtlil)


def block_count(board: Board, found: list[Memory]) -> int:
    """Block RAMs that the memories take together, beside the large ones."""
    large = in_large(board, found)
    return sum(blocks(board, memory) for index, memory in enumerate(found) if index not in large)


def least_blocks(board: Board, network: Network, foldings: Mapping[str, LayerFolding], *, loaded: bool) -> int:
    """Block RAMs of the weights alone."""
    return block_count(board, [
        Memory(layer.weights.width, layer.weights.words, written=loaded, single=loaded)
        for layer in AcceleratorPlan.of(network, foldings).layers
    ])


def family_of(board: Board) -> str | None:
    """The part's family, where designs for it can be estimated."""
    return next((family for family in known_families() if TARGETS[family] == board.target), None)


def least_luts(board: Board, network: Network, foldings: Mapping[str, LayerFolding]) -> int:
    """LUTs without which the design cannot be: nearly what is estimated, where the part's family can be."""
    family = family_of(board)
    if family is None:
        luts = LUTS_PER_XNOR * sum(layer.schedule.xnors for layer in AcceleratorPlan.of(network, foldings).layers)
    else:
        luts = CERTAIN_SHARE * estimate(network, foldings, family=family).area.luts
    return LINK_LUTS + round(luts)


def check(board: Board, network: Network, foldings: Mapping[str, LayerFolding], needs: Needs) -> None:
    """
    Raises
    ------
    InputError
        if a resource is short; the message says which, by how much, and what would fit.
    """
    short = []
    for resource, needed, there_are in (
        ("LUTs", least_luts(board, network, foldings), board.capacity.luts),
        ("block RAMs", needs(foldings), board.capacity.blocks),
    ):
        if needed > there_are:
            short.append((f"{there_are:,} {resource}", f"{needed:,}, {needed - there_are:,} too many"))
    if short:
        expected, found = (" and ".join(parts) for parts in zip(*short, strict=True))
        raise InputError(
            f"{network.name}: expected at most {expected} on {board.name}, found at least {found}; "
            f"{remedy(board, network, foldings, needs)}"
        )


def remedy(board: Board, network: Network, foldings: Mapping[str, LayerFolding], needs: Needs) -> str:
    """What would fit in place of ``foldings``: a slower folding, or fewer weight bases."""
    family = family_of(board)
    beside = 0 if family is None else needs(foldings) - estimate(network, foldings, family=family).area.brams
    for slow in slower(board, network):
        if least_luts(board, network, slow) > board.capacity.luts:
            continue
        # An estimate of block RAMs saves making the whole design of every folding that has no room.
        if family and beside + estimate(network, slow, family=family).area.brams > board.capacity.blocks:
            continue
        if needs(slow) <= board.capacity.blocks:
            cycles = AcceleratorPlan.of(network, slow).cycles
            return f"a folding for {cycles:,} cycles per image has room enough"
    bits = board.capacity.blocks * board.capacity.block.bits
    sizes = sum(layer.weights.size for layer in network.layers)
    for count in range(max(layer.weight_bases.count for layer in network.layers) - 1, 0, -1):
        if sizes * Bases(kind="thermometer", count=count).bits <= bits:
            return f"no folding fits, M = {count} may"
    return f"no folding and no M fits: {sizes:,} weights, {bits:,} bits of block RAM"


def slower(board: Board, network: Network) -> Iterable[Mapping[str, LayerFolding]]:
    """Foldings for the board's own cycles, for twice as many, and so on."""
    slowest = AcceleratorPlan.of(network, {layer.name: LayerFolding() for layer in network.layers}).cycles
    cycles = board.cycles
    last = None
    while cycles < 2 * slowest:
        try:
            foldings = fold_for_cycles(network, cycles)
        except InputError:
            foldings = None  # no folding is that fast
        if foldings and foldings != last:
            yield foldings
        last = foldings
        cycles *= 2
