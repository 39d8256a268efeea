# amaranth: UnusedElaboratable=no
"""The design of a board: an accelerator behind a serial line."""

import dataclasses
from collections.abc import Mapping

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network
from abc_hw.rtl_gen.engine.accelerator import WeightSource
from abc_hw.rtl_gen.engine.design import AnyAccelerator, accelerator_of, plan_of
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.rtl_gen.parts.memory_mapping import TECHNOLOGIES, Technology
from abc_hw.rtl_gen.parts.memory_plan import LOAD_BITS, MemoryPlan

from .. import link
from ..identity import Identity
from .bridge import Bridge, bridge_memories
from .collector import image_memory
from .framing import FrameReceiver, packet_memory
from .uart import LEAST_DIVISOR, UartReceiver, UartTransmitter

__all__ = ["LinkedAccelerator", "Room"]

BAUD_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class Room:
    """Where a device keeps the images that come.

    Members
    -------
    several : has the packet buffer room for two of them, so that the next ones travel while one is computed?
        Otherwise it has as few bytes as there can be, and of images that do not fit one is asked for at a time
    large : goes the image that is put together into large memories of the part, of those that there are?
    """

    several: bool = True
    large: bool = False

    def buffer_bytes(self, image_bytes: int) -> int:
        """Depth of the packet buffer."""
        return link.buffer_bytes(image_bytes) if self.several else link.LEAST_BUFFER


class LinkedAccelerator(wiring.Component):
    """::

        rx --> receiver --> frames --> bridge --> accelerator --> bridge --> transmitter --> tx

    Parameters
    ----------
    network, foldings, target, weights : as of :func:`abc_hw.rtl_gen.engine.design.plan_of`; weights that are
        loaded come over the line
    large : large memories of the part, for the image and for such weights
    room : where images are kept
    clock : Hz
    baud : bits per second of the line; None for ``LEAST_DIVISOR`` cycles per bit, the fastest there is

    Members
    -------
    rx : In, tx : Out, the line, of 8 data bits, no parity, 1 stop bit

    Raises
    ------
    InputError
        if a folding does not fit, the network ends in no scores, the image is too large for the link, or the clock
        too slow for it.
    """

    def __init__(
        self, network: Network | Graph, foldings: Mapping[str, LayerFolding], *, clock: int,
        baud: int | None = link.BAUD, target: str = "generic", weights: WeightSource = "rom", large: int = 0,
        room: Room = Room(),
    ) -> None:
        if not network.classes:
            raise InputError(f"{network.name}: expected a network with classes for the host link, found none")
        height, width, channels = network.input_shape
        size = height * width * channels
        self._buffer_bytes = room.buffer_bytes(size)
        self._image = image_memory(size, network.input.bases.bits, TECHNOLOGIES[target], large=room.large)
        if self._image.mapped.kind == "large":
            large -= self._image.mapped.cells
        self._accelerator = accelerator = accelerator_of(
            plan_of(network, foldings, target=target, weights=weights, large=large)
        )
        self._divisor = LEAST_DIVISOR if baud is None else _divisor(clock, baud)
        if link.chunks(size) > link.MAX_CHUNKS:
            raise InputError(
                f"{network.name}: expected images of at most {link.MAX_CHUNKS * link.CHUNK} bytes for the "
                f"host link, found {size}"
            )
        self._identity = Identity.of(accelerator.plan, clock=clock, buffer=self._buffer_bytes)
        self._check_loading()
        super().__init__({
            "rx": In(1, init=1), "tx": Out(1, init=1), "working": Out(1), "refused": Out(1),
        })

    def _check_loading(self) -> None:
        name = self._accelerator.plan.network.name
        most = link.MAX_WEIGHT_CHUNKS * link.CHUNK
        if self._identity.load_bytes > most:
            found = self._identity.load_bytes
            raise InputError(f"{name}: expected weights of at most {most} bytes for the host link, found {found}")
        if len(self._identity.foldings) > link.MAX_LAYERS:
            found = len(self._identity.foldings)
            raise InputError(
                f"{name}: expected at most {link.MAX_LAYERS} layers with loaded weights for the host link, "
                f"found {found}"
            )

    @property
    def accelerator(self) -> AnyAccelerator:
        return self._accelerator

    @property
    def identity(self) -> Identity:
        """What the device answers when it is asked who it is."""
        return self._identity

    @property
    def divisor(self) -> int:
        """Cycles per bit of the line."""
        return self._divisor

    @property
    def buffer_bytes(self) -> int:
        """Depth of the packet buffer."""
        return self._buffer_bytes

    @property
    def kept(self) -> list[MemoryPlan]:
        """Memories of the link."""
        packets = packet_memory(self.buffer_bytes, self._technology)
        return [packets, self._image, *bridge_memories(self._identity, self._technology)]

    @property
    def memories(self) -> list[MemoryPlan]:
        """All there are."""
        return [*self._accelerator.plan.memories, *self.kept]

    @property
    def _technology(self) -> Technology:
        return TECHNOLOGIES[self._accelerator.plan.target]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.accelerator = accelerator = self._accelerator
        m.submodules.receiver = receiver = UartReceiver(divisor=self._divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(divisor=self._divisor)
        m.submodules.frames = frames = FrameReceiver(depth=self.buffer_bytes, technology=self._technology)
        load_bits = len(accelerator.load.payload.data) if accelerator.plan.loads else LOAD_BITS
        m.submodules.bridge = bridge = Bridge(
            self._identity, lanes=accelerator.plan.i.lanes, score=accelerator.o.payload.score.shape(),
            image=self._image, load_bits=load_bits, technology=self._technology,
        )
        if accelerator.plan.loads:
            wiring.connect(m, bridge.weights, accelerator.load)
            m.d.comb += bridge.loaded.eq(accelerator.loaded)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            frames.data.eq(receiver.data),
            frames.strobe.eq(receiver.strobe),
            frames.line_fault.eq(receiver.fault),
            bridge.fault.eq(frames.fault),
            bridge.cause.eq(frames.cause),
            self.tx.eq(transmitter.tx),
        ]
        wiring.connect(m, frames.o, bridge.frames)
        wiring.connect(m, bridge.image, accelerator.i)
        wiring.connect(m, accelerator.o, bridge.scores)
        wiring.connect(m, bridge.bytes, transmitter.i)
        last = bridge.scores.valid & bridge.scores.ready & bridge.scores.payload.last
        with m.If(bridge.image.valid):
            m.d.sync += self.working.eq(1)
        with m.Elif(last):
            m.d.sync += self.working.eq(0)
        m.d.comb += self.refused.eq(bridge.refused)
        return m


def _divisor(clock: int, baud: int) -> int:
    """Cycles per bit."""
    divisor = round(clock / baud)
    if divisor < LEAST_DIVISOR or abs(clock / divisor / baud - 1) > BAUD_TOLERANCE:
        raise InputError(
            f"baud: expected a rate within {BAUD_TOLERANCE:.0%} of {clock} Hz divided by {LEAST_DIVISOR} or more, "
            f"found {baud}"
        )
    return divisor
