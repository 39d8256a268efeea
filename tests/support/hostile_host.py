"""A host that sends whatever comes to its mind, to a device that must answer as its model does."""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence

import numpy as np
import serial
from device import Device

from abc_hw.boards import link
from abc_hw.boards.link import Cause, Counters, Frame, Kind


def besiege(
    port: serial.Serial, model: Device, images: Sequence[bytes], *, rounds: int, seed: int,
    weights: Sequence[bytes] = (),
) -> int:
    """Send frames that are right, wrong, out of order, damaged; every answer must be the model's. How many were
    refused?

    Counters are compared only as far as the model's are those of the device: call it again with them set.
    """
    rng = np.random.default_rng(seed)
    receiver, heard = link.Receiver(), link.Receiver()
    refused = 0
    known = sum(model.counts.values()) > 0
    for wire in [b"\0", *(_anything(rng, images, weights) for _ in range(rounds))]:
        expected = [answer for found in heard.feed(wire) for answer in model.answers(found)]
        port.write(wire)
        found: list[Frame | Cause] = []
        deadline = time.monotonic() + 20
        while len(found) < len(expected) and time.monotonic() < deadline:
            found += receiver.feed(port.read(4096))
        if not known:
            expected = [_without_counts(frame) for frame in expected]
            found = [_without_counts(frame) if isinstance(frame, Frame) else frame for frame in found]
        assert found == expected, wire
        refused += sum(frame.kind == Kind.REFUSED for frame in expected)
    return refused


def _without_counts(frame: Frame) -> Frame:
    if frame.kind != Kind.COUNTERS:
        return frame
    assert len(frame.payload) == Counters.LAYOUT.size
    return Frame(frame.kind, frame.tag)


def _anything(rng: np.random.Generator, images: Sequence[bytes], weights: Sequence[bytes]) -> bytes:
    tag = int(rng.integers(1, 5)) + 0xFACE0000
    whole = images[rng.integers(len(images))]
    match rng.integers(10):
        case 0 | 1:
            return link.image_frames(int(rng.integers(1 << 32)), whole)
        case 2:
            number = int(rng.integers(3))
            size = int(rng.choice([0, 1, len(whole), len(whole) - 1, link.CHUNK]))
            return Frame(Kind.PIXELS, tag, bytes([number]) + bytes(size)).encode() if size != len(whole) else (
                Frame(Kind.PIXELS, tag, bytes([number + 1]) + whole).encode()
            )
        case 3 | 4 | 5 if weights:
            return _some_weights(rng, weights[rng.integers(len(weights))])
        case 6:
            return Frame(int(rng.choice([Kind.IDENTIFY, Kind.COUNT])), tag, bytes(int(rng.integers(2)))).encode()
        case 7:
            return Frame(int(rng.integers(256)), tag, rng.bytes(int(rng.integers(9)))).encode()
        case 8:
            damaged = bytearray(Frame(Kind.COUNT, tag, rng.bytes(int(rng.integers(40)))).encode())
            damaged[rng.integers(len(damaged) - 1)] ^= 1 << rng.integers(8)
            return bytes(damaged) + b"\0"
    return Frame(Kind.COUNT, tag).encode()


def _some_weights(rng: np.random.Generator, weights: bytes) -> bytes:
    """All chunks, or one of any number, tag and length."""
    count = link.chunks(len(weights))
    if rng.random() < 0.2:
        tag = int(rng.integers(1 << 32))
        return b"".join(link.weights_frame(tag, number, weights) for number in range(count))
    chunk = rng.bytes(int(rng.choice([1, 2, 3, link.CHUNK])))
    number = int(rng.choice([0, 1, count - 1, count, 65535]))
    if len(chunk) == link.CHUNK:  # one that may fit holds the true bytes, for the scores' sake
        chunk = weights[number * link.CHUNK : (number + 1) * link.CHUNK] or b"12"
    return Frame(Kind.WEIGHTS, int(rng.integers(1, 4)), struct.pack("<H", number) + chunk).encode()
