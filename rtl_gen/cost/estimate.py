"""What an accelerator takes of a device and how fast it is, before synthesis.

Block RAMs, RAMs of look-up tables and multipliers follow from shapes by the synthesiser's own rules
(:mod:`abc_hw.rtl_gen.cost.memories`), cycles from the schedule. Look-up tables and flip-flops are sums of
quantities
(:mod:`abc_hw.rtl_gen.cost.blocks`) times coefficients, which ``benchmarks/estimate.py`` fits to synthesis and
keeps in ``estimate.json``.
"""

import dataclasses
import json
import operator
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from pathlib import Path
from typing import Any

from abc_hw.network import Network

from ..folding import LayerFolding, Schedule, cycle_bound, schedules
from ..parts.arith import ceil_div
from ..parts.matches import score_shape
from .blocks import BLOCKS, LayerBlocks, LayerFacts, MemoryShape, adapter_quantities, argmax_quantities
from .memories import TECHNOLOGIES, Mapped, map_memory

__all__ = [
    "TARGETS", "Area", "Estimate", "Estimator", "LayerEstimate", "StoredMemory", "estimate", "known_families",
]

COEFFICIENTS = Path(__file__).parent / "estimate.json"

TARGETS = {"ecp5": "ecp5-slices", "ice40": "ice40"}
"""Technology that an accelerator for a family is generated for, a key of
:data:`abc_hw.rtl_gen.parts.popcount.TARGETS`."""

LUTS_PER_DISTRIBUTED = 4
"""Look-up tables in a cell that holds 16 x 4 bits."""


@dataclasses.dataclass(frozen=True)
class Area:
    """Resources: look-up tables of four inputs, flip-flops, block RAMs, multipliers."""

    luts: float = 0.0
    ffs: float = 0.0
    brams: int = 0
    dsps: int = 0

    def __add__(self, other: "Area") -> "Area":
        return Area(
            self.luts + other.luts, self.ffs + other.ffs, self.brams + other.brams, self.dsps + other.dsps
        )


@dataclasses.dataclass(frozen=True)
class StoredMemory:
    """A memory and what it becomes."""

    shape: MemoryShape
    mapped: Mapped


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """A layer.

    Members
    -------
    schedule : layer and folding
    blocks : area by block
    memories : all of them
    """

    schedule: Schedule
    blocks: dict[str, Area]
    memories: list[StoredMemory]

    @property
    def area(self) -> Area:
        return total(self.blocks.values())

    @property
    def cycles(self) -> int:
        """Per image."""
        return self.schedule.cycles


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """An accelerator.

    Members
    -------
    family : device family, a key of :data:`TARGETS`
    layers : in order; a layer's blocks include the adapter before it
    output : blocks behind the last layer
    cycles : least cycles between images
    """

    family: str
    layers: list[LayerEstimate]
    output: dict[str, Area]
    cycles: int

    @property
    def limiting(self) -> str:
        """The layer that takes as long as the whole, or ``input`` where that is slower than every layer."""
        return next((one.schedule.layer.name for one in self.layers if one.cycles == self.cycles), "input")

    @property
    def blocks(self) -> dict[str, Area]:
        """Area by block, all layers together, in the order of :data:`abc_hw.rtl_gen.cost.blocks.BLOCKS`."""
        parts = [*(layer.blocks for layer in self.layers), self.output]
        return {
            block: total(part[block] for part in parts if block in part)
            for block in BLOCKS if any(block in part for part in parts)
        }

    @property
    def area(self) -> Area:
        return total(self.blocks.values())


def total(areas: Iterable[Area]) -> Area:
    """Sum of areas."""
    return reduce(operator.add, areas, Area())


@cache
def coefficients(family: str) -> Mapping[str, Any]:
    """LUTs and FFs per unit of each quantity: block -> quantity -> [LUTs, FFs]."""
    return json.loads(COEFFICIENTS.read_text())[family]["blocks"]


def known_families() -> tuple[str, ...]:
    """Families that there are coefficients for."""
    return tuple(json.loads(COEFFICIENTS.read_text()))


def memory_quantities(memory: StoredMemory) -> dict[str, float]:
    """What the logic in and around a memory grows with, by kind of mapping."""
    shape, mapped = memory.shape, memory.mapped
    deep = (mapped.deep - 1) * shape.varying
    if mapped.kind == "block":
        return {"block words": shape.varying * shape.writable, "block choices": deep, "fixed words":
                shape.varying * (not shape.writable)}
    if mapped.kind == "distributed":
        return {"table words": shape.width, "table choices": deep}
    if shape.writable:
        return {"register bits": shape.bits}
    tables = 1.0 if shape.words <= 16 else 2 * shape.words / 16 - 1
    return {"constant columns": shape.columns, "constant tables": shape.columns * tables * (shape.words > 2)}


def stored(parts: LayerBlocks, family: str) -> list[StoredMemory]:
    """A layer's memories and what they become."""
    return [
        StoredMemory(shape, map_memory(
            TECHNOLOGIES[TARGETS[family]], width=shape.varying, words=shape.words,
            write="word" if shape.writable else "none", settled=shape.settled,
        ))
        for shape in parts.memories
    ]


class Estimator:
    """Estimates for one network and family; remembers what foldings share.

    Parameters
    ----------
    network : what is computed
    family : device family
    """

    def __init__(self, network: Network, family: str) -> None:
        self._network, self._family = network, family
        self._facts = {layer.name: LayerFacts(layer, TARGETS[family]) for layer in network.layers}

    def parts(self, schedule: Schedule) -> LayerBlocks:
        """What a layer is made of."""
        return LayerBlocks(self._facts[schedule.layer.name], schedule)

    def layer(self, schedule: Schedule) -> LayerEstimate:
        """A layer without the adapter before it."""
        parts = self.parts(schedule)
        memories = stored(parts, self._family)
        blocks = {
            block: self._area(block, quantities, [one for one in memories if one.shape.block == block])
            for block, quantities in parts.quantities.items()
        }
        blocks["scale"] += Area(dsps=multipliers(self._family, *parts.products))
        return LayerEstimate(schedule=schedule, blocks=blocks, memories=memories)

    def adapter(self, channels: int, i_lanes: int, o_lanes: int, bits: int) -> Area:
        """Between two numbers of lanes; nothing where they are equal."""
        return self._area("adapter", adapter_quantities(channels, i_lanes, o_lanes, bits), [])

    def output(self, out_lanes: int) -> dict[str, Area]:
        """Behind the classifier."""
        last = self._network.layers[-1]
        return {
            "adapter": self.adapter(last.out_channels, out_lanes, 1, score_shape(last).width),
            "argmax": self._area("argmax", argmax_quantities(last), []),
        }

    def accelerator(self, foldings: Mapping[str, LayerFolding]) -> Estimate:
        """The whole accelerator.

        Raises
        ------
        InputError
            if a folding does not fit.
        """
        made = schedules(self._network, foldings)
        layers = []
        lanes = made[0].lanes
        for schedule in made:
            one = self.layer(schedule)
            adapter = self.adapter(
                schedule.layer.in_shape[2], lanes, schedule.lanes, schedule.layer.input_bases.bits
            )
            layers.append(dataclasses.replace(one, blocks={"adapter": adapter, **one.blocks}))
            lanes = schedule.out_lanes
        return Estimate(
            family=self._family, layers=layers, output=self.output(lanes), cycles=cycle_bound(made)
        )

    def _area(self, block: str, quantities: Mapping[str, float], memories: list[StoredMemory]) -> Area:
        known = coefficients(self._family).get(block, {})
        luts = ffs = 0.0
        for counted in [quantities, *map(memory_quantities, memories)]:
            for quantity, number in counted.items():
                each = known.get(quantity, (0.0, 0.0))
                luts += each[0] * number
                ffs += each[1] * number
        cells = [memory.mapped for memory in memories]
        luts += LUTS_PER_DISTRIBUTED * sum(cell.cells for cell in cells if cell.kind == "distributed")
        return Area(luts=luts, ffs=ffs, brams=sum(cell.cells for cell in cells if cell.kind == "block"))


def multipliers(family: str, count: int, one: int, other: int) -> int:
    """Hardware multipliers that ``count`` products of factors of these widths take."""
    side = {"ecp5": 18}.get(family, 0)
    if not count or not side or min(one, other) < 2 or one + other < 9:
        return 0
    return count * ceil_div(one, side) * ceil_div(other, side)


def estimate(network: Network, foldings: Mapping[str, LayerFolding], *, family: str = "ecp5") -> Estimate:
    """What the accelerator of ``network`` with these foldings takes.

    Raises
    ------
    InputError
        if a folding does not fit.
    """
    return Estimator(network, family).accelerator(foldings)
