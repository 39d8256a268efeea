"""Weights that come over a stream: what fills their memories, and keeps images away meanwhile."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..parts.arith import ceil_div
from ..parts.memory_plan import LOAD_BITS, MemoryPlan
from ..parts.stream import CodeStream
from ..parts.timing import Row, Taken

__all__ = ["GatePlan", "ImageGate", "Load", "LoadGate", "Loader", "load_layout", "parts", "write_memories"]


def load_layout(shapes: Iterable[tuple[int, int]]) -> data.StructLayout:
    """Payload of the stream that loads memories of these (width, depth): ``LOAD_BITS`` bits of a word, fewer where
    no word has as many, and whether they are the ``first`` of all."""
    return data.StructLayout({"data": min(LOAD_BITS, max(width for width, _ in shapes)), "first": 1})


UNDER_WAY_BITS = 8
"""Of the number of images that may be under way at once."""


def parts(words: Iterable[int], width: int) -> list[int]:
    """Words of a memory as what loads it: each in parts of ``LOAD_BITS`` bits, the lowest first."""
    mask = (1 << LOAD_BITS) - 1
    return [word >> shift & mask for word in words for shift in range(0, width, LOAD_BITS)]


@dataclasses.dataclass(frozen=True)
class Load:
    """A memory that is written in parts, and the words that are to be loaded into it."""

    memory: MemoryPlan
    contents: Callable[[], Sequence[int]]

    @property
    def shape(self) -> tuple[int, int]:
        """(width, depth)"""
        return self.memory.width, self.memory.words

    def parts(self) -> list[int]:
        """What loads it."""
        return parts(self.contents(), self.memory.width)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GatePlan:
    """What lies between loads and images.

    Members
    -------
    memories : (width, depth) of each weight memory
    i : the stream of images
    transfers : of an image
    """

    memories: Sequence[tuple[int, int]]
    i: CodeStream
    transfers: int

    def __post_init__(self) -> None:
        if not self.memories:
            raise ValueError("There must be at least one memory")
        if self.transfers < 1:
            raise ValueError(f"An image must have at least one transfer, not {self.transfers}")

    @property
    def load_payload(self) -> data.StructLayout:
        """Of the stream of weights."""
        return load_layout(self.memories)

    @property
    def counts(self) -> list[int]:
        """Parts of a word, of each memory."""
        return [ceil_div(width, LOAD_BITS) for width, _ in self.memories]

    @property
    def load_transfers(self) -> int:
        """Transfers that load all weights."""
        return sum(count * depth for count, (_, depth) in zip(self.counts, self.memories, strict=True))

    @property
    def latency(self) -> int:
        """Cycles from a transfer of an image that may begin to it behind the gate."""
        return 1

    @property
    def cycles(self) -> int:
        """Least cycles between images: one per transfer."""
        return self.transfers

    def timing(self, after: Taken) -> Taken:
        """When transfers of images are taken that may begin, with ``after`` behind it."""
        return Row(after, self.latency).take


class Loader(wiring.Component):
    """Fills memories from a stream: memory by memory, word by word, part by part.

    Parameters
    ----------
    plan : of the memories

    Members
    -------
    i : In, stream of :func:`load_layout`; a part that is ``first`` begins anew, whatever came before
    idle : In(1), nobody reads the memories; without it nothing is taken
    addr, data : Out, what writes all the memories;  en : Out, a bit for each part of a word of each memory
    loaded : Out(1), every part came and is written
    """

    def __init__(self, plan: GatePlan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(stream.Signature(plan.load_payload)),
            "idle": In(1),
            "addr": Out(range(max(2, *(depth for _, depth in plan.memories)))),
            "data": Out(unsigned(LOAD_BITS)),
            "en": Out(unsigned(sum(plan.counts))),
            "loaded": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        counts = self._plan.counts
        depths = [depth for _, depth in self._plan.memories]
        memory = Signal(range(len(depths)))
        addr = Signal(range(max(depths)))
        part = Signal(range(max(counts)))
        at_start = Signal(init=1)
        complete = Signal()

        last_part = part == Array(Const(count - 1, part.shape()) for count in counts)[memory]
        last_word = last_part & (addr == Array(Const(depth - 1, addr.shape()) for depth in depths)[memory])
        last = last_word & (memory == len(depths) - 1)
        again = self.i.valid & self.i.payload.first & ~at_start
        taken = self.i.valid & self.i.ready & (self.i.payload.first | ~at_start)
        m.d.comb += self.i.ready.eq(self.idle & ~again)
        with m.If(again & self.idle):
            m.d.sync += [at_start.eq(1), memory.eq(0), addr.eq(0), part.eq(0)]
        with m.If(taken):
            m.d.sync += [
                at_start.eq(last),
                complete.eq(last),
                part.eq(Mux(last_part, 0, part + 1)),
                addr.eq(Mux(last_word, 0, addr + last_part)),
                memory.eq(Mux(last, 0, memory + last_word)),
            ]
        m.d.sync += self.loaded.eq(complete & ~taken)

        m.d.sync += [
            self.data.eq(self.i.payload.data),
            self.addr.eq(addr),
            self.en.eq(Cat(
                taken & (memory == index) & (part == place)
                for index, count in enumerate(counts) for place in range(count)
            )),
        ]
        return m


class ImageGate(wiring.Component):
    """Holds images back, but never in their middle, and counts those under way.

    An image begins in the cycle in which its first transfer is taken from ``i``, and only if it is ``allowed``
    to in that very cycle; one whose first transfer is offered waits until then.

    Parameters
    ----------
    plan : of the images

    Members
    -------
    i : In, stream of the transfers of images;  o : Out, the same, a cycle later
    allowed : In(1), may an image begin in this cycle?
    done : In(1), an image is done
    idle : Out(1), no image is under way
    """

    def __init__(self, plan: GatePlan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(plan.i.signature), "o": Out(plan.i.signature), "allowed": In(1), "done": In(1), "idle": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        transfers = self._plan.transfers
        left = Signal(range(transfers))  # of the image that has begun, still to come
        inside = left != 0
        under_way = Signal(UNDER_WAY_BITS)
        taken = self.i.valid & self.i.ready
        begins = taken & ~inside
        m.d.comb += [
            self.i.ready.eq((~self.o.valid | self.o.ready) & (inside | (self.allowed & ~under_way.all()))),
            self.idle.eq(under_way == 0),
        ]
        m.d.sync += under_way.eq(under_way + begins - self.done)
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(taken):
            m.d.sync += [
                self.o.valid.eq(1), self.o.payload.eq(self.i.payload),
                left.eq(Mux(inside, left, transfers) - 1),
            ]
        return m


class LoadGate(wiring.Component):
    """Between images and weights: at any time only one of them, and neither is torn.

    ::

        load --> loader --> addr, data, en (weight memories)
                   |  ^
           loaded  v  | idle
        i -----> image gate -----> o

    An image begins (its first transfer is taken from ``i``) only in a cycle in which the weights are there and
    ``load`` is not valid; a transfer is taken from ``load`` only while no image is under way.

    Parameters
    ----------
    plan : of memories and images

    Members
    -------
    i : In, stream of the transfers of images;  o : Out, the same, of images that have begun
    done : In(1), an image is done
    load : In, stream of :func:`load_layout`;  addr, data, en, loaded : Out, as of :class:`Loader`
    """

    def __init__(self, plan: GatePlan) -> None:
        self._loader, self._gate = Loader(plan), ImageGate(plan)
        written = ("addr", "data", "en", "loaded")
        super().__init__({
            "i": In(plan.i.signature), "o": Out(plan.i.signature), "done": In(1),
            "load": In(stream.Signature(plan.load_payload)),
            **{name: self._loader.signature.members[name] for name in written},
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.loader = loader = self._loader
        m.submodules.gate = gate = self._gate
        wiring.connect(m, wiring.flipped(self.load), loader.i)
        wiring.connect(m, wiring.flipped(self.i), gate.i)
        wiring.connect(m, gate.o, wiring.flipped(self.o))
        m.d.comb += [
            gate.allowed.eq(loader.loaded & ~self.load.valid),
            gate.done.eq(self.done),
            loader.idle.eq(gate.idle),
            *(getattr(self, name).eq(getattr(loader, name)) for name in ("addr", "data", "en", "loaded")),
        ]
        return m


def write_memories(m: Module, gate: LoadGate, ports: Iterable[wiring.PureInterface]) -> None:
    """Connect what a gate writes to the write ports of its plan's memories, in order."""
    first = 0
    for port in ports:
        count = len(port.en)
        m.d.comb += [
            port.addr.eq(gate.addr), port.data.eq(gate.data), port.en.eq(gate.en[first : first + count])
        ]
        first += count
