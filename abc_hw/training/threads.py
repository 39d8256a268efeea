"""On how many threads a training computes.

With their number the order of sums changes, hence rounding, hence what a training comes to.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

__all__ = ["FEW_MACS", "on_one_thread"]

FEW_MACS = 1e7
"""Multiplications of a batch, forward, below which more threads than one make a training no faster."""


@contextlib.contextmanager
def on_one_thread(small: bool) -> Iterator[None]:
    """PyTorch on one thread for as long as the block runs, if it is ``small``: its numbers are then the same on
    machines with any number of cores."""
    before = torch.get_num_threads()
    if small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
