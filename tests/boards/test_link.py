# amaranth: UnusedElaboratable=no
"""The host link: frames in software, in hardware, and the serial line."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from amaranth.hdl import Module
from clocked import simulate
from hypothesis import given
from hypothesis import strategies as st

from abc_hw.boards import link
from abc_hw.boards.gateware.crc import BITS, RESIDUE, STEPS, FrameCheck
from abc_hw.boards.gateware.framing import FrameReceiver, FrameSender, PacketBuffer
from abc_hw.boards.gateware.uart import LEAST_DIVISOR, UartReceiver, UartTransmitter
from abc_hw.boards.identity import Identity
from abc_hw.boards.link import Cause, Counters, Frame, Kind
from abc_hw.errors import InputError

frames = st.builds(
    Frame, st.integers(0, 255), st.integers(0, (1 << 32) - 1), st.binary(max_size=link.MAX_PAYLOAD)
)


def with_crc(body: bytes) -> bytes:
    return body + struct.pack("<I", zlib.crc32(body))


# -- stuffing and frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "stuffed"),
    [
        (b"", "01"),
        (b"\0", "0101"),
        (b"\0\0", "010101"),
        (b"\x11\x22\0\x33", "0311220233"),
        (b"\x11\0\0\0", "0211010101"),
        (bytes(range(1, 255)), "ff" + bytes(range(1, 255)).hex() + "01"),
        (bytes(range(255)), "01ff" + bytes(range(1, 255)).hex() + "01"),
    ],
)
def test_stuffing_known(data: bytes, stuffed: str) -> None:
    assert link.stuff(data).hex() == stuffed
    assert link.unstuff(bytes.fromhex(stuffed)) == (data, True)


def test_unstuffing_takes_the_form_without_the_empty_last_block() -> None:
    data = bytes(range(1, 255))
    assert link.unstuff(b"\xff" + data) == (data, True)


@given(st.binary(max_size=1000))
def test_stuffing_inverts(data: bytes) -> None:
    stuffed = link.stuff(data)
    assert 0 not in stuffed
    assert link.unstuff(stuffed) == (data, True)
    assert len(stuffed) <= len(data) + 1 + len(data) // 254


@given(frames, st.integers(1, 300))
def test_frames_survive_the_wire(frame: Frame, piece: int) -> None:
    encoded = frame.encode()
    receiver = link.Receiver()
    found = [
        item for start in range(0, len(encoded), piece) for item in receiver.feed(encoded[start : start + piece])
    ]
    assert found == [frame]
    assert len(frame.pack()) <= link.MAX_FRAME


@given(frames, st.data())
def test_no_flip_is_overlooked(frame: Frame, data: st.DataObject) -> None:
    encoded = bytearray(frame.encode()[:-1])
    places = data.draw(st.sets(st.integers(0, 8 * len(encoded) - 1), min_size=1, max_size=3))
    for place in places:
        encoded[place // 8] ^= 1 << place % 8
    found = list(link.Receiver().feed(bytes(encoded) + b"\0"))
    assert frame not in found
    assert all(isinstance(item, Cause) for item in found)


@pytest.mark.parametrize(
    ("raw", "cause"),
    [
        (bytes(9), Cause.MALFORMED),
        (with_crc(b"\1\0\0\0\0\0")[:-1] + b"\0", Cause.CHECKSUM),
        (with_crc(b"\1\1\0\0\0\0"), Cause.MALFORMED),
        (with_crc(b"\1\0\0\0\0\0\0"), Cause.MALFORMED),
        (with_crc(bytes(link.MAX_FRAME - 3)), Cause.OVERSIZED),
        (bytes(5000), Cause.OVERSIZED),
    ],
)
def test_bad_frames_have_a_cause(raw: bytes, cause: Cause) -> None:
    assert list(link.Receiver().feed(link.stuff(raw) + b"\0")) == [cause]


def test_a_block_cut_short_is_malformed() -> None:
    encoded = Frame(Kind.PIXELS, 5, bytes(range(1, 60))).encode()
    good = Frame(Kind.COUNT, 6)
    assert list(link.Receiver().feed(encoded[:-10] + b"\0" + good.encode())) == [Cause.MALFORMED, good]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((256, 0), "The kind must be one byte, not 256"),
        ((1, -1), "The tag must be an unsigned 32-bit number, not -1"),
        ((1, 1 << 32), "The tag must be an unsigned 32-bit number, not 4294967296"),
        ((1, 0, bytes(241)), "The payload must have at most 240 bytes, not 241"),
    ],
)
def test_frames_refuse_what_does_not_fit(fields: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Frame(*fields)


def test_identity_and_counters_come_back() -> None:
    identity = Identity(
        digest=bytes(range(16)), height=28, width=27, channels=3, classes=10, code_bits=8, score_bytes=3, window=7,
        clock=12_000_000, cycles=1234,
    )
    assert Identity.unpack(identity.pack()) == identity
    assert identity.image_bytes == 28 * 27 * 3
    counters = Counters.unpack(struct.pack("<8H", 1, 2, 3, 4, 5, 6, 7, 65535))
    assert (counters.accepted, counters.unloaded, counters.refused) == (1, 65535, 27 + 65535)
    with pytest.raises(InputError, match=r"device: expected the identity b'ABCH', found b'ABCX'"):
        Identity.unpack(b"ABCX" + identity.pack()[4:])
    later = link.VERSION + 1
    with pytest.raises(InputError, match=rf"device: expected version {link.VERSION} of the link, found {later}"):
        Identity.unpack(b"ABCH" + bytes([later]) + identity.pack()[5:])
    with pytest.raises(InputError, match=r"device: expected 16 bytes of counters, found 13"):
        Counters.unpack(bytes(13))


def test_an_image_becomes_full_chunks_and_a_rest() -> None:
    codes = bytes(index % 251 for index in range(2 * link.CHUNK + 5))
    found = list(link.Receiver().feed(link.image_frames(9, codes)))
    assert all(isinstance(frame, Frame) and (frame.kind, frame.tag) == (Kind.PIXELS, 9) for frame in found)
    payloads = [frame.payload for frame in found if isinstance(frame, Frame)]
    assert [payload[0] for payload in payloads] == [0, 1, 2]
    assert [len(payload) for payload in payloads] == [link.CHUNK + 1, link.CHUNK + 1, 6]
    assert b"".join(payload[1:] for payload in payloads) == codes
    assert link.stored_bytes(len(codes)) == sum(len(payload) + link.HEADER_BYTES for payload in payloads)


# -- hardware ----------------------------------------------------------------------------------------------------


def received(wire: list[int | None], *, depth: int = 512) -> tuple[bytes, list[Cause]]:
    """What FrameReceiver makes of bytes, None for a fault of the line: (bytes of sound frames, causes)."""
    dut = FrameReceiver(depth=depth)
    got, causes = bytearray(), []

    async def drive(ctx: object) -> None:
        for byte in wire:
            ctx.set(dut.data, byte or 0)
            ctx.set(dut.strobe, byte is not None)
            ctx.set(dut.line_fault, byte is None)
            if ctx.get(dut.fault):
                causes.append(Cause(ctx.get(dut.cause)))
            await ctx.tick()
            ctx.set(dut.strobe, 0)
            ctx.set(dut.line_fault, 0)
            await ctx.tick().repeat(FrameReceiver.APART - 1)
        await ctx.tick().repeat(4 * depth + 10)

    async def take(ctx: object) -> None:
        ctx.set(dut.o.ready, 1)
        async for _, _, valid, payload in ctx.tick().sample(dut.o.valid, dut.o.payload):
            if valid:
                got.append(payload)

    simulate(dut, drive, processes=[take])
    return bytes(got), causes


def random_wire(rng: np.random.Generator) -> bytes:
    """Frames, most of them damaged in some way."""
    wire = b""
    for _ in range(40):
        payload = rng.integers(0, 3 if rng.random() < 0.3 else 256, rng.integers(0, 40)).astype(np.uint8).tobytes()
        frame = bytearray(Frame(int(rng.integers(256)), int(rng.integers(1 << 32)), payload).encode())
        match rng.integers(7):
            case 0:
                frame[rng.integers(len(frame))] ^= 1 << rng.integers(8)
            case 1:
                del frame[int(rng.integers(len(frame))) :]
            case 2:
                frame[0:0] = rng.integers(0, 256, rng.integers(1, 9)).astype(np.uint8).tobytes()
            case 3:
                frame = bytearray(link.stuff(with_crc(bytes(rng.integers(230, 270)))) + b"\0")
            case 4:
                frame = bytearray(link.stuff(with_crc(b"\1" + bytes([int(rng.integers(3))]) + bytes(5))) + b"\0")
        wire += bytes(frame)
    return wire + b"\0"


@pytest.mark.parametrize("seed", range(3))
def test_hardware_receiver_is_the_software_one(seed: int) -> None:
    wire = random_wire(np.random.default_rng(seed))
    found = list(link.Receiver().feed(wire))
    good = [frame for frame in found if isinstance(frame, Frame)]
    bad = [cause for cause in found if isinstance(cause, Cause)]
    assert good
    assert set(bad) >= {Cause.MALFORMED, Cause.CHECKSUM}
    assert received(list(wire)) == (b"".join(frame.pack()[: -link.CRC_BYTES] for frame in good), bad)


def test_longest_frame_fits_and_a_longer_one_does_not() -> None:
    longest = Frame(Kind.PIXELS, 1, bytes(range(1, 241)))
    longer = link.stuff(with_crc(b"\3" + bytes([241]) + bytes(4) + bytes(241))) + b"\0"
    wire = longest.encode() + longer + longest.encode()
    expected = longest.pack()[: -link.CRC_BYTES] * 2
    assert received(list(wire)) == (expected, [Cause.OVERSIZED])


def test_line_fault_spoils_the_frame_it_is_in() -> None:
    frame = Frame(Kind.COUNT, 1)
    encoded = list(frame.encode())
    wire = [*encoded[:4], None, *encoded[4:], *encoded]
    assert received(wire) == (frame.pack()[: -link.CRC_BYTES], [Cause.MALFORMED])


def test_frame_without_room_is_dropped_whole() -> None:
    dut = FrameReceiver(depth=32)
    frame = Frame(Kind.PIXELS, 77, bytes(range(12)))
    got, causes = bytearray(), []

    async def bench(ctx: object) -> None:
        async def send(wire: bytes) -> None:
            for byte in wire:
                ctx.set(dut.data, byte)
                ctx.set(dut.strobe, 1)
                if ctx.get(dut.fault):
                    causes.append(Cause(ctx.get(dut.cause)))
                await ctx.tick()
                ctx.set(dut.strobe, 0)
                await ctx.tick().repeat(FrameReceiver.APART - 1)

        async def drain() -> None:
            ctx.set(dut.o.ready, 1)
            for _ in range(100):
                _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
                if valid:
                    got.append(payload)
            ctx.set(dut.o.ready, 0)

        await send(frame.encode() * 2)
        await drain()
        await send(frame.encode())
        await drain()

    simulate(dut, bench)
    assert causes == [Cause.OVERFLOW]
    assert bytes(got) == frame.pack()[: -link.CRC_BYTES] * 2


@pytest.mark.parametrize("payload", [b"\0", bytes(230), bytes(range(1, 231)), b"\0\1\0\0\2", b"\7" * 240])
def test_hardware_sender_is_the_software_one(payload: bytes) -> None:
    dut = FrameSender()
    wanted = [Frame(Kind.SCORES, 0x01020304, payload), Frame(Kind.COUNTERS, 0, b"\0\0")]
    got = bytearray()
    rng = np.random.default_rng(len(payload))

    async def drive(ctx: object) -> None:
        for frame in wanted:
            body = frame.pack()[: -link.CRC_BYTES]
            for index, byte in enumerate(body):
                ctx.set(dut.i.payload, {"data": byte, "last": index == len(body) - 1})
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)

    async def take(ctx: object) -> None:
        while got.count(0) < len(wanted):
            ctx.set(dut.o.ready, int(rng.integers(2)))
            _, _, valid, ready, byte = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload)
            if valid and ready:
                got.append(byte)

    simulate(dut, drive, take)
    assert list(link.Receiver().feed(bytes(got))) == wanted


@pytest.mark.parametrize("seed", range(3))
def test_hardware_check_is_the_crc(seed: int) -> None:
    dut = FrameCheck()
    data = np.random.default_rng(seed).integers(0, 256, 40).astype(np.uint8).tobytes()

    async def take(ctx: object, piece: bytes) -> None:
        for byte in piece:
            for step in range(STEPS):
                ctx.set(dut.bits, byte >> BITS * step & (1 << BITS) - 1)
                ctx.set(dut.step, 1)
                await ctx.tick()
                ctx.set(dut.step, 0)
                await ctx.tick()

    async def bench(ctx: object) -> None:
        for piece in (data, data[:7]):
            await take(ctx, piece)
            crc = zlib.crc32(piece)
            assert ctx.get(dut.value) == crc
            await take(ctx, struct.pack("<I", crc))
            assert ctx.get(dut.value) == RESIDUE
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            assert ctx.get(dut.value) == 0

    simulate(dut, bench)


@pytest.mark.parametrize("depth", [0, 1, 24])
def test_packet_buffer_needs_a_power_of_two(depth: int) -> None:
    with pytest.raises(ValueError, match=f"The depth must be a power of two from 2, not {depth}"):
        PacketBuffer(depth=depth)


# -- the line ----------------------------------------------------------------------------------------------------


def heard(levels: list[int], divisor: int) -> tuple[bytes, int]:
    """Bytes and faults that a receiver makes of a line, one level per cycle."""
    dut = UartReceiver(divisor=divisor)
    got, faults = bytearray(), 0

    async def bench(ctx: object) -> None:
        nonlocal faults
        for level in [*levels, *[1] * (3 * divisor + 8)]:
            ctx.set(dut.rx, level)
            _, _, strobe, fault, data = await ctx.tick().sample(dut.strobe, dut.fault, dut.data)
            if strobe:
                got.append(data)
            faults += fault

    simulate(dut, bench)
    return bytes(got), faults


def bits_of(data: bytes) -> list[int]:
    """Start, data and stop bits."""
    return [bit for byte in data for bit in (0, *(byte >> index & 1 for index in range(8)), 1)]


@pytest.mark.parametrize(("divisor", "speed"), [(4, 1.0), (5, 1.0), (12, 0.98), (12, 1.0), (12, 1.02)])
def test_receiver_hears_back_to_back_bytes(divisor: int, speed: float) -> None:
    data = bytes([0, 255, 0x55, 0x80, 1, 0])
    bits = bits_of(data)
    levels = [bits[int(cycle * speed / divisor)] for cycle in range(int(len(bits) * divisor / speed))]
    assert heard([1] * 5 + levels, divisor) == (data, 0)


@pytest.mark.parametrize("stop", [LEAST_DIVISOR, LEAST_DIVISOR // 2 + 1])
def test_frames_are_found_at_the_fastest_line(stop: int) -> None:
    """Bytes come without a pause, their stop bits whole or cut short; between frames there is one delimiter."""
    m = Module()
    m.submodules.line = line = UartReceiver(divisor=LEAST_DIVISOR)
    m.submodules.frames = dut = FrameReceiver(depth=512)
    m.d.comb += [dut.data.eq(line.data), dut.strobe.eq(line.strobe), dut.line_fault.eq(line.fault)]
    rng = np.random.default_rng(stop)
    wire = b"".join(frame.encode() for frame in (
        Frame(Kind.COUNT, 7), Frame(Kind.PIXELS, 8, rng.bytes(9)), Frame(Kind.COUNT, 0xA5A5A5A5)
    ))
    damaged = bytearray(Frame(Kind.PIXELS, 9, bytes(3)).encode())
    damaged[2] ^= 0x40
    wire += bytes(damaged) + Frame(Kind.COUNT, 10).encode()
    found = list(link.Receiver().feed(wire))
    assert Cause.CHECKSUM in found
    got, causes = bytearray(), []

    async def bench(ctx: object) -> None:
        ctx.set(dut.o.ready, 1)
        levels = [
            bit for at, bit in enumerate(bits_of(wire)) for _ in range(stop if at % 10 == 9 else LEAST_DIVISOR)
        ]
        for level in [*levels, *[1] * 200]:
            ctx.set(line.rx, level)
            _, _, valid, byte, fault, cause = await ctx.tick().sample(
                dut.o.valid, dut.o.payload, dut.fault, dut.cause
            )
            if valid:
                got.append(byte)
            if fault:
                causes.append(Cause(cause))

    simulate(m, bench)
    assert causes == [cause for cause in found if isinstance(cause, Cause)]
    assert bytes(got) == b"".join(frame.pack()[: -link.CRC_BYTES] for frame in found if isinstance(frame, Frame))


def test_receiver_reports_a_missing_stop_bit_and_goes_on() -> None:
    line = [0] * (10 * 8) + [1] * 20 + [bit for bit in bits_of(b"A") for _ in range(8)]
    assert heard(line, 8) == (b"A", 1)
    long_break = [0] * 500 + [1] * 20 + [bit for bit in bits_of(b"B") for _ in range(8)]
    assert heard(long_break, 8) == (b"B", 1)


def test_receiver_passes_over_glitches() -> None:
    assert heard([1] * 10 + [0] * 3 + [1] * 30 + [bit for bit in bits_of(b"C") for _ in range(8)], 8) == (b"C", 0)


@pytest.mark.parametrize("divisor", [4, 7])
def test_transmitter_makes_exact_bits(divisor: int) -> None:
    dut = UartTransmitter(divisor=divisor)
    data = bytes([0, 255, 0xA5])
    line: list[int] = []

    async def drive(ctx: object) -> None:
        for byte in data:
            ctx.set(dut.i.payload, byte)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)
        await ctx.tick().repeat(11 * divisor)

    async def listen(ctx: object) -> None:
        async for _, _, level in ctx.tick().sample(dut.tx):
            line.append(level)

    simulate(dut, drive, processes=[listen])
    start = line.index(0)
    assert set(line[:start]) == {1}
    assert heard(line, divisor) == (data, 0)
    runs = [bit for bit in bits_of(data[:1]) for _ in range(divisor)]
    assert line[start : start + len(runs)] == runs


@pytest.mark.parametrize("component", [UartReceiver, UartTransmitter])
def test_line_needs_four_cycles_per_bit(component: type) -> None:
    with pytest.raises(ValueError, match="The clock must have at least 4 cycles per bit, not 3"):
        component(divisor=3)
