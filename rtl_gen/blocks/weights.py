"""Weights as they lie in memory."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property

import numpy as np

from ..parts.memory_plan import MemoryPlan
from .array import ArrayPlan
from .folded import FoldedLayer

__all__ = ["WeightsPlan"]

@dataclasses.dataclass(frozen=True)
class WeightsPlan(FoldedLayer):
    """The weight memory of a layer: a word for every window word of every group of channels.

    Members
    -------
    array : that takes the words
    large : has one of the part's large memories been set aside for it?
    """

    array: ArrayPlan = dataclasses.field(kw_only=True)
    large: bool = dataclasses.field(default=False, kw_only=True)

    @property
    def width(self) -> int:
        """Bits of a word."""
        return self.array.word_width

    @property
    def words(self) -> int:
        return self.schedule.channel_groups * self.schedule.words

    @property
    def strides(self) -> Mapping[str, int]:
        """Of a word's address, by loops of the schedule."""
        schedule = self.schedule
        return {
            "seen": schedule.groups_each * schedule.words, "group": schedule.words,
            "kernel_row": schedule.column_words * schedule.dot_words, "kernel_column": schedule.dot_words,
            "channel_word": 1,
        }

    @cached_property
    def memory(self) -> MemoryPlan:
        """As one memory."""
        loaded, folding, direct = self.numbers.loaded, self.schedule.folding, self.array.counts_stored
        key = self.technology.name, "weights", folding.simd, folding.pe, direct, self.large
        return self.numbers.shared(key, lambda: MemoryPlan(
            name="weights", width=self.width, words=self.words, contents=None if loaded else self.contents,
            write="parts" if loaded else "none", relayed=direct, technology=self.technology, large=self.large,
        ))

    @property
    def memories(self) -> list[MemoryPlan]:
        return [self.memory]

    @property
    def quantities(self) -> dict[str, float]:
        """Nothing beside the memory."""
        return {}

    def contents(self) -> list[int]:
        """Words of [pe][simd] weights as the array wants them stored.

        Positions that do not exist hold the code of all bases at +1: their activation is all bases at -1, so
        they never match. Channels that do not exist repeat channel 0; nobody looks at them.
        """
        schedule, layer, pe = self.schedule, self.numbers.layer, self.schedule.folding.pe
        height, width, channels = layer.weights.shape[1:]
        padded = np.full(
            (
                schedule.channels, height, schedule.column_words * schedule.columns,
                schedule.dot_words * schedule.lanes,
            ),
            layer.weight_bases.levels - 1, np.uint8,
        )
        padded[: layer.out_channels, :, :width, :channels] = layer.weights
        padded[layer.out_channels :, :, :width, :channels] = layer.weights[0]
        split = padded.reshape(
            schedule.channel_groups, pe, schedule.row_words, schedule.rows, schedule.column_words,
            schedule.columns, schedule.dot_words, schedule.lanes,
        )
        # [groups, row words, column words, channel words][pe][rows][columns][lanes]
        levels = split.transpose(0, 2, 4, 6, 1, 3, 5, 7).reshape(-1, pe, schedule.folding.simd)
        words = self.array.stored(levels).reshape(self.words, -1)
        bits = layer.weight_bases.bits
        unpacked = ((words[..., None] >> np.arange(bits)) & 1).astype(np.uint8).reshape(len(words), -1)
        packed = np.packbits(unpacked, axis=1, bitorder="little")
        return [int.from_bytes(row.tobytes(), "little") for row in packed]
