# amaranth: UnusedElaboratable=no
"""Weights over the host link, against a whole board in simulation: loaded, swapped, and every kind of fault."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

import numpy as np
import pytest
import serial
from device import Device
from faulty_port import FaultyPort
from hostile_host import besiege
from places import EXAMPLES
from random_networks import other_weights, retrained

from abc_hw import data
from abc_hw.boards import link
from abc_hw.boards.gateware.top import LinkedAccelerator
from abc_hw.boards.host.driver import Accelerator, LinkError
from abc_hw.boards.host.run import run
from abc_hw.boards.host.simulated import SimulatedBoard, simulated_board
from abc_hw.boards.identity import Identity
from abc_hw.boards.link import Cause, Frame, Kind
from abc_hw.errors import InputError
from abc_hw.network import Network, ScaleForm, description
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import default_foldings
from abc_hw.sim import golden

EXAMPLE = EXAMPLES / "digits-small.toml"


@dataclasses.dataclass
class Bench:
    """A running board, two networks that differ in their weights, real images, and the scores of both."""

    board: SimulatedBoard
    top: LinkedAccelerator
    networks: tuple[Network, Network]
    images: np.ndarray
    scores: tuple[np.ndarray, np.ndarray]

    def open(self, network: Network | None) -> Accelerator:
        return Accelerator.open(self.board.port, network=network, timeout=5.0)

    def raw(self) -> serial.Serial:
        return serial.Serial(self.board.port, link.BAUD, timeout=0.01)


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    network, _ = description.load(EXAMPLE)
    top = LinkedAccelerator(network, default_foldings(network), clock=12_000_000, baud=None, weights="loaded")
    other = other_weights(network, np.random.default_rng(7))
    images = data.load("digits").test.images[:40]
    scores = golden.run(network, images).scores, golden.run(other, images).scores
    assert (scores[0] != scores[1]).any()
    with simulated_board(top) as board:
        yield Bench(board, top, (network, other), images, scores)
        assert board.running


def test_board_without_weights_says_so_and_then_loads(bench: Bench) -> None:
    """The first test of the module: nothing is loaded yet."""
    with bench.open(None) as accelerator:
        assert accelerator.identity.load_bytes == 2 * len(bench.top.accelerator.plan.load_words)
        assert not accelerator.identity.loaded
        before = accelerator.counters()
        with pytest.raises(LinkError, match="expected a device with weights, found none: load them first"):
            accelerator.infer(bench.images[:1])
        after = accelerator.counters()
        assert after == dataclasses.replace(before, accepted=before.accepted + 1, unloaded=before.unloaded + 1)
    with bench.open(bench.networks[0]) as accelerator:
        assert accelerator.identity.loaded
        assert accelerator.identity.load_tag == link.weights_tag(bench.networks[0].digest)
        np.testing.assert_array_equal(accelerator.infer(bench.images), bench.scores[0])
        assert accelerator.resent == 0


def test_weights_are_swapped_and_stay(bench: Bench) -> None:
    for which in (1, 0, 1, 1):
        with bench.open(bench.networks[which]) as accelerator:
            np.testing.assert_array_equal(accelerator.infer(bench.images), bench.scores[which])
    with bench.open(bench.networks[1]) as accelerator:
        before = accelerator.counters().accepted
        np.testing.assert_array_equal(accelerator.infer(bench.images[:3]), bench.scores[1][:3])
        assert accelerator.counters().accepted == before + 4  # three images and a count: nothing was loaded again
        seen: list[tuple[int, int]] = []
        accelerator.load(bench.networks[0], lambda done, total: seen.append((done, total)))
        count = link.chunks(accelerator.identity.load_bytes)
        assert seen == [(done + 1, count) for done in range(count)]
        np.testing.assert_array_equal(accelerator.infer(bench.images), bench.scores[0])


def test_network_that_differs_in_more_than_weights_is_refused(bench: Bench) -> None:
    network = bench.networks[0]
    layer = network.layers[-1]
    layers = (*network.layers[:-1], dataclasses.replace(layer, bias=layer.bias + 1))
    stranger = dataclasses.replace(network, name="stranger", layers=layers)
    message = (
        f"expected a device with stranger, digest without weights {stranger.constants_digest[:32]}, "
        f"found {network.constants_digest[:32]}"
    )
    with pytest.raises(InputError, match=message):
        bench.open(stranger)


def test_board_that_takes_all_serves_any_training() -> None:
    network, _ = description.load(EXAMPLE)
    rng = np.random.default_rng(3)
    one, other = retrained(network, rng), retrained(network, rng)
    design = AcceleratorPlan.of(one, default_foldings(one), weights="trained")
    device = Identity.of(design, clock=12_000_000)
    device.check(other)
    assert device.design_of(other).load_words != design.load_words
    assert device.load_bytes == 2 * len(device.design_of(other).load_words)
    first = one.layers[0]
    wider = dataclasses.replace(
        one, layers=(dataclasses.replace(first, alpha_scale=ScaleForm(kind="csd", bits=9)), *one.layers[1:])
    )
    with pytest.raises(InputError, match="expected a device with retrained, digest without weights"):
        device.check(wider)


@pytest.mark.long
def test_any_training_travels_over_the_link() -> None:
    network, _ = description.load(EXAMPLE)
    rng = np.random.default_rng(3)
    one, other = retrained(network, rng), retrained(network, rng)
    top = LinkedAccelerator(one, default_foldings(one), clock=12_000_000, baud=None, weights="trained")
    images = data.load("digits").test.images[:5]
    with simulated_board(top) as board:
        for each in (one, other, one):
            with Accelerator.open(board.port, network=each, timeout=5.0) as accelerator:
                np.testing.assert_array_equal(accelerator.infer(images), golden.run(each, images).scores)


def test_faults_while_loading_leave_no_wrong_weight(bench: Bench) -> None:
    port = FaultyPort(bench.raw(), 0.0, seed=29)
    with Accelerator(port, timeout=0.1, retries=400) as accelerator:  # type: ignore[arg-type]
        rounds = 0
        while sum(port.faults.values()) < 150:
            port.rate = 0.3
            which = rounds % 2
            accelerator.load(bench.networks[which])
            port.rate = 0.0
            assert accelerator.has_weights_of(bench.networks[which])
            some = slice(rounds % 30, rounds % 30 + 4)
            np.testing.assert_array_equal(accelerator.infer(bench.images[some]), bench.scores[which][some])
            rounds += 1
        counters = accelerator.counters()
    # Which faults meet which frame is a matter of time; that some were refused and sent again is not.
    assert counters.checksum + counters.malformed > 0
    assert accelerator.resent > 0


def test_host_that_vanishes_leaves_a_load_that_another_ends_or_replaces(bench: Bench) -> None:
    words = bench.top.accelerator.plan.load_words
    weights = struct.pack(f"<{len(words)}H", *words)
    tag = link.weights_tag(bench.networks[0].digest)
    for following in (0, 1):
        with bench.open(bench.networks[1]):
            pass
        with bench.raw() as port:
            port.write(b"\0" + link.weights_frame(tag, 0, weights) + link.weights_frame(tag, 1, weights)[:50])
            port.flush()
        with bench.open(None) as accelerator:
            identity = accelerator.identity
            assert (identity.load_tag, identity.load_next, identity.loaded) == (tag, 1, False)
        with bench.open(bench.networks[following]) as accelerator:
            np.testing.assert_array_equal(accelerator.infer(bench.images[:5]), bench.scores[following][:5])


@pytest.mark.parametrize(
    ("number", "size", "cause"),
    [(1, link.CHUNK, Cause.ORDER), (9999, 2, Cause.ORDER), (0, link.CHUNK - 2, Cause.UNKNOWN),
     (0, 3, Cause.UNKNOWN)],
)
def test_bad_chunk_is_refused_and_changes_nothing(bench: Bench, number: int, size: int, cause: Cause) -> None:
    with bench.open(bench.networks[0]) as accelerator:
        before = accelerator.identity
        name = cause.name.lower()
        counted = getattr(accelerator.counters(), name)
    with bench.raw() as port:
        port.write(b"\0" + Frame(Kind.WEIGHTS, 0xBAD, struct.pack("<H", number) + bytes(size)).encode())
        receiver, found = link.Receiver(), []
        while not found:
            found += receiver.feed(port.read(100))
    assert found == [Frame(Kind.REFUSED, 0xBAD, bytes([cause]))]
    with bench.open(bench.networks[0]) as accelerator:
        assert accelerator.identity == before
        assert getattr(accelerator.counters(), name) == counted + 1
        np.testing.assert_array_equal(accelerator.infer(bench.images[:2]), bench.scores[0][:2])


def test_device_answers_hostile_loads_as_the_model_does(bench: Bench) -> None:
    images = [image.tobytes() for image in bench.images]
    words = bench.top.accelerator.plan.load_words
    weights = [struct.pack(f"<{len(words)}H", *words)]
    with bench.open(bench.networks[0]) as accelerator:
        identity = accelerator.identity
    known = dict(zip(images, bench.scores[0].tolist(), strict=True))
    model = Device(identity, dict.fromkeys([b"", *weights], known.__getitem__))
    with bench.raw() as port:
        refused = besiege(port, model, images, rounds=400, seed=10, weights=weights)
    assert refused > 50
    assert model.identity.load_tag != identity.load_tag
    with bench.open(bench.networks[1]) as accelerator:
        np.testing.assert_array_equal(accelerator.infer(bench.images[:5]), bench.scores[1][:5])


def test_run_loads_what_it_needs(bench: Bench) -> None:
    for which in (1, 0):
        done = run(bench.networks[which], bench.images[:4], port=bench.board.port)
        np.testing.assert_array_equal(done.scores, bench.scores[which][:4])


def test_identity_with_most_layers_fits_its_frame() -> None:
    identity = Identity(
        digest=bytes(16), height=1, width=2, channels=3, classes=4, code_bits=8, score_bytes=3, window=1, clock=5,
        cycles=6, load_bytes=100, target="ecp5-slices", foldings=((700, 2, 3, 4, 300),) * link.MAX_LAYERS,
        load_tag=1 << 31, load_next=1,
    )
    assert Identity.unpack(identity.pack()) == identity
    assert len(identity.pack()) <= link.MAX_PAYLOAD < len(identity.pack()) + Identity.FOLDING.size
    size = len(identity.pack())
    with pytest.raises(InputError, match=f"expected an identity of {size} bytes, found {size - 1}"):
        Identity.unpack(identity.pack()[:-1])


def test_board_of_fixed_weights_takes_no_others() -> None:
    network, _ = description.load(EXAMPLE)
    top = LinkedAccelerator(network, default_foldings(network), clock=12_000_000)
    assert top.identity.loaded
    assert (top.identity.load_bytes, top.identity.foldings) == (0, ())


def test_identity_tells_what_decides_the_words(bench: Bench) -> None:
    """Another technology stores other words."""
    network = bench.networks[0]
    tops = [
        LinkedAccelerator(network, default_foldings(network), clock=12_000_000, weights="loaded", target=target)
        for target in ("ice40", "ecp5-slices")
    ]
    assert [top.identity.target for top in tops] == ["ice40", "ecp5-slices"]
    assert tops[0].accelerator.plan.load_words != tops[1].accelerator.plan.load_words
    for top in tops:
        knobs = [dataclasses.astuple(folding) for folding in default_foldings(network).values()]
        assert list(top.identity.foldings) == knobs
