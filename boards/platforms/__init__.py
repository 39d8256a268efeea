"""The boards, one file each."""

from abc_hw.registry import Registry

from ..board import Board
from .hx8k import HX8K
from .icebreaker import ICEBREAKER
from .orangecrab import ORANGECRAB_25F, ORANGECRAB_85F
from .tangnano9k import TANG_NANO_9K
from .ulx3s import ULX3S_85F

__all__ = ["BOARDS", "find"]

BOARDS: Registry[Board] = Registry("board", "abc_hw.boards", {
    board.name: board
    for board in (ICEBREAKER, HX8K, ULX3S_85F, ORANGECRAB_25F, ORANGECRAB_85F, TANG_NANO_9K)
})


def find(name: str) -> Board:
    """The board of that name.

    Raises
    ------
    InputError
        if there is none.
    """
    return BOARDS.find(name)
