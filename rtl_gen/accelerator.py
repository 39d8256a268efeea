"""The accelerator: all layers at once, joined by streams."""

from collections.abc import Mapping

from amaranth.hdl import Module, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.network import Network

from .classifier import ArgMax, score_layout
from .folding import LayerFolding, Schedule, cycle_bound, schedules
from .layer import LayerEngine
from .matches import score_shape
from .stream import LaneAdapter, code_stream

__all__ = ["Accelerator"]


class Accelerator(wiring.Component):
    """A streaming accelerator for an integer network; images follow one another without a pause.

    ::

        i --> layer --> adapter --> layer --> ... --> classifier --> argmax --> o

    Parameters
    ----------
    network : what it computes
    foldings : :class:`LayerFolding` of each layer, by name
    pipeline : adder levels between registers of the popcounts

    Members
    -------
    i : In, stream of input codes (pixels), row by row, channels innermost, ``i_lanes`` channels per transfer
    o : Out, stream of scores, one class per transfer, :func:`rtl_gen.classifier.score_layout`

    Raises
    ------
    InputError
        if a folding does not fit its layer.
    """

    def __init__(self, network: Network, foldings: Mapping[str, LayerFolding], *, pipeline: int = 3) -> None:
        self._network = network
        self._schedules = schedules(network, foldings)
        self._pipeline = pipeline
        first, last = network.layers[0], network.layers[-1]
        super().__init__({
            "i": In(code_stream(self.i_lanes, unsigned(first.input_bases.bits))),
            "o": Out(stream.Signature(score_layout(score_shape(last), last.out_channels))),
        })

    @property
    def network(self) -> Network:
        return self._network

    @property
    def schedules(self) -> list[Schedule]:
        return self._schedules

    @property
    def i_lanes(self) -> int:
        """Channels per transfer of the input stream."""
        return self._schedules[0].lanes

    @property
    def bound(self) -> int:
        """Least cycles between images, :func:`rtl_gen.folding.cycle_bound`."""
        return cycle_bound(self._schedules)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node = wiring.flipped(self.i)
        lanes = self.i_lanes
        for schedule in self._schedules:
            layer = schedule.layer
            if lanes != schedule.lanes:
                m.submodules[f"{layer.name}_in"] = adapter = LaneAdapter(
                    channels=layer.in_shape[2], i_lanes=lanes, o_lanes=schedule.lanes,
                    shape=unsigned(layer.input_bases.bits),
                )
                wiring.connect(m, node, adapter.i)
                node = adapter.o
            m.submodules[layer.name] = engine = LayerEngine(schedule, pipeline=self._pipeline)
            wiring.connect(m, node, engine.i)
            node, lanes = engine.o, schedule.out_lanes
        last = self._network.layers[-1]
        if lanes != 1:
            m.submodules.scores = adapter = LaneAdapter(
                channels=last.out_channels, i_lanes=lanes, o_lanes=1, shape=score_shape(last)
            )
            wiring.connect(m, node, adapter.i)
            node = adapter.o
        m.submodules.argmax = argmax = ArgMax(classes=last.out_channels, score=score_shape(last))
        wiring.connect(m, node, argmax.i)
        wiring.connect(m, argmax.o, wiring.flipped(self.o))
        return m
