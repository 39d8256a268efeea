# amaranth: UnusedElaboratable=no
"""The accelerator: all layers at once, joined by streams."""

from collections.abc import Mapping
from typing import Literal, get_args

from amaranth.hdl import Module, Shape, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.errors import InputError
from abc_hw.network import Layer, Network

from ..blocks.classifier import ArgMax, score_layout
from ..emit.names import Names
from ..folding import LayerFolding, Schedule, cycle_bound, schedules
from ..parts.arith import ceil_div
from ..parts.matches import score_shape
from ..parts.popcount import TARGETS
from ..parts.ram import LOAD_BITS
from ..parts.stream import LaneAdapter, code_stream
from .layer import LayerEngine
from .loading import LoadGate, load_layout, parts, with_unknown_weights

__all__ = ["Accelerator", "WeightSource", "weight_source"]

WeightSource = Literal["rom", "loaded"]
"""Where the weights come from: fixed at generation, or written by whoever uses the accelerator."""

OWN_NAMES = (
    "accelerator", "argmax", "clk", "gate", "i", "images", "load", "loaded", "loader", "o", "rst", "scores",
)
"""What the accelerator's module has in it besides layers, and what it is usually called."""


def weight_source(text: str) -> WeightSource:
    """``text``, if it is a source of weights; InputError otherwise."""
    for source in get_args(WeightSource):
        if source == text:
            return source
    raise InputError(f"weights: expected {' or '.join(get_args(WeightSource))}, found {text}")


def _score_port(last: Layer, bits: int | None) -> Shape:
    """Shape of a score at the port: as given, or as the scores need."""
    needed = score_shape(last)
    if bits is None:
        return needed
    if bits < needed.width:
        raise InputError(f"score_bits: expected at least {needed.width}, which the scores need, found {bits}")
    return signed(bits)


class Accelerator(wiring.Component):
    """A streaming accelerator for an integer network; images follow one another without a pause.

    ::

        i --> layer --> adapter --> layer --> ... --> classifier --> argmax --> o

    Parameters
    ----------
    network : what it computes
    foldings : :class:`LayerFolding` of each layer, by name
    pipeline : adder levels between registers of the popcounts
    weights : ``rom``: fixed; ``loaded``: they come over a stream, and come anew whenever one likes. Alphas, betas
        and thresholds stay fixed, so what may be loaded are the weights of any network that is like this one in
        all else (:attr:`abc_hw.network.Network.constants_digest`)
    target : technology, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`
    score_bits : of a score at ``o``; None: as few as the scores of this network need

    Members
    -------
    i : In, stream of input codes (pixels), row by row, channels innermost, ``i_lanes`` channels per transfer
    o : Out, stream of scores, one class per transfer, :func:`abc_hw.rtl_gen.blocks.classifier.score_layout`
    load : In, if loaded: stream of :attr:`load_words`, the first one marked. It waits until all images that have
        begun are done; from the cycle in which it is valid until its last word is taken no other image begins: at
        the boundary of images a valid load wins, and an image whose first transfer is offered waits
    loaded : Out, if loaded: the weights are there

    Raises
    ------
    InputError
        if a folding does not fit its layer, ``weights`` is neither, the target is unknown, or the scores need more
        bits than ``score_bits``.
    """

    def __init__(
        self, network: Network, foldings: Mapping[str, LayerFolding], *, pipeline: int = 1,
        weights: WeightSource = "rom", target: str = "generic", score_bits: int | None = None,
    ) -> None:
        if target not in TARGETS:
            raise InputError(f"target: expected one of {', '.join(TARGETS)}, found {target}")
        self._target = target
        self._loads = weight_source(weights) == "loaded"
        self._network = network = with_unknown_weights(network) if self._loads else network
        self._schedules = schedules(network, foldings)
        names = Names(OWN_NAMES)
        self._module_names = {layer.name: names.new(layer.name, with_=["_in"]) for layer in network.layers}
        self._engines = [
            LayerEngine(schedule, pipeline=pipeline, loaded=self._loads, target=target)
            for schedule in self._schedules
        ]
        first, last = network.layers[0], network.layers[-1]
        super().__init__({
            "i": In(code_stream(self.i_lanes, unsigned(first.input_bases.bits))),
            "o": Out(stream.Signature(score_layout(_score_port(last, score_bits), last.out_channels))),
            **(self._load_members() if self._loads else {}),
        })

    def _load_members(self) -> dict[str, wiring.Member]:
        layout = load_layout(engine.weight_memory for engine in self._engines)
        return {"load": In(stream.Signature(layout)), "loaded": Out(1)}

    @property
    def network(self) -> Network:
        return self._network

    @property
    def target(self) -> str:
        return self._target

    @property
    def engines(self) -> list[LayerEngine]:
        """The layers' engines, in order."""
        return self._engines

    @property
    def schedules(self) -> list[Schedule]:
        return self._schedules

    @property
    def module_names(self) -> dict[str, str]:
        """What the module of each layer is called, by the layer's name."""
        return self._module_names

    @property
    def i_lanes(self) -> int:
        """Channels per transfer of the input stream."""
        return self._schedules[0].lanes

    @property
    def i_transfers(self) -> int:
        """Transfers of the input stream per image."""
        height, width, _ = self._network.input_shape
        return height * width * self._schedules[0].channel_words

    @property
    def bound(self) -> int:
        """Least cycles between images, :func:`abc_hw.rtl_gen.folding.cycle_bound`."""
        return cycle_bound(self._schedules)

    @property
    def loads(self) -> bool:
        """Are the weights loaded?"""
        return self._loads

    @property
    def load_words(self) -> list[int]:
        """What loads the network's weights: layers in order, of each the words of its memory
        (:attr:`LayerEngine.weight_words`), of each word parts of 16 bits, the lowest first."""
        return [part for engine in self._engines for part in parts(engine.weight_words, engine.weight_memory[0])]

    @property
    def load_transfers(self) -> int:
        """How many :attr:`load_words` there are."""
        shapes = (engine.weight_memory for engine in self._engines)
        return sum(ceil_div(width, LOAD_BITS) * depth for width, depth in shapes)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        node = self._build_loading(m) if self._loads else wiring.flipped(self.i)
        lanes = self.i_lanes
        for schedule, engine in zip(self._schedules, self._engines, strict=True):
            layer = schedule.layer
            if lanes != schedule.lanes:
                m.submodules[f"{self._module_names[layer.name]}_in"] = adapter = LaneAdapter(
                    channels=layer.in_shape[2], i_lanes=lanes, o_lanes=schedule.lanes,
                    shape=unsigned(layer.input_bases.bits),
                )
                wiring.connect(m, node, adapter.i)
                node = adapter.o
            m.submodules[self._module_names[layer.name]] = engine
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
        m.d.comb += [
            self.o.valid.eq(argmax.o.valid),
            argmax.o.ready.eq(self.o.ready),
            *(self.o.payload[field].eq(argmax.o.payload[field]) for field in ("score", "label", "last")),
        ]
        return m

    def _build_loading(self, m: Module) -> wiring.PureInterface:
        """The loader of all weight memories, and the input stream of the images that may begin."""
        m.submodules.gate = gate = LoadGate(
            [engine.weight_memory for engine in self._engines], transfers=self.i_transfers,
            payload=self.i.payload.shape(),
        )
        first = 0
        for engine, count in zip(self._engines, gate.counts, strict=True):
            m.d.comb += [
                engine.write.addr.eq(gate.addr),
                engine.write.data.eq(gate.data),
                engine.write.en.eq(gate.en[first : first + count]),
            ]
            first += count
        wiring.connect(m, wiring.flipped(self.load), gate.load)
        wiring.connect(m, wiring.flipped(self.i), gate.i)
        m.d.comb += [
            gate.done.eq(self.o.valid & self.o.ready & self.o.payload.last),
            self.loaded.eq(gate.loaded),
        ]
        return gate.o
