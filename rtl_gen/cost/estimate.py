"""What an accelerator takes of a device and how fast it is, before synthesis.

Block RAMs, RAMs of look-up tables and multipliers follow from shapes by the synthesiser's own rules
(:mod:`abc_hw.rtl_gen.parts.memory_mapping`), cycles from the plans. Look-up tables and flip-flops are sums of the
plans' quantities times coefficients, which ``benchmarks/estimate.py`` fits to synthesis and keeps in
``estimate.json``.
"""

import dataclasses
import json
import operator
from collections.abc import Iterable, Mapping
from functools import cache, cached_property, reduce
from pathlib import Path
from typing import Any

from abc_hw.network import Graph, Network

from ..blocks.buffer import BufferPlan
from ..blocks.lanes import AdapterPlan
from ..engine.accelerator import AcceleratorPlan, WeightSource, layer_numbers
from ..engine.layer import LayerPlan
from ..parts.arith import bits_of, ceil_div
from ..parts.matches import LayerNumbers
from ..parts.memory_mapping import Mapped
from ..parts.memory_plan import MemoryPlan
from ..schedule import LayerFolding, Schedule, useful
from .clock import expected_clock

__all__ = [
    "BLOCKS", "TARGETS", "Area", "Estimate", "Estimator", "LayerEstimate", "StoredMemory", "estimate",
    "known_families",
]

BLOCKS = ("adapter", "window", "control", "weights", "array", "scale", "output", "queue", "pixels", "pool",
    "argmax")
"""Names of blocks, in the order in which data flows."""

COEFFICIENTS = Path(__file__).parent / "estimate.json"

TARGETS = {"ecp5": "ecp5-slices", "ice40": "ice40", "gowin": "gowin"}
"""Technology that an accelerator for a family is generated for, a key of
:data:`abc_hw.rtl_gen.parts.popcount.TARGETS`."""

LUTS_PER_DISTRIBUTED = 4
"""Look-up tables in a cell that holds 16 x 4 bits."""

KNOWN = {"slices": (1.0, 0.0), "own addresses": (0.0, 1.0), "relays": (0.0, 1.0)}
"""Look-up tables and flip-flops of a unit of the quantities that no fit needs to tell: halves of carry slices, and
registers, that are described as such."""

MULTIPLIER_BITS = {"ecp5": 18, "gowin": 18}
"""Of a factor of a hardware multiplier; in other families products are logic."""


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
    """A memory of a block."""

    block: str
    plan: MemoryPlan

    @property
    def mapped(self) -> Mapped:
        """What it becomes."""
        return self.plan.mapped


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """A layer.

    Members
    -------
    plan : layer and folding
    blocks : area by block
    memories : all of them
    """

    plan: LayerPlan
    blocks: dict[str, Area]
    memories: list[StoredMemory]

    @property
    def area(self) -> Area:
        return total(self.blocks.values())

    @property
    def schedule(self) -> Schedule:
        return self.plan.schedule

    @property
    def cycles(self) -> int:
        """Per image, of the array."""
        return self.schedule.cycles


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """An accelerator.

    Members
    -------
    family : device family, a key of :data:`TARGETS`
    plan : of the accelerator
    layers : in order; a layer's blocks include the adapter before it
    output : blocks behind the last layer
    """

    family: str
    plan: AcceleratorPlan
    layers: list[LayerEstimate]
    output: dict[str, Area]

    @property
    def cycles(self) -> int:
        """Least cycles between images, :attr:`abc_hw.rtl_gen.engine.accelerator.AcceleratorPlan.cycles`."""
        return self.plan.cycles

    @property
    def useful(self) -> float:
        """Share of all XNOR gates and cycles that the network needs, :func:`abc_hw.rtl_gen.schedule.useful`."""
        return useful((layer.schedule for layer in self.layers), self.cycles)

    @property
    def clock(self) -> float | None:
        """MHz that place and route may reach, :func:`abc_hw.rtl_gen.cost.clock.expected_clock`."""
        return expected_clock(self.family, self.area.luts)

    @property
    def limiting(self) -> str:
        """What takes as long as the whole: a layer, else ``input``, ``input of`` a layer or ``output``."""
        return self.plan.limiting

    @property
    def blocks(self) -> dict[str, Area]:
        """Area by block, all layers together, in the order of :data:`BLOCKS`."""
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


def memory_quantities(plan: MemoryPlan) -> dict[str, float]:
    """What the logic in and around a memory grows with, by kind of mapping; the choice of banks apart."""
    mapped, written, stored = plan.mapped, plan.write != "none", len(plan.kept)
    if mapped.kind == "block":
        outside = 0 if plan.technology.output_register else stored
        return {
            "block words": outside * written, "fixed words": outside * (not written),
            "relays": stored * plan.relays,
        }
    if mapped.kind == "distributed":
        return {"table words": stored, "table choices": (mapped.deep - plan.banks) * stored}
    if written:
        return {"register bits": plan.bits}
    tables = 1.0 if plan.words <= 16 else 2 * plan.words / 16 - 1
    return {
        "constant columns": plan.columns, "constant tables": plan.columns * tables * (plan.words > 2),
        "own tables": plan.columns * tables * (plan.lookups > 1),
        "own addresses": plan.lookups * bits_of(plan.words) * (plan.lookups > 1),
    }


class Estimator:
    """Estimates for one network and family; remembers what foldings share.

    Parameters
    ----------
    network : what is computed; of a graph only single convolutions are estimated (:meth:`layer`)
    family : device family
    weights : in the design, or loaded
    """

    def __init__(self, network: Network | Graph, family: str, *, weights: WeightSource = "rom") -> None:
        self._network, self._family, self._weights = network, family, weights

    @cached_property
    def numbers(self) -> list[LayerNumbers]:
        """Of the layers of a chain."""
        assert isinstance(self._network, Network)
        return layer_numbers(self._network, self._weights)

    def plan(self, index: int, folding: LayerFolding, px_in: int = 1) -> LayerPlan:
        """A layer, by its place, under a folding; ``px_in`` pixels come at once."""
        return LayerPlan(self.numbers[index], folding, target=TARGETS[self._family], px_in=px_in)

    def layer(self, plan: LayerPlan) -> LayerEstimate:
        """A layer without the adapter before it."""
        memories = {
            name: [StoredMemory(name, memory) for memory in block.memories if memory.kept]
            for name, block in plan.blocks.items()
        }
        blocks = {name: self._block_of(plan, name, memories[name]) for name in plan.blocks}
        every = [memory for found in memories.values() for memory in found]
        return LayerEstimate(plan=plan, blocks=blocks, memories=every)

    def area_of(self, plan: LayerPlan, blocks: Iterable[str]) -> Area:
        """Some blocks of a layer."""
        return total(
            self._block_of(plan, name, [
                StoredMemory(name, memory) for memory in plan.blocks[name].memories if memory.kept
            ]) for name in blocks
        )

    def quantities(self, plan: LayerPlan, name: str) -> dict[str, float]:
        """What a block's logic grows with in this family; memories apart."""
        found = plan.blocks[name].quantities
        if name == "scale" and self._family not in MULTIPLIER_BITS:
            return found | {"product bits": sum(count * one * other for count, one, other in plan.scale.products)}
        return found

    def _block_of(self, plan: LayerPlan, name: str, memories: list[StoredMemory]) -> Area:
        area = self._area(name, self.quantities(plan, name), memories)
        if name == "scale":
            area += Area(dsps=sum(multipliers(self._family, *some) for some in plan.scale.products))
        return area

    def block(self, name: str, quantities: Mapping[str, float]) -> Area:
        """A block without memories."""
        return self._area(name, quantities, [])

    def between(self, adapter: AdapterPlan, buffer: BufferPlan | None) -> Area:
        """What lies between two layers; buffers are told as adapters are, and cost what queues do."""
        area = self.block("adapter", adapter.quantities)
        if buffer is None:
            return area
        memories = [StoredMemory("adapter", memory) for memory in buffer.memories]
        return area + self._area("queue", buffer.quantities, memories)

    def accelerator(self, foldings: Mapping[str, LayerFolding]) -> Estimate:
        """The whole accelerator.

        Raises
        ------
        InputError
            if a folding does not fit.
        """
        assert isinstance(self._network, Network)
        plan = AcceleratorPlan.of(
            self._network, foldings, weights=self._weights, target=TARGETS[self._family], numbers=self.numbers
        )
        adapters = [self.between(*both) for both in zip(plan.adapters, plan.buffers, strict=True)]
        layers = []
        for layer, adapter in zip(plan.layers, adapters, strict=False):
            one = self.layer(layer)
            layers.append(dataclasses.replace(one, blocks={"adapter": adapter, **one.blocks}))
        output = {"adapter": adapters[-1], "argmax": self.block("argmax", plan.argmax.quantities)}
        return Estimate(family=self._family, plan=plan, layers=layers, output=output)

    def _area(self, block: str, quantities: Mapping[str, float], memories: list[StoredMemory]) -> Area:
        known = coefficients(self._family).get(block, {})
        luts = ffs = 0.0
        for counted in [quantities, *(memory_quantities(memory.plan) for memory in memories)]:
            for quantity, number in counted.items():
                each = KNOWN.get(quantity) or known.get(quantity, (0.0, 0.0))
                luts += each[0] * number
                ffs += each[1] * number
        cells = [memory.mapped for memory in memories]
        gates = sum(memory.plan.gates for memory in memories)
        luts, ffs = luts + gates, ffs + gates
        luts += LUTS_PER_DISTRIBUTED * sum(cell.cells for cell in cells if cell.kind == "distributed")
        return Area(luts=luts, ffs=ffs, brams=sum(cell.cells for cell in cells if cell.kind == "block"))


def multipliers(family: str, count: int, one: int, other: int) -> int:
    """Hardware multipliers that ``count`` products of factors of these widths take."""
    side = MULTIPLIER_BITS.get(family, 0)
    if not count or not side or min(one, other) < 2 or one + other < 9:
        return 0
    return count * ceil_div(one, side) * ceil_div(other, side)


def estimate(
    network: Network, foldings: Mapping[str, LayerFolding], *, family: str = "ecp5", weights: WeightSource = "rom"
) -> Estimate:
    """What the accelerator of ``network`` with these foldings takes, its weights in the design or loaded; what
    loads them is not counted.

    Raises
    ------
    InputError
        if a folding does not fit.
    """
    return Estimator(network, family, weights=weights).accelerator(foldings)
