"""What a device answers with: counters in a ring, tags in rings, scores in as many frames as they need."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import signed
from clocked import simulate
from device import score_frames

from abc_hw.boards import link
from abc_hw.boards.gateware.counting import COUNT, Tally
from abc_hw.boards.gateware.opening import KeptTag
from abc_hw.boards.gateware.replies import ScoreSource
from abc_hw.boards.identity import Identity
from abc_hw.boards.link import Cause

APART = 2 * COUNT + 4
"""Cycles from a frame's event to the next frame's, at the least."""


async def count(ctx: Any, dut: Tally, *, fault: Cause | None = None, accepted: bool = False,
                refusal: Cause | None = None) -> None:
    """One event, or two at once."""
    ctx.set(dut.fault, fault is not None)
    ctx.set(dut.cause, fault or 0)
    ctx.set(dut.accepted, accepted)
    ctx.set(dut.refused, refusal is not None)
    ctx.set(dut.refusal, refusal or 0)
    await ctx.tick()
    for signal in (dut.fault, dut.accepted, dut.refused):
        ctx.set(signal, 0)


async def read(ctx: Any, dut: Tally, number: int, *, high: bool) -> int:
    ctx.set(dut.number, number)
    ctx.set(dut.high, high)
    ctx.set(dut.read, 1)
    byte, = await ctx.tick().sample(dut.byte).until(dut.ready)
    ctx.set(dut.read, 0)
    return int(byte)


async def read_all(ctx: Any, dut: Tally) -> list[int]:
    return [
        await read(ctx, dut, number, high=False) | await read(ctx, dut, number, high=True) << 8
        for number in range(COUNT)
    ]


@pytest.mark.parametrize("seed", range(2))
def test_every_event_is_counted_once(seed: int) -> None:
    dut = Tally()
    rng = np.random.default_rng(seed)
    counts = [0] * COUNT

    async def bench(ctx: Any) -> None:
        for _ in range(150):
            fault = Cause(int(rng.integers(4))) if rng.random() < 0.5 else None
            refusal = Cause(int(rng.integers(4, len(Cause)))) if rng.random() < 0.5 else None
            accepted = refusal is None and bool(rng.integers(2))
            for cause in (fault, refusal):
                if cause is not None:
                    counts[1 + cause] += 1
            counts[0] += accepted
            await count(ctx, dut, fault=fault, accepted=accepted, refusal=refusal)
            if rng.random() < 0.1:  # what has just come is counted before anything is read
                assert await read_all(ctx, dut) == counts
            await ctx.tick().repeat(APART)
        assert await read_all(ctx, dut) == counts

    simulate(dut, bench)
    assert min(counts) > 0


def test_a_counter_stays_where_it_can_count_no_more() -> None:
    dut = Tally(width=9)

    async def bench(ctx: Any) -> None:
        for number in range(1, 520):
            await count(ctx, dut, fault=Cause.CHECKSUM)
            await ctx.tick().repeat(APART)
            if number in (255, 256, 511, 512, 519):
                assert (await read_all(ctx, dut))[1 + Cause.CHECKSUM] == min(number, 511)

    simulate(dut, bench)


def test_nothing_counts_between_the_bytes_of_a_counter() -> None:
    dut = Tally()

    async def bench(ctx: Any) -> None:
        for _ in range(255):
            await count(ctx, dut, fault=Cause.OVERSIZED)
            await ctx.tick().repeat(APART)
        place = 1 + Cause.OVERSIZED
        low = await read(ctx, dut, place, high=False)
        ctx.set(dut.high, 1)
        ctx.set(dut.read, 1)
        await count(ctx, dut, fault=Cause.OVERSIZED)
        assert low | await read(ctx, dut, place, high=True) << 8 == 255
        assert (await read_all(ctx, dut))[place] == 256

    simulate(dut, bench)


def test_a_tag_is_compared_as_it_comes_and_kept() -> None:
    dut = KeptTag()
    rng = np.random.default_rng(6)

    async def bench(ctx: Any) -> None:
        kept = 0
        for _ in range(60):
            tag = kept ^ (1 << int(rng.integers(32)) if rng.random() < 0.6 else 0)
            ctx.set(dut.i.begins, 1)
            await ctx.tick()
            ctx.set(dut.i.begins, 0)
            ctx.set(dut.i.value, tag)
            for byte in tag.to_bytes(4, "little"):
                ctx.set(dut.i.comes, 1)
                ctx.set(dut.i.byte, byte)
                await ctx.tick()
                ctx.set(dut.i.comes, 0)
                await ctx.tick()
            assert ctx.get(dut.same) == (tag == kept)
            if rng.random() < 0.5:
                kept = tag
                ctx.set(dut.keep, 1)
                await ctx.tick()
                ctx.set(dut.keep, 0)
            ctx.set(dut.turn, 1)
            said = bytes([(await ctx.tick().sample(dut.byte))[-1] for _ in range(4)])
            ctx.set(dut.turn, 0)
            assert said == kept.to_bytes(4, "little")

    simulate(dut, bench)


@pytest.mark.parametrize("classes", [1, 10, 78, 79, 170])
def test_scores_take_as_many_frames_as_they_need(classes: int) -> None:
    identity = Identity(
        digest=bytes(16), height=1, width=1, channels=1, classes=classes, code_bits=8, score_bytes=3, window=2,
        clock=1, cycles=1,
    )
    assert identity.scores_per_frame == 78
    dut = ScoreSource(identity, signed(18))
    rng = np.random.default_rng(classes)
    images = {0x01020304: rng.integers(-(1 << 17), 1 << 17, classes), 0xFFEE0011: rng.integers(-5, 5, classes)}
    wanted = [
        frame for tag, scores in images.items() for frame in score_frames(identity, tag, scores.tolist())
    ]
    found = bytearray()
    ends: list[int] = []

    async def tags(ctx: Any) -> None:
        for tag in images:
            ctx.set(dut.tag.payload, tag)
            ctx.set(dut.tag.valid, 1)
            await ctx.tick().until(dut.tag.ready)
            ctx.set(dut.tag.valid, 0)

    async def send(ctx: Any) -> None:
        for scores in images.values():
            for place, score in enumerate(scores.tolist()):
                ctx.set(dut.scores.payload, {
                    "score": score, "label": int(np.argmax(scores)), "last": place == classes - 1,
                })
                ctx.set(dut.scores.valid, 1)
                await ctx.tick().until(dut.scores.ready)
                ctx.set(dut.scores.valid, 0)

    async def take(ctx: Any) -> None:
        while len(ends) < len(wanted):
            ctx.set(dut.o.ready, int(rng.integers(2)))
            _, _, valid, ready, byte = await ctx.tick().sample(dut.o.valid, dut.o.ready, dut.o.payload)
            if valid and ready:
                found.append(byte.data)
                if byte.last:
                    ends.append(len(found))

    simulate(dut, tags, send, take)
    packed = [frame.pack()[: -link.CRC_BYTES] for frame in wanted]
    assert bytes(found) == b"".join(packed)
    assert ends == np.cumsum([len(frame) for frame in packed]).tolist()
