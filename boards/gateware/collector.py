"""What a device does with the sound frames of :mod:`abc_hw.boards.link` that come."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from abc_hw.rtl_gen.engine.loading import load_layout
from abc_hw.rtl_gen.parts.memory import Memory
from abc_hw.rtl_gen.parts.memory_mapping import Technology
from abc_hw.rtl_gen.parts.memory_plan import LOAD_BITS, MemoryPlan
from abc_hw.rtl_gen.parts.stream import code_stream

from ..identity import Identity
from ..link import CHUNK, Cause, Kind, chunks
from .opening import Answer, FrameOpener, KeptTag, request_layout, state_signature, tag_signature

__all__ = ["ChunkLoader", "Collector", "ImageStore", "image_memory"]


def image_memory(size: int, code_bits: int, technology: Technology, *, large: bool = False) -> MemoryPlan:
    """Of an :class:`ImageStore`: the codes of an image; in large memories set aside for it, if there are any."""
    return MemoryPlan(
        name="image", width=code_bits, words=size, write="parts", registered=False, technology=technology,
        large=large,
    )


class ImageStore(wiring.Component):
    """Keeps an image back until all its codes have come; then hands out its tag and the codes.

    Collects and hands out in turn, so that a memory with one port will do.

    Parameters
    ----------
    plan : of the memory, a code a word

    Members
    -------
    i : In, stream of codes, a byte each;  anew : In(1), what came before the next one is thrown away
    tag_in : In, the image's tag, which stays until all codes are handed out
    tag : Out, stream of the images' tags, each before its image;  o : Out, stream of the codes of whole images
    busy : Out(1), an image is being handed out, and none is taken in
    """

    def __init__(self, plan: MemoryPlan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(stream.Signature(unsigned(8))),
            "anew": In(1),
            "tag_in": In(32),
            "tag": Out(stream.Signature(unsigned(32))),
            "o": Out(code_stream(1, unsigned(plan.width))),
            "busy": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size, late = self._plan.words, self._plan.latency
        m.submodules.memory = memory = Memory(self._plan)
        place, waited = Signal(range(size)), Signal(range(late + 1))
        m.d.comb += [
            memory.write.addr.eq(place),
            memory.write.data.eq(self.i.payload),
            memory.addr.eq(place),
            self.tag.payload.eq(self.tag_in),
            self.o.payload[0].eq(memory.data),
            self.busy.eq(1),
        ]
        with m.FSM():
            with m.State("COLLECT"):
                m.d.comb += [self.busy.eq(0), self.i.ready.eq(1), memory.write.en.eq(self.i.valid)]
                with m.If(self.anew):
                    m.d.sync += place.eq(0)
                with m.Elif(self.i.valid):
                    m.d.sync += place.eq(place + 1)
                    with m.If(place == size - 1):
                        m.d.sync += place.eq(0)
                        m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += self.tag.valid.eq(1)
                with m.If(self.tag.ready):
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.sync += waited.eq(waited + 1)
                with m.If(waited == late - 1):
                    m.d.sync += waited.eq(0)
                    m.next = "FEED"
            with m.State("FEED"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += place.eq(place + 1)
                    m.next = "FETCH"
                    with m.If(place == size - 1):
                        m.d.sync += place.eq(0)
                        m.next = "COLLECT"
        return m


class ChunkLoader(wiring.Component):
    """Hands the chunks of weights on, in their order.

    Parameters
    ----------
    size : bytes of all weights
    load_bits : of a transfer of weights

    Members
    -------
    enable : In(1), the payload is that of a WEIGHTS frame until it is ``used``, ``known`` or ``refused``
    tag : In, :data:`tag_signature` of the frames that come
    payload : In, stream of the frame's bytes;  left : In, how many are still to come
    o : Out, stream of :func:`abc_hw.rtl_gen.engine.loading.load_layout`
    state : Out, :data:`state_signature`
    used, known, refused : Out(1) for a cycle each: the chunk was handed on; it came before; it is none that fits;
    cause : Out, why not
    """

    def __init__(self, *, size: int, load_bits: int) -> None:
        self._size = size
        super().__init__({
            "enable": In(1), "tag": In(tag_signature), "left": In(8),
            "payload": In(stream.Signature(unsigned(8))),
            "o": Out(stream.Signature(load_layout([(load_bits, 1)]))),
            "state": Out(state_signature),
            "used": Out(1), "known": Out(1), "refused": Out(1), "cause": Out(Cause),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.load_tag = load_tag = KeptTag()
        wiring.connect(m, wiring.flipped(self.tag), load_tag.i)
        count = chunks(self._size)
        load_next, low = Signal(range(count + 1)), Signal(8)
        high, begun = Signal(), Signal()  # second byte of two; the chunk's first transfer is over
        zero, less, equal = Signal(), Signal(), Signal()  # the chunk's number, to load_next
        byte, same = self.payload.payload, load_tag.same
        anew = ~same & zero
        follows = same & equal & (load_next != count)
        m.d.comb += [
            self.state.tag.eq(load_tag.byte), load_tag.turn.eq(self.state.turn), self.state.next.eq(load_next),
            self.o.payload.data[:8].eq(low),
            self.o.payload.data[8:].eq(byte),
            self.o.payload.first.eq(zero & ~begun),
        ]
        with m.FSM():
            with m.State("NUMBER"):
                m.d.comb += self.payload.ready.eq(self.enable)
                m.d.sync += begun.eq(0)
                with m.If(self.payload.valid & self.enable):
                    wanted = self.state.next.word_select(high, 8)
                    m.d.sync += [
                        high.eq(~high),
                        zero.eq((zero | ~high) & (byte == 0)),
                        equal.eq((equal | ~high) & (byte == wanted)),
                        less.eq(Cat(0, byte) < Cat(less & high, wanted)),
                    ]
                    with m.If(high):
                        m.next = "JUDGE"
            with m.State("JUDGE"):
                m.next = "NUMBER"
                with m.If(same & less):
                    m.d.comb += self.known.eq(1)
                with m.Elif(~anew & ~follows):
                    m.d.comb += [self.refused.eq(1), self.cause.eq(Cause.ORDER)]
                with m.Elif(self.left != chunk_bytes(Mux(same, load_next, 0), self._size)):
                    m.d.comb += [self.refused.eq(1), self.cause.eq(Cause.UNKNOWN)]
                with m.Else():
                    m.d.comb += load_tag.keep.eq(1)
                    with m.If(~same):
                        m.d.sync += load_next.eq(0)
                    m.next = "LOW"
            with m.State("LOW"):
                m.d.comb += self.payload.ready.eq(1)
                m.d.sync += low.eq(byte)
                with m.If(self.payload.valid):
                    m.next = "HIGH"
            with m.State("HIGH"):
                m.d.comb += [self.o.valid.eq(self.payload.valid), self.payload.ready.eq(self.o.ready)]
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += begun.eq(1)
                    m.next = "LOW"
                    with m.If(self.left == 1):
                        m.d.sync += load_next.eq(load_next + 1)
                        m.d.comb += self.used.eq(1)
                        m.next = "NUMBER"
        return m


class Collector(wiring.Component):
    """Takes sound frames apart: collects images, hands weights on, and asks for the answers to all other frames.

    ::

        i --> opener --> payload --+--> image store --> image, tag
                |                  +--> chunk loader --> weights
                +--> head --> which of them, and what to answer --> request

    Parameters
    ----------
    identity : of the device, for the sizes of image and weights
    load_bits : of a transfer of weights
    image : the memory of an :class:`ImageStore`

    Members
    -------
    i : In, stream of header and payload, frame after frame
    image : Out, stream of the codes of whole images
    tag : Out, stream of the images' tags, each before its image
    request : Out, stream of :data:`request_layout`, which stays until it is answered
    request_tag : Out(8), of its tag the next byte;  turn : In(1), it has been used
    accepted : Out, for one cycle: a frame was used
    weights : Out, stream of :func:`abc_hw.rtl_gen.engine.loading.load_layout`;  loaded : In, all of them are there
    load_state : Out, :data:`state_signature`
    """

    def __init__(self, identity: Identity, *, image: MemoryPlan, load_bits: int = LOAD_BITS) -> None:
        self._identity, self._load_bits, self._image = identity, load_bits, image
        super().__init__({
            "i": In(stream.Signature(unsigned(8))),
            "image": Out(code_stream(1, unsigned(identity.code_bits))),
            "tag": Out(stream.Signature(unsigned(32))),
            "request": Out(stream.Signature(request_layout)),
            "request_tag": Out(8),
            "turn": In(1),
            "accepted": Out(1),
            "weights": Out(stream.Signature(load_layout([(load_bits, 1)]))),
            "loaded": In(1),
            "load_state": Out(state_signature),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.opener = opener = FrameOpener()
        wiring.connect(m, wiring.flipped(self.i), opener.i)
        answer, refusal = Signal(Answer), Signal(Cause)
        m.d.comb += [
            self.request.payload.cause.eq(refusal),
            self.request.payload.answer.eq(answer),
            self.request_tag.eq(opener.tag.value[:8]),
            opener.turn.eq(self.turn),
        ]
        with m.FSM():
            with m.State("KIND"):
                m.d.sync += [refusal.eq(Cause.UNKNOWN), answer.eq(Answer.REFUSED)]
                with m.If(opener.head.valid):
                    self._build_dispatch(m, opener, answer, refusal)
            self._build_images(m, opener, refusal)
            if self._identity.load_bytes:
                self._build_loading(m, opener, answer, refusal)
            with m.State("DROP"):
                m.d.comb += opener.ready.eq(1)
                with m.If(opener.left == 0):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [self.request.valid.eq(1), opener.head.ready.eq(self.request.ready)]
                with m.If(self.request.ready):
                    m.next = "KIND"
        return m

    def _build_dispatch(self, m: Module, opener: FrameOpener, answer: Signal, refusal: Signal) -> None:
        """Which frames are looked into, which are answered at once; all others are refused."""
        m.next = "DROP"
        with m.Switch(opener.head.payload):
            for asked, reply in ((Kind.IDENTIFY, Answer.IDENTITY), (Kind.COUNT, Answer.COUNTERS)):
                with m.Case(asked), m.If(opener.left == 0):
                    m.d.comb += self.accepted.eq(1)
                    m.d.sync += answer.eq(reply)
                    m.next = "ANSWER"
            with m.Case(Kind.PIXELS), m.If(opener.left != 0):
                m.next = "CHUNK"
                if self._identity.load_bytes:
                    with m.If(~self.loaded):
                        m.d.sync += refusal.eq(Cause.UNLOADED)
                        m.next = "DROP"
            if self._identity.load_bytes:
                with m.Case(Kind.WEIGHTS), m.If(opener.left > 2):
                    m.next = "WEIGHTS"

    def _build_images(self, m: Module, opener: FrameOpener, refusal: Signal) -> None:
        """What becomes of a PIXELS frame behind its header."""
        size = self._identity.image_bytes
        last_chunk = chunks(size) - 1
        m.submodules.store = store = ImageStore(self._image)
        wiring.connect(m, store.o, wiring.flipped(self.image))
        wiring.connect(m, store.tag, wiring.flipped(self.tag))
        m.submodules.open_tag = open_tag = KeptTag()  # of the image that is being collected
        wiring.connect(m, opener.tag, open_tag.i)
        byte = self.i.payload
        expected = Signal(range(last_chunk + 2))  # its next chunk; last_chunk + 1: none, it is complete
        wanted = Mux(open_tag.same, expected, 0)
        m.d.comb += [store.tag_in.eq(opener.tag.value), store.i.payload.eq(byte)]
        with m.State("CHUNK"):
            m.d.comb += opener.ready.eq(1)
            with m.If(opener.valid):
                m.next = "DROP"
                with m.If((byte != wanted) | (wanted > last_chunk)):
                    m.d.sync += refusal.eq(Cause.ORDER)
                with m.Elif(opener.left == 1 + chunk_bytes(wanted, size)):
                    m.d.sync += expected.eq(wanted + 1)
                    m.d.comb += [open_tag.keep.eq(1), self.accepted.eq(1), store.anew.eq(wanted == 0)]
                    m.next = "COLLECT"
        with m.State("COLLECT"):
            m.d.comb += [store.i.valid.eq(opener.valid), opener.ready.eq(store.i.ready)]
            with m.If((opener.left == 0) & ~store.busy):
                m.d.comb += opener.head.ready.eq(1)
                m.next = "KIND"

    def _build_loading(self, m: Module, opener: FrameOpener, answer: Signal, refusal: Signal) -> None:
        """What becomes of a WEIGHTS frame behind its header."""
        m.submodules.loader = loader = ChunkLoader(size=self._identity.load_bytes, load_bits=self._load_bits)
        wiring.connect(m, loader.o, wiring.flipped(self.weights))
        wiring.connect(m, opener.tag, loader.tag)
        wiring.connect(m, loader.state, wiring.flipped(self.load_state))
        m.d.comb += [
            loader.left.eq(opener.left),
            loader.payload.payload.eq(self.i.payload),
        ]
        with m.State("WEIGHTS"):
            m.d.comb += [
                loader.enable.eq(1),
                loader.payload.valid.eq(opener.valid),
                opener.ready.eq(loader.payload.ready),
                self.accepted.eq(loader.used),
            ]
            with m.If(loader.used | loader.known):
                m.d.sync += answer.eq(Answer.TAKEN)
                m.next = "DROP"
            with m.If(loader.refused):
                m.d.sync += refusal.eq(loader.cause)
                m.next = "DROP"


def chunk_bytes(number: Value, size: int) -> Value:
    """Bytes of the chunk of that number of ``size`` bytes."""
    last = chunks(size) - 1
    return Mux(number == last, size - last * CHUNK, CHUNK)
