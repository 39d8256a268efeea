"""cocotb benches of an accelerator behind AXI: what :mod:`abc_hw.sim.bench` has for streams, on cocotbext-axi.

::

    source, sink = AxiCodeSource(dut, design), AxiScoreSink(dut, design, stalls=random_stalls(0.2, seed=1))
    registers = AxiRegisters(dut, design)
    board = Scoreboard(design)
    images = board.random_images(10, seed=1)
    await start(dut, design)
    cocotb.start_soon(source.send(images))
    board.check(images, await sink.receive(len(images)))
    assert await registers.read("images_out") == len(images)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

from abc_hw.errors import InputError
from abc_hw.rtl_gen.emit.manifest import AxiRecord, Manifest

from .bench import DifferenceError, Received, Stalls, load_words, signal

__all__ = ["AxiCodeSource", "AxiError", "AxiRegisters", "AxiScoreSink", "AxiWeightLoader"]

SLVERR, DECERR = 2, 3
"""Answers of registers that are none."""


class AxiError(Exception):
    """A register's answer was another than OKAY."""


def _record(design: Manifest) -> AxiRecord:
    if design.axi is None:
        raise InputError(f"{design.module}: expected the manifest of an accelerator behind AXI, found streams")
    return design.axi


def _clocking(dut: Any, design: Manifest) -> tuple[Any, Any, bool]:
    """Clock, reset, and whether it resets where it is high, as cocotbext-axi takes them."""
    return signal(dut, design.clock), signal(dut, design.reset), bool(design.reset_active)


def _quiet(end: Any) -> Any:
    """An end that does not log every transfer."""
    end.log.setLevel(logging.WARNING)
    return end


class AxiCodeSource:
    """Sends images: the stream of an accelerator behind AXI."""

    def __init__(self, dut: Any, design: Manifest, *, prefix: str = "", stalls: Stalls = ()) -> None:
        bus = AxiStreamBus.from_prefix(dut, prefix + _record(design).images)
        self._source = _quiet(AxiStreamSource(bus, *_clocking(dut, design)))
        self._source.set_pause_generator(iter(stalls))

    async def send(self, images: npt.NDArray[Any]) -> None:
        """Send codes [B, H, W, C], a packet an image; returns when the last one is taken."""
        for image in np.asarray(images, np.uint8):
            await self.send_packet(image.tobytes())
        await self._source.wait()

    def clear(self) -> None:
        """Forget what is in line, before or after a reset."""
        self._source.clear()

    async def send_packet(self, data: bytes) -> None:
        """Send any bytes as one packet, right or not; returns when it is in line."""
        await self._source.send(AxiStreamFrame(data))


class AxiScoreSink:
    """Takes scores: the stream that leaves an accelerator behind AXI."""

    def __init__(self, dut: Any, design: Manifest, *, prefix: str = "", stalls: Stalls = ()) -> None:
        self._told = _record(design)
        bus = AxiStreamBus.from_prefix(dut, prefix + self._told.scores)
        self._sink = _quiet(AxiStreamSink(bus, *_clocking(dut, design)))
        self._sink.set_pause_generator(iter(stalls))

    def clear(self) -> None:
        """Forget what has come, before or after a reset."""
        self._sink.clear()

    async def receive(self, images: int) -> Received:
        """The scores and classes of the next images.

        Raises
        ------
        DifferenceError : a packet of another length
        """
        rows = []
        for image in range(images):
            packet = bytes((await self._sink.recv()).tdata)
            if len(packet) != self._told.packet_bytes:
                raise DifferenceError(
                    f"image {image}: expected a packet of {self._told.packet_bytes} bytes, found {len(packet)}"
                )
            rows.append(np.frombuffer(packet, f"<i{self._told.score_bytes}").astype(np.int64))
        table = np.array(rows)
        return Received(table[:, :-1], table[:, -1])


class AxiRegisters:
    """Reads and writes the registers by their names.

    Parameters
    ----------
    stalls : makes, of a number, the cycles in which one of the five channels pauses
    """

    def __init__(
        self, dut: Any, design: Manifest, *, prefix: str = "", stalls: Callable[[int], Stalls] | None = None
    ) -> None:
        told = _record(design)
        self._addresses = told.registers
        bus = AxiLiteBus.from_prefix(dut, prefix + told.lite)
        self._master = AxiLiteMaster(bus, *_clocking(dut, design))
        for half in (self._master.write_if, self._master.read_if):
            _quiet(half)
        channels = (
            self._master.write_if.aw_channel, self._master.write_if.w_channel, self._master.write_if.b_channel,
            self._master.read_if.ar_channel, self._master.read_if.r_channel,
        )
        for index, channel in enumerate(channels):
            if stalls is not None:
                channel.set_pause_generator(iter(stalls(index)))

    def _address(self, register: str | int) -> int:
        return register if isinstance(register, int) else self._addresses[register]

    async def read(self, register: str | int) -> int:
        """What a register, or what is at an address, holds.

        Raises
        ------
        AxiError : the answer is not OKAY; its argument is the answer
        """
        answer = await self._master.read(self._address(register), 4)
        if int(answer.resp):
            raise AxiError(int(answer.resp))
        return int.from_bytes(answer.data, "little")

    async def write(self, register: str | int, value: int, size: int = 4) -> None:
        """Write ``size`` bytes of a register; raises as :meth:`read`."""
        answer = await self._master.write(self._address(register), value.to_bytes(size, "little"))
        if int(answer.resp):
            raise AxiError(int(answer.resp))


class AxiWeightLoader:
    """Loads an accelerator through its registers."""

    def __init__(self, registers: AxiRegisters) -> None:
        self._registers = registers

    async def load(self, words: Sequence[int] | Path | str) -> None:
        """Write the words, or those in a ``.load.hex`` file; returns when all is there.

        Raises
        ------
        InputError : another number of words than the memories have
        """
        registers = self._registers
        words = load_words(words, await registers.read("load_words"))
        for index, word in enumerate(words):
            name = "load" if index else "load_first"
            while True:
                try:
                    await registers.write(name, word)
                    break
                except AxiError:  # the word before has not been taken yet
                    continue
        while not await registers.read("status") & 1:
            pass
