"""cocotb benches of generated modules: sources, sinks and a golden scoreboard that read the module's manifest.

A bench of an accelerator, or of a design around one, is a few lines::

    @cocotb.test(timeout_time=10, timeout_unit="ms")
    async def scores_are_golden(dut):
        design = read("accelerator.json")
        source, sink = CodeSource(dut, design), ScoreSink(dut, design, stalls=random_stalls(0.2, seed=1))
        board = Scoreboard(design)
        images = board.random_images(10, seed=1)
        await start(dut, design)
        cocotb.start_soon(source.send(images))
        board.check(images, await sink.receive(len(images)))

``dut`` is whatever has the module's ports as the manifest names them; with ``prefix`` those of streams and signals
stand behind that, as the ports of a design around the module may. Every class drives or samples at rising edges of
the clock, and none knows a number that the manifest has.
"""

from __future__ import annotations

import dataclasses
import logging
import random
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, RisingEdge

from abc_hw import sources
from abc_hw.errors import InputError
from abc_hw.network import Graph, IntArray, Network, graph_of
from abc_hw.rtl_gen.emit.manifest import Manifest, Stream, read

from . import golden
from .expected import random_images
from .harness import transfers

__all__ = [
    "CodeSink", "CodeSource", "DifferenceError", "Received", "ScoreSink", "Scoreboard", "Sink", "Source",
    "WeightLoader", "burst_stalls", "load_words", "random_stalls", "read", "signal", "start",
]

PERIOD_NS = 10

Stalls = Iterable[bool]
"""For one cycle after another: is nothing offered, or taken, in it? Where it ends, no stall follows."""


def random_stalls(share: float, *, seed: int) -> Iterator[bool]:
    """Stalls in a share of all cycles, 0 to below 1, each by itself."""
    if not 0 <= share < 1:
        raise InputError(f"stalls: expected a share from 0 to below 1, found {share}")
    draw = random.Random(seed)
    while True:
        yield draw.random() < share


def burst_stalls(run: int, pause: int) -> Iterator[bool]:
    """``run`` cycles without a stall, then ``pause`` with, over and over."""
    while True:
        yield from (index >= run for index in range(run + pause))


def signal(dut: Any, name: str) -> Any:
    """The signal of that name; InputError if the design has none."""
    try:
        return getattr(dut, name)
    except AttributeError:
        raise InputError(f"dut: expected a signal {name}, as the manifest has it, found none") from None


async def start(dut: Any, design: Manifest, *, prefix: str = "", clock: bool = True) -> None:
    """Start the clock, if ``clock``, and reset the module for as many edges as it asks for, not one more.

    A reset that needs no edge of the clock comes and goes between two.
    """
    edge, reset = signal(dut, design.clock), signal(dut, design.reset)
    for stream in design.streams:
        signal(dut, f"{prefix}{stream.valid if stream.direction == 'in' else stream.ready}").value = 0
    reset.value = design.reset_active
    if clock:
        Clock(edge, PERIOD_NS, unit="ns").start(start_high=False)
    for _ in range(design.reset_edges):
        await RisingEdge(edge)
    if design.reset_kind != "sync":
        await FallingEdge(edge)
    reset.value = 1 - design.reset_active
    await RisingEdge(edge)


class _End:
    """One end of a stream of the module.

    Parameters
    ----------
    dut, prefix : where the ports are, and what stands before their names
    design, stream : the manifest, and the stream's name in it
    stalls : cycles in which this end pauses
    """

    def __init__(
        self, dut: Any, design: Manifest, stream: str, *, prefix: str = "", stalls: Stalls = ()
    ) -> None:
        self.stream: Stream = design.stream(stream)
        self._clock = signal(dut, design.clock)
        self._payload = signal(dut, f"{prefix}{self.stream.payload}")
        self._valid = signal(dut, f"{prefix}{self.stream.valid}")
        self._ready = signal(dut, f"{prefix}{self.stream.ready}")
        self._stalls = iter(stalls)

    async def _pause(self, end: Any) -> None:
        """As many cycles as this end stalls for, with its handshake signal at 0."""
        while next(self._stalls, False):
            end.value = 0
            await RisingEdge(self._clock)


class Source(_End):
    """Offers transfers to a stream that goes into the module."""

    async def send_words(self, words: Iterable[int]) -> None:
        """Send payloads as they are; returns when the last one is taken."""
        for word in words:
            await self._pause(self._valid)
            self._payload.value = word
            self._valid.value = 1
            while True:
                await RisingEdge(self._clock)
                if self._ready.value == 1:
                    break
        self._valid.value = 0


class Sink(_End):
    """Takes transfers from a stream that comes out of the module."""

    async def receive_words(self, count: int) -> list[int]:
        """The payloads of the next ``count`` transfers.

        Raises
        ------
        DifferenceError : a payload with unknown bits
        """
        words: list[int] = []
        while len(words) < count:
            await self._pause(self._ready)
            self._ready.value = 1
            await RisingEdge(self._clock)
            if self._valid.value == 1:
                if not self._payload.value.is_resolvable:
                    raise DifferenceError(f"{self.stream.name}: transfer {len(words)} has unknown bits")
                words.append(int(self._payload.value))
        self._ready.value = 0
        return words


class CodeSource(Source):
    """Sends images, or codes of any layer: the stream ``i`` of an accelerator or of a layer."""

    def __init__(self, dut: Any, design: Manifest, *, prefix: str = "", stalls: Stalls = ()) -> None:
        super().__init__(dut, design, "i", prefix=prefix, stalls=stalls)

    async def send(self, images: npt.NDArray[Any]) -> None:
        """Send codes [B, H, W, C], or signed numbers if images are such; returns when the last one is taken."""
        bits = self.stream.code_bits
        codes = images.astype(np.int64) + (1 << (bits - 1)) if images.dtype == np.int8 else images
        await self.send_words(transfers(codes, self.stream.lanes, bits, self.stream.px))


class CodeSink(Sink):
    """Takes what a layer hands on, codes or the classifier's scores: the stream ``o`` of a part ``layer:NAME``."""

    def __init__(self, dut: Any, design: Manifest, *, prefix: str = "", stalls: Stalls = ()) -> None:
        super().__init__(dut, design, "o", prefix=prefix, stalls=stalls)
        self._shape = design.layers[-1].out_shape

    async def receive(self, images: int) -> IntArray:
        """What comes of so many images: int64 [B, H, W, C]."""
        height, width, channels = self._shape
        words = await self.receive_words(images * self.stream.transfers)
        values = np.array([[_value(word, field) for field in self.stream.fields] for word in words], np.int64)
        lanes, px = self.stream.lanes, self.stream.px
        split = values.reshape(images, height, -(-width // px), -1, px, lanes).swapaxes(3, 4)
        return split.reshape(images, height, split.shape[2] * px, -1)[:, :, :width, :channels]


@dataclasses.dataclass(frozen=True)
class Received:
    """Scores int64 [B, classes] and classes int64 [B], as the module gave them. Of a network without classes: its
    output int64 [B, numbers of an image], and None."""

    scores: IntArray
    classes: IntArray | None


class ScoreSink(Sink):
    """Takes scores: the stream ``o`` of an accelerator. Of a network without classes it takes the output."""

    def __init__(self, dut: Any, design: Manifest, *, prefix: str = "", stalls: Stalls = ()) -> None:
        super().__init__(dut, design, "o", prefix=prefix, stalls=stalls)

    async def receive(self, images: int) -> Received:
        """The scores and classes of the next images.

        Raises
        ------
        DifferenceError : ``last`` is not where an image ends
        """
        score, *labelled, last = self.stream.fields
        classes = self.stream.transfers
        words = await self.receive_words(images * classes)
        for index, word in enumerate(words):
            if _value(word, last) != int(index % classes == classes - 1):
                image, at = divmod(index, classes)
                wanted = int(at == classes - 1)
                raise DifferenceError(f"image {image}, class {at}: expected last {wanted}, found {1 - wanted}")
        scores = np.array([_value(word, score) for word in words], np.int64).reshape(images, classes)
        if not labelled:
            return Received(scores, None)
        labels = [_value(word, labelled[0]) for word in words[classes - 1 :: classes]]
        return Received(scores, np.array(labels, np.int64))


class WeightLoader(Source):
    """Sends the weights to an accelerator that has none of its own."""

    def __init__(self, dut: Any, design: Manifest, *, prefix: str = "", stalls: Stalls = ()) -> None:
        super().__init__(dut, design, "load", prefix=prefix, stalls=stalls)
        self._loaded = signal(dut, f"{prefix}loaded")

    async def load(self, words: Sequence[int] | Path | str) -> None:
        """Send the words, or those in a ``.load.hex`` file; returns when the weights are there.

        Raises
        ------
        InputError : another number of words than the memories have
        """
        words = load_words(words, self.stream.transfers)
        first = 1 << self.stream.field("first").lsb
        await self.send_words([words[0] | first, *words[1:]])
        while self._loaded.value != 1:
            await RisingEdge(self._clock)


def load_words(words: Sequence[int] | Path | str, count: int) -> Sequence[int]:
    """The words, or those in a ``.load.hex`` file; InputError if they are not ``count``."""
    if isinstance(words, Path | str):
        words = [int(line, 16) for line in Path(words).read_text().split()]
    if len(words) != count:
        raise InputError(f"load: expected {count} words, found {len(words)}")
    return words


class DifferenceError(AssertionError):
    """The module gave something else than the golden model: the first place where it did."""


class Scoreboard:
    """The golden model's results, and the comparison with the module's.

    Parameters
    ----------
    design : the manifest
    network : what the module computes; None: the one that the manifest names

    Raises
    ------
    InputError : another network than the manifest's
    """

    def __init__(self, design: Manifest, network: Network | Graph | None = None) -> None:
        told = design.network
        if told is None:
            raise InputError(f"{design.module}: expected the manifest of an accelerator, found part {design.part}")
        self.network = sources.read_design(told.source)[0] if network is None else network
        # What is loaded may be any; all else is fixed.
        kind = "digest" if network is None else _DIGESTS[design.loads]
        if getattr(self.network, kind) != getattr(told, kind):
            raise InputError(
                f"{design.module}: expected the network with {kind} {getattr(told, kind)[:16]}, found "
                f"{self.network.name} with {getattr(self.network, kind)[:16]}"
            )

    def random_images(self, count: int, *, seed: int) -> npt.NDArray[Any]:
        """Random numbers as the network takes them: uint8, or int8 where they are signed, [count, H, W, C]."""
        return random_images(self.network, count, np.random.default_rng(seed))

    def check(self, images: npt.NDArray[Any], received: Received) -> None:
        """Compare scores and classes of the images.

        Raises
        ------
        DifferenceError : the first image and class that differ, what was expected and found
        """
        network = self.network
        whole = golden.run_graph(network if isinstance(network, Graph) else graph_of(network), images)
        scores = whole.output.astype(np.int64).reshape(received.scores.shape)
        for image, (expected, found) in enumerate(zip(scores, received.scores, strict=True)):
            for index in np.flatnonzero(expected != found)[:1]:
                raise DifferenceError(
                    f"image {image}, class {index}: expected score {expected[index]}, found {found[index]}"
                )
        if received.classes is None:
            return
        for image, (label, found) in enumerate(zip(golden.classify(scores), received.classes, strict=True)):
            if label != found:
                raise DifferenceError(f"image {image}: expected class {label}, found {found}")
        logging.getLogger("cocotb.scoreboard").info("%d images: none differs", len(images))


_DIGESTS = {"rom": "digest", "loaded": "constants_digest", "trained": "shape_digest"}
"""Of a network and in a manifest, what names the design, by what is loaded."""


def _value(word: int, field: Any) -> int:
    """The number in a field of a payload."""
    value = word >> field.lsb & ((1 << field.bits) - 1)
    return value - (1 << field.bits) if field.signed and value >> (field.bits - 1) else value
