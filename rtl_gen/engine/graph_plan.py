# amaranth: UnusedElaboratable=no
"""The plan of a graph's accelerator: a plan for each unit, and what lies between them."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from amaranth.hdl import Shape, signed, unsigned
from amaranth.lib import data

from abc_hw.errors import InputError
from abc_hw.network.edges import Codes
from abc_hw.network.fused import Fused
from abc_hw.network.graph import INPUT, Graph
from abc_hw.network.nodes import Scores

from ..blocks.buffer import BufferPlan, behind_pool
from ..blocks.classifier import ArgMaxPlan, score_layout
from ..blocks.correction import CorrectionPlan
from ..blocks.fork import ForkPlan
from ..blocks.lanes import AdapterPlan
from ..blocks.pointwise import PointwisePlan
from ..blocks.pool import PoolPlan
from ..blocks.search import SearchPlan
from ..blocks.window_pool import WindowPoolPlan
from ..parts.flow import Flow, in_order
from ..parts.matches import LayerNumbers
from ..parts.memory_mapping import TECHNOLOGIES, Technology
from ..parts.memory_plan import MemoryPlan
from ..parts.names import Names
from ..parts.popcount import TARGETS
from ..parts.stream import CodeStream
from ..parts.timing import Paced, slowest_by_name
from ..schedule import LayerFolding
from .accelerator import WeightSource
from .buffers import Branch, depths_of
from .graph_moments import Taker, rate_depths
from .layer import LayerPlan
from .lowering import Unit, units_of
from .traced import Traced
from .units import UnitPlan, first_of_input, stream_out, streams_in, unit_plan

__all__ = ["GraphPlan", "Link"]

OWN_NAMES = ("accelerator", "argmax", "clk", "end", "end_pooled", "i", "input", "input_fork", "o", "rst")
"""What the accelerator's module has in it besides units, and what it is usually called."""

@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    """What lies between a unit's output and an input of another.

    Members
    -------
    source : unit that hands out, or "input"
    branch : which branch of its fork, where several take from it
    adapter : from its lanes to those that are taken
    shape : of a number as it is taken
    """

    source: str
    branch: int
    adapter: AdapterPlan
    shape: Shape


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GraphPlan(Paced):
    """All units of a graph, and what lies between them.

    Members
    -------
    network : what it computes
    foldings : of each convolution, by the name of its unit
    pipeline : adder levels between registers of the popcounts
    target : technology, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`
    depths : of the buffers in front of joins, by unit, in the order of its inputs; None: by analysis
    score_bits : of a score at the output; None: as few as the scores of this network need

    Raises
    ------
    InputError
        if a convolution has no folding, a folding no convolution, one does not fit, the target is unknown, the
        scores need more bits than ``score_bits``, or nothing is to be computed.
    """

    network: Graph
    foldings: Mapping[str, LayerFolding]
    pipeline: int = 1
    target: str = "generic"
    depths: Mapping[str, Sequence[int]] | None = None
    score_bits: int | None = None

    def __post_init__(self) -> None:
        if self.target not in TARGETS:
            raise InputError(f"target: expected one of {', '.join(TARGETS)}, found {self.target}")
        if not self.units:
            raise InputError(f"{self.network.name}: expected a network that computes something, found none")
        names = [unit.name for unit in self.units if isinstance(unit.does, Fused)]
        strangers = sorted(set(self.foldings) - set(names))
        if strangers:
            found = ", ".join(strangers)
            raise InputError(f"folding: expected the convolutions {', '.join(names)}, found {found}")
        missing = [name for name in names if name not in self.foldings]
        if missing:
            raise InputError(f"folding: expected one for each convolution, found none for {', '.join(missing)}")
        needed = 0 if self.argmax is None else self.argmax.score.width
        if self.score_bits is not None and self.score_bits < needed:
            raise InputError(
                f"score_bits: expected at least {needed}, which the scores need, found {self.score_bits}"
            )

    @property
    def weights(self) -> WeightSource:
        """What is loaded: nothing."""
        return "rom"

    @property
    def loads(self) -> bool:
        """Is anything loaded?"""
        return False

    @property
    def served_digest(self) -> str:
        """Of the network that it computes."""
        return self.network.digest

    @property
    def latency(self) -> None:
        """Not known before simulation."""

    @property
    def technology(self) -> Technology:
        """Of memories."""
        return TECHNOLOGIES[self.target]

    # -- units ------------------------------------------------------------------------------------------------

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """In topological order."""
        return units_of(self.network)

    @cached_property
    def plans(self) -> Mapping[str, UnitPlan]:
        """Of each unit, by name."""
        found: dict[str, UnitPlan] = {}
        streams = {INPUT: self.i}
        for unit in self.units:
            if isinstance(unit.does, Fused):
                plan: UnitPlan = self._engine(unit)
            else:
                plan = unit_plan(unit, streams[unit.inputs[0]].lanes, self.technology)
            found[unit.name] = plan
            streams[unit.name] = stream_out(plan)
        return found

    def _engine(self, unit: Unit) -> LayerPlan:
        assert isinstance(unit.does, Fused)
        numbers = LayerNumbers(unit.does)
        return LayerPlan(
            numbers, self.foldings[unit.name], pipeline=self.pipeline, target=self.target, px_out=1
        )

    @cached_property
    def engines(self) -> dict[str, LayerPlan]:
        """Those of the convolutions, by unit."""
        return {name: plan for name, plan in self.plans.items() if isinstance(plan, LayerPlan)}

    @property
    def layers(self) -> Sequence[LayerPlan]:
        """Those of the convolutions, in order."""
        return list(self.engines.values())

    @cached_property
    def module_names(self) -> dict[str, str]:
        """What the module of each unit is called, by the unit's name."""
        names = Names(OWN_NAMES)
        ends = ["_fork", *(f"_in{index}{end}" for index in range(2) for end in ("", "_buffer", "_pooled"))]
        return {unit.name: names.new(unit.name, with_=ends) for unit in self.units}

    @property
    def traced(self) -> Sequence[Traced]:
        """What every unit hands on."""
        return [
            Traced(
                name=unit.name, module=self.module_names[unit.name], stream=stream_out(self.plans[unit.name]),
                shape=unit.edge.shape, padded=isinstance(unit.does, Fused) and isinstance(unit.edge, Codes),
            )
            for unit in self.units
        ]

    @property
    def memories(self) -> list[MemoryPlan]:
        """All there are."""
        engines = [memory for plan in self.layers for block in plan.blocks.values() for memory in block.memories]
        plans = [*self.plans.values(), *(buffer for _, buffer in self.between)]
        others = [memory for plan in plans if not isinstance(plan, LayerPlan) for memory in plan.memories]
        return engines + others

    # -- streams ------------------------------------------------------------------------------------------------

    @cached_property
    def i(self) -> CodeStream:
        """The images: with the lanes of the first convolution that they reach."""
        first = first_of_input(self.units, self.network)
        lanes = 1 if first is None else self._engine(first).i.lanes
        return CodeStream(lanes, unsigned(self.network.input.bases.bits))

    @property
    def i_transfers(self) -> int:
        """Transfers of the input stream per image."""
        return self.i.transfers(self.network.input_shape)

    def stream_of(self, name: str) -> CodeStream:
        """What a unit hands out, or the input."""
        return self.i if name == INPUT else stream_out(self.plans[name])

    @property
    def last(self) -> Unit:
        """The unit that hands out what the network does."""
        return self.units[-1]

    @cached_property
    def takers(self) -> Mapping[str, list[tuple[str, int]]]:
        """Who takes from each unit, and as which input, in order; "output" is the accelerator's."""
        found: dict[str, list[tuple[str, int]]] = {INPUT: [], **{unit.name: [] for unit in self.units}}
        for unit in self.units:
            for index, source in enumerate(unit.inputs):
                found[source].append((unit.name, index))
        found[self.last.name].append(("output", 0))
        return found

    def link(self, unit: Unit, index: int) -> Link:
        """What lies in front of an input."""
        source = unit.inputs[index]
        given, taken = self.stream_of(source), streams_in(self.plans[unit.name])[index]
        return Link(
            source=source, branch=self.takers[source].index((unit.name, index)), shape=taken.shape,
            adapter=AdapterPlan(
                shape=unit.arriving[index].shape, i=given, o=dataclasses.replace(given, lanes=taken.lanes)
            ),
        )

    @cached_property
    def end(self) -> AdapterPlan:
        """From the last unit to one number per transfer."""
        given = self.stream_of(self.last.name)
        return AdapterPlan(shape=self.last.edge.shape, i=given, o=dataclasses.replace(given, lanes=1))

    @cached_property
    def argmax(self) -> ArgMaxPlan | None:
        """Of a network that ends in scores."""
        if not isinstance(self.network.nodes[-1], Scores):
            return None
        return ArgMaxPlan(classes=self.last.edge.shape[2], score=self.end.o.shape)

    @property
    def o_layout(self) -> data.StructLayout:
        """Payload of the output: a score with class and end, or a number with the end of the map."""
        if self.argmax is not None:
            score = self.argmax.score if self.score_bits is None else signed(self.score_bits)
            return score_layout(score, self.argmax.classes)
        return data.StructLayout({"value": self.end.o.shape, "last": 1})

    @property
    def o_transfers(self) -> int:
        """Transfers of the output stream per image."""
        return int(np.prod(self.last.edge.shape))

    # -- cycles -------------------------------------------------------------------------------------------------

    @cached_property
    def rates(self) -> dict[str, int]:
        """Least cycles between images of every part, by its name for people."""
        parts = [("input", self.i_transfers), ("output", max(self.end.cycles, self.o_transfers))]
        for unit in self.units:
            adapters = (self.link(unit, index).adapter.cycles for index in range(len(unit.inputs)))
            parts.append((unit.name, max(self.plans[unit.name].cycles, *adapters)))
        return slowest_by_name(parts)

    # -- buffers ------------------------------------------------------------------------------------------------

    @property
    def between(self) -> list[tuple[tuple[str, int], BufferPlan]]:
        """All there are, in front of joins and behind pools, by who takes from them."""
        return [*self.buffer_plans.items(), *self.pooled.items()]

    @cached_property
    def pooled(self) -> Mapping[tuple[str, int], BufferPlan]:
        """What holds the results of pools in front of adapters that split them, by who takes from the adapter:
        unit and place of the input; ("output", 0) is the accelerator's."""
        adapters = {
            (unit.name, index): (source, self.link(unit, index).adapter)
            for unit in self.units for index, source in enumerate(unit.inputs)
        }
        adapters["output", 0] = self.last.name, self.end
        found = {}
        for taker, (source, adapter) in adapters.items():
            pools = self._pools_of(source) if adapter.narrow is not None else []
            given = adapter.i.transfers(adapter.shape)
            buffers = [behind_pool(pool, adapter) for pool in pools if pool.flow.outputs == given]
            held = [buffer for buffer in buffers if buffer is not None]
            if held:
                found[taker] = max(held, key=lambda buffer: buffer.depth)
        return found

    def _pools_of(self, name: str) -> list[PoolPlan | WindowPoolPlan]:
        """Those whose results a unit hands on as they come."""
        plan = self.plans.get(name)
        if isinstance(plan, WindowPoolPlan):
            return [plan]
        if isinstance(plan, LayerPlan):
            return [] if plan.pool is None else [plan.pool]
        return [] if plan is None else [
            pool for source in self._unit(name).inputs for pool in self._pools_of(source)
        ]

    @cached_property
    def buffers(self) -> Mapping[str, Sequence[int]]:
        """Depths in front of each join, by unit, in the order of its inputs."""
        if self.depths is not None:
            return self.depths
        return rate_depths(self._all_takers, self.i_transfers, self.cycles, self.live, self._buffer)

    @property
    def _all_takers(self) -> dict[str, list[Taker]]:
        """Who takes from the input, and from each unit."""
        units = {unit.name: unit for unit in self.units}
        return {
            source: [
                Taker(
                    unit=name, index=index, adapter=self.link(units[name], index).adapter, does=self.plans[name],
                    places=self._places(units[name], index), pooled=self.pooled.get((name, index)),
                ) for name, index in takers if name in units
            ] for source, takers in self.takers.items()
        }

    def _places(self, unit: Unit, index: int) -> int:
        """Registers in a row in front of an input, each of which moves on by itself."""
        source = unit.inputs[index]
        plan = self.plans.get(source)
        if not isinstance(plan, PointwisePlan | SearchPlan | CorrectionPlan):
            return 0
        if self.fork(source) is not None or self.link(unit, index).adapter.needed:
            return 0
        return plan.latency + self._places(self._unit(source), 0)

    def _buffer(self, name: str, index: int, depth: int) -> BufferPlan:
        """In front of an input of a join."""
        link = self.link(self._unit(name), index)
        stream = CodeStream(link.adapter.o.lanes, link.shape)
        return BufferPlan(stream=stream, depth=depth, technology=self.technology)

    def _unit(self, name: str) -> Unit:
        return next(unit for unit in self.units if unit.name == name)

    @cached_property
    def buffer_plans(self) -> Mapping[tuple[str, int], BufferPlan]:
        """Those that there are, by unit and the place of the input."""
        return {
            (name, index): self._buffer(name, index, depth)
            for name, depths in self.buffers.items() for index, depth in enumerate(depths) if depth
        }

    def fork(self, name: str) -> ForkPlan | None:
        """Behind a unit, or the input; None where one alone takes from it."""
        branches = len(self.takers[name])
        if branches == 1:
            return None
        given = self.stream_of(name)
        return ForkPlan(
            branches=branches, lanes=given.lanes, shape=given.shape, transfers=given.transfers(self.shape_of(name))
        )

    def shape_of(self, name: str) -> tuple[int, int, int]:
        """Of the map that a unit hands out, or of the input."""
        if name == INPUT:
            return self.network.input_shape
        return self._unit(name).edge.shape

    @cached_property
    def live(self) -> dict[str, list[int]]:
        """The least depths with which nothing stops for good, under any stalls."""
        return depths_of(self._branches)

    @property
    def _branches(self) -> list[Branch]:
        """What the analysis of order has to know of each unit."""
        return [
            Branch(
                name=unit.name, sources=unit.inputs, flow=self.plans[unit.name].flow,
                before=tuple(self._flow_before(unit, index) for index in range(len(unit.inputs))),
            ) for unit in self.units
        ]

    def _flow_before(self, unit: Unit, index: int) -> Flow:
        """Of what lies in front of an input, a join's buffer apart."""
        flow, held = self.link(unit, index).adapter.flow, self.pooled.get((unit.name, index))
        return flow if held is None else in_order(flow.inputs, held.depth).then(flow)
