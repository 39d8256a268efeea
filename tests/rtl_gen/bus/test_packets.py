"""Images and scores as packets: every width, right and malformed packets, pauses at both ends."""

from __future__ import annotations

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator

from abc_hw.rtl_gen.blocks.classifier import score_layout
from abc_hw.rtl_gen.bus.gearbox import ByteGearbox
from abc_hw.rtl_gen.bus.packets import ImagePackets, ImagePlan, ScorePackets, ScorePlan
from abc_hw.rtl_gen.parts.stream import CodeStream
from abc_hw.sim.harness import transfers

LIMIT = 20_000


def beats(packet: bytes, size: int) -> list[tuple[int, int, int]]:
    """(TDATA, TKEEP, TLAST) of a packet."""
    pieces = [packet[start : start + size] for start in range(0, len(packet), size)]
    return [
        (int.from_bytes(piece, "little"), (1 << len(piece)) - 1, int(index == len(pieces) - 1))
        for index, piece in enumerate(pieces)
    ]


def images_through(
    plan: ImagePlan, sent: list[tuple[int, int, int]], wanted: int, seed: int
) -> tuple[list[int], dict[str, int]]:
    """Transfers to the accelerator until ``wanted`` have come and all was sent; how often each signal was 1."""
    dut, rng = ImagePackets(plan), np.random.default_rng(seed)
    found: list[int] = []
    counts = {"begins": 0, "ends": 0, "malformed": 0}

    async def send(ctx: object) -> None:
        for data, keep, last in sent:
            while rng.random() < 0.3:
                await ctx.tick()
            for name, value in (("tdata", data), ("tkeep", keep), ("tlast", last), ("tvalid", 1)):
                ctx.set(getattr(dut, f"s_{name}"), value)
            await ctx.tick().until(dut.s_tready)
            ctx.set(dut.s_tvalid, 0)

    async def receive(ctx: object) -> None:
        for _ in range(LIMIT):
            ctx.set(dut.o.ready, int(rng.random() < 0.7))
            _, _, valid, ready, word, *flags = await ctx.tick().sample(
                dut.o.valid, dut.o.ready, dut.o.payload.as_value(), *(getattr(dut, name) for name in counts)
            )
            for name, flag in zip(counts, flags, strict=True):
                counts[name] += flag
            if valid and ready:
                found.append(word)
            if len(found) == wanted:
                break

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    return found, counts


@pytest.mark.parametrize(("shape", "bits", "lanes", "code_bits"), [
    ((2, 3, 1), 8, 1, 8), ((2, 3, 3), 32, 2, 8), ((1, 5, 4), 64, 4, 2), ((3, 1, 5), 16, 3, 3),
    ((1, 1, 3), 128, 3, 8),
])
def test_images_come_as_they_are(shape: tuple[int, int, int], bits: int, lanes: int, code_bits: int) -> None:
    plan = ImagePlan(shape=shape, bits=bits, o=CodeStream(lanes, unsigned(code_bits)))
    images = np.random.default_rng(bits).integers(1 << code_bits, size=(6, *shape), dtype=np.uint8)
    sent = [beat for image in images for beat in beats(image.tobytes(), bits // 8)]
    expected = transfers(images, lanes, code_bits)
    found, counts = images_through(plan, sent, len(expected), seed=bits)
    assert found == expected
    assert counts == {"begins": 6, "ends": 6, "malformed": 0}
    assert plan.beats == len(sent) // 6


def test_malformed_packets_keep_their_places() -> None:
    """Too short, too long by a byte and by many transfers, with a wrong TKEEP: the images after them are whole."""
    shape = (2, 3, 3)
    plan = ImagePlan(shape=shape, bits=32, o=CodeStream(2, unsigned(8)))
    images = np.random.default_rng(0).integers(1, 256, size=(7, *shape), dtype=np.uint8)
    packets = [beats(image.tobytes(), 4) for image in images]
    packets[1] = beats(images[1].tobytes()[:7], 4)
    packets[2] = beats(images[2].tobytes() + b"\xff", 4)
    packets[3] = beats(images[3].tobytes() + bytes(range(40)), 4)
    packets[5][0] = packets[5][0][0], 0b0111, 0
    expected = images.copy()
    expected[1] = np.frombuffer(images[1].tobytes()[:7] + bytes(11), np.uint8).reshape(shape)
    found, counts = images_through(
        plan, [beat for packet in packets for beat in packet], len(transfers(images, 2, 8)), seed=1
    )
    assert found == transfers(expected, 2, 8)
    assert counts == {"begins": 7, "ends": 7, "malformed": 4}


@pytest.mark.parametrize(("classes", "score_bits", "bits"), [
    (3, 12, 32), (3, 12, 64), (2, 40, 16), (5, 20, 8), (1, 9, 512),
])
def test_scores_leave_as_words(classes: int, score_bits: int, bits: int) -> None:
    plan = ScorePlan(i=score_layout(signed(score_bits), classes), classes=classes, bits=bits)
    dut, rng = ScorePackets(plan), np.random.default_rng(bits)
    scores = rng.integers(-(1 << (score_bits - 1)), 1 << (score_bits - 1), size=(5, classes))
    labels = rng.integers(classes, size=5)
    table = np.concatenate([scores, labels[:, None]], axis=1)
    expected = [beat for row in table for beat in beats(row.astype(f"<i{plan.word}").tobytes(), bits // 8)]
    found: list[tuple[int, int, int]] = []

    async def send(ctx: object) -> None:
        for image in range(5):
            for index in range(classes):
                while rng.random() < 0.3:
                    await ctx.tick()
                last = index == classes - 1
                ctx.set(dut.i.payload, {
                    "score": int(scores[image, index]), "label": int(labels[image]) if last else 0, "last": last,
                })
                ctx.set(dut.i.valid, 1)
                await ctx.tick().until(dut.i.ready)
                ctx.set(dut.i.valid, 0)

    async def receive(ctx: object) -> None:
        for _ in range(LIMIT):
            if len(found) == len(expected):
                break
            ctx.set(dut.m_tready, int(rng.random() < 0.7))
            _, _, valid, ready, *beat = await ctx.tick().sample(
                dut.m_tvalid, dut.m_tready, dut.m_tdata, dut.m_tkeep, dut.m_tlast
            )
            if valid and ready:
                found.append(tuple(beat))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(send)
    simulator.add_testbench(receive)
    simulator.run()
    assert found == expected
    assert plan.beats == len(expected) // 5


def test_a_transfer_has_a_byte() -> None:
    with pytest.raises(ValueError, match="at least one byte, not 0"):
        ByteGearbox(i_size=0, o_size=3)
    with pytest.raises(ValueError, match="one pixel, not 2"):
        ImagePlan(shape=(2, 2, 1), bits=8, o=CodeStream(1, unsigned(8), px=2))
