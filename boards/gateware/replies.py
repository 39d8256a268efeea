"""The frames that a device sends: answers, and scores."""

from amaranth.hdl import Array, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.rtl_gen.blocks.classifier import score_layout
from abc_hw.rtl_gen.parts.elastic import Elastic
from abc_hw.rtl_gen.parts.memory import Memory, MemoryPlan
from abc_hw.rtl_gen.parts.memory_mapping import GENERIC, Technology

from ..identity import Identity
from ..link import HEADER_BYTES, Cause, Counters, Kind
from .opening import frame_bytes, head_layout, request_layout

__all__ = ["AnswerSource", "Replier", "ScoreSource", "identity_memory"]


def identity_memory(identity: Identity, technology: Technology) -> MemoryPlan:
    """Of an :class:`AnswerSource`: the bytes of the identity that never change."""
    fixed = identity.pack()[: -Identity.STATE.size]
    return MemoryPlan(
        name="identity", width=8, words=len(fixed), contents=lambda: fixed, registered=False,
        technology=technology,
    )


class AnswerSource(wiring.Component):
    """Frames that answer: the latest fault first, then what was asked for.

    Parameters
    ----------
    identity : what IDENTIFY is answered by
    technology : of the memory that it lies in

    Members
    -------
    request : In, stream of :data:`request_layout`
    fault, cause : In, a frame that was dropped, as :class:`abc_hw.boards.gateware.framing.FrameReceiver` tells
    counters, load_state : In, the bytes of :class:`abc_hw.boards.link.Counters` and ``Identity.STATE``, first one
        lowest
    head : Out, stream of :data:`head_layout`;  payload : Out, stream of :data:`frame_bytes`, each behind its head
    """

    def __init__(self, identity: Identity, technology: Technology = GENERIC) -> None:
        self._memory = identity_memory(identity, technology)
        super().__init__({
            "request": In(stream.Signature(request_layout)),
            "fault": In(1),
            "cause": In(Cause),
            "counters": In(8 * Counters.LAYOUT.size),
            "load_state": In(8 * Identity.STATE.size),
            "head": Out(stream.Signature(head_layout)),
            "payload": Out(stream.Signature(frame_bytes)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rom = rom = Memory(self._memory)
        head, index = self.head.payload, Signal(8)
        in_rom = (head.kind == Kind.IDENTITY) & (index < self._memory.words)
        rest = Signal(self.counters.shape())  # bytes of the payload that are in no ROM, the next one lowest
        faulty, latest, fault_taken = Signal(), Signal(Cause), Signal()
        m.d.comb += [
            rom.addr.eq(index + (self.payload.valid & self.payload.ready)),
            self.payload.payload.data.eq(Mux(in_rom, rom.data, rest[:8])),
            self.payload.payload.last.eq(index == head.length - 1),
        ]
        with m.If(fault_taken):
            m.d.sync += faulty.eq(0)
        with m.If(self.fault):
            m.d.sync += [faulty.eq(1), latest.eq(self.cause)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += index.eq(0)
                with m.If(faulty):
                    m.d.comb += fault_taken.eq(1)
                    m.d.sync += [head.kind.eq(Kind.REFUSED), head.length.eq(1), head.tag.eq(0), rest.eq(latest)]
                    m.next = "HEAD"
                with m.Elif(self.request.valid):
                    m.d.comb += self.request.ready.eq(1)
                    self._build_answer(m, rest)
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += self.head.valid.eq(1)
                with m.If(self.head.ready):
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += self.payload.valid.eq(1)
                with m.If(self.payload.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(~in_rom):
                        m.d.sync += rest.eq(rest >> 8)
                    with m.If(self.payload.payload.last):
                        m.next = "IDLE"
        return m

    def _build_answer(self, m: Module, rest: Signal) -> None:
        """Head and payload of the answer to the request that is there."""
        head, asked = self.head.payload, self.request.payload
        m.d.sync += [head.kind.eq(asked.kind), head.tag.eq(asked.tag), head.length.eq(1), rest.eq(asked.cause)]
        with m.Switch(asked.kind):
            with m.Case(Kind.IDENTITY):
                m.d.sync += [head.length.eq(self._memory.words + Identity.STATE.size), rest.eq(self.load_state)]
            with m.Case(Kind.COUNTERS):
                m.d.sync += [head.length.eq(Counters.LAYOUT.size), rest.eq(self.counters)]
            with m.Case(Kind.TAKEN):
                m.d.sync += [head.length.eq(2), rest.eq(self.load_state[32:])]


class ScoreSource(wiring.Component):
    """SCORES frames.

    Parameters
    ----------
    identity : tells scores of an image and bytes of a score
    score : shape of a score

    Members
    -------
    tag : In, stream of the tags of the images whose scores come;  scores : In, stream of scores
    head : Out, stream of :data:`head_layout`;  payload : Out, stream of :data:`frame_bytes`, each behind its head
    """

    def __init__(self, identity: Identity, score: Shape) -> None:
        self._identity = identity
        super().__init__({
            "tag": In(stream.Signature(unsigned(32))),
            "scores": In(stream.Signature(score_layout(score, identity.classes))),
            "head": Out(stream.Signature(head_layout)),
            "payload": Out(stream.Signature(frame_bytes)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        identity = self._identity
        size, per_frame = identity.score_bytes, identity.scores_per_frame
        frames = -(-identity.classes // per_frame)
        in_last = identity.classes - (frames - 1) * per_frame
        first = Signal(16)  # class of the frame's first score
        score_at = Signal(range(per_frame + 1))
        label, high = Signal(16), Signal()
        m.d.comb += [
            self.head.payload.kind.eq(Kind.SCORES),
            self.head.payload.tag.eq(self.tag.payload),
            self.head.payload.length.eq(
                Mux(first == (frames - 1) * per_frame, 2 + in_last * size + 2, 2 + per_frame * size)
            ),
        ]
        with m.FSM():
            with m.State("HEAD"):
                m.d.comb += self.head.valid.eq(self.scores.valid & self.tag.valid)
                m.d.sync += score_at.eq(0)
                with m.If(self.head.valid & self.head.ready):
                    m.next = "FIRST"
            with m.State("FIRST"), m.If(self._sent(m, first, high)):
                m.next = "SCORE"
            with m.State("SCORE"):
                done = self._build_score(m, last=score_at == per_frame - 1)
                with m.If(done):
                    m.d.sync += [score_at.eq(score_at + 1), label.eq(self.scores.payload.label)]
                    with m.If(self.scores.payload.last):
                        m.next = "LABEL"
                    with m.Elif(score_at == per_frame - 1):
                        m.d.sync += first.eq(first + per_frame)
                        m.next = "HEAD"
            with m.State("LABEL"):
                m.d.comb += self.payload.payload.last.eq(high)
                with m.If(self._sent(m, label, high)):
                    m.d.comb += self.tag.ready.eq(1)
                    m.d.sync += first.eq(0)
                    m.next = "HEAD"
        return m

    def _sent(self, m: Module, number: Signal, high: Signal) -> Value:
        """Send the two bytes of a number, the low one first; is the ``high`` one sent now?"""
        m.d.comb += [self.payload.valid.eq(1), self.payload.payload.data.eq(number.word_select(high, 8))]
        with m.If(self.payload.ready):
            m.d.sync += high.eq(~high)
        return self.payload.ready & high

    def _build_score(self, m: Module, *, last: Value) -> Value:
        """Send the bytes of a score, the frame's ``last``; is it sent now?"""
        size = self._identity.score_bytes
        wide = Signal(Shape(8 * size, signed=True))
        byte_at = Signal(range(max(size, 2)))
        done = Signal()
        # No word_select: Yosys's wreduce cuts the sign's copies off a shifter's operand; zeros follow.
        parts = Array(wide[8 * part :][:8] for part in range(size))
        m.d.comb += [
            wide.eq(self.scores.payload.score),
            self.payload.valid.eq(self.scores.valid),
            self.payload.payload.data.eq(parts[byte_at]),
            self.payload.payload.last.eq((byte_at == size - 1) & last & ~self.scores.payload.last),
            self.scores.ready.eq(self.payload.ready & (byte_at == size - 1)),
            done.eq(self.scores.valid & self.scores.ready),
        ]
        with m.If(self.payload.valid & self.payload.ready):
            m.d.sync += byte_at.eq(Mux(done, 0, byte_at + 1))
        return done


class Replier(wiring.Component):
    """Makes the device's frames: faults first, then answers, then scores.

    ::

        request, fault --> answers --+
                                     +--> head, then payload --> register --> o
        scores, tag -----> scores ---+

    Parameters
    ----------
    identity : what IDENTIFY is answered by
    score : shape of a score

    Members
    -------
    request, fault, cause, counters, load_state : In, as of :class:`AnswerSource`
    tag, scores : In, as of :class:`ScoreSource`
    o : Out, stream of :data:`frame_bytes`: header and payload
    """

    def __init__(self, identity: Identity, score: Shape, technology: Technology = GENERIC) -> None:
        self._answers, self._scores = AnswerSource(identity, technology), ScoreSource(identity, score)
        asked = ("request", "fault", "cause", "counters", "load_state")
        super().__init__({
            **{name: self._answers.signature.members[name] for name in asked},
            **{name: self._scores.signature.members[name] for name in ("tag", "scores")},
            "o": Out(stream.Signature(frame_bytes)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.answers = answers = self._answers
        m.submodules.scores = scores = self._scores
        wiring.connect(m, wiring.flipped(self.request), answers.request)
        wiring.connect(m, wiring.flipped(self.tag), scores.tag)
        wiring.connect(m, wiring.flipped(self.scores), scores.scores)
        m.d.comb += [
            getattr(answers, name).eq(getattr(self, name)) for name in ("fault", "cause", "counters", "load_state")
        ]
        made = self.o.signature.create(path=("made",))
        self._build_frames(m, made)
        place = Elastic(m, valid=made.valid, ready=self.o.ready, places=1)
        m.d.comb += [
            made.ready.eq(place.ready), self.o.valid.eq(place.valid),
            self.o.payload.eq(place.held(1, made.payload.as_value(), "byte")),
        ]
        return m

    def _build_frames(self, m: Module, made: wiring.PureInterface) -> None:
        """Of whatever has something to say, head and payload, byte by byte."""
        answers, scores = self._answers, self._scores
        index, chosen = Signal(range(HEADER_BYTES)), Signal()
        in_head, in_payload = Signal(), Signal()
        with m.FSM():
            with m.State("CHOOSE"):
                m.d.sync += chosen.eq(~answers.head.valid)
                with m.If(answers.head.valid | scores.head.valid):
                    m.next = "HEAD"
            with m.State("HEAD"):
                m.d.comb += [in_head.eq(1), made.valid.eq(1)]
                with m.If(made.ready):
                    m.d.sync += index.eq(Mux(index == HEADER_BYTES - 1, 0, index + 1))
                    with m.If(index == HEADER_BYTES - 1):
                        m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += in_payload.eq(1)
                with m.If(made.valid & made.ready & made.payload.last):
                    m.next = "CHOOSE"
        sources: tuple[AnswerSource | ScoreSource, ...] = (answers, scores)
        for number, source in enumerate(sources):
            header = source.head.payload.as_value()
            header_bytes = Array(header[8 * byte :][:8] for byte in range(HEADER_BYTES))
            with m.If(chosen == number):
                with m.If(in_head):
                    m.d.comb += made.payload.data.eq(header_bytes[index])
                    m.d.comb += source.head.ready.eq(made.ready & (index == HEADER_BYTES - 1))
                with m.If(in_payload):
                    m.d.comb += [
                        made.valid.eq(source.payload.valid),
                        made.payload.eq(source.payload.payload),
                        source.payload.ready.eq(made.ready),
                    ]
