# amaranth: UnusedElaboratable=no
"""The host driver, unmodified, against a whole board in simulation: real images, and every kind of fault."""

from __future__ import annotations

import dataclasses
import os
import pty
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import serial
from device import Device
from faulty_port import FaultyPort
from hostile_host import besiege
from places import EXAMPLES

from abc_hw import data
from abc_hw.boards import link
from abc_hw.boards.gateware.top import LinkedAccelerator
from abc_hw.boards.host.driver import Accelerator, LinkError
from abc_hw.boards.host.run import run
from abc_hw.boards.host.simulated import SimulatedBoard, simulated_board
from abc_hw.boards.link import Cause, Counters, Frame, Kind
from abc_hw.errors import InputError
from abc_hw.network import Network, description
from abc_hw.rtl_gen.folding import fold_for_cycles
from abc_hw.sim import golden


@dataclasses.dataclass
class Bench:
    """A running board, what it computes, and real images with their scores."""

    board: SimulatedBoard
    network: Network
    top: LinkedAccelerator
    images: np.ndarray
    scores: np.ndarray

    def open(self, **options: Any) -> Accelerator:
        return Accelerator.open(self.board.port, network=self.network, **{"timeout": 5.0, **options})

    def raw(self) -> serial.Serial:
        return serial.Serial(self.board.port, link.BAUD, timeout=0.01)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    network, _ = description.load(EXAMPLES / "digits-small.toml")
    top = LinkedAccelerator(network, fold_for_cycles(network, 8000), clock=12_000_000, baud=None)
    images = data.load("digits").test.images
    with simulated_board(top) as board:
        yield Bench(board, network, top, images, golden.run(network, images).scores)
        assert board.running


def answers(port: serial.Serial, until: Callable[[list[Frame | Cause]], bool]) -> list[Frame | Cause]:
    """Frames from a raw port until enough have come, or 5 seconds have passed."""
    receiver = link.Receiver()
    found: list[Frame | Cause] = []
    deadline = time.monotonic() + 5
    while not until(found) and time.monotonic() < deadline:
        found += receiver.feed(port.read(4096))
    return found


def test_test_images_score_as_in_the_golden_model(bench: Bench) -> None:
    seen: list[tuple[int, int]] = []
    with bench.open() as accelerator:
        before = accelerator.counters()
        scores = accelerator.infer(bench.images, lambda done, total: seen.append((done, total)))
        after = accelerator.counters()
        assert accelerator.resent == 0
    count = len(bench.images)
    assert count >= 100
    np.testing.assert_array_equal(scores, bench.scores)
    assert seen == [(done + 1, count) for done in range(count)]
    assert after.accepted - before.accepted == count + 1
    assert after.refused == before.refused


def test_board_says_who_it_is(bench: Bench) -> None:
    with bench.open() as accelerator:
        identity = accelerator.identity
    assert identity == bench.top.identity
    assert identity.digest.hex() == bench.network.digest[:32]
    assert (identity.height, identity.width, identity.channels, identity.classes) == (8, 8, 1, 10)
    assert identity.cycles == bench.top.accelerator.plan.cycles


def test_one_image_and_none(bench: Bench) -> None:
    with bench.open() as accelerator:
        np.testing.assert_array_equal(accelerator.infer(bench.images[3:4]), bench.scores[3:4])
        assert accelerator.infer(bench.images[:0]).shape == (0, 10)


def test_another_network_is_refused(bench: Bench) -> None:
    other, _ = description.load(EXAMPLES / "tiny.toml")
    expected = f"expected a device with tiny, digest {other.digest[:32]}, found {bench.network.digest[:32]}"
    with pytest.raises(InputError, match=expected):
        Accelerator.open(bench.board.port, network=other)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((2, 8, 9, 1), np.uint8, "expected uint8 of shape B x 8 x 8 x 1, found uint8 of shape 2 x 8 x 9 x 1"),
        ((8, 8, 1), np.uint8, "found uint8 of shape 8 x 8 x 1"),
        ((1, 8, 8, 1), np.float64, "found float64 of shape 1 x 8 x 8 x 1"),
    ],
)
def test_images_of_another_shape_are_refused(
    bench: Bench, shape: tuple[int, ...], dtype: type, message: str
) -> None:
    with bench.open() as accelerator, pytest.raises(InputError, match=message):
        accelerator.infer(np.zeros(shape, dtype))


def test_silent_port_times_out() -> None:
    master, slave = pty.openpty()
    name = os.ttyname(slave)
    try:
        with pytest.raises(
            LinkError, match=f"{name}: expected an answer to IDENTIFY, found none in 0.15 s"
        ):
            Accelerator.open(name, timeout=0.05, retries=2)
    finally:
        os.close(master)
        os.close(slave)


def test_missing_port_is_named() -> None:
    with pytest.raises(InputError, match=r"/dev/no-such-port: expected a serial port, found none that opens"):
        Accelerator.open("/dev/no-such-port")


# -- frames that nobody should send ----------------------------------------------------------------------------


def counted(port: serial.Serial) -> Counters:
    tag = 0xC0FFEE
    port.write(b"\0" + Frame(Kind.COUNT, tag).encode())
    found = answers(port, lambda found: any(isinstance(f, Frame) and f.tag == tag for f in found))
    return Counters.unpack(next(f.payload for f in found if isinstance(f, Frame) and f.tag == tag))


def refusal(tag: int, cause: Cause) -> Frame:
    return Frame(Kind.REFUSED, tag, bytes([cause]))


PIXELS = bytes(range(64))


@pytest.mark.parametrize(
    ("wire", "answer", "counter"),
    [
        (Frame(0x77, 5).encode(), refusal(5, Cause.UNKNOWN), "unknown"),
        (Frame(Kind.SCORES, 6, b"12345").encode(), refusal(6, Cause.UNKNOWN), "unknown"),
        (Frame(Kind.IDENTIFY, 7, b"x").encode(), refusal(7, Cause.UNKNOWN), "unknown"),
        (Frame(Kind.PIXELS, 8).encode(), refusal(8, Cause.UNKNOWN), "unknown"),
        (Frame(Kind.PIXELS, 9, b"\0" + PIXELS[1:]).encode(), refusal(9, Cause.UNKNOWN), "unknown"),
        (Frame(Kind.PIXELS, 10, b"\1" + PIXELS).encode(), refusal(10, Cause.ORDER), "order"),
        (link.stuff(b"abc") + b"\0", refusal(0, Cause.MALFORMED), "malformed"),
        (b"\x09abc\0", refusal(0, Cause.MALFORMED), "malformed"),
        (link.stuff(Frame(Kind.COUNT, 3).pack()[:-1] + b"!") + b"\0", refusal(0, Cause.CHECKSUM), "checksum"),
        (link.stuff(bytes(400)) + b"\0", refusal(0, Cause.OVERSIZED), "oversized"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_frame_is_counted_and_answered(bench: Bench, wire: bytes, answer: Frame, counter: str) -> None:
    with bench.raw() as port:
        before = counted(port)
        port.write(wire)
        assert answers(port, len) == [answer]
        after = counted(port)
    expected = dataclasses.replace(
        before, accepted=before.accepted + 1, **{counter: getattr(before, counter) + 1}
    )
    assert after == expected


def test_a_frame_twice_gives_scores_once(bench: Bench) -> None:
    with bench.raw() as port:
        port.write(b"\0" + link.image_frames(0xABCD, bench.images[0].tobytes()) * 2)
        found = answers(port, lambda found: len(found) == 2)
        extra = answers(port, lambda found: False) if len(found) < 2 else []
    assert not extra
    scores = next(f for f in found if isinstance(f, Frame) and f.kind == Kind.SCORES)
    size = bench.top.identity.score_bytes
    values = [
        int.from_bytes(scores.payload[place : place + size], "little", signed=True)
        for place in range(2, 2 + 10 * size, size)
    ]
    assert values == bench.scores[0].tolist()
    assert refusal(0xABCD, Cause.ORDER) in found


def test_zeros_mean_nothing(bench: Bench) -> None:
    with bench.raw() as port:
        before = counted(port)
        port.write(bytes(50))
        after = counted(port)
    assert after == dataclasses.replace(before, accepted=before.accepted + 1)


# -- hostile hosts ---------------------------------------------------------------------------------------------


def test_device_answers_hostile_frames_as_the_model_does(bench: Bench) -> None:
    images = [image.tobytes() for image in bench.images[:20]]
    known = dict(zip(images, bench.scores[:20].tolist(), strict=True))
    model = Device(bench.top.identity, {b"": known.__getitem__})
    with bench.raw() as port:
        refused = besiege(port, model, images, rounds=400, seed=8)
        model.counts |= dataclasses.asdict(counted(port))
        refused += besiege(port, model, images, rounds=100, seed=9)  # the counters, too
    assert refused > 100


# -- faults by the thousand ------------------------------------------------------------------------------------


def test_no_fault_leads_to_a_wrong_score(bench: Bench) -> None:
    port = FaultyPort(bench.raw(), 0.0, seed=1711)
    with Accelerator(port, timeout=0.04, retries=1000) as accelerator:  # much is lost, and waited for
        port.rate = 0.7
        rounds = 0
        while sum(port.faults.values()) < 1000:
            order = np.random.default_rng(rounds).permutation(len(bench.images))[:10]  # a hundred faults or two
            np.testing.assert_array_equal(accelerator.infer(bench.images[order]), bench.scores[order])
            rounds += 1
        port.rate = 0.0
        counters = accelerator.counters()
    assert min(port.faults.values()) > 100
    assert min(counters.malformed, counters.checksum, counters.order) > 0
    with bench.open() as accelerator:
        np.testing.assert_array_equal(accelerator.infer(bench.images[:20]), bench.scores[:20])


def test_hosts_that_vanish_leave_the_link_alive(bench: Bench) -> None:
    rng = np.random.default_rng(5)
    for visit in range(30):
        with bench.raw() as port:
            frames = link.image_frames(int(rng.integers(1 << 32)), bench.images[visit].tobytes())
            port.write(frames[: int(rng.integers(1, len(frames)))])
            port.flush()
        with bench.open() as accelerator:
            scores = accelerator.infer(bench.images[visit : visit + 1])
        np.testing.assert_array_equal(scores[0], bench.scores[visit])


def test_random_bytes_leave_the_link_alive(bench: Bench) -> None:
    rng = np.random.default_rng(6)
    with bench.raw() as port:
        for _ in range(40):
            port.write(rng.integers(0, 256, 1000, dtype=np.uint8).tobytes())
            port.read(4096)
    with bench.open() as accelerator:
        np.testing.assert_array_equal(accelerator.infer(bench.images[:20]), bench.scores[:20])


def test_a_faster_host_than_the_device_overflows_and_recovers(bench: Bench) -> None:
    frames = [link.image_frames(tag, bench.images[tag % 50].tobytes()) for tag in range(5000, 5060)]
    with bench.raw() as port:
        before = counted(port)
        port.write(b"".join(frames))
        answers(port, lambda found: len(found) >= 60)
        after = counted(port)
    assert after.overflow > before.overflow
    with bench.open() as accelerator:
        np.testing.assert_array_equal(accelerator.infer(bench.images[:20]), bench.scores[:20])


def test_run_gives_scores_and_speed(bench: Bench) -> None:
    done = run(bench.network, bench.images[:20], port=bench.board.port)
    np.testing.assert_array_equal(done.scores, bench.scores[:20])
    np.testing.assert_array_equal(done.labels, golden.run(bench.network, bench.images[:20]).classes)
    assert done.images_per_second > 0
    assert done.resent == 0
