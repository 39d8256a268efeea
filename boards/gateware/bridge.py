"""Between frames and an accelerator: what a device does with each message of :mod:`abc_hw.boards.link`."""

from amaranth.hdl import Module, Shape, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.rtl_gen.blocks.classifier import score_layout
from abc_hw.rtl_gen.blocks.lanes import AdapterPlan, LaneAdapter
from abc_hw.rtl_gen.engine.loading import load_layout
from abc_hw.rtl_gen.parts.elastic import Elastic
from abc_hw.rtl_gen.parts.fifo import Fifo, FifoPlan
from abc_hw.rtl_gen.parts.memory_mapping import GENERIC, Technology
from abc_hw.rtl_gen.parts.memory_plan import LOAD_BITS, MemoryPlan
from abc_hw.rtl_gen.parts.stream import CodeStream, code_stream

from ..identity import Identity
from ..link import Cause
from .collector import Collector
from .counting import Tally
from .framing import FrameSender, frame_memory
from .replies import Replier, identity_memory

__all__ = ["Bridge", "bridge_memories"]

IN_FLIGHT = 8
"""The most images that can be in the accelerator at once."""


FEW = 3
"""Tags that wait in registers, where no more than that may; others take a memory."""


def waiting_tags(identity: Identity) -> int:
    """Tags of images in the accelerator that wait, which are no more than may wait for their scores, and one less:
    the first is kept by :class:`abc_hw.boards.gateware.replies.ScoreSource`."""
    return min(IN_FLIGHT, identity.window) - 1


def tag_plan(identity: Identity, technology: Technology) -> FifoPlan | None:
    """Of the tags that wait, unless they are few."""
    few = waiting_tags(identity) <= FEW
    return None if few else FifoPlan(width=32, words=IN_FLIGHT - 1, technology=technology)


def bridge_memories(identity: Identity, technology: Technology) -> list[MemoryPlan]:
    """All there are in a :class:`Bridge`, but for the image's."""
    tags = tag_plan(identity, technology)
    return [
        identity_memory(identity, technology), frame_memory(technology), *([tags.memory] if tags else []),
    ]


class Bridge(wiring.Component):
    """A device's whole side of the link but for receiver and line.

    ::

        frames --> collector --> lane adapter --> (accelerator)
                      |  |                             |
             requests |  +-- tags of its images        | scores
                      v         v                      v
           tally --> replier <--+----------------------+ --> sender --> bytes

    Parameters
    ----------
    identity : what the device says of itself
    lanes : codes per transfer to the accelerator
    score : shape of a score
    load_bits : of a transfer of weights to it
    image : :func:`abc_hw.boards.gateware.collector.image_memory`
    technology : of other memories

    Members
    -------
    frames : In, stream of header and payload bytes of sound frames;  fault, cause : In, frames dropped before
    image, weights : Out, streams for the accelerator;  scores : In, stream from it;  loaded : In, its weights are
        there
    bytes : Out, stream for the line;  refused : Out, a frame was dropped, or is answered by REFUSED
    """

    def __init__(
        self, identity: Identity, *, lanes: int, score: Shape, image: MemoryPlan, load_bits: int = LOAD_BITS,
        technology: Technology = GENERIC,
    ) -> None:
        self._identity, self._lanes, self._score, self._load_bits = identity, lanes, score, load_bits
        self._image, self._technology = image, technology
        super().__init__({
            "frames": In(stream.Signature(unsigned(8))),
            "fault": In(1),
            "cause": In(Cause),
            "image": Out(code_stream(lanes, unsigned(identity.code_bits))),
            "scores": In(stream.Signature(score_layout(score, identity.classes))),
            "bytes": Out(stream.Signature(unsigned(8))),
            "weights": Out(stream.Signature(load_layout([(load_bits, 1)]))),
            "loaded": In(1),
            "refused": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        identity, technology = self._identity, self._technology
        m.submodules.collector = collector = Collector(identity, image=self._image, load_bits=self._load_bits)
        m.submodules.replier = replier = Replier(identity, self._score, technology)
        m.submodules.sender = sender = FrameSender(technology)
        m.submodules.adapter = adapter = LaneAdapter(AdapterPlan(
            shape=(identity.height, identity.width, identity.channels),
            i=CodeStream(1, unsigned(identity.code_bits)), o=CodeStream(self._lanes, unsigned(identity.code_bits)),
        ))
        wiring.connect(m, wiring.flipped(self.frames), collector.i)
        wiring.connect(m, collector.image, adapter.i)
        wiring.connect(m, adapter.o, wiring.flipped(self.image))
        self._build_tags(m, collector, replier)
        wiring.connect(m, wiring.flipped(self.scores), replier.scores)
        # An image that came before must have begun, or the weights would overtake it.
        begun = ~self.image.valid
        m.d.comb += [
            self.weights.valid.eq(collector.weights.valid & begun),
            self.weights.payload.eq(collector.weights.payload),
            collector.weights.ready.eq(self.weights.ready & begun),
            collector.loaded.eq(self.loaded),
        ]
        wiring.connect(m, replier.o, sender.i)
        wiring.connect(m, sender.o, wiring.flipped(self.bytes))
        self._build_answers(m, collector, replier)
        return m

    def _build_tags(self, m: Module, collector: Collector, replier: Replier) -> None:
        """The tags of images that are under way."""
        plan, waiting = tag_plan(self._identity, self._technology), waiting_tags(self._identity)
        if not waiting:
            wiring.connect(m, collector.tag, replier.tag)
            return
        if plan is None:
            places = Elastic(m, valid=collector.tag.valid, ready=replier.tag.ready, places=waiting)
            tag: Value = collector.tag.payload
            for place in range(1, waiting + 1):
                tag = places.held(place, tag, f"tag_{place}")
            m.d.comb += [
                collector.tag.ready.eq(places.ready), replier.tag.valid.eq(places.valid),
                replier.tag.payload.eq(tag),
            ]
            return
        m.submodules.tags = tags = Fifo(plan)
        m.d.comb += [
            tags.w_data.eq(collector.tag.payload), tags.w_en.eq(collector.tag.valid & tags.w_rdy),
            collector.tag.ready.eq(tags.w_rdy), replier.tag.payload.eq(tags.r_data),
            replier.tag.valid.eq(tags.r_rdy), tags.r_en.eq(replier.tag.ready),
        ]

    def _build_answers(self, m: Module, collector: Collector, replier: Replier) -> None:
        """What is asked for, and what has happened."""
        m.submodules.tally = tally = Tally()
        wiring.connect(m, collector.request, replier.request)
        wiring.connect(m, collector.load_state, replier.load_state)
        m.d.comb += [
            replier.request_tag.eq(collector.request_tag), collector.turn.eq(replier.turn),
            replier.fault.eq(self.fault), replier.cause.eq(self.cause),
            tally.fault.eq(self.fault), tally.cause.eq(self.cause),
            tally.accepted.eq(collector.accepted),
            tally.refused.eq(replier.refused), tally.refusal.eq(collector.request.payload.cause),
            tally.number.eq(replier.number), tally.high.eq(replier.high), tally.read.eq(replier.count),
            replier.counted.eq(tally.ready), replier.counter.eq(tally.byte),
            self.refused.eq(self.fault | replier.refused),
        ]
