"""Golden functions of an accelerator's parts, and what drives them in a bench: array and scale unit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from cocotb.triggers import RisingEdge

from abc_hw.network import Bases, IntArray
from abc_hw.rtl_gen.emit.manifest import Manifest
from abc_hw.rtl_gen.emit.parts import array_plan
from abc_hw.rtl_gen.parts.matches import LayerNumbers

from . import golden
from .bench import signal

__all__ = ["ArrayDriver", "ArrayWord", "ScaleDriver", "array_dots", "array_words", "scale_matches"]


class ArrayWord(NamedTuple):
    """A word of the array's inputs: ``w`` and ``group_m`` belong ``weight_delay`` cycles later."""

    a: int
    w: int
    group_n: int
    group_m: int
    last: int


def _bases(design: Manifest) -> tuple[Bases, Bases]:
    sizes = design.parameters
    weight, activation = (Bases(kind="thermometer", count=int(sizes[name])) for name in ("M", "N"))
    return weight, activation


def array_dots(design: Manifest, levels: npt.NDArray[Any], codes: npt.NDArray[Any]) -> IntArray:
    """Matches of weight levels [pe, K] with activation codes [dots, K]: int64 [dots, pe, M, N]."""
    weight_bases, input_bases = _bases(design)
    weights = golden.pack(weight_bases.expand(levels).swapaxes(-1, -2))
    inputs = golden.pack(input_bases.expand(codes).swapaxes(-1, -2))
    return golden.xnor_popcount(weights[None, :, :, None], inputs[:, None, None], levels.shape[-1])


def array_words(design: Manifest, levels: npt.NDArray[Any], codes: npt.NDArray[Any]) -> list[ArrayWord]:
    """What computes :func:`array_dots`: for each dot, n outside, m inside, the words of all K positions.

    Positions past K have codes of which no basis agrees.
    """
    sizes = {name: int(value) for name, value in design.parameters.items() if isinstance(value, int)}
    plan = array_plan(design.parameters, design.target)
    simd, length = sizes["simd"], levels.shape[-1]
    count = -(-length // simd)
    missing = count * simd - length
    codes = np.pad(codes, ((0, 0), (0, missing))).reshape(len(codes), count, simd)
    levels = np.pad(levels, ((0, 0), (0, missing)), constant_values=sizes["M"]).reshape(-1, count, simd)
    weight_bases, input_bases = _bases(design)
    stored = plan.stored(levels.swapaxes(0, 1)).reshape(count, -1)  # [word][pe][simd]
    return [
        ArrayWord(
            a=_joined(codes[dot, word], input_bases.bits), w=_joined(stored[word], weight_bases.bits),
            group_n=n, group_m=m, last=int(word == count - 1),
        )
        for dot in range(len(codes))
        for n in range(-(-sizes["N"] // sizes["np"]))
        for m in range(-(-sizes["M"] // sizes["mp"]))
        for word in range(count)
    ]


def _joined(values: npt.NDArray[Any], bits: int) -> int:
    """Numbers side by side in one word, the first one lowest."""
    return sum(int(value) << (bits * place) for place, value in enumerate(values))


def _split(word: int, bits: int, dims: tuple[int, ...], *, signed: bool = False) -> IntArray:
    """The numbers in a word, as an array of those dimensions."""
    values = [word >> (bits * place) & ((1 << bits) - 1) for place in range(int(np.prod(dims)))]
    half = 1 << (bits - 1)
    return np.array([(value ^ half) - half if signed else value for value in values], np.int64).reshape(dims)


class ArrayDriver:
    """Drives a bare array: a word a cycle, weights as late as they are wanted."""

    def __init__(self, dut: Any, design: Manifest) -> None:
        self._dut, self._design = dut, design
        self._ports = {port.name: port for port in design.signals}

    async def dots(self, levels: npt.NDArray[Any], codes: npt.NDArray[Any]) -> tuple[IntArray, int]:
        """What the array makes of weight levels [pe, K] and codes [dots, K].

        Returns
        -------
        int64 [dots, pe, M, N], and the cycles from the first dot's last word to its result
        """
        sizes = {name: int(value) for name, value in self._design.parameters.items() if isinstance(value, int)}
        words = array_words(self._design, levels, codes)
        delay, port = sizes["weight_delay"], self._ports["dots"]
        clock, dut = signal(self._dut, self._design.clock), self._dut
        found: list[IntArray] = []
        moments: list[int] = []
        for cycle in range(len(words) + delay + (self._design.latency or 0) + 1):
            now = words[cycle] if cycle < len(words) else None
            late = words[cycle - delay] if 0 <= cycle - delay < len(words) else None
            dut.word.value = int(now is not None)
            if now is not None:
                dut.a.value, dut.last.value = now.a, now.last
                if "group_n" in self._ports:
                    dut.group_n.value = now.group_n
            if late is not None:
                dut.w.value = late.w
                if "group_m" in self._ports:
                    dut.group_m.value = late.group_m
            await RisingEdge(clock)
            if dut.valid.value == 1:
                moments.append(cycle)
                found.append(_split(int(dut.dots.value), port.bits, port.dims))
        first = next(index for index, word in enumerate(words) if word.last)
        passes_n, passes_m = -(-sizes["N"] // sizes["np"]), -(-sizes["M"] // sizes["mp"])
        shape = (len(codes), passes_n, passes_m, *port.dims)
        dots = np.array(found).reshape(shape).transpose(0, 3, 2, 4, 1, 5)  # [dots, pe, passes_m, mp, passes_n, np]
        joined = dots.reshape(len(codes), sizes["pe"], passes_m * sizes["mp"], passes_n * sizes["np"])
        return joined[:, :, : sizes["M"], : sizes["N"]], moments[0] - first


def scale_matches(numbers: LayerNumbers, counts: IntArray) -> IntArray:
    """What a scale unit makes of matches [pixels, C_out, M, N]: int64 [pixels, C_out], ``sum alpha beta p``."""
    return (golden.scale(numbers.layer.conv, counts) + numbers.offset) // 2


class ScaleDriver:
    """Drives a scale unit: the dots of a pass as often as it takes them."""

    def __init__(self, dut: Any, design: Manifest) -> None:
        self._dut, self._design = dut, design
        self._ports = {port.name: port for port in design.signals}

    def passes(self, counts: IntArray) -> list[int]:
        """The words of ``dots`` for matches [pixels, C_out, M, N], pass by pass."""
        channels_at_once, mp, np_ = self._ports["dots"].dims
        px = int(self._design.parameters["px"])
        pe = channels_at_once // px
        groups, passes_n, passes_m = (
            int(self._design.parameters[name]) for name in ("groups", "passes_n", "passes_m")
        )
        pixels, channels, m, n = counts.shape
        padded = np.zeros((pixels + -pixels % px, groups * pe, passes_m * mp, passes_n * np_), np.int64)
        padded[:pixels, :channels, :m, :n] = counts
        split = padded.reshape(-1, px, groups, pe, passes_m, mp, passes_n, np_).transpose(0, 2, 6, 4, 1, 3, 5, 7)
        return [_joined(word.ravel(), self._ports["dots"].bits) for word in split.reshape(-1, px * pe, mp, np_)]

    async def matches(self, counts: IntArray) -> IntArray:
        """What the unit makes of matches [pixels, C_out, M, N]: int64 [pixels, C_out]."""
        distance = int(self._design.parameters["load_distance"])
        port, dut = self._ports["matches"], self._dut
        clock = signal(dut, self._design.clock)
        words = self.passes(counts)
        found: list[IntArray] = []
        for cycle in range(len(words) * distance + (self._design.latency or 0) + distance + 1):
            index, wait = divmod(cycle, distance)
            loads = wait == 0 and index < len(words)
            dut.load.value = (1 << self._ports["load"].width) - 1 if loads else 0
            if loads:
                dut.dots.value = words[index]
            await RisingEdge(clock)
            if dut.valid.value == 1:
                found.append(_split(int(dut.matches.value), port.bits, port.dims, signed=port.signed))
        px, pixels = (int(self._design.parameters[name]) for name in ("px", "pixels"))
        lanes = port.dims[0] // pixels
        items = np.array(found).reshape(-(-len(counts) // px), -1, px // pixels, pixels, lanes)
        by_pixel = items.transpose(0, 2, 3, 1, 4).reshape(-1, items.shape[1] * lanes)
        return by_pixel[: len(counts), : counts.shape[1]]
