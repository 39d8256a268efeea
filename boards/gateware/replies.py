"""The frames that a device sends: answers, and scores."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Module, Mux, Shape, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.rtl_gen.blocks.classifier import score_layout
from abc_hw.rtl_gen.parts.elastic import Elastic
from abc_hw.rtl_gen.parts.memory import Memory
from abc_hw.rtl_gen.parts.memory_mapping import GENERIC, Technology
from abc_hw.rtl_gen.parts.memory_plan import MemoryPlan

from ..identity import Identity
from ..link import HEADER_BYTES, Cause, Counters, Kind
from .counting import COUNT, stepped
from .opening import Answer, frame_bytes, request_layout, state_signature

__all__ = ["AnswerSource", "Replier", "ScoreSource", "identity_memory"]


KINDS = {Answer.REFUSED: Kind.REFUSED, Answer.IDENTITY: Kind.IDENTITY, Answer.COUNTERS: Kind.COUNTERS,
         Answer.TAKEN: Kind.TAKEN}

END = 256
"""Where all payloads end, for the index of an answer's byte."""

STATE_AT = END - Identity.STATE.size
"""Where the identity's bytes that change begin."""


def identity_memory(identity: Identity, technology: Technology) -> MemoryPlan:
    """Of an :class:`AnswerSource`: the bytes of the identity that never change, in front of ``STATE_AT``, each at
    as many of its index's lowest bits as there must be."""
    fixed = identity.pack()[: -Identity.STATE.size]
    size = 1 << (len(fixed) - 1).bit_length()
    placed = {(STATE_AT - len(fixed) + at) % size: byte for at, byte in enumerate(fixed)}
    words = [placed.get(at, 0) for at in range(max(placed) + 1)]
    return MemoryPlan(
        name="identity", width=8, words=len(words), contents=lambda: words, registered=False,
        technology=technology,
    )


class AnswerSource(wiring.Component):
    """Frames that answer: the latest fault first, then what was asked for.

    No byte is kept that stands elsewhere, so a request and what it asks for stay until the answer's last byte has
    been taken. Counters may be of moments some cycles apart.

    Parameters
    ----------
    identity : what IDENTIFY is answered by
    technology : of the memory that it lies in

    Members
    -------
    request : In, stream of :data:`request_layout`;  request_tag : In(8), turn : Out(1), its tag's next byte
    refused : Out(1), for one cycle: a request is being answered by REFUSED
    fault, cause : In, a frame that was dropped, as :class:`abc_hw.boards.gateware.framing.FrameReceiver` tells
    number, high, count : Out, a counter's byte is wanted;  counted, counter : In, it is there, as
        :class:`abc_hw.boards.gateware.counting.Tally` tells
    load_state : In, :data:`state_signature`
    o : Out, stream of :data:`frame_bytes`
    """

    def __init__(self, identity: Identity, technology: Technology = GENERIC) -> None:
        self._memory = identity_memory(identity, technology)
        self._sizes = {Answer.REFUSED: 1, Answer.IDENTITY: len(identity.pack()),
                       Answer.COUNTERS: Counters.LAYOUT.size, Answer.TAKEN: 2}
        super().__init__({
            "request": In(stream.Signature(request_layout)),
            "request_tag": In(8),
            "turn": Out(1),
            "refused": Out(1),
            "fault": In(1),
            "cause": In(Cause),
            "number": Out(range(COUNT)),
            "high": Out(1),
            "count": Out(1),
            "counted": In(1),
            "counter": In(8),
            "load_state": In(state_signature),
            "o": Out(stream.Signature(frame_bytes)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rom = rom = Memory(self._memory)
        index, takes = Signal(8), Signal()  # of the byte: in a header from 0 on, in a payload up to the end
        in_payload, ends = Signal(), Signal()  # the header does
        fetched = Signal()  # the ROM's byte is that of the index
        faulty, latest, of_fault = Signal(), Signal(Cause), Signal()
        answer, cause = Signal(Answer), Signal(Cause)
        m.d.comb += [
            rom.addr.eq(index), takes.eq(self.o.valid & self.o.ready), ends.eq(index == HEADER_BYTES - 1),
            self.number.eq(index >> 1), self.high.eq(index[0]),
            self.o.payload.last.eq(in_payload & index.all()),
        ]
        m.d.sync += fetched.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                request = self.request.payload
                m.d.sync += [of_fault.eq(faulty), answer.eq(request.answer), cause.eq(request.cause)]
                with m.If(faulty):
                    m.d.sync += [faulty.eq(0), answer.eq(Answer.REFUSED), cause.eq(latest)]
                    m.next = "SEND"
                with m.Elif(self.request.valid):
                    m.d.comb += self.refused.eq(request.answer == Answer.REFUSED)
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.sync += fetched.eq(~takes)
                m.d.comb += [
                    self.count.eq(in_payload & (answer == Answer.COUNTERS)),
                    self.o.valid.eq(fetched & (self.counted | ~self.count)),
                ]
                with m.If(takes & self.o.payload.last):
                    m.d.comb += self.request.ready.eq(~of_fault)
                    m.next = "IDLE"
        with m.If(takes):
            start = Array(END - self._sizes[each] for each in Answer)[answer]
            m.d.sync += index.eq(stepped(in_payload | ~ends, index, start))
            m.d.sync += in_payload.eq((in_payload | ends) & ~self.o.payload.last)
        with m.If(self.fault):
            m.d.sync += [faulty.eq(1), latest.eq(self.cause)]
        self._build_bytes(m, index, takes, in_payload, of_fault, answer, cause, rom.data)
        return m

    def _build_bytes(
        self, m: Module, index: Signal, takes: Value, in_payload: Value, of_fault: Value, answer: Signal,
        cause: Value, fixed: Value,
    ) -> None:
        """The frame's byte at ``index``."""
        state = self.load_state
        in_tag, in_number, in_fixed, in_state = Signal(), Signal(), Signal(), Signal()
        is_identity = in_payload & (answer == Answer.IDENTITY)
        m.d.comb += [
            in_tag.eq(~in_payload & (index[1:] != 0)),
            in_number.eq((is_identity | (in_payload & (answer == Answer.TAKEN))) & index[1:].all()),
            in_fixed.eq(is_identity & (index < STATE_AT)),
            in_state.eq(is_identity & ~in_fixed & ~index[1:].all()),
            self.turn.eq(in_tag & takes & ~of_fault), state.turn.eq(in_state & takes),
        ]
        told = Array(Mux(index[0], self._sizes[each], KINDS[each]) for each in Answer)[answer]
        said: list[tuple[Value, Value]] = [
            (~in_payload & ~in_tag, told), (in_tag & ~of_fault, self.request_tag),
            (in_fixed, fixed), (in_state, state.tag),
            (in_number & ~index[0], state.next[:8]), (in_number & index[0], state.next[8:]),
            (self.count, self.counter), (in_payload & (answer == Answer.REFUSED), cause),
        ]
        m.d.comb += self.o.payload.data.eq(reduce(or_, (Mux(here, byte, 0) for here, byte in said)))


class ScoreSource(wiring.Component):
    """SCORES frames.

    Parameters
    ----------
    identity : tells scores of an image and bytes of a score
    score : shape of a score

    Members
    -------
    tag : In, stream of the tags of the images whose scores come, of which one is kept here
    scores : In, stream of scores
    o : Out, stream of :data:`frame_bytes`
    """

    def __init__(self, identity: Identity, score: Shape) -> None:
        self._identity = identity
        super().__init__({
            "tag": In(stream.Signature(unsigned(32))),
            "scores": In(stream.Signature(score_layout(score, identity.classes))),
            "o": Out(stream.Signature(frame_bytes)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        per_frame = self._identity.scores_per_frame
        frames = -(-self._identity.classes // per_frame)
        tag, tagged, turns = Signal(32), Signal(), Signal()
        index = Signal(3)  # of the byte, up to the first score
        first = Signal(range(max((frames - 1) * per_frame + 1, 2)))  # class of the frame's first score
        score_at = Signal(range(per_frame))
        label, high, end = Signal(16), Signal(), Signal()
        takes = self.o.valid & self.o.ready
        m.d.comb += [self.tag.ready.eq(~tagged), end.eq(score_at == per_frame - 1 if frames > 1 else 0)]
        with m.If(self.tag.ready & self.tag.valid):
            m.d.sync += [tag.eq(self.tag.payload), tagged.eq(1)]
        with m.Elif(turns):
            m.d.sync += tag.eq(tag.rotate_right(8))
        with m.FSM():
            with m.State("HEAD"):
                m.d.comb += self.o.valid.eq(self.scores.valid & tagged)
                self._build_head(m, index, first, tag)
                with m.If(takes):
                    m.d.sync += [index.eq(index + 1), score_at.eq(0)]
                    m.d.comb += turns.eq((index > 1) & (index < HEADER_BYTES))
                    with m.If(index == HEADER_BYTES + 1):
                        m.next = "SCORE"
            with m.State("SCORE"), m.If(self._build_score(m, last=end)):
                m.d.sync += [score_at.eq(score_at + 1), label.eq(self.scores.payload.label)]
                with m.If(self.scores.payload.last):
                    m.next = "LABEL"
                with m.Elif(end):
                    m.d.sync += first.eq(first + per_frame)
                    m.next = "HEAD"
            with m.State("LABEL"):
                m.d.comb += [
                    self.o.valid.eq(1), self.o.payload.last.eq(high),
                    self.o.payload.data.eq(label.word_select(high, 8)),
                ]
                with m.If(takes):
                    m.d.sync += high.eq(~high)
                    with m.If(high):
                        m.d.sync += [tagged.eq(0), first.eq(0)]
                        m.next = "HEAD"
        return m

    def _build_head(self, m: Module, index: Signal, first: Signal, tag: Signal) -> None:
        """Header and first class of a frame."""
        identity, data = self._identity, self.o.payload.data
        size, per_frame = identity.score_bytes, identity.scores_per_frame
        before = (identity.classes - 1) // per_frame * per_frame
        length = Mux(first == before, 2 + (identity.classes - before) * size + 2, 2 + per_frame * size)
        m.d.comb += data.eq(tag[:8])
        with m.Switch(index):
            with m.Case(0):
                m.d.comb += data.eq(Kind.SCORES)
            with m.Case(1):
                m.d.comb += data.eq(length)
            for high in range(2):
                with m.Case(HEADER_BYTES + high):
                    m.d.comb += data.eq(first >> 8 * high if before else 0)

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
            self.o.valid.eq(self.scores.valid),
            self.o.payload.data.eq(parts[byte_at]),
            self.o.payload.last.eq((byte_at == size - 1) & last & ~self.scores.payload.last),
            self.scores.ready.eq(self.o.ready & (byte_at == size - 1)),
            done.eq(self.scores.valid & self.scores.ready),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += byte_at.eq(Mux(done, 0, byte_at + 1))
        return done


class Replier(wiring.Component):
    """Makes the device's frames: faults first, then answers, then scores.

    ::

        request, fault --> answers --+
                                     +--> register --> o
        scores, tag -----> scores ---+

    Parameters
    ----------
    identity : what IDENTIFY is answered by
    score : shape of a score

    Members
    -------
    tag, scores : In, as of :class:`ScoreSource`
    o : Out, stream of :data:`frame_bytes`
    all others : as of :class:`AnswerSource`
    """

    def __init__(self, identity: Identity, score: Shape, technology: Technology = GENERIC) -> None:
        self._answers, self._scores = AnswerSource(identity, technology), ScoreSource(identity, score)
        super().__init__({
            **self._answers.signature.members,
            **{name: self._scores.signature.members[name] for name in ("tag", "scores")},
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.answers = answers = self._answers
        m.submodules.scores = scores = self._scores
        wiring.connect(m, wiring.flipped(self.tag), scores.tag)
        wiring.connect(m, wiring.flipped(self.scores), scores.scores)
        wiring.connect(m, wiring.flipped(self.request), answers.request)
        wiring.connect(m, wiring.flipped(self.load_state), answers.load_state)
        m.d.comb += [
            getattr(answers, name).eq(getattr(self, name))
            for name in ("request_tag", "fault", "cause", "counted", "counter")
        ]
        m.d.comb += [
            getattr(self, name).eq(getattr(answers, name))
            for name in ("turn", "refused", "number", "high", "count")
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
        """Whatever has something to say, a frame at a time."""
        answers, scores = self._answers.o, self._scores.o
        chosen, sends = Signal(), Signal()
        with m.If(~sends):
            m.d.sync += [chosen.eq(~answers.valid), sends.eq(answers.valid | scores.valid)]
        with m.Elif(made.valid & made.ready & made.payload.last):
            m.d.sync += sends.eq(0)
        for number, source in enumerate((answers, scores)):
            with m.If(chosen == number):
                m.d.comb += [
                    made.valid.eq(source.valid & sends),
                    made.payload.eq(source.payload),
                    source.ready.eq(made.ready & sends),
                ]
