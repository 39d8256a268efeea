# amaranth: UnusedElaboratable=no
"""The accelerator of a graph: an engine for each convolution, units for other nodes, forks and buffers between."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from amaranth.hdl import Module, Shape, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from abc_hw.errors import InputError
from abc_hw.network.edges import Integers
from abc_hw.network.fused import Fused
from abc_hw.network.graph import INPUT, Graph
from abc_hw.network.nodes import Add as AddNode
from abc_hw.network.nodes import MaxPool, Scores, SumPool

from ..blocks.add import Add, AddPlan
from ..blocks.classifier import ArgMax, ArgMaxPlan
from ..blocks.correction import Correct, Correction, CorrectionPlan
from ..blocks.fork import Fork, ForkPlan
from ..blocks.pointwise import Pointwise, PointwisePlan
from ..blocks.window_pool import WindowPool, WindowPoolPlan
from ..parts.arith import extend
from ..parts.matches import LayerNumbers
from ..parts.stream import AdapterPlan, CodeStream, LaneAdapter
from ..schedule import LayerFolding, candidates
from .buffers import Branch, depths_of
from .layer import LayerEngine, LayerPlan
from .lowering import Unit, units_of

__all__ = ["GraphAccelerator", "GraphPlan", "least_foldings"]

UnitPlan = LayerPlan | CorrectionPlan | PointwisePlan | WindowPoolPlan | AddPlan


def least_foldings(graph: Graph, cycles: int) -> dict[str, LayerFolding]:
    """For each convolution, by the name of its unit, the folding with the fewest XNORs of at most so many cycles.

    Raises
    ------
    InputError
        if a convolution has none; the message names it and its best.
    """
    found = {}
    for unit in units_of(graph):
        if not isinstance(unit.does, Fused):
            continue
        every = candidates(unit.does)
        fitting = [schedule for schedule in every if schedule.cycles <= cycles]
        if not fitting:
            least = min(schedule.cycles for schedule in every)
            raise InputError(
                f"{unit.name}: expected a target of at least {least:,} cycles per image, its fastest folding, "
                f"found {cycles:,}"
            )
        best = min(fitting, key=lambda one: (one.rows, one.xnors, one.scale_lanes, one.cycles, -one.folding.simd))
        found[unit.name] = best.folding
    return found


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
class GraphPlan:
    """All units of a graph, and what lies between them.

    Members
    -------
    graph : what it computes
    foldings : of each convolution, by the name of its unit
    pipeline : adder levels between registers of the popcounts
    target : technology of the popcounts
    depths : of the buffers in front of joins, by unit, in the order of its inputs; None: by analysis

    Raises
    ------
    InputError
        if a convolution has no folding, a folding no convolution, one does not fit, or has several pixels at once.
    """

    graph: Graph
    foldings: Mapping[str, LayerFolding]
    pipeline: int = 1
    target: str = "generic"
    depths: Mapping[str, Sequence[int]] | None = None

    def __post_init__(self) -> None:
        names = [unit.name for unit in self.units if isinstance(unit.does, Fused)]
        strangers = sorted(set(self.foldings) - set(names))
        if strangers:
            found = ", ".join(strangers)
            raise InputError(f"folding: expected the convolutions {', '.join(names)}, found {found}")
        for name, folding in self.foldings.items():
            if folding.px != 1:
                raise InputError(
                    f"{name}.folding.px: expected 1, a graph has one pixel at a time, found {folding.px}"
                )
        missing = [name for name in names if name not in self.foldings]
        if missing:
            raise InputError(f"folding: expected one for each convolution, found none for {', '.join(missing)}")

    # -- units ------------------------------------------------------------------------------------------------

    @cached_property
    def units(self) -> tuple[Unit, ...]:
        """In topological order."""
        return units_of(self.graph)

    @cached_property
    def plans(self) -> Mapping[str, UnitPlan]:
        """Of each unit, by name."""
        found: dict[str, UnitPlan] = {}
        streams = {INPUT: self.i}
        for unit in self.units:
            found[unit.name] = plan = self._plan_of(unit, streams[unit.inputs[0]].lanes)
            streams[unit.name] = stream_out(plan)
        return found

    def _plan_of(self, unit: Unit, lanes: int) -> UnitPlan:
        """The plan of a unit whose first input comes with so many lanes."""
        does, edge = unit.does, unit.arriving[0]
        if isinstance(does, Fused):
            numbers = LayerNumbers(does)
            return LayerPlan(numbers, self.foldings[unit.name], pipeline=self.pipeline, target=self.target)
        if isinstance(does, Correction):
            assert isinstance(edge, Integers)
            assert isinstance(unit.edge, Integers)
            return CorrectionPlan(correction=does, edge=edge, o_edge=unit.edge, lanes=lanes)
        if isinstance(does, AddNode):
            one, other = unit.arriving
            assert isinstance(one, Integers)
            assert isinstance(other, Integers)
            return AddPlan(one=one, other=other, lanes=lanes)
        if isinstance(does, MaxPool | SumPool):
            return WindowPoolPlan(node=does, edge=edge, lanes=lanes)
        return PointwisePlan(node=does, edge=edge, lanes=lanes)

    # -- streams ------------------------------------------------------------------------------------------------

    @cached_property
    def i(self) -> CodeStream:
        """The images: with the lanes of the first convolution that they reach."""
        lanes, reached = 1, {INPUT}
        for unit in self.units:
            if unit.inputs[0] not in reached:
                continue
            if isinstance(unit.does, Fused):
                lanes = self._plan_of(unit, 1).i.lanes  # type: ignore[union-attr]
                break
            if unit.edge.shape[2] == self.graph.input_shape[2]:
                reached.add(unit.name)
        return CodeStream(lanes, unsigned(self.graph.input.bases.bits))

    @property
    def i_transfers(self) -> int:
        """Transfers of the input stream per image."""
        return self.i.transfers(self.graph.input_shape)

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
        if not isinstance(self.graph.nodes[-1], Scores):
            return None
        return ArgMaxPlan(classes=self.last.edge.shape[2], score=self.end.o.shape)

    @property
    def o_layout(self) -> data.StructLayout:
        """Payload of the output: a score with class and end, or a number with the end of the map."""
        if self.argmax is not None:
            return self.argmax.layout
        return data.StructLayout({"value": self.end.o.shape, "last": 1})

    @property
    def o_transfers(self) -> int:
        """Transfers of the output stream per image."""
        return int(np.prod(self.last.edge.shape))

    # -- cycles -------------------------------------------------------------------------------------------------

    @cached_property
    def rates(self) -> dict[str, int]:
        """Least cycles between images of every part, by its name for people."""
        found = {"input": self.i_transfers}
        for unit in self.units:
            links = [self.link(unit, index) for index in range(len(unit.inputs))]
            found[unit.name] = max(self.plans[unit.name].cycles, *(link.adapter.cycles for link in links))
        found["output"] = max(self.end.cycles, self.o_transfers)
        return found

    @property
    def cycles(self) -> int:
        """Least cycles between images: those of the slowest part."""
        return max(self.rates.values())

    # -- buffers ------------------------------------------------------------------------------------------------

    @cached_property
    def buffers(self) -> Mapping[str, Sequence[int]]:
        """Depths in front of each join, by unit, in the order of its inputs."""
        return depths_of(self._branches, self.cycles) if self.depths is None else self.depths

    @property
    def live(self) -> Mapping[str, Sequence[int]]:
        """The least depths with which nothing stops for good, under any stalls."""
        return depths_of(self._branches, self.cycles, rate=False)

    @cached_property
    def _branches(self) -> list[Branch]:
        """What the analysis of buffers has to know of each unit."""
        found = []
        for unit in self.units:
            plan = self.plans[unit.name]
            latency, burst = work_of(plan)
            found.append(Branch(
                name=unit.name, sources=unit.inputs, flow=plan.flow, latency=latency, burst=burst,
                before=tuple(self.link(unit, index).adapter.flow for index in range(len(unit.inputs))),
            ))
        return found


def stream_out(plan: UnitPlan) -> CodeStream:
    """What leaves a unit."""
    return plan.o if isinstance(plan, LayerPlan) else CodeStream(plan.lanes, plan.o_shape)


def streams_in(plan: UnitPlan) -> list[CodeStream]:
    """What a unit takes."""
    if isinstance(plan, LayerPlan):
        return [plan.i]
    if isinstance(plan, AddPlan):
        return [CodeStream(plan.lanes, shape) for shape in plan.shapes]
    return [CodeStream(plan.lanes, plan.i_shape)]


def work_of(plan: UnitPlan) -> tuple[int, int]:
    """(cycles from the last input that an output needs to it, outputs that come at once)"""
    if isinstance(plan, LayerPlan):
        return plan.latency + plan.schedule.group_cycles, plan.queue.per_group
    return plan.latency, 0


class GraphAccelerator(wiring.Component):
    """A streaming accelerator for a graph; images follow one another without a pause.

    Parameters
    ----------
    plan : of all units

    Members
    -------
    i : In, stream of input codes, row by row, channels innermost
    o : Out, stream of one number per transfer, ``plan.o_layout``
    """

    def __init__(self, plan: GraphPlan) -> None:
        self._plan = plan
        super().__init__({"i": In(plan.i.signature), "o": Out(stream.Signature(plan.o_layout))})

    @property
    def plan(self) -> GraphPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        outputs = {INPUT: self._forked(m, INPUT, wiring.flipped(self.i))}
        for unit in plan.units:
            m.submodules[_safe(unit.name)] = made = component(plan.plans[unit.name])
            inputs = [made.i_one, made.i_other] if isinstance(made, Add) else [made.i]
            for index, port in enumerate(inputs):
                self._link(m, unit, index, outputs, port)
            outputs[unit.name] = self._forked(m, unit.name, made.o)
        node = outputs[plan.last.name][-1]
        if plan.end.needed:
            m.submodules.end = adapter = LaneAdapter(plan.end)
            wiring.connect(m, node, adapter.i)
            node = adapter.o
        self._output(m, node)
        return m

    def _forked(self, m: Module, name: str, node: wiring.PureInterface) -> list[wiring.PureInterface]:
        """A stream for each that takes from a unit."""
        plan, takers = self._plan, self._plan.takers[name]
        if len(takers) == 1:
            return [node]
        given = plan.stream_of(name)
        shape = plan.graph.input_shape if name == INPUT else next(
            unit.edge.shape for unit in plan.units if unit.name == name)
        m.submodules[f"{_safe(name)}_fork"] = fork = Fork(ForkPlan(
            branches=len(takers), lanes=given.lanes, shape=given.shape, transfers=given.transfers(shape)
        ))
        wiring.connect(m, node, fork.i)
        return [fork.o[index] for index in range(len(takers))]

    def _link(
        self, m: Module, unit: Unit, index: int, outputs: Mapping[str, list[wiring.PureInterface]],
        port: wiring.PureInterface,
    ) -> None:
        """From an output to an input: adapter, width, buffer."""
        link, name = self._plan.link(unit, index), f"{_safe(unit.name)}_in{index}"
        node = outputs[link.source][link.branch]
        if link.adapter.needed:
            m.submodules[name] = adapter = LaneAdapter(link.adapter)
            wiring.connect(m, node, adapter.i)
            node = adapter.o
        lanes, given = link.adapter.o.lanes, link.adapter.o.shape
        resized = CodeStream(lanes, link.shape).signature.create(path=(f"{name}_resized",))
        m.d.comb += [resized.valid.eq(node.valid), node.ready.eq(resized.ready)]
        for lane in range(lanes):
            number = Value.cast(node.payload[lane])
            number = number.as_signed() if given.signed else number
            m.d.comb += resized.payload[lane].eq(extend(number, link.shape))
        depth = self._plan.buffers[unit.name][index] if len(unit.inputs) > 1 else 0
        if not depth:
            wiring.connect(m, resized, port)
            return
        width = lanes * link.shape.width
        m.submodules[f"{name}_buffer"] = queue = SyncFIFOBuffered(width=width, depth=depth)
        m.d.comb += [
            queue.w_data.eq(resized.payload), queue.w_en.eq(resized.valid), resized.ready.eq(queue.w_rdy),
            port.payload.eq(queue.r_data), port.valid.eq(queue.r_rdy), queue.r_en.eq(port.ready),
        ]

    def _output(self, m: Module, node: wiring.PureInterface) -> None:
        plan = self._plan
        if plan.argmax is not None:
            m.submodules.argmax = argmax = ArgMax(plan.argmax)
            wiring.connect(m, node, argmax.i)
            wiring.connect(m, argmax.o, wiring.flipped(self.o))
            return
        place = Signal(range(plan.o_transfers))
        last = place == plan.o_transfers - 1
        m.d.comb += [
            self.o.valid.eq(node.valid), node.ready.eq(self.o.ready), self.o.payload.value.eq(node.payload[0]),
            self.o.payload.last.eq(last),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += place.eq(place + 1)
            with m.If(last):
                m.d.sync += place.eq(0)


def component(plan: UnitPlan) -> LayerEngine | Correct | Pointwise | WindowPool | Add:
    """The component of a plan."""
    match plan:
        case LayerPlan():
            return LayerEngine(plan)
        case CorrectionPlan():
            return Correct(plan)
        case WindowPoolPlan():
            return WindowPool(plan)
        case AddPlan():
            return Add(plan)
        case PointwisePlan():
            return Pointwise(plan)


def _safe(name: str) -> str:
    return name.replace(".", "_")
