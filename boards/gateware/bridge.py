"""Between frames and an accelerator: what a device does with each message of :mod:`abc_hw.boards.link`."""

from amaranth.hdl import Array, Cat, Module, Mux, Shape, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from abc_hw.rtl_gen.blocks.classifier import score_layout
from abc_hw.rtl_gen.engine.loading import load_layout
from abc_hw.rtl_gen.parts.ram import LOAD_BITS
from abc_hw.rtl_gen.parts.stream import LaneAdapter, code_stream

from ..link import Cause, Counters, Identity, Kind
from .collector import Collector, request_layout
from .framing import FrameSender

__all__ = ["Bridge", "Replier"]

IN_FLIGHT = 8
"""Images that can be in the accelerator at once."""

class Replier(wiring.Component):
    """Makes the device's frames: faults first, then answers, then scores.

    Parameters
    ----------
    identity : what IDENTIFY is answered by
    score, classes : shape and number of the scores of an image

    Members
    -------
    request : In, stream of :data:`request_layout`
    fault, cause : In, a frame that was dropped, as :class:`abc_hw.boards.gateware.framing.FrameReceiver` tells
    counters, load_state : In, the bytes of :class:`abc_hw.boards.link.Counters` and ``Identity.STATE``, first one
    lowest tag : In, stream of the tags of the images whose scores come
    scores : In, stream of scores
    o : Out, stream of header and payload bytes, the last of each frame marked
    """

    def __init__(self, identity: Identity, score: Shape) -> None:
        self._identity = identity
        super().__init__({
            "request": In(stream.Signature(request_layout)),
            "fault": In(1),
            "cause": In(Cause),
            "counters": In(8 * Counters.LAYOUT.size),
            "load_state": In(8 * Identity.STATE.size),
            "tag": In(stream.Signature(unsigned(32))),
            "scores": In(stream.Signature(score_layout(score, identity.classes))),
            "o": Out(stream.Signature(data.StructLayout({"data": 8, "last": 1}))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        identity = self._identity
        packed = list(identity.pack()[: -Identity.STATE.size])
        m.submodules.rom = memory = Memory(shape=unsigned(8), depth=len(packed), init=packed)
        rom = memory.read_port()
        faulty, latest = Signal(), Signal(Cause)
        fault_taken = Signal()
        kind, length, tag = Signal(8), Signal(8), Signal(32)
        cause = Signal(Cause)
        index = Signal(8)
        in_rom = index < len(packed)
        counted = Signal(self.counters.shape())
        score_bytes, per_frame = identity.score_bytes, identity.scores_per_frame
        frames = -(-identity.classes // per_frame)
        in_last = identity.classes - (frames - 1) * per_frame
        first = Signal(16)  # class of the frame's first score
        score_at = Signal(range(per_frame + 1))
        byte_at = Signal(range(max(score_bytes, 2)))
        last_frame = first == (frames - 1) * per_frame
        wide = Signal(Shape(8 * score_bytes, signed=True))
        label = Signal(16)

        m.d.comb += [wide.eq(self.scores.payload.score), rom.addr.eq(index + self.o.ready)]
        with m.If(fault_taken):
            m.d.sync += faulty.eq(0)
        with m.If(self.fault):
            m.d.sync += [faulty.eq(1), latest.eq(self.cause)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += index.eq(0)
                with m.If(faulty):
                    m.d.comb += fault_taken.eq(1)
                    m.d.sync += [kind.eq(Kind.REFUSED), length.eq(1), tag.eq(0), cause.eq(latest)]
                    m.next = "HEADER"
                with m.Elif(self.request.valid):
                    m.d.comb += self.request.ready.eq(1)
                    asked = self.request.payload
                    m.d.sync += [kind.eq(asked.kind), tag.eq(asked.tag), cause.eq(asked.cause)]
                    m.d.sync += [length.eq(1), counted.eq(self.counters)]
                    with m.If(asked.kind == Kind.IDENTITY):
                        m.d.sync += [
                            length.eq(len(packed) + Identity.STATE.size), counted.eq(self.load_state)
                        ]
                    with m.If(asked.kind == Kind.TAKEN):
                        m.d.sync += [length.eq(2), counted.eq(self.load_state[32:])]
                    with m.If(asked.kind == Kind.COUNTERS):
                        m.d.sync += length.eq(Counters.LAYOUT.size)
                    m.next = "HEADER"
                with m.Elif(self.scores.valid & self.tag.valid):
                    m.d.sync += [kind.eq(Kind.SCORES), tag.eq(self.tag.payload), score_at.eq(0)]
                    m.d.sync += length.eq(
                        Mux(last_frame, 2 + in_last * score_bytes + 2, 2 + per_frame * score_bytes)
                    )
                    m.next = "HEADER"
            with m.State("HEADER"):
                bytes_ = [kind, length, *(tag[8 * byte :][:8] for byte in range(4))]
                m.d.comb += [self.o.valid.eq(1), self.o.payload.data.eq(Array(bytes_)[index[:3]])]
                with m.If(self.o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == 5):
                        m.d.sync += index.eq(0)
                        m.next = "LOAD"
            with m.State("LOAD"):
                m.d.comb += rom.addr.eq(0)
                m.next = "BODY"
                with m.If(kind == Kind.SCORES):
                    m.next = "FIRST"
            with m.State("BODY"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.last.eq(index == length - 1)]
                with m.Switch(kind):
                    with m.Case(Kind.IDENTITY):
                        m.d.comb += self.o.payload.data.eq(Mux(in_rom, rom.data, counted))
                    with m.Case(Kind.COUNTERS, Kind.TAKEN):
                        m.d.comb += self.o.payload.data.eq(counted)
                    with m.Default():
                        m.d.comb += self.o.payload.data.eq(cause)
                with m.If(self.o.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(~in_rom | (kind != Kind.IDENTITY)):
                        m.d.sync += counted.eq(counted >> 8)
                    with m.If(self.o.payload.last):
                        m.next = "IDLE"
            with m.State("FIRST"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.data.eq(first.word_select(index[0], 8))]
                with m.If(self.o.ready):
                    m.d.sync += [index[0].eq(~index[0]), byte_at.eq(0)]
                    with m.If(index[0]):
                        m.next = "SCORE"
            with m.State("SCORE"):
                m.d.comb += self.o.valid.eq(self.scores.valid)
                # No word_select: Yosys's wreduce cuts the sign's copies off a shifter's operand; zeros follow.
                score_parts = Array(wide[8 * part :][:8] for part in range(score_bytes))
                m.d.comb += self.o.payload.data.eq(score_parts[byte_at])
                last_byte = byte_at == score_bytes - 1
                full = score_at == per_frame - 1
                m.d.comb += self.scores.ready.eq(self.o.ready & last_byte)
                m.d.comb += self.o.payload.last.eq(last_byte & full & ~self.scores.payload.last)
                with m.If(self.scores.valid & self.o.ready):
                    m.d.sync += byte_at.eq(Mux(last_byte, 0, byte_at + 1))
                    with m.If(last_byte):
                        m.d.sync += score_at.eq(score_at + 1)
                        m.d.sync += label.eq(self.scores.payload.label)
                        with m.If(self.scores.payload.last):
                            m.next = "LABEL"
                        with m.Elif(full):
                            m.d.sync += first.eq(first + per_frame)
                            m.next = "IDLE"
            with m.State("LABEL"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.data.eq(label.word_select(index[0], 8))]
                m.d.comb += self.o.payload.last.eq(index[0])
                with m.If(self.o.ready):
                    m.d.sync += index[0].eq(~index[0])
                    with m.If(index[0]):
                        m.d.comb += self.tag.ready.eq(1)
                        m.d.sync += first.eq(0)
                        m.next = "IDLE"
        return m


class Bridge(wiring.Component):
    """A device's whole side of the link but for receiver and line.

    ::

        frames --> collector --> lane adapter --> (accelerator)
                      |  |                             |
             requests |  +-- tags of its images        | scores
                      v         v                      v
        counters --> replier <--+----------------------+ --> sender --> bytes

    Parameters
    ----------
    identity : what the device says of itself
    lanes : codes per transfer to the accelerator
    score : shape of a score
    load_bits : of a transfer of weights to it

    Members
    -------
    frames : In, stream of header and payload bytes of sound frames;  fault, cause : In, frames dropped before
    image, weights : Out, streams for the accelerator;  scores : In, stream from it;  loaded : In, its weights are
        there
    bytes : Out, stream for the line
    """

    def __init__(self, identity: Identity, *, lanes: int, score: Shape, load_bits: int = LOAD_BITS) -> None:
        self._identity, self._lanes, self._score, self._load_bits = identity, lanes, score, load_bits
        super().__init__({
            "frames": In(stream.Signature(unsigned(8))),
            "fault": In(1),
            "cause": In(Cause),
            "image": Out(code_stream(lanes, unsigned(identity.code_bits))),
            "scores": In(stream.Signature(score_layout(score, identity.classes))),
            "bytes": Out(stream.Signature(unsigned(8))),
            "weights": Out(stream.Signature(load_layout([(load_bits, 1)]))),
            "loaded": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        identity = self._identity
        m.submodules.collector = collector = Collector(identity, load_bits=self._load_bits)
        m.submodules.replier = replier = Replier(identity, self._score)
        m.submodules.sender = sender = FrameSender()
        m.submodules.adapter = adapter = LaneAdapter(
            channels=identity.channels, i_lanes=1, o_lanes=self._lanes, shape=unsigned(identity.code_bits)
        )
        m.submodules.tags = tags = SyncFIFOBuffered(width=32, depth=IN_FLIGHT)
        wiring.connect(m, wiring.flipped(self.frames), collector.i)
        wiring.connect(m, collector.image, adapter.i)
        wiring.connect(m, adapter.o, wiring.flipped(self.image))
        wiring.connect(m, collector.tag, tags.w_stream)
        wiring.connect(m, tags.r_stream, replier.tag)
        wiring.connect(m, collector.request, replier.request)
        wiring.connect(m, wiring.flipped(self.scores), replier.scores)
        wiring.connect(m, collector.weights, wiring.flipped(self.weights))
        m.d.comb += [collector.loaded.eq(self.loaded), replier.load_state.eq(collector.load_state)]
        wiring.connect(m, replier.o, sender.i)
        wiring.connect(m, sender.o, wiring.flipped(self.bytes))

        refused = collector.request.valid & collector.request.ready & (
            collector.request.payload.kind == Kind.REFUSED
        )
        counters = [Signal(16, name=name) for name in ("accepted", *(cause.name.lower() for cause in Cause))]
        events = [collector.accepted]
        for cause in Cause:
            by_receiver = self.fault & (self.cause == cause)
            by_collector = refused & (collector.request.payload.cause == cause)
            events.append(by_receiver if cause < Cause.UNKNOWN else by_collector)
        for counter, event in zip(counters, events, strict=True):
            with m.If(event & ~counter.all()):
                m.d.sync += counter.eq(counter + 1)
        m.d.comb += [
            replier.counters.eq(Cat(counters)), replier.fault.eq(self.fault), replier.cause.eq(self.cause)
        ]
        return m
