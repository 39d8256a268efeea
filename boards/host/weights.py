"""Weights over the link, chunk by chunk."""

from __future__ import annotations

import struct
from collections.abc import Callable

from .. import link
from ..link import Cause, Frame, Kind
from .line import Line, LinkError

Progress = Callable[[int, int], None]
"""Called with (chunks or images done, all of them)."""

LOAD_WINDOW = 8
"""Chunks that wait for their answers at once."""


class WeightSender:
    """Sends chunks, some ahead of their answers; after a fault it goes on from the first one without.

    Parameters
    ----------
    line : to the device
    tag : of the weights
    weights : all of them
    known : chunks of them that the device may have from before
    """

    def __init__(self, line: Line, tag: int, weights: bytes, *, known: int) -> None:
        self._line, self._tag, self._weights = line, tag, weights
        self._count = link.chunks(len(weights))
        self._wanted = self._sent = 0
        self._furthest = known  # chunks that the device can have
        self._moved = line.now()

    def run(self, progress: Progress | None) -> None:
        """
        Raises
        ------
        LinkError
            if answers stay away, say again and again what is known, or contradict what was sent.
        """
        line = self._line
        deadline = line.now() + line.timeout
        while self._wanted < self._count:
            self._fill()
            before = self._wanted
            lost = [self._lost(found, progress) for found in line.receive()]
            if self._wanted > before:
                deadline = line.now() + line.timeout
            if any(lost) or line.now() > deadline:
                self._go_back()
                deadline = line.now() + line.timeout

    def _fill(self) -> None:
        while self._sent < min(self._count, self._wanted + LOAD_WINDOW):
            self._line.send(link.weights_frame(self._tag, self._sent, self._weights))
            self._sent += 1
            self._furthest = max(self._furthest, self._sent)

    def _lost(self, found: Frame | Cause, progress: Progress | None) -> bool:
        """Take in what has come; was something lost?"""
        if isinstance(found, Cause):
            return True
        if found.kind == Kind.REFUSED:
            return found.tag in (0, self._tag)
        if (found.kind, found.tag) != (Kind.TAKEN, self._tag):
            return False
        said = struct.unpack("<H", found.payload)[0] if len(found.payload) == 2 else None
        if said is None or said > self._furthest:
            what = f"{len(found.payload)} bytes" if said is None else str(said)
            raise LinkError(
                f"{self._line.name}: expected a chunk from 0 to {self._furthest} to be wanted next, found {what}"
            )
        if said > self._wanted:
            self._wanted, self._sent = said, max(self._sent, said)
            self._moved = self._line.now()
            if progress is not None:
                progress(said, self._count)
        return False

    def _go_back(self) -> None:
        line = self._line
        if line.now() - self._moved > line.patience:
            raise LinkError(
                f"{line.name}: expected chunk {self._wanted} of the weights to be taken, found no answer that it "
                f"was in {line.patience:g} s"
            )
        line.settle()
        line.send(b"\0")
        line.resent += self._sent - self._wanted
        self._sent = self._wanted
