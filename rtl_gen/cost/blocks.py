# amaranth: UnusedElaboratable=no
"""What a layer's hardware is made of, block by block: its memories, and quantities that its logic grows with."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from functools import cached_property, reduce
from operator import and_, or_

import numpy as np

from abc_hw.network import IntArray, Layer

from ..blocks.array import PEArray
from ..blocks.ring import Ring, held_rows, window_bounds
from ..blocks.scale import AlphaCode, ScaleUnit, scale_latency, sums_passes
from ..blocks.threshold import OutputUnit, constant_table, output_shape
from ..blocks.window import window_latency
from ..engine.layer import LayerEngine, queue_depth
from ..folding import LayerFolding, Schedule
from ..parts.arith import ceil_div, range_shape, signed_digits
from ..parts.delay import chosen_gates
from ..parts.matches import match_shape, score_shape, with_positive_alpha
from ..parts.rom import pack_fields

__all__ = ["BLOCKS", "LayerBlocks", "LayerFacts", "MemoryShape", "adapter_quantities", "argmax_quantities"]

Quantities = dict[str, float]

BLOCKS = ("adapter", "window", "control", "weights", "array", "scale", "output", "queue", "pool", "argmax")
"""In the order in which data flows."""

FEW_WORDS = 64
"""Up to so many words the contents of a weight memory are looked at for bits that are the same in all of them."""


WIDE = 4096
"""Bits of a word, above which contents are not looked at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MemoryShape:
    """A memory as the generator makes it.

    Members
    -------
    block, name : where it is
    width, words : bits of a word, and how many
    writable : or fixed contents
    varying : bits of the word that are not the same in all words
    columns : of those, the ones that differ from each other, where the contents are known
    settled : must a word that is read and written at once be the old one?
    """

    block: str
    name: str
    width: int
    words: int
    writable: bool
    varying: int
    columns: int
    settled: bool = True

    @property
    def bits(self) -> int:
        return self.width * self.words


def _writable(block: str, name: str, width: int, words: int) -> MemoryShape:
    return MemoryShape(
        block=block, name=name, width=width, words=words, writable=True, varying=width, columns=width
    )


def _fixed(block: str, name: str, width: int, words: Sequence[int]) -> MemoryShape:
    varying = reduce(or_, words) & ~reduce(and_, words)
    count = varying.bit_count()
    columns = count
    if count and len(words) * width <= WIDE:
        columns = len({
            tuple(word >> bit & 1 for word in words) for bit in range(width) if varying >> bit & 1
        })
    return MemoryShape(
        block=block, name=name, width=width, words=len(words), writable=False, varying=count, columns=columns
    )


class LayerFacts:
    """What is the same in all foldings of a layer, or asked for again and again."""

    def __init__(self, layer: Layer, target: str) -> None:
        self.layer, self._target = with_positive_alpha(layer), target
        self.match_bits = match_shape(self.layer).width
        self.code_bits = output_shape(layer).width
        self.held_rows = held_rows(layer)
        self._latencies: dict[int, int] = {}
        self._codes: dict[tuple[int, int], AlphaCode] = {}
        self._memories: dict[tuple[object, ...], MemoryShape] = {}

    def latency(self, schedule: Schedule) -> int:
        """:attr:`abc_hw.rtl_gen.engine.layer.LayerEngine.latency`, without making an engine."""
        simd, layer = schedule.folding.simd, self.layer
        if simd not in self._latencies:
            self._latencies[simd] = PEArray(
                weight_bases=layer.weight_bases, input_bases=layer.input_bases, simd=simd, pe=1, mp=1, np=1,
                dot_length=layer.dot_length, target=self._target,
            ).latency
        scale = scale_latency(schedule, self.code(schedule))
        window = window_latency(Ring(schedule, self.held_rows))
        return window + self._latencies[simd] + scale + OutputUnit.latency

    def code(self, schedule: Schedule) -> AlphaCode:
        """How alphas are stored."""
        key = schedule.passes_m * schedule.folding.mp, schedule.groups * schedule.folding.pe
        if key not in self._codes:
            self._codes[key] = AlphaCode(self.layer.alpha_scale, ScaleUnit.alpha_items(schedule).ravel().tolist())
        return self._codes[key]

    def weights(self, schedule: Schedule) -> MemoryShape:
        """The weight memory."""
        simd, pe = schedule.folding.simd, schedule.folding.pe
        return self._once(("weights", simd, pe), lambda: self._weights(schedule))

    def _weights(self, schedule: Schedule) -> MemoryShape:
        simd, pe = schedule.folding.simd, schedule.folding.pe
        width, words = pe * simd * self.layer.weight_bases.bits, schedule.groups * schedule.words
        if words <= FEW_WORDS and width <= WIDE:
            folding = LayerFolding(simd=simd, pe=pe)
            engine = LayerEngine(Schedule(self.layer, folding), target=self._target)
            return _fixed("weights", "weights", width, engine.weight_words)
        return MemoryShape(
            block="weights", name="weights", width=width, words=words, writable=False, varying=width, columns=width
        )

    def alphas(self, schedule: Schedule) -> MemoryShape:
        """The memory of alphas."""
        items = ScaleUnit.alpha_items(schedule)
        key = "alphas", schedule.folding.pe, schedule.folding.mp, *items.shape
        return self._once(key, lambda: self._alphas(items, self.code(schedule)))

    @staticmethod
    def _alphas(items: IntArray, code: AlphaCode) -> MemoryShape:
        codes = {int(alpha): code.encode(int(alpha)) for alpha in np.unique(items)}
        words = [pack_fields([(codes[int(alpha)], code.width) for alpha in item.flat]) for item in items]
        return _fixed("scale", "alphas", items[0].size * code.width, words)

    def constants(self, schedule: Schedule) -> MemoryShape:
        """The memory of thresholds, or of what is added to scores."""
        key = "constants", schedule.groups * schedule.folding.pe, schedule.out_lanes
        return self._once(key, lambda: self._constants(schedule))

    def _constants(self, schedule: Schedule) -> MemoryShape:
        table, shape = constant_table(schedule)
        words = [pack_fields([(int(value), shape.width) for value in row.flat]) for row in table]
        return _fixed("output", "constants", table[0].size * shape.width, words)

    def _once(self, key: tuple[object, ...], make: Callable[[], MemoryShape]) -> MemoryShape:
        if key not in self._memories:
            self._memories[key] = make()
        return self._memories[key]


class LayerBlocks:
    """A layer under a folding.

    Parameters
    ----------
    facts : of the layer
    schedule : of the same layer
    """

    def __init__(self, facts: LayerFacts, schedule: Schedule) -> None:
        self._facts, self._schedule, self._layer = facts, schedule, schedule.layer

    @cached_property
    def _ring(self) -> Ring:
        return Ring(self._schedule, self._facts.held_rows)

    @cached_property
    def _queue_depth(self) -> int:
        return queue_depth(self._schedule, self._facts.latency(self._schedule))

    # -- memories -------------------------------------------------------------------------------------------

    @cached_property
    def memories(self) -> list[MemoryShape]:
        """All memories of the layer."""
        schedule, layer = self._schedule, self._layer
        found = [
            dataclasses.replace(
                _writable("window", f"bank{bank}", schedule.lanes * layer.input_bases.bits, self._ring.words),
                settled=False,
            )
            for bank in range(schedule.rows * schedule.columns)
        ]
        found += [self._facts.weights(schedule), self._facts.alphas(schedule), self._facts.constants(schedule)]
        depth = self._queue_depth
        found.append(_writable("queue", "storage", schedule.out_lanes * self._facts.code_bits, depth - 1))
        if layer.pool > 1:
            entries = layer.conv_shape[1] // layer.pool * schedule.out_transfers
            found.append(_writable("pool", "maxima", schedule.out_lanes * self._facts.code_bits, entries))
        return [memory for memory in found if memory.width and memory.words > 1]

    # -- quantities -----------------------------------------------------------------------------------------

    @cached_property
    def quantities(self) -> dict[str, Quantities]:
        """By block, what its logic grows with; memories apart."""
        found = {
            "window": self._window(), "control": self._control(), "weights": {}, "array": self._array(),
            "scale": self._scale(), "output": self._output(), "queue": self._queue(),
        }
        if self._layer.pool > 1:
            found["pool"] = self._pool()
        return found

    def _window(self) -> Quantities:
        schedule, layer = self._schedule, self._layer
        address = _bits(self._ring.words)
        word = schedule.folding.simd * layer.input_bases.bits
        rows, columns = schedule.rows, schedule.columns
        turned_rows = word if len(self._ring.top_banks) > 1 else 0
        tail = schedule.column_words * columns - layer.kernel[1]  # columns that the last tile has too many
        places = _bits(layer.in_shape[0] + layer.padding) + _bits(layer.in_shape[1] + layer.padding)
        return {
            "one": 1, "address": address, "bank address": address * (rows * columns - 1),
            "banks": rows * columns - 1, "word": word,
            "turned word": word * (columns - 1) + turned_rows * (rows - 1), "turned rows": turned_rows,
            "masked word": word if layer.padding else word * tail // columns,
            "padding": places if layer.padding else 0,
            "padded columns": rows + columns - 1 if layer.padding else 0,
            "rows": _bits(self._ring.rows) + _bits(layer.conv_shape[0]),
            "input words": _bits(layer.in_shape[1] * schedule.channel_words),
        }

    def _control(self) -> Quantities:
        bounds = [bound for bound in window_bounds(self._schedule) if bound > 1]
        weights = self._facts.weights(self._schedule)
        passes = [bound for bound in (self._schedule.passes_m, self._schedule.passes_n) if bound > 1]
        return {
            "one": 1, "loops": len(bounds), "loop bits": sum(map(_bits, bounds)),
            "weight address": _bits(weights.words), "passes": len(passes),
            "queue bits": _bits(self._queue_depth),
        }

    def _array(self) -> Quantities:
        folding, layer, schedule = self._schedule.folding, self._layer, self._schedule
        pairs = folding.pe * folding.mp * folding.np
        weights = folding.pe * folding.mp * folding.simd
        activations = folding.np * folding.simd
        dot = layer.dot_length.bit_length()
        return {
            "xnors": pairs * folding.simd, "pairs": pairs, "count bits": pairs * folding.simd.bit_length(),
            "dot bits": pairs * dot, "narrow": pairs * (folding.simd < 4),
            "weights": weights if layer.weight_bases.count > 1 else 0,
            "chosen weights": weights if schedule.passes_m > 1 else 0,
            "activations": activations,
            "chosen activations": activations if schedule.passes_n > 1 else 0,
        }

    def _scale(self) -> Quantities:
        schedule, layer, folding = self._schedule, self._layer, self._schedule.folding
        channels, bases = schedule.scale_lanes
        lanes = channels * bases
        dot, width = layer.dot_length.bit_length(), self._facts.match_bits
        dots = folding.pe * folding.mp * folding.np * dot
        code, sums = self._facts.code(schedule), sums_passes(schedule)
        beta_adders, beta_choices = self._beta_work()
        terms = shifts = signs = 1
        if not code.multiplies:
            terms, shifts, signs = code.term_count, code.term_count * code.shift_bits, code.term_count * (
                code.sign_bits + code.enable_bits)
        items = ScaleUnit.alpha_items(schedule)
        return {
            "one": 1, "loops": sum(_bits(bound) for bound in (
                schedule.groups, schedule.passes_n, schedule.passes_m, folding.mp // bases,
                folding.pe // channels) if bound > 1),
            "held": dots, "chosen": lanes * folding.np * dot * chosen_gates(schedule.scale_items),
            "adders": lanes * beta_adders + (lanes * (terms - 1) + channels * (bases - 1 + sums)) * width,
            "choices": lanes * (beta_choices + shifts * width), "signs": lanes * signs * width,
            "ring": (folding.pe if sums else channels) * width,
            "alpha address": _bits(len(items)),
        }

    def _beta_work(self) -> tuple[int, int]:
        """(bits of adders, bits of choices) between the counts of an item and their weighted sum."""
        layer, at_once, passes = self._layer, self._schedule.folding.np, self._schedule.passes_n
        betas = [int(beta) for beta in layer.beta] + [0] * (passes * at_once - layer.input_bases.count)
        chosen = [betas[start : start + at_once] for start in range(0, len(betas), at_once)]
        low = min(layer.dot_length * sum(min(beta, 0) for beta in one) for one in chosen)
        high = max(layer.dot_length * sum(max(beta, 0) for beta in one) for one in chosen)
        width = range_shape(low, high).width
        adders = choices = 0
        for slot in range(at_once):
            factors = {one[slot] for one in chosen}
            for factor in factors:
                digits = signed_digits(factor)
                adders += max(len(digits) - 1, 0) + sum(sign < 0 for sign, _ in digits)
            choices += len(factors) - 1
        return (adders + at_once - 1) * width, choices * width

    def _output(self) -> Quantities:
        schedule, layer = self._schedule, self._layer
        lanes, width = schedule.out_lanes, self._facts.match_bits
        compared = 0 if layer.thresholds is None else layer.thresholds.shape[1]
        return {
            "one": 1, "slots": _bits(schedule.groups * schedule.folding.pe // lanes),
            "compared": lanes * compared * width, "levels": lanes * compared, "lanes": lanes * width,
            "scores": lanes * score_shape(layer).width if layer.thresholds is None else 0,
        }

    def _queue(self) -> Quantities:
        word = self._schedule.out_lanes * self._facts.code_bits
        return {"one": 1, "depth bits": _bits(self._queue_depth), "word": word}

    def _pool(self) -> Quantities:
        schedule, layer = self._schedule, self._layer
        height, width, _ = layer.conv_shape
        entries = width // layer.pool * schedule.out_transfers
        return {
            "one": 1, "word": schedule.out_lanes * self._facts.code_bits, "lanes": schedule.out_lanes,
            "address": _bits(entries),
            "loops": sum(_bits(bound) for bound in (height, width, schedule.out_transfers) if bound > 1),
            "side": _bits(layer.pool) * 2,
        }

    # -- multipliers ----------------------------------------------------------------------------------------

    @cached_property
    def products(self) -> tuple[int, int, int]:
        """(how many, bits of the one factor, bits of the other) of products that need a multiplier."""
        schedule, layer = self._schedule, self._layer
        code = self._facts.code(schedule)
        if not code.multiplies:
            return 0, 0, 0
        at_once, passes = schedule.folding.np, schedule.passes_n
        betas = [int(beta) for beta in layer.beta] + [0] * (passes * at_once - layer.input_bases.count)
        chosen = [betas[start : start + at_once] for start in range(0, len(betas), at_once)]
        low = min(layer.dot_length * sum(min(beta, 0) for beta in one) for one in chosen)
        high = max(layer.dot_length * sum(max(beta, 0) for beta in one) for one in chosen)
        channels, bases = schedule.scale_lanes
        return channels * bases, code.width, range_shape(low, high).width


def adapter_quantities(channels: int, i_lanes: int, o_lanes: int, bits: int) -> Quantities:
    """Of a :class:`abc_hw.rtl_gen.parts.stream.LaneAdapter`; none where it is not needed."""
    if i_lanes == o_lanes:
        return {}
    common = math.gcd(i_lanes, o_lanes)
    narrow, widen = i_lanes != common, o_lanes != common
    return {
        "one": narrow + widen, "narrowed": i_lanes * bits * narrow, "widened": o_lanes * bits * widen,
        "pieces": i_lanes // common - narrow + o_lanes // common - widen,
        "pixel bits": (narrow + widen) * _bits(ceil_div(channels, common)),
    }


def argmax_quantities(layer: Layer) -> Quantities:
    """Of the classifier's :class:`abc_hw.rtl_gen.blocks.classifier.ArgMax`."""
    return {"one": 1, "score": score_shape(layer).width, "label": _bits(layer.out_channels)}


def _bits(count: int) -> int:
    """Bits that tell ``count`` things apart."""
    return (count - 1).bit_length()
