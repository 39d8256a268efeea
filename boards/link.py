"""The host link: what travels between host and accelerator, the same for both sides.

A frame before stuffing::

    kind (1)  length (1)  tag (4)  payload (length)  CRC-32 (4)

Numbers are little-endian; the CRC is that of Ethernet and zlib over all bytes before it. The frame is stuffed by
COBS (Cheshire and Baker, "Consistent Overhead Byte Stuffing", 1999) and followed by one zero byte, so that a
receiver finds the next frame after any fault by waiting for a zero. Empty frames mean nothing: a host may send
zeros at any time.

======== ========== ============================================= =======================================
host     device     payload of the host's frame                   payload of the answer, same tag
======== ========== ============================================= =======================================
IDENTIFY IDENTITY   none                                          :class:`.identity.Identity`
COUNT    COUNTERS   none                                          :class:`Counters`
PIXELS   SCORES     chunk number (1), up to ``CHUNK`` codes       first class (2), scores; label (2) last
WEIGHTS  TAKEN      chunk number (2), up to ``CHUNK`` bytes       number of the chunk that is wanted next (2)
any      REFUSED                                                  :class:`Cause` (1)
======== ========== ============================================= =======================================

An image is one run of PIXELS frames of one tag, chunk 0 first, every chunk but the last full; a tag names one
attempt at one image and is not used again. The device keeps an image's chunks back until all have come, in order;
a chunk 0 of another tag throws an unfinished image away.

Weights, where a device takes them, are one run of WEIGHTS frames of one tag, which names the network
(:func:`weights_tag`); chunks are as those of images. Chunk 0 of another tag begins anew. A chunk that came before
is answered, but changes nothing. Images that came before are computed with the weights before; until all weights
are there images are refused.

A frame that cannot be used changes nothing but a counter
and is answered by REFUSED, with tag 0 where its own tag cannot be trusted. Where frames cannot be used faster than
answers can be sent, each is counted and the latest is answered.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.rtl_gen.engine.accelerator import WeightSource
from abc_hw.rtl_gen.engine.design import served_digest

VERSION = 3
"""Of the frames, and of what the weight memories hold."""
MAGIC = b"ABCH"
BAUD = 1_000_000
"""Bits per second of the serial link, 8 data bits, no parity, 1 stop bit."""

HEADER_BYTES = 6
CRC_BYTES = 4
MAX_PAYLOAD = 240
MAX_FRAME = HEADER_BYTES + MAX_PAYLOAD + CRC_BYTES
"""Bytes of the longest frame before stuffing: one COBS block holds it, whatever its bytes."""
CHUNK = 224
"""Input codes of a PIXELS frame, one byte each, in the accelerator's order; an image's last may have fewer."""
MAX_CHUNKS = 255
"""Of an image."""
MAX_WEIGHT_CHUNKS = (1 << 16) - 1
MAX_LAYERS = 22
"""Of a network whose weights are loaded: so many foldings fit into an identity."""
DIGEST_BYTES = 16
LEAST_BUFFER = 512
"""Bytes of the smallest packet buffer: one memory block of the smallest parts, and room for two frames."""


class Kind(enum.IntEnum):
    """What a frame is."""

    IDENTIFY = 0x01
    COUNT = 0x02
    PIXELS = 0x03
    WEIGHTS = 0x04
    IDENTITY = 0x81
    COUNTERS = 0x82
    SCORES = 0x83
    TAKEN = 0x84
    REFUSED = 0xFF


class Cause(enum.IntEnum):
    """Why a frame was not used.

    The first four are found before a frame is looked at, and are answered with tag 0: bytes that are no frame
    (stuffing cut short, line fault, wrong length), wrong CRC, longer than ``MAX_FRAME``, no room. The others are
    sound frames: a kind or length that is none of those above, a chunk that is not the next one, and an image
    before the weights.
    """

    MALFORMED = 0
    CHECKSUM = 1
    OVERSIZED = 2
    OVERFLOW = 3
    UNKNOWN = 4
    ORDER = 5
    UNLOADED = 6


@dataclasses.dataclass(frozen=True)
class Frame:
    """One frame.

    Raises
    ------
    ValueError
        if a field does not fit its bytes.
    """

    kind: int
    tag: int
    payload: bytes = b""

    def __post_init__(self) -> None:
        if not 0 <= self.kind < 256:
            raise ValueError(f"The kind must be one byte, not {self.kind}")
        if not 0 <= self.tag < 1 << 32:
            raise ValueError(f"The tag must be an unsigned 32-bit number, not {self.tag}")
        if len(self.payload) > MAX_PAYLOAD:
            raise ValueError(f"The payload must have at most {MAX_PAYLOAD} bytes, not {len(self.payload)}")

    def pack(self) -> bytes:
        """The frame's bytes with their CRC, before stuffing."""
        body = struct.pack("<BBI", self.kind, len(self.payload), self.tag) + self.payload
        return body + struct.pack("<I", zlib.crc32(body))

    def encode(self) -> bytes:
        """What goes over the wire, delimiter included."""
        return stuff(self.pack()) + b"\0"


def stuff(data: bytes) -> bytes:
    """COBS of ``data``, without the delimiter: no zero in it; one byte longer, and one per 254 without zero."""
    out = bytearray()
    for run in data.split(b"\0"):
        while len(run) >= 254:
            out += b"\xff" + run[:254]
            run = run[254:]
        out += bytes([len(run) + 1]) + run
    return bytes(out)


def unstuff(data: bytes) -> tuple[bytes, bool]:
    """The inverse of :func:`stuff` on bytes without zero, and whether they end where a block ends."""
    out = bytearray()
    place, code = 0, 255
    while place < len(data):
        if code < 255:
            out.append(0)
        code = data[place]
        out += data[place + 1 : place + code]
        place += code
    return bytes(out), place == len(data)


def parse(data: bytes) -> Frame | Cause:
    """The frame in the bytes between two delimiters, or why there is none. Equals the device's receiver."""
    raw, complete = unstuff(data)
    if len(raw) > MAX_FRAME:
        return Cause.OVERSIZED
    if not complete or len(raw) < HEADER_BYTES + CRC_BYTES:
        return Cause.MALFORMED
    body, (crc,) = raw[:-CRC_BYTES], struct.unpack("<I", raw[-CRC_BYTES:])
    if crc != zlib.crc32(body):
        return Cause.CHECKSUM
    kind, length, tag = struct.unpack("<BBI", body[:HEADER_BYTES])
    if length != len(body) - HEADER_BYTES:
        return Cause.MALFORMED
    return Frame(kind, tag, body[HEADER_BYTES:])


class Receiver:
    """Cuts a stream of bytes, in pieces as they come, into frames."""

    LONGEST = 2 * MAX_FRAME
    """Bytes without a delimiter after which more of them are dropped: it is oversized already."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame | Cause]:
        """The frames, and faults, that ``data`` completes."""
        *whole, rest = data.split(b"\0")
        for piece in whole:
            self._held += piece[: self.LONGEST]
            found, self._held = bytes(self._held), bytearray()
            if found:
                yield parse(found)
        self._held += rest[: max(0, self.LONGEST - len(self._held))]


def scores_per_frame(score_bytes: int) -> int:
    """Scores of that many bytes that a SCORES frame takes, beside first class and label."""
    return (MAX_PAYLOAD - 4) // score_bytes


def chunks(size: int) -> int:
    """PIXELS frames of an image, or WEIGHTS frames of weights, of so many bytes."""
    return -(-size // CHUNK)


def image_frames(tag: int, codes: bytes) -> bytes:
    """The encoded PIXELS frames of one image."""
    return b"".join(
        Frame(Kind.PIXELS, tag, bytes([number]) + codes[number * CHUNK : (number + 1) * CHUNK]).encode()
        for number in range(chunks(len(codes)))
    )


def design_digest(network: Network | Graph, weights: WeightSource) -> bytes:
    """What names a design that computes the network: without what is loaded."""
    return bytes.fromhex(served_digest(network, weights))[:DIGEST_BYTES]


def weights_tag(digest: str) -> int:
    """The tag under which the weights of the network with this digest travel; never 0."""
    return int.from_bytes(bytes.fromhex(digest)[:4], "little") or 1


def weights_frame(tag: int, number: int, weights: bytes) -> bytes:
    """The encoded WEIGHTS frame of one chunk."""
    chunk = weights[number * CHUNK : (number + 1) * CHUNK]
    return Frame(Kind.WEIGHTS, tag, struct.pack("<H", number) + chunk).encode()


def stored_bytes(image_bytes: int) -> int:
    """Bytes of a device's packet buffer that an image takes while it waits."""
    return image_bytes + chunks(image_bytes) * (HEADER_BYTES + 1)


def buffer_bytes(image_bytes: int) -> int:
    """Bytes of a device's usual packet buffer: a power of two in which two images have room."""
    size = LEAST_BUFFER
    while size < 2 * stored_bytes(image_bytes):
        size *= 2
    return size


def window(image_bytes: int, buffer: int) -> int:
    """Images that may wait for their scores at once: one is being computed, the others fill a packet buffer of so
    many bytes."""
    return min(1 + (buffer - 1) // stored_bytes(image_bytes), 255)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Counters:
    """What a device has received since its reset; each stays at 65,535 once it is there.

    Members
    -------
    accepted : frames that were used
    malformed, checksum, oversized, overflow, unknown, order, unloaded : frames that were not, by :class:`Cause`
    """

    accepted: int
    malformed: int
    checksum: int
    oversized: int
    overflow: int
    unknown: int
    order: int
    unloaded: int

    LAYOUT = struct.Struct("<8H")

    @classmethod
    def unpack(cls, payload: bytes) -> Counters:
        """
        Raises
        ------
        InputError
            if the payload has another length.
        """
        if len(payload) != cls.LAYOUT.size:
            raise InputError(f"device: expected {cls.LAYOUT.size} bytes of counters, found {len(payload)}")
        return cls(**_named(cls, cls.LAYOUT.unpack(payload)))

    @property
    def refused(self) -> int:
        """Frames of all kinds that were not used."""
        return sum(dataclasses.astuple(self)[1:])


def _named(cls: type, values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip((field.name for field in dataclasses.fields(cls)), values, strict=True))
