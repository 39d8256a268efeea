"""A device in Python: what the gateware does with each frame, and a port to it whose time is its own."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Mapping

import numpy as np

from abc_hw.boards import link
from abc_hw.boards.identity import Identity
from abc_hw.boards.link import Cause, Counters, Frame, Kind

MOST_READS = 100_000
"""After so many a session counts as endless."""

Scores = Callable[[bytes], list[int]]
"""Of an image, given as the bytes of its codes."""


class Device:
    """Answers frames as :mod:`abc_hw.boards.gateware` does.

    Parameters
    ----------
    identity : before anything is loaded
    scores : for the bytes of all weights that may be loaded what computes scores with them; for b"" where they
        are fixed
    """

    def __init__(self, identity: Identity, scores: Mapping[bytes, Scores]) -> None:
        self.identity = identity
        self._scores = scores
        self._open_tag, self._expected, self._image = 0, 0, b""
        self._weights = b""
        self.counts = dict.fromkeys((field.name for field in dataclasses.fields(Counters)), 0)

    def answers(self, found: Frame | Cause) -> list[Frame]:
        """What is sent after one frame, or one that was dropped for a cause."""
        if isinstance(found, Cause):
            return [self._refuse(0, found)]
        if found.kind in (Kind.IDENTIFY, Kind.COUNT) and not found.payload:
            self._count("accepted")
            if found.kind == Kind.IDENTIFY:
                return [Frame(Kind.IDENTITY, found.tag, self.identity.pack())]
            return [Frame(Kind.COUNTERS, found.tag, Counters.LAYOUT.pack(*self.counts.values()))]
        if found.kind == Kind.PIXELS and found.payload:
            return self._pixels(found.tag, found.payload[0], found.payload[1:])
        if found.kind == Kind.WEIGHTS and len(found.payload) > 2 and self.identity.load_bytes:
            return [self._load(found.tag, struct.unpack("<H", found.payload[:2])[0], found.payload[2:])]
        return [self._refuse(found.tag, Cause.UNKNOWN)]

    def _count(self, name: str) -> None:
        self.counts[name] = min(self.counts[name] + 1, 0xFFFF)

    def _refuse(self, tag: int, cause: Cause) -> Frame:
        self._count(cause.name.lower())
        return Frame(Kind.REFUSED, tag, bytes([cause]))

    def _pixels(self, tag: int, number: int, codes: bytes) -> list[Frame]:
        size = self.identity.image_bytes
        if not self.identity.loaded:
            return [self._refuse(tag, Cause.UNLOADED)]
        wanted = self._expected if tag == self._open_tag else 0
        if number != wanted or wanted >= link.chunks(size):
            return [self._refuse(tag, Cause.ORDER)]
        if len(codes) != min(link.CHUNK, size - number * link.CHUNK):
            return [self._refuse(tag, Cause.UNKNOWN)]
        self._count("accepted")
        self._open_tag, self._expected = tag, wanted + 1
        self._image = (self._image if wanted else b"") + codes
        return self._finished(tag) if self._expected == link.chunks(size) else []

    def _finished(self, tag: int) -> list[Frame]:
        mask = (1 << self.identity.code_bits) - 1
        codes = bytes(code & mask for code in self._image)
        return score_frames(self.identity, tag, self._scores[self._weights](codes))

    def _load(self, tag: int, number: int, chunk: bytes) -> Frame:
        size, told = self.identity.load_bytes, self.identity
        follows = tag == told.load_tag and number == told.load_next < link.chunks(size)
        if tag == told.load_tag and number < told.load_next:
            return Frame(Kind.TAKEN, tag, struct.pack("<H", told.load_next))
        if not follows and (tag == told.load_tag or number != 0):
            return self._refuse(tag, Cause.ORDER)
        if len(chunk) != min(link.CHUNK, size - number * link.CHUNK):
            return self._refuse(tag, Cause.UNKNOWN)
        self._count("accepted")
        self._weights = (self._weights if number else b"") + chunk
        self.identity = dataclasses.replace(told, load_tag=tag, load_next=number + 1)
        return Frame(Kind.TAKEN, tag, struct.pack("<H", number + 1))


def score_frames(identity: Identity, tag: int, scores: list[int]) -> list[Frame]:
    """The SCORES frames of an image."""
    frames, step = [], identity.scores_per_frame
    for first in range(0, len(scores), step):
        some = scores[first : first + step]
        payload = struct.pack("<H", first) + b"".join(
            score.to_bytes(identity.score_bytes, "little", signed=True) for score in some
        )
        if first + step >= len(scores):
            payload += struct.pack("<H", int(np.argmax(scores)))
        frames.append(Frame(Kind.SCORES, tag, payload))
    return frames


class DevicePort:
    """A serial port with a device behind it; reading is what takes time.

    Members
    -------
    clock : seconds that have passed
    """

    name = "device"

    def __init__(self, answers: Callable[[Frame | Cause], list[Frame]]) -> None:
        self._answers = answers
        self._receiver = link.Receiver()
        self._pending = bytearray()
        self.clock = 0.0
        self.reads = 0

    @property
    def in_waiting(self) -> int:
        return len(self._pending)

    def write(self, data: bytes) -> None:
        for found in self._receiver.feed(data):
            self.push(b"".join(frame.encode() for frame in self._answers(found)))

    def push(self, data: bytes) -> None:
        """More bytes come to the host."""
        self._pending += data

    def read(self, size: int) -> bytes:
        self.reads += 1
        if self.reads > MOST_READS:
            raise AssertionError(f"no end after {MOST_READS} reads, {self.clock:.1f} s")
        data = bytes(self._pending[:size])
        del self._pending[:size]
        self.clock += 0.001 if data else 0.005
        return data

    def close(self) -> None:
        pass
