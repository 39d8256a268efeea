# amaranth: UnusedElaboratable=no
"""Classify images on a board, or on the simulation of one."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.engine.accelerator import WeightSource
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.sim.golden import check_images

from .. import link
from ..gateware.top import LinkedAccelerator
from .driver import Accelerator, Progress
from .simulated import simulated_board

SIMULATED_CLOCK = 12_000_000
"""Hz that a simulated board tells; its line has the fewest clock cycles per bit that there can be."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """What came back.

    Members
    -------
    scores : int64 [B, classes]
    seconds : from the first image to the last answer, opening the port not included
    resent : messages that had to be sent again
    """

    scores: npt.NDArray[np.int64]
    seconds: float
    resent: int

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Class of each image, int64 [B]: of the greatest scores the lowest index."""
        return np.argmax(self.scores, axis=1)

    @property
    def images_per_second(self) -> float:
        return len(self.scores) / self.seconds


def run(
    network: Network | Graph,
    images: npt.NDArray[Any],
    *,
    port: str | None = None,
    foldings: Mapping[str, LayerFolding] | None = None,
    weights: WeightSource = "rom",
    baud: int = link.BAUD,
    work_dir: Path | str | None = None,
    progress: Progress | None = None,
) -> Run:
    """Send images to a board and collect their scores.

    Parameters
    ----------
    network : what the board computes; another is refused
    images : uint8 [B, H, W, C], at least one; int8 where the network's are signed
    port : serial port of the board; None simulates one
    foldings, weights : of the simulated board
    baud : bits per second at the port
    work_dir : existing folder for the simulation's files; a temporary one otherwise
    progress : told (images done, images in all)

    Raises
    ------
    InputError
        if there is no such port, the board computes another network, or the images do not fit.
    LinkError
        if the board does not answer.
    """
    if len(images) < 1:
        raise InputError("images: expected at least one, found none")
    with _port(network, port, foldings, weights, work_dir, len(images)) as name:
        # A simulation is slower than a board: it gets more time.
        timeout = 1.0 if port is not None else 30.0
        with Accelerator.open(name, network=network, baud=baud, timeout=timeout) as accelerator:
            begun = time.monotonic()
            scores = accelerator.infer(check_images(network, images), progress)
            return Run(scores=scores, seconds=time.monotonic() - begun, resent=accelerator.resent)


@contextlib.contextmanager
def _port(
    network: Network | Graph, port: str | None, foldings: Mapping[str, LayerFolding] | None, weights: WeightSource,
    work_dir: Path | str | None, images: int,
) -> Iterator[str]:
    """The name of the port: the one given, or that of a board simulated for as long as the block runs."""
    if port is not None:
        yield port
        return
    chosen = fold(network) if foldings is None else foldings
    top = LinkedAccelerator(network, chosen, clock=SIMULATED_CLOCK, baud=None, weights=weights)
    with simulated_board(top, work_dir, images=images) as board:
        yield board.port
