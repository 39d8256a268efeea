"""Does a network fit a board? Told before synthesis, from what the design must have at the least."""

from __future__ import annotations

import re
from collections.abc import Mapping

from abc_hw.errors import InputError
from abc_hw.network import Bases, Network
from rtl_gen.arith import ceil_div
from rtl_gen.folding import LayerFolding, Schedule, fold_for_cycles, schedules
from rtl_gen.ram import SINGLE_PORT

from .board import LARGE_DEPTH, LARGE_WIDTH, Board

SMALL_MEMORY = 1024
"""Bits up to which a memory need not be in a block RAM."""

LUTS_PER_XNOR = 1.0
"""A bound, no estimate: whole designs take 9 to 17, with popcounts, scaling, buffers and control."""

LINK_LUTS = 1000
"""At the least, for line, frames, image buffer and answers."""


MEMORY = re.compile(
    rf"^(?P<single>  attribute \\{SINGLE_PORT} [^\n]*\n)?(?P<large>  attribute \\ram_style \"huge\"\n)?"
    r"  memory width (?P<width>\d+) size (?P<words>\d+) ", re.MULTILINE,
)
"""A memory in a design as Amaranth writes it, and which memories it may become or is to become."""


def memories(rtlil: str) -> list[tuple[int, int]]:
    """(width, words) of every memory in a design that does not go into a large one."""
    return [
        (int(found["width"]), int(found["words"])) for found in MEMORY.finditer(rtlil) if not found["large"]
    ]


def with_large_memories(board: Board, rtlil: str) -> str:
    """The design with as much as possible in the part's large memories: first what takes most block RAMs."""
    choice = [found for found in MEMORY.finditer(rtlil) if found["single"]]
    left = board.capacity.large
    chosen = set()
    for found in sorted(choice, key=lambda one: -blocks(board, int(one["width"]), int(one["words"]))):
        takes = ceil_div(int(found["width"]), LARGE_WIDTH) * ceil_div(int(found["words"]), LARGE_DEPTH)
        if takes <= left and blocks(board, int(found["width"]), int(found["words"])):
            chosen.add(found.start())
            left -= takes

    def mark(found: re.Match[str]) -> str:
        style = '  attribute \\ram_style "huge"\n' if found.start() in chosen else ""
        return style + found[0][len(found["single"] or "") :]

    return MEMORY.sub(mark, rtlil)


def blocks(board: Board, width: int, words: int) -> int:
    """Block RAMs that a memory takes in the best of the part's shapes; none if it is small."""
    if width * words <= SMALL_MEMORY:
        return 0
    part = board.capacity
    shapes = [side for side in (1, 2, 4, 8, 9, 16, 18, 32, 36) if side <= part.block_width]
    return min(-(-width // side) * -(-words // (part.block_bits // side)) for side in shapes)


def least_needs(board: Board, made: list[Schedule]) -> dict[str, tuple[int, int]]:
    """By resource what the engines take at the least, and what the part has."""
    luts = LINK_LUTS + round(LUTS_PER_XNOR * sum(schedule.xnors for schedule in made))
    weights = sum(
        blocks(
            board,
            schedule.folding.pe * schedule.columns * schedule.lanes * schedule.layer.weight_bases.bits,
            schedule.groups * schedule.words,
        )
        for schedule in made
    )
    return {"LUTs": (luts, board.capacity.luts), "block RAMs": (weights, board.capacity.blocks)}


def check(board: Board, network: Network, foldings: Mapping[str, LayerFolding]) -> None:
    """
    Raises
    ------
    InputError
        if a resource is certainly short; the message says by how much, and what would fit.
    """
    short = {
        resource: counts
        for resource, counts in least_needs(board, schedules(network, foldings)).items()
        if counts[0] > counts[1]
    }
    if short:
        allowed = " and ".join(f"{there_are} {resource}" for resource, (_, there_are) in short.items())
        found = " and ".join(f"{needed}" for needed, _ in short.values())
        raise InputError(
            f"{network.name}: expected at most {allowed} on {board.name}, found at least {found}; "
            f"{remedy(board, network)}"
        )


def check_memories(board: Board, network: Network, rtlil: str) -> None:
    """As :func:`check`, for all memories of a finished design.

    Raises
    ------
    InputError
        if they take more block RAMs than the part has.
    """
    needed = sum(blocks(board, width, words) for width, words in memories(rtlil))
    if needed > board.capacity.blocks:
        raise InputError(
            f"{network.name}: expected at most {board.capacity.blocks} block RAMs on {board.name}, "
            f"found {needed}; {remedy(board, network)}"
        )


def remedy(board: Board, network: Network) -> str:
    """What would fit: a slower folding, or fewer weight bases."""
    cycles = board.cycles
    slowest = max(s.cycles for s in schedules(network, {layer.name: LayerFolding() for layer in network.layers}))
    while cycles < 2 * slowest:
        try:
            made = schedules(network, fold_for_cycles(network, cycles))
        except InputError:
            made = None  # no folding is that fast
        if made and all(needed <= there_are for needed, there_are in least_needs(board, made).values()):
            return f"a folding for {cycles} cycles per image may fit"
        cycles *= 2
    bits = board.capacity.blocks * board.capacity.block_bits
    sizes = sum(layer.weights.size for layer in network.layers)
    for count in range(max(layer.weight_bases.count for layer in network.layers) - 1, 0, -1):
        if sizes * Bases(kind="thermometer", count=count).bits <= bits:
            return f"no folding fits, M = {count} may"
    return f"no folding and no M fits: {sizes} weights, {bits} bits of block RAM"
