# amaranth: UnusedElaboratable=no
"""The accelerator of a graph: an engine for each convolution, units for other nodes, forks and buffers between."""

from collections.abc import Mapping

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network.graph import INPUT

from ..blocks.add import Add, AddPlan
from ..blocks.buffer import Buffer
from ..blocks.classifier import ArgMax
from ..blocks.correction import Correct, CorrectionPlan
from ..blocks.fork import Fork
from ..blocks.lanes import LaneAdapter
from ..blocks.pointwise import Pointwise, PointwisePlan
from ..blocks.search import Search, SearchPlan
from ..blocks.window_pool import WindowPool, WindowPoolPlan
from ..parts.arith import extend
from ..parts.stream import CodeStream
from .graph_plan import GraphPlan
from .layer import LayerEngine, LayerPlan
from .lowering import Unit
from .units import UnitPlan

__all__ = ["GraphAccelerator"]


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
            m.submodules[plan.module_names[unit.name]] = made = component(plan.plans[unit.name])
            inputs = [made.i_one, made.i_other] if isinstance(made, Add) else [made.i]
            for index, port in enumerate(inputs):
                self._link(m, unit, index, outputs, port)
            outputs[unit.name] = self._forked(m, unit.name, made.o)
        node = self._held(m, ("output", 0), "end_pooled", outputs[plan.last.name][-1])
        if plan.end.needed:
            m.submodules.end = adapter = LaneAdapter(plan.end)
            wiring.connect(m, node, adapter.i)
            node = adapter.o
        self._output(m, node)
        return m

    def _forked(self, m: Module, name: str, node: wiring.PureInterface) -> list[wiring.PureInterface]:
        """A stream for each that takes from a unit."""
        plan = self._plan.fork(name)
        if plan is None:
            return [node]
        m.submodules[f"{self._plan.module_names.get(name, name)}_fork"] = fork = Fork(plan)
        wiring.connect(m, node, fork.i)
        return [fork.o[index] for index in range(plan.branches)]

    def _held(
        self, m: Module, taker: tuple[str, int], name: str, node: wiring.PureInterface
    ) -> wiring.PureInterface:
        """Through what holds results of a pool, if anything does."""
        plan = self._plan.pooled.get(taker)
        if plan is None:
            return node
        m.submodules[name] = held = Buffer(plan)
        wiring.connect(m, node, held.i)
        return held.o

    def _link(
        self, m: Module, unit: Unit, index: int, outputs: Mapping[str, list[wiring.PureInterface]],
        port: wiring.PureInterface,
    ) -> None:
        """From an output to an input: results of a pool, adapter, width, buffer."""
        link, name = self._plan.link(unit, index), f"{self._plan.module_names[unit.name]}_in{index}"
        node = self._held(m, (unit.name, index), f"{name}_pooled", outputs[link.source][link.branch])
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
        plan = self._plan.buffer_plans.get((unit.name, index))
        if plan is None:
            wiring.connect(m, resized, port)
            return
        m.submodules[f"{name}_buffer"] = queue = Buffer(plan)
        wiring.connect(m, resized, queue.i)
        wiring.connect(m, queue.o, port)

    def _output(self, m: Module, node: wiring.PureInterface) -> None:
        plan = self._plan
        if plan.argmax is not None:
            m.submodules.argmax = argmax = ArgMax(plan.argmax)
            wiring.connect(m, node, argmax.i)
            m.d.comb += [
                self.o.valid.eq(argmax.o.valid), argmax.o.ready.eq(self.o.ready),
                *(self.o.payload[field].eq(argmax.o.payload[field]) for field in ("score", "label", "last")),
            ]
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


def component(plan: UnitPlan) -> LayerEngine | Correct | Pointwise | Search | WindowPool | Add:
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
        case SearchPlan():
            return Search(plan)
        case PointwisePlan():
            return Pointwise(plan)
