# amaranth: UnusedElaboratable=no
"""A layer by itself that is loaded like an accelerator."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .layer import LayerEngine, LayerPlan
from .loading import GatePlan, LoadGate, write_memories

__all__ = ["LoadedLayer"]


class LoadedLayer(wiring.Component):
    """A layer's engine behind a gate of its own.

    ::

        load --> gate --> memories
        i -----> gate --> engine --> o

    Parameters
    ----------
    plan : layer and folding, with something to load

    Members
    -------
    i, o : streams of the engine
    load, loaded : as of :class:`abc_hw.rtl_gen.engine.accelerator.Accelerator`
    """

    def __init__(self, plan: LayerPlan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(plan.i.signature), "o": Out(plan.o.signature),
            "load": In(stream.Signature(self.gate.load_payload)), "loaded": Out(1),
        })

    @property
    def gate(self) -> GatePlan:
        """Between images and loads."""
        plan = self._plan
        return GatePlan(
            memories=tuple(load.shape for load in plan.loads.values()), i=plan.i,
            transfers=plan.i.transfers(plan.numbers.layer.in_shape),
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        m.submodules.gate = gate = LoadGate(self.gate)
        m.submodules.engine = engine = LayerEngine(plan)
        write_memories(m, gate, [getattr(engine, name) for name in plan.loads])
        wiring.connect(m, wiring.flipped(self.load), gate.load)
        wiring.connect(m, wiring.flipped(self.i), gate.i)
        wiring.connect(m, gate.o, engine.i)
        wiring.connect(m, engine.o, wiring.flipped(self.o))
        count = plan.o.transfers(plan.numbers.layer.out_shape)
        place = Signal(range(count))  # in the image that leaves
        leaves, last = self.o.valid & self.o.ready, place == count - 1
        with m.If(leaves):
            m.d.sync += place.eq(Mux(last, 0, place + 1))
        m.d.comb += [gate.done.eq(leaves & last), self.loaded.eq(gate.loaded)]
        return m
