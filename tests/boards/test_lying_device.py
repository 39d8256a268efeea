# amaranth: UnusedElaboratable=no
"""The host against devices that lie: whatever the protocol can tell is noticed, and no session is endless."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable

import numpy as np
import pytest
from device import Device, DevicePort, Scores, score_frames
from places import EXAMPLES
from random_networks import other_weights

from abc_hw.boards.host.driver import Accelerator
from abc_hw.boards.host.line import Line, LinkError
from abc_hw.boards.identity import Identity
from abc_hw.boards.link import MAX_LAYERS, Cause, Frame, Kind
from abc_hw.errors import InputError
from abc_hw.network import Network, description
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan as Design
from abc_hw.rtl_gen.folding import default_foldings
from abc_hw.sim import golden

NETWORK, _ = description.load(EXAMPLES / "tiny.toml")
OTHER = other_weights(NETWORK, np.random.default_rng(3))
IMAGES = np.random.default_rng(4).integers(256, size=(5, *NETWORK.input_shape), dtype=np.uint8)
SCORES = {network.name: golden.run(network, IMAGES).scores for network in (NETWORK, OTHER)}
DESIGNS = {
    weights: Design.of(NETWORK, default_foldings(NETWORK), weights=weights) for weights in ("rom", "loaded")
}
FIXED, LOADED = (Identity.of(design, clock=12_000_000) for design in DESIGNS.values())

GREATEST = (1 << 8 * FIXED.score_bytes - 1) - 1
"""A score that has room in its bytes, and that the network cannot have."""

Answers = Callable[[Frame | Cause], list[Frame]]


def weights_of(network: Network) -> bytes:
    words = Design.of(network, default_foldings(NETWORK), weights="loaded").load_words
    return struct.pack(f"<{len(words)}H", *words)


def scores_of(network: Network) -> Scores:
    codes = (image.tobytes() for image in IMAGES)
    return dict(zip(codes, SCORES[network.name].tolist(), strict=True)).__getitem__


COMPUTED = {b"": scores_of(NETWORK)}
COMPUTED_LOADED = {weights_of(network): scores_of(network) for network in (NETWORK, OTHER)}


def device(*, loaded: bool = False) -> Device:
    return Device(LOADED, COMPUTED_LOADED) if loaded else Device(FIXED, COMPUTED)


def session(answers: Answers, monkeypatch: pytest.MonkeyPatch, *, before: bytes = b"") -> np.ndarray:
    """Scores of the images from a device of these answers."""
    port = DevicePort(answers)
    port.push(before)
    monkeypatch.setattr(Line, "now", lambda self: port.clock)
    with Accelerator.over(port, network=NETWORK, timeout=0.1, retries=2) as accelerator:  # type: ignore[arg-type]
        return accelerator.infer(IMAGES)


def lying(honest: Device, lie: Callable[[Frame], Frame | None]) -> Answers:
    """The device's answers, each as ``lie`` makes it; None for none."""
    return lambda found: [told for frame in honest.answers(found) if (told := lie(frame)) is not None]


def altered(kind: Kind, change: Callable[[bytes], bytes]) -> Callable[[Frame], Frame]:
    """A lie in the payload of the frames of one kind."""
    return lambda frame: dataclasses.replace(frame, payload=change(frame.payload)) if frame.kind == kind else frame


@pytest.mark.parametrize("loaded", [False, True])
def test_honest_device_gives_scores(loaded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    np.testing.assert_array_equal(session(device(loaded=loaded).answers, monkeypatch), SCORES["tiny"])


FIELDS = [
    *(("window", value) for value in (0, 1, 255)), *(("score_bytes", value) for value in (0, 1, 2, 4, 8, 9)),
    *(("classes", value) for value in (0, 1, 2, 4, 60000)), *(("code_bits", value) for value in (0, 7, 9)),
    ("height", 7), ("width", 9), ("channels", 2), ("channels", 0), ("clock", 0), ("digest", bytes(16)),
]


@pytest.mark.parametrize(("field", "value"), [
    *FIELDS, ("cycles", 0), ("load_bytes", 1), ("target", "ice40"), ("load_tag", 1), ("load_next", 1),
    ("foldings", ((1, 1, 1, 1, 1),)),
])
def test_every_field_of_a_fixed_device_is_compared(
    field: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    false = dataclasses.replace(FIXED, **{field: value})
    with pytest.raises(InputError, match=rf"device: expected .*{field.replace('_', '.')}.*found"):
        session(lying(device(), altered(Kind.IDENTITY, lambda _: false.pack())), monkeypatch)


@pytest.mark.parametrize(("field", "value"), [
    *FIELDS, ("cycles", LOADED.cycles + 1), ("load_bytes", LOADED.load_bytes + 2),
    ("load_bytes", LOADED.load_bytes - 1), ("target", "ecp5-slices"), ("target", "\x1b[31m"),
    ("foldings", LOADED.foldings[:1]), ("foldings", ((0, 0, 0, 0, 0),) * 2), ("foldings", ((1, 1, 1, 1, 1),) * 2),
    ("foldings", ((65535, 65535, 255, 255, 65535),) * 2), ("foldings", LOADED.foldings * (MAX_LAYERS // 2)),
    ("load_next", 65535),
])
def test_every_field_of_a_loaded_device_is_compared(
    field: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    false = dataclasses.replace(LOADED, **{field: value})
    with pytest.raises(InputError, match=r"device: .*expected .*found") as caught:
        session(lying(device(loaded=True), altered(Kind.IDENTITY, lambda _: false.pack())), monkeypatch)
    assert str(caught.value).isprintable()


def test_identity_of_another_length_is_told() -> None:
    packed = FIXED.pack()
    for cut in range(len(packed)):
        with pytest.raises(InputError, match="device: expected"):
            Identity.unpack(packed[:cut])
    with pytest.raises(InputError, match=rf"expected an identity of {len(packed)} bytes, found {len(packed) + 1}"):
        Identity.unpack(packed + b"\0")


# -- loading -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "message"), [
    (b"\0\0", "expected chunk 0 of the weights to be taken, found no answer that it was in 0.3 s"),
    (b"\xff\xff", "expected a chunk from 0 to . to be wanted next, found 65535"),
    (b"\1", "to be wanted next, found 1 bytes"),
    (b"\1\0\0", "to be wanted next, found 3 bytes"),
])
def test_answers_to_weights_are_believed_only_as_progress(
    said: bytes, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LinkError, match=message):
        session(lying(device(loaded=True), altered(Kind.TAKEN, lambda _: said)), monkeypatch)


@pytest.mark.parametrize("state", [(7, None), (None, 0), (7, 0)], ids=["tag", "count", "both"])
def test_load_is_confirmed(state: tuple[int | None, int | None], monkeypatch: pytest.MonkeyPatch) -> None:
    def otherwise(payload: bytes) -> bytes:
        told = Identity.unpack(payload)
        tag, count = (mine if theirs is None else theirs for mine, theirs in zip(
            (told.load_tag, told.load_next), state, strict=True
        ))
        return dataclasses.replace(told, load_tag=tag, load_next=count).pack()

    with pytest.raises(LinkError, match=r"expected the weights of tiny, tag 0x[0-9a-f]+ with . chunks, found tag"):
        session(lying(device(loaded=True), altered(Kind.IDENTITY, otherwise)), monkeypatch)


def test_device_that_changes_while_it_loads_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    told = [LOADED, LOADED]

    def changed(payload: bytes) -> bytes:
        return told.pop().pack() if told else dataclasses.replace(LOADED, window=9).pack()

    with pytest.raises(LinkError, match=rf"expected the device as before, window {LOADED.window}, found 9"):
        session(lying(device(loaded=True), altered(Kind.IDENTITY, changed)), monkeypatch)


def test_weights_of_another_network_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    made = device(loaded=True)
    port = DevicePort(made.answers)
    monkeypatch.setattr(Line, "now", lambda self: port.clock)
    with Accelerator.over(port, network=NETWORK) as accelerator:  # type: ignore[arg-type]
        for network in (OTHER, NETWORK):
            accelerator.load(network)
            np.testing.assert_array_equal(accelerator.infer(IMAGES), SCORES[network.name])


# -- scores --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("change", "message"), [
    (lambda payload: payload[:-2] + b"\x09\0", "expected the greatest's class ., found 9"),
    (
        lambda payload: payload[:2] + GREATEST.to_bytes(FIXED.score_bytes, "little") * 3 + b"\0\0",
        f"expected a score from .* found {GREATEST}",
    ),
    (lambda payload: b"\1" + payload[1:], "expected scores of image 0, found none in 0.3 s"),
    (lambda payload: payload[:-1], "expected scores of image 0, found none in 0.3 s"),
    (lambda payload: payload + b"\0", "expected scores of image 0, found none in 0.3 s"),
    (lambda payload: b"", "expected scores of image 0, found none in 0.3 s"),
], ids=["label", "range", "first", "short", "long", "empty"])
def test_scores_that_cannot_be_are_refused(
    change: Callable[[bytes], bytes], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LinkError, match=message):
        session(lying(device(), altered(Kind.SCORES, change)), monkeypatch)


def test_babble_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that never stops sending, sense or nonsense, before or after it was known."""
    for what in (b"\xa5\0" * 100_000, Frame(0x77, 5, b"hello").encode() * 20_000):
        with pytest.raises(LinkError, match="expected an answer to IDENTIFY"):
            session(lambda _: [], monkeypatch, before=what)
    flood = [Frame(Kind.REFUSED, 0, bytes([Cause.CHECKSUM]))] * 5_000
    made = device(loaded=True)
    with pytest.raises(LinkError):
        session(lambda found: made.answers(found) if made.counts["accepted"] < 2 else flood, monkeypatch)


# -- anything ------------------------------------------------------------------------------------------------


class Liar:
    """A device that now and then says something else than what is so. It tells no score that could be true, nor
    those of one image under the tag of another: that nobody could notice."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._device = device(loaded=bool(rng.integers(2)))
        self._rate = float(rng.choice([0.0, 0.05, 0.3, 1.0]))
        self._lies = rng.choice(["field", "bytes", "length", "kind", "tag", "twice", "none", "refuse", "late"], 3)
        self._late: list[Frame] = []

    def answers(self, found: Frame | Cause) -> list[Frame]:
        honest, self._late = [*self._late, *self._device.answers(found)], []
        return [told for frame in honest for told in self._told(frame)]

    def _told(self, frame: Frame) -> list[Frame]:
        rng, payload = self._rng, bytearray(frame.payload)
        if rng.random() >= self._rate:
            return [frame]
        match str(rng.choice(self._lies)):
            case "field" if frame.kind == Kind.IDENTITY:
                return [dataclasses.replace(frame, payload=self._false_identity(frame.payload))]
            case "bytes" if payload and frame.kind != Kind.SCORES:
                payload[rng.integers(len(payload))] = rng.integers(256)
                return [dataclasses.replace(frame, payload=bytes(payload))]
            case "bytes" if frame.kind == Kind.SCORES:
                scores = rng.integers(-1000, 1000, 3).tolist()
                scores[int(rng.integers(3))] = GREATEST * int(rng.choice([-1, 1]))
                return score_frames(FIXED, frame.tag, scores)
            case "length":
                cut = payload[: int(rng.integers(len(payload) + 1))]
                return [dataclasses.replace(frame, payload=bytes(cut))]
            case "kind":
                return [dataclasses.replace(frame, kind=int(rng.choice([*Kind, 0x55])))]
            case "tag":
                return [dataclasses.replace(frame, tag=int(rng.choice([0, frame.tag ^ 1 << 30])))]
            case "twice":
                return [frame, frame]
            case "none":
                return []
            case "refuse":
                return [Frame(Kind.REFUSED, int(rng.choice([0, frame.tag])), bytes([int(rng.integers(9))]))]
            case "late":
                self._late.append(frame)
                return []
        return [frame]

    def _false_identity(self, payload: bytes) -> bytes:
        rng, told = self._rng, Identity.unpack(payload)
        fields = ["window", "score_bytes", "classes", "height", "load_next", "load_tag", "foldings"]
        field = str(rng.choice(fields))
        if field == "foldings":
            count = int(rng.integers(4))
            return dataclasses.replace(told, foldings=((*rng.integers(9, size=5).tolist(),),) * count).pack()
        return dataclasses.replace(told, **{field: int(rng.integers(12))}).pack()


def sessions(seeds: range, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Sessions with liars that gave scores, and that the host refused; all others fail."""
    good = refused = 0
    for seed in seeds:
        liar = Liar(np.random.default_rng(seed))
        try:
            scores = session(liar.answers, monkeypatch)
        except InputError:
            refused += 1
        else:
            good += 1
            np.testing.assert_array_equal(scores, SCORES["tiny"], err_msg=f"seed {seed}")
    return good, refused


def test_no_lie_leads_to_a_wrong_score(monkeypatch: pytest.MonkeyPatch) -> None:
    good, refused = sessions(range(50), monkeypatch)
    assert good > 10
    assert refused > 5


@pytest.mark.long
def test_no_lie_of_thousands_leads_to_a_wrong_score(monkeypatch: pytest.MonkeyPatch) -> None:
    good, refused = sessions(range(1000, 6000), monkeypatch)
    print(f"{good} sessions gave scores, {refused} were refused")
    assert good + refused == 5000
