# amaranth: UnusedElaboratable=no
"""The accelerator: all layers at once, joined by streams."""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Literal, get_args

from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.errors import InputError
from abc_hw.network import Layer, Network

from ..blocks.buffer import Buffer, BufferPlan, behind_pool
from ..blocks.classifier import ArgMax, ArgMaxPlan, score_layout
from ..blocks.lanes import AdapterPlan, LaneAdapter
from ..parts.matches import LayerNumbers
from ..parts.memory_plan import MemoryPlan
from ..parts.names import Names
from ..parts.popcount import TARGETS
from ..parts.stream import CodeStream
from ..parts.timing import Paced, Taken, at_once, slowest_by_name
from ..schedule import LayerFolding
from .layer import LayerEngine, LayerPlan
from .loading import GatePlan, LoadGate, write_memories
from .traced import Traced

__all__ = ["Accelerator", "AcceleratorPlan", "WeightSource", "layer_numbers", "served_digest", "weight_source"]

WeightSource = Literal["rom", "loaded", "trained"]
"""What an accelerator is written with by whoever uses it: nothing, as all is fixed at generation; the weights; or
all that another training may change (:meth:`abc_hw.network.Network.learned`)."""

OWN_NAMES = (
    "accelerator", "argmax", "clk", "gate", "i", "images", "load", "loaded", "loader", "o", "rst", "scores",
)
"""What the accelerator's module has in it besides layers, and what it is usually called."""


def weight_source(weights: str, constants: str = "rom") -> WeightSource:
    """Where weights and all other constants come from, each ``rom`` or ``loaded``; constants never travel without
    weights. InputError for anything else."""
    for name, text in (("weights", weights), ("constants", constants)):
        if text not in ("rom", "loaded"):
            raise InputError(f"{name}: expected rom or loaded, found {text}")
    if constants == "loaded":
        return "trained"
    return "loaded" if weights == "loaded" else "rom"


def layer_numbers(network: Network, weights: WeightSource) -> list[LayerNumbers]:
    """Of each layer, in order.

    Raises
    ------
    InputError
        if ``weights`` is no source.
    """
    if weights not in get_args(WeightSource):
        raise InputError(f"weights: expected {', '.join(get_args(WeightSource))}, found {weights}")
    learned: dict[str, Callable[[Layer], Collection[str]]] = {
        "rom": lambda layer: (), "loaded": lambda layer: ("weights",), "trained": network.learned,
    }
    return [LayerNumbers(layer, learned=learned[weights](layer)) for layer in network.layers]


def served_digest(network: Network, weights: WeightSource) -> str:
    """What names a design for the network: two with the same compute each other's networks, once loaded."""
    if weights == "rom":
        return network.digest
    return network.constants_digest if weights == "loaded" else network.shape_digest


@dataclasses.dataclass(frozen=True, kw_only=True)
class AcceleratorPlan(Paced):
    """All layers under their foldings, and what lies between and around them.

    Members
    -------
    network : what it computes
    layers : in order
    target : technology, a key of :data:`abc_hw.rtl_gen.parts.popcount.TARGETS`
    weights : what is loaded
    score_bits : of a score at the output; None: as few as the scores of this network need

    Raises
    ------
    InputError
        if the scores need more bits than ``score_bits``.
    """

    network: Network
    layers: Sequence[LayerPlan]
    target: str = "generic"
    weights: WeightSource = "rom"
    score_bits: int | None = None

    def __post_init__(self) -> None:
        needed = self.argmax.score.width
        if self.score_bits is not None and self.score_bits < needed:
            raise InputError(
                f"score_bits: expected at least {needed}, which the scores need, found {self.score_bits}"
            )

    @classmethod
    def of(
        cls, network: Network, foldings: Mapping[str, LayerFolding], *, pipeline: int = 1,
        weights: WeightSource = "rom", target: str = "generic", score_bits: int | None = None,
        numbers: Sequence[LayerNumbers] | None = None, large: int = 0, input_px: int = 1,
    ) -> "AcceleratorPlan":
        """The plan of ``network`` with these foldings of each layer, by name.

        Parameters
        ----------
        pipeline : adder levels between registers of the popcounts
        weights : ``rom``: fixed; ``loaded``: they come over a stream, and come anew whenever one likes. Alphas,
            betas and thresholds stay fixed, so what may be loaded are the weights of any network that is like this
            one in all else (:attr:`abc_hw.network.Network.constants_digest`); ``trained``: all these come, and
            what may be loaded is any training of this network (:attr:`abc_hw.network.Network.shape_digest`)
        target, score_bits : as of the plan
        numbers : of the layers, where they are there already
        large : large memories of the part, which those weights take that would take most blocks
        input_px : pixels of a transfer of images

        Raises
        ------
        InputError
            if a layer has no folding, a folding no layer, one does not fit, ``weights`` is neither, the target is
            unknown, the scores need more bits than ``score_bits``, or rows have fewer pixels than ``input_px``.
        """
        if target not in TARGETS:
            raise InputError(f"target: expected one of {', '.join(TARGETS)}, found {target}")
        if not 1 <= input_px <= network.input_shape[1]:
            raise InputError(f"input-px: expected 1 to {network.input_shape[1]}, found {input_px}")
        names = [layer.name for layer in network.layers]
        strangers = sorted(set(foldings) - set(names))
        if strangers:
            raise InputError(f"folding: expected the layers {', '.join(names)}, found {', '.join(strangers)}")
        missing = [name for name in names if name not in foldings]
        if missing:
            raise InputError(f"folding: expected one for each layer, found none for {', '.join(missing)}")
        numbers = numbers or layer_numbers(network, weights)
        layers: list[LayerPlan] = []
        for one, name in zip(numbers, names, strict=True):
            px = layers[-1].o.px if layers else input_px
            layers.append(LayerPlan(one, foldings[name], pipeline=pipeline, target=target, px_in=px))
        return cls(
            network=network, layers=_with_large_memories(layers, large), target=target, weights=weights,
            score_bits=score_bits,
        )

    @property
    def loads(self) -> bool:
        """Is anything loaded?"""
        return self.weights != "rom"

    @property
    def served_digest(self) -> str:
        """:func:`served_digest`"""
        return served_digest(self.network, self.weights)

    @property
    def foldings(self) -> dict[str, LayerFolding]:
        """By layer."""
        return {layer.name: layer.folding for layer in self.layers}

    @cached_property
    def module_names(self) -> dict[str, str]:
        """What the module of each layer is called, by the layer's name."""
        names = Names(OWN_NAMES)
        return {layer.name: names.new(layer.name, with_=["_in", "_in_buffer"]) for layer in self.layers}

    # -- parts ----------------------------------------------------------------------------------------------

    @property
    def engines(self) -> dict[str, LayerPlan]:
        """The layers by name."""
        return {layer.name: layer for layer in self.layers}

    @property
    def traced(self) -> Sequence[Traced]:
        """What every layer hands on. A score past the last class is dropped before anybody looks at it."""
        return [
            Traced(
                name=layer.name, module=self.module_names[layer.name], stream=layer.o,
                shape=layer.numbers.layer.out_shape, padded=not layer.numbers.layer.hands_on_integers,
            )
            for layer in self.layers
        ]

    @property
    def i(self) -> CodeStream:
        """The pixels."""
        return self.layers[0].i

    @property
    def i_transfers(self) -> int:
        """Transfers of the input stream per image."""
        return self.i.transfers(self.network.input_shape)

    @property
    def memories(self) -> list[MemoryPlan]:
        """All there are."""
        blocks = [plan for layer in self.layers for plan in layer.blocks.values()]
        blocks += [buffer for buffer in self.buffers if buffer is not None]
        return [memory for plan in blocks for memory in plan.memories]

    @cached_property
    def adapters(self) -> Sequence[AdapterPlan]:
        """Before each layer, and behind the last one."""
        before = [self.i, *(layer.o for layer in self.layers)]
        after = [*(layer.i for layer in self.layers), self.argmax.i]
        shapes = [*(layer.numbers.layer.in_shape for layer in self.layers), (1, 1, self.argmax.classes)]
        return tuple(
            AdapterPlan(shape=shape, i=dataclasses.replace(other, lanes=one.lanes), o=other)
            for shape, one, other in zip(shapes, before, after, strict=True)
        )

    @cached_property
    def buffers(self) -> Sequence[BufferPlan | None]:
        """In front of each adapter; None where none is needed."""
        pools = [None, *(layer.pool for layer in self.layers)]
        return tuple(
            None if pool is None else behind_pool(pool, adapter)
            for pool, adapter in zip(pools, self.adapters, strict=True)
        )

    @cached_property
    def argmax(self) -> ArgMaxPlan:
        last = self.layers[-1]
        return ArgMaxPlan(classes=last.numbers.layer.out_channels, score=last.o.shape)

    @property
    def o_layout(self) -> data.StructLayout:
        """Payload of the output stream."""
        bits = self.argmax.score if self.score_bits is None else signed(self.score_bits)
        return score_layout(bits, self.argmax.classes)

    @property
    def o_transfers(self) -> int:
        """Transfers of the output stream per image."""
        return self.argmax.classes

    @cached_property
    def gate(self) -> GatePlan:
        """Between images and loads, where weights are loaded."""
        return GatePlan(
            memories=tuple(load.shape for layer in self.layers for load in layer.loads.values()), i=self.i,
            transfers=self.i_transfers,
        )

    # -- cycles ---------------------------------------------------------------------------------------------

    @property
    def rates(self) -> dict[str, int]:
        """Least cycles between images of every part, by its name for people: input, output, layers, what comes
        into each but the first."""
        parts = [("input", self.i_transfers), ("output", max(self.adapters[-1].cycles, self.argmax.cycles))]
        parts += [(layer.name, layer.schedule.cycles) for layer in self.layers]
        for before, layer, adapter in zip(self.layers, self.layers[1:], self.adapters[1:], strict=False):
            pixels = 0 if before.pixels is None else before.pixels.cycles
            parts.append((f"input of {layer.name}", max(pixels, adapter.cycles, layer.window.i_transfers)))
        return slowest_by_name(parts)

    def timing(self, after: Taken) -> Taken:
        """When transfers of images are taken, with ``after`` behind the output."""
        after = self._adapted(len(self.layers), self.argmax.timing(after))
        for index in reversed(range(len(self.layers))):
            after = self._adapted(index, self.layers[index].timing(after))
        return self.gate.timing(after) if self.loads else after

    def _adapted(self, index: int, after: Taken) -> Taken:
        """When transfers are taken, with ``after`` behind adapter ``index``."""
        after, buffer = self.adapters[index].timing(after), self.buffers[index]
        return after if buffer is None else buffer.timing(after)

    def moments(self, images: int) -> list[tuple[int, int]]:
        """Of images whose transfers come one after the other, into an accelerator that is empty, and whose scores
        are taken at once: the cycles in which the last transfer of each is taken, and its class comes."""
        came: list[int] = []

        def end(offered: int) -> int:
            came.append(offered)
            return at_once(offered)

        take, last = self.timing(end), -1
        sent = [last := take(last + 1) for _ in range(images * self.i_transfers)]
        scores = self.argmax.cycles
        return list(zip(sent[self.i_transfers - 1 :: self.i_transfers], came[scores - 1 :: scores], strict=True))

    @cached_property
    def latency(self) -> int:
        """Cycles from the last transfer of an image that comes alone (:meth:`moments`) to its class."""
        (sent, classified), = self.moments(1)
        return classified - sent

    # -- weights that are loaded ----------------------------------------------------------------------------

    @property
    def load_words(self) -> list[int]:
        """What loads the network: layers in order, of each its memories
        (:attr:`abc_hw.rtl_gen.engine.layer.LayerPlan.loads`), of each its words, of each word parts of 16 bits,
        the lowest first."""
        return [part for layer in self.layers for load in layer.loads.values() for part in load.parts()]


def _with_large_memories(layers: Sequence[LayerPlan], left: int) -> Sequence[LayerPlan]:
    """Layers of which some have their weights in ``left`` large memories, those first that take most blocks."""
    chosen = list(layers)
    for index in sorted(range(len(layers)), key=lambda index: -layers[index].weights.memory.mapped.cells):
        large = dataclasses.replace(layers[index], large=True)
        takes = large.weights.memory.mapped
        if layers[index].weights.memory.mapped.kind == "block" and takes.kind == "large" and takes.cells <= left:
            chosen[index] = large
            left -= takes.cells
    return tuple(chosen)


class Accelerator(wiring.Component):
    """A streaming accelerator for an integer network; images follow one another without a pause.

    ::

        i --> layer --> adapter --> layer --> ... --> classifier --> argmax --> o

    Parameters
    ----------
    plan : of all layers

    Members
    -------
    i : In, stream of input codes (pixels), row by row, groups of pixels, channels innermost, ``plan.i``
    o : Out, stream of scores, one class per transfer, :func:`abc_hw.rtl_gen.blocks.classifier.score_layout`
    load : In, if loaded: stream of ``plan.load_words``, the first one marked. It waits until all images that have
        begun are done; from the cycle in which it is valid until its last word is taken no other image begins: at
        the boundary of images a valid load wins, and an image whose first transfer is offered waits
    loaded : Out, if loaded: the weights are there
    """

    def __init__(self, plan: AcceleratorPlan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(plan.i.signature),
            "o": Out(stream.Signature(plan.o_layout)),
            **({"load": In(stream.Signature(plan.gate.load_payload)), "loaded": Out(1)} if plan.loads else {}),
        })

    @property
    def plan(self) -> AcceleratorPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        engines = [LayerEngine(layer) for layer in plan.layers]
        node = self._build_loading(m, engines) if plan.loads else wiring.flipped(self.i)
        for index, (layer, engine) in enumerate(zip(plan.layers, engines, strict=True)):
            name = plan.module_names[layer.name]
            node = self._build_adapted(m, node, index, f"{name}_in")
            m.submodules[name] = engine
            wiring.connect(m, node, engine.i)
            node = engine.o
        node = self._build_adapted(m, node, len(engines), "scores")
        m.submodules.argmax = argmax = ArgMax(plan.argmax)
        wiring.connect(m, node, argmax.i)
        m.d.comb += [
            self.o.valid.eq(argmax.o.valid),
            argmax.o.ready.eq(self.o.ready),
            *(self.o.payload[field].eq(argmax.o.payload[field]) for field in ("score", "label", "last")),
        ]
        return m

    def _build_adapted(
        self, m: Module, node: wiring.PureInterface, index: int, name: str
    ) -> wiring.PureInterface:
        """``node``, or what buffer and adapter make of it where they are needed."""
        plan, buffer = self._plan.adapters[index], self._plan.buffers[index]
        if not plan.needed:
            return node
        if buffer is not None:
            m.submodules[f"{name}_buffer"] = queue = Buffer(buffer)
            wiring.connect(m, node, queue.i)
            node = queue.o
        m.submodules[name] = adapter = LaneAdapter(plan)
        wiring.connect(m, node, adapter.i)
        return adapter.o

    def _build_loading(self, m: Module, engines: Sequence[LayerEngine]) -> wiring.PureInterface:
        """The loader of all memories that are written, and the input stream of the images that may begin."""
        m.submodules.gate = gate = LoadGate(self._plan.gate)
        write_memories(m, gate, [getattr(engine, name) for engine in engines for name in engine.plan.loads])
        wiring.connect(m, wiring.flipped(self.load), gate.load)
        wiring.connect(m, wiring.flipped(self.i), gate.i)
        m.d.comb += [
            gate.done.eq(self.o.valid & self.o.ready & self.o.payload.last),
            self.loaded.eq(gate.loaded),
        ]
        return gate.o
