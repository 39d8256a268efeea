"""The host's side of the link: scores from an accelerator at a serial port.

::

    with Accelerator.open("/dev/ttyUSB1", network=network) as accelerator:
        scores = accelerator.infer(images)
"""

from __future__ import annotations

import collections
import dataclasses
import struct
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import serial

from abc_hw.errors import InputError
from abc_hw.network import Graph, Integers, Network
from abc_hw.rtl_gen.engine.design import load_words

from .. import link
from ..identity import Identity
from ..link import Cause, Counters, Frame, Kind
from .line import LEAST_GRACE, Line, LinkError
from .weights import Progress, WeightSender


@dataclasses.dataclass
class _Attempt:
    """One sending of one image: when, until when to wait, and its scores so far."""

    image: int
    sent: float
    deadline: float
    scores: list[int] = dataclasses.field(default_factory=list)
    waiting: bool = True
    lost: bool = False  # known to be, before the time is over


class Accelerator:
    """A device at a serial port; made by :meth:`open`.

    Parameters
    ----------
    port : open serial port, whose reads return after some milliseconds
    timeout : seconds after which a message without answer is sent again; sooner where a fault is known
    retries : so many time-outs more until it is given up
    """

    def __init__(self, port: serial.SerialBase, *, timeout: float, retries: int) -> None:
        self._line = Line(port, timeout=timeout, retries=retries)
        self._slowest = 0.0
        self._bounds: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None
        self._identity = self._identify()
        self._window = self._identity.window  # smaller for a while after a loss

    @classmethod
    def open(
        cls,
        port: str,
        *,
        network: Network | Graph | None = None,
        baud: int = link.BAUD,
        timeout: float = 1.0,
        retries: int = 4,
    ) -> Accelerator:
        """Open a port and ask the device who it is; load the network's weights if it wants them.

        Parameters
        ----------
        port : its name, ``/dev/ttyUSB1`` or ``COM3``
        network : what the device should compute; None for any, and nothing is loaded
        baud : bits per second
        timeout : seconds after which a message without answer is sent again; sooner where a fault is known
        retries : so many time-outs more until it is given up

        Raises
        ------
        InputError
            if there is no such port, or the device computes another network.
        LinkError
            if no device answers.
        """
        try:
            # pyserial ships no types
            made = serial.Serial(port, baud, timeout=0.005, write_timeout=timeout, exclusive=True)
        except (serial.SerialException, OSError, ValueError) as error:
            raise InputError(f"{port}: expected a serial port, found none that opens: {error}") from error
        try:
            return cls.over(made, network=network, timeout=timeout, retries=retries)
        except BaseException:
            made.close()
            raise

    @classmethod
    def over(
        cls, port: serial.SerialBase, *, network: Network | Graph | None = None, timeout: float = 1.0,
        retries: int = 4,
    ) -> Accelerator:
        """As :meth:`open`, over a port that is open already, whose reads return after some milliseconds."""
        device = cls(port, timeout=timeout, retries=retries)
        if network is not None:
            device.check(network)
            if not device.has_weights_of(network):
                device.load(network)
        return device

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the port."""
        self._line.close()

    @property
    def identity(self) -> Identity:
        """What the device says of itself."""
        return self._identity

    @property
    def resent(self) -> int:
        """Messages that had to be sent again so far."""
        return self._line.resent

    def check(self, network: Network | Graph) -> None:
        """Compare all that the device says of itself with the network; of its scores, too, from now on.

        Raises
        ------
        InputError
            if the device computes another network, or cannot even after loading weights.
        """
        try:
            self._identity.check(network)
        except InputError as error:
            raise InputError(f"{self._line.name}: {error}") from None
        self._bounds = score_bounds(network)

    def has_weights_of(self, network: Network | Graph) -> bool:
        """Are the device's weights fixed, or those of the network?"""
        return self._identity.has_weights_of(network)

    def load(self, network: Network | Graph, progress: Progress | None = None) -> None:
        """Load the network's weights in place of those that are there, and ask whether they are there.

        Images that were sent before are computed with the weights before.

        Parameters
        ----------
        progress : told (chunks done, chunks in all)

        Raises
        ------
        InputError
            if the device's weights are fixed, or it differs from the network in more than its weights.
        LinkError
            if answers stay away, or the device tells other weights afterwards.
        """
        before = self._identity = self._identify()
        if not before.load_bytes:
            raise InputError(f"{self._line.name}: expected a device that takes weights, found fixed ones")
        self.check(network)
        words = load_words(before.design_of(network))
        tag = link.weights_tag(network.digest)
        known = before.load_next if before.load_tag == tag else 0
        weights = struct.pack(f"<{len(words)}H", *words)
        WeightSender(self._line, tag, weights, known=known).run(progress)
        self._identity = after = self._identify()
        expected = dataclasses.replace(before, load_tag=tag, load_next=link.chunks(len(weights)))
        if after != expected:
            raise LinkError(
                f"{self._line.name}: expected the weights of {network.name}, tag {expected.load_tag:#x} with "
                f"{expected.load_next} chunks, found tag {after.load_tag:#x} with {after.load_next}"
                if after.differs(expected) is None
                else f"{self._line.name}: expected the device as before, {after.differs(expected)}"
            )

    def counters(self) -> Counters:
        """What the device has received since its reset.

        Raises
        ------
        LinkError
            if it does not answer.
        """
        return Counters.unpack(self._line.ask(Kind.COUNT, Kind.COUNTERS))

    def infer(self, images: npt.NDArray[Any], progress: Progress | None = None) -> npt.NDArray[np.int64]:
        """Scores of images, in their order.

        Parameters
        ----------
        images : input codes uint8 [B, H, W, C]
        progress : told whenever an image is done

        Returns
        -------
        int64 [B, classes]

        Raises
        ------
        InputError
            if the images do not fit the network.
        LinkError
            if answers stay away, or contradict themselves.
        """
        identity = self._identity
        codes = self._codes(images)
        scores = np.zeros((len(images), identity.classes), np.int64)
        queue = collections.deque(range(len(images)))
        begun = [0.0] * len(images)
        done = [False] * len(images)
        attempts: dict[int, _Attempt] = {}
        finished = 0
        while finished < len(images):
            self._fill_window(queue, begun, attempts, codes)
            for found in self._line.receive():
                if isinstance(found, Frame) and found.kind == Kind.SCORES and found.tag in attempts:
                    attempt = attempts[found.tag]
                    if not self._add_scores(attempt, found.payload):
                        continue
                    self._check_scores(attempt.scores, scores[attempt.image] if done[attempt.image] else None)
                    if done[attempt.image]:
                        continue
                    self._overtaken(found.tag, attempts)
                    self._slowest = max(self._slowest, self._line.now() - attempt.sent)
                    self._window = min(self._window + 1, identity.window)
                    scores[attempt.image] = attempt.scores
                    done[attempt.image] = True
                    finished += 1
                    if progress is not None:
                        progress(finished, len(images))
                else:
                    self._shorten(found, attempts)
            self._expire(attempts, queue, done)
        return scores

    # -- images ---------------------------------------------------------------------------------------------

    def _codes(self, images: npt.NDArray[Any]) -> list[bytes]:
        identity = self._identity
        shape = (identity.height, identity.width, identity.channels)
        if images.dtype != np.uint8 or images.shape[1:] != shape:
            raise InputError(
                f"images: expected uint8 of shape B x {' x '.join(map(str, shape))}, "
                f"found {images.dtype} of shape {' x '.join(map(str, images.shape))}"
            )
        if images.size and int(images.max()) >> identity.code_bits:
            raise InputError(f"images: expected codes of {identity.code_bits} bits, found {images.max()}")
        return [image.tobytes() for image in images]

    def _fill_window(
        self, queue: collections.deque[int], begun: list[float], attempts: dict[int, _Attempt], codes: list[bytes]
    ) -> None:
        """Send images until as many wait as the device can hold, or as the line seems to bear."""
        waiting = sum(attempt.waiting for attempt in attempts.values())
        while queue and waiting < self._window:
            image = queue.popleft()
            tag, now, again = self._line.next_tag(), self._line.now(), begun[image] > 0
            if again and now - begun[image] > self._line.patience:
                raise LinkError(
                    f"{self._line.name}: expected scores of image {image}, found none in {self._line.patience:g} s"
                )
            self._line.send((b"\0" if again else b"") + link.image_frames(tag, codes[image]))
            self._line.resent += again
            begun[image] = begun[image] or now
            attempts[tag] = _Attempt(image, now, now + self._line.timeout)
            waiting += 1

    def _add_scores(self, attempt: _Attempt, payload: bytes) -> bool:
        """Take in a SCORES frame; are the scores complete now?"""
        identity = self._identity
        size, had = identity.score_bytes, len(attempt.scores)
        count = min(identity.classes - had, identity.scores_per_frame)
        last = had + count == identity.classes
        if len(payload) != 2 + count * size + 2 * last or struct.unpack_from("<H", payload)[0] != had:
            return False  # a frame before it was lost
        attempt.scores += [
            int.from_bytes(payload[place : place + size], "little", signed=True)
            for place in range(2, 2 + count * size, size)
        ]
        if last:
            attempt.waiting = False
            label = struct.unpack("<H", payload[-2:])[0]
            greatest = int(np.argmax(attempt.scores))
            if label != greatest:
                raise LinkError(f"{self._line.name}: expected the greatest's class {greatest}, found {label}")
        return last

    def _check_scores(self, found: list[int], before: npt.NDArray[np.int64] | None) -> None:
        """LinkError if the network cannot have such scores, or the image had others ``before``."""
        if before is not None and before.tolist() != found:
            raise LinkError(f"{self._line.name}: expected scores {before.tolist()} as before, found {found}")
        if self._bounds is None:
            return
        for score, least, greatest in zip(found, *self._bounds, strict=True):
            if not least <= score <= greatest:
                raise LinkError(f"{self._line.name}: expected a score from {least} to {greatest}, found {score}")

    @staticmethod
    def _overtaken(tag: int, attempts: dict[int, _Attempt]) -> None:
        """Scores come in the order of the images: what was sent before ``tag`` and still waits is lost."""
        for earlier, attempt in attempts.items():
            if earlier == tag:
                return
            if attempt.waiting:
                attempt.lost, attempt.deadline = True, 0.0

    def _shorten(self, found: Frame | Cause, attempts: dict[int, _Attempt]) -> None:
        """Something was lost: do not wait long for what may be concerned."""
        grace = self._line.now() + max(LEAST_GRACE, 2 * self._slowest)
        refused = isinstance(found, Frame) and found.kind == Kind.REFUSED
        if refused and isinstance(found, Frame) and found.payload == bytes([Cause.UNLOADED]):
            raise LinkError(f"{self._line.name}: expected a device with weights, found none: load them first")
        if refused and isinstance(found, Frame) and found.tag in attempts:
            attempts[found.tag].deadline = min(attempts[found.tag].deadline, grace)
        elif isinstance(found, Cause) or (refused and found.tag == 0):
            for attempt in attempts.values():
                attempt.deadline = min(attempt.deadline, grace)

    def _expire(
        self, attempts: dict[int, _Attempt], queue: collections.deque[int], done: list[bool]
    ) -> None:
        """Send again what waited too long; its answer still counts if it comes."""
        now = self._line.now()
        late = [attempt for attempt in attempts.values() if attempt.waiting and now > attempt.deadline]
        for attempt in reversed(late):
            attempt.waiting = False
            if not done[attempt.image]:
                queue.appendleft(attempt.image)
        if not all(attempt.lost for attempt in late):
            self._window = max(1, self._window // 2)
        for tag in [tag for tag, attempt in attempts.items() if done[attempt.image] and not attempt.waiting]:
            del attempts[tag]

    def _identify(self) -> Identity:
        self._line.send(b"\0")  # ends what another host may have left unfinished
        return Identity.unpack(self._line.ask(Kind.IDENTIFY, Kind.IDENTITY))


def score_bounds(network: Network | Graph) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(least, greatest) score of each class, int64 [classes]."""
    if isinstance(network, Graph):
        assert isinstance(network.output, Integers)  # what ends in scores
        return network.output.low, network.output.high
    classifier = network.layers[-1]
    least, greatest = classifier.acc_bounds
    return least + np.asarray(classifier.bias), greatest + np.asarray(classifier.bias)
