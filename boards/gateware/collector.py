"""What a device does with the sound frames of :mod:`abc_hw.boards.link` that come."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from abc_hw.rtl_gen.engine.loading import load_layout
from abc_hw.rtl_gen.parts.ram import LOAD_BITS
from abc_hw.rtl_gen.parts.stream import code_stream

from ..link import CHUNK, Cause, Identity, Kind, chunks

__all__ = ["Collector", "request_layout"]

request_layout = data.StructLayout({"kind": 8, "tag": 32, "cause": Cause})
"""A frame's answer that is no score: its kind, tag and, if it is REFUSED, cause."""


class Collector(wiring.Component):
    """Takes sound frames apart: collects images, hands weights on, and asks for the answers to all other frames.

    Parameters
    ----------
    identity : of the device, for the sizes of image and weights
    load_bits : of a transfer of weights

    Members
    -------
    i : In, stream of header and payload, frame after frame
    image : Out, stream of the codes of whole images
    tag : Out, stream of the images' tags, each before its image
    request : Out, stream of :data:`request_layout`
    accepted : Out, for one cycle: a frame was used
    weights : Out, stream of :func:`abc_hw.rtl_gen.engine.loading.load_layout`;  loaded : In, all of them are there
    load_state : Out, the bytes of ``Identity.STATE``, the first one lowest
    """

    def __init__(self, identity: Identity, *, load_bits: int = LOAD_BITS) -> None:
        self._identity = identity
        super().__init__({
            "i": In(stream.Signature(unsigned(8))),
            "image": Out(code_stream(1, unsigned(identity.code_bits))),
            "tag": Out(stream.Signature(unsigned(32))),
            "request": Out(stream.Signature(request_layout)),
            "accepted": Out(1),
            "weights": Out(stream.Signature(load_layout([(load_bits, 1)]))),
            "loaded": In(1),
            "load_state": Out(8 * Identity.STATE.size),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size, code_bits = self._identity.image_bytes, self._identity.code_bits
        last_chunk = chunks(size) - 1
        m.submodules.memory = memory = Memory(shape=unsigned(code_bits), depth=size, init=[])
        write, read = memory.write_port(), memory.read_port()

        byte = self.i.payload
        kind, length, tag = Signal(8), Signal(8), Signal(32)
        field = Signal(range(6))
        open_tag = Signal(32)  # the image that is being collected
        expected = Signal(range(last_chunk + 2))  # its next chunk; last_chunk + 1: none, it is complete
        left = Signal(8)  # payload bytes to come
        place, loaded = Signal(range(size + 1)), Signal()
        refusal = Signal(Cause)

        same = tag == open_tag
        wanted = Mux(same, expected, 0)
        right_length = length == 1 + chunk_bytes(wanted, size)
        in_order = (byte == wanted) & (wanted <= last_chunk)
        m.d.comb += [
            write.addr.eq(place),
            write.data.eq(byte),
            read.addr.eq(place),
            self.tag.payload.eq(tag),
            self.image.payload[0].eq(read.data),
            self.request.payload.tag.eq(tag),
            self.request.payload.cause.eq(refusal),
            self.request.payload.kind.eq(kind),
        ]
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    header = Cat(kind, length, tag)
                    m.d.sync += [header.eq(Cat(header[8:], byte)), field.eq(field + 1)]
                    with m.If(field == 5):
                        m.d.sync += field.eq(0)
                        m.next = "KIND"
            with m.State("KIND"):
                m.d.sync += [left.eq(length), refusal.eq(Cause.UNKNOWN), kind.eq(Kind.REFUSED)]
                m.next = "DROP"
                with m.Switch(kind):
                    for asked, answer in ((Kind.IDENTIFY, Kind.IDENTITY), (Kind.COUNT, Kind.COUNTERS)):
                        with m.Case(asked), m.If(length == 0):
                            m.d.comb += self.accepted.eq(1)
                            m.d.sync += kind.eq(answer)
                            m.next = "ANSWER"
                    with m.Case(Kind.PIXELS), m.If(length != 0):
                        m.next = "CHUNK"
                        if self._identity.load_bytes:
                            with m.If(~self.loaded):
                                m.d.sync += refusal.eq(Cause.UNLOADED)
                                m.next = "DROP"
                    if self._identity.load_bytes:
                        with m.Case(Kind.WEIGHTS), m.If(length > 2):
                            m.next = "WEIGHTS"
            with m.State("CHUNK"):
                m.d.comb += self.i.ready.eq(1)
                with m.If(self.i.valid):
                    m.d.sync += left.eq(left - 1)
                    m.next = "DROP"
                    with m.If(~in_order):
                        m.d.sync += refusal.eq(Cause.ORDER)
                    with m.Elif(right_length):
                        m.d.sync += [open_tag.eq(tag), expected.eq(wanted + 1)]
                        m.d.comb += self.accepted.eq(1)
                        with m.If(wanted == 0):
                            m.d.sync += place.eq(0)
                        m.next = "COLLECT"
            with m.State("COLLECT"):
                m.d.comb += [self.i.ready.eq(1), write.en.eq(self.i.valid)]
                with m.If(self.i.valid):
                    m.d.sync += [left.eq(left - 1), place.eq(place + 1)]
                    with m.If(left == 1):
                        m.next = "HEADER"
                        with m.If(expected == last_chunk + 1):
                            m.next = "TAG"
            with m.State("TAG"):
                m.d.comb += self.tag.valid.eq(1)
                m.d.sync += place.eq(0)
                with m.If(self.tag.ready):
                    m.next = "FEED"
            with m.State("FEED"):
                m.d.comb += [self.image.valid.eq(loaded), read.en.eq(~loaded | self.image.ready)]
                with m.If(read.en):
                    m.d.sync += [loaded.eq(place != size), place.eq(place + 1)]
                    with m.If(place == size):
                        m.next = "HEADER"
            if self._identity.load_bytes:
                self._build_loading(m, kind, length, tag, left, refusal)
            with m.State("DROP"):
                m.d.comb += self.i.ready.eq(left != 0)
                with m.If(left == 0):
                    m.next = "ANSWER"
                with m.Elif(self.i.valid):
                    m.d.sync += left.eq(left - 1)
            with m.State("ANSWER"):
                m.d.comb += self.request.valid.eq(1)
                with m.If(self.request.ready):
                    m.next = "HEADER"
        return m


    def _build_loading(
        self, m: Module, kind: Signal, length: Signal, tag: Signal, left: Signal, refusal: Signal
    ) -> None:
        """What becomes of a WEIGHTS frame behind its header."""
        size = self._identity.load_bytes
        load_tag, load_next = Signal(32), Signal(range(chunks(size) + 1))
        number, low = Signal(16), Signal(8)
        part = Signal()
        begun = Signal()  # the chunk's first transfer is over
        byte = self.i.payload
        same = tag == load_tag
        anew = ~same & (number == 0)
        m.d.comb += [
            self.load_state.eq(Cat(load_tag, load_next)),
            self.weights.payload.data.eq(Cat(low, byte)),
            self.weights.payload.first.eq((number == 0) & ~begun),
        ]
        with m.State("WEIGHTS"):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += begun.eq(0)
            with m.If(self.i.valid):
                m.d.sync += [left.eq(left - 1), number.eq(Cat(number[8:], byte)), part.eq(~part)]
                with m.If(part):
                    m.next = "NUMBER"
        with m.State("NUMBER"):
            m.next = "DROP"
            with m.If(same & (number < load_next)):
                m.d.sync += kind.eq(Kind.TAKEN)
            with m.Elif(~anew & (~same | (number != load_next) | (number == chunks(size)))):
                m.d.sync += refusal.eq(Cause.ORDER)
            with m.Elif(length == 2 + chunk_bytes(number, size)):
                m.d.sync += [load_tag.eq(tag), load_next.eq(number)]
                m.next = "LOW"
        with m.State("LOW"):
            m.d.comb += self.i.ready.eq(1)
            m.d.sync += low.eq(byte)
            with m.If(self.i.valid):
                m.next = "HIGH"
        with m.State("HIGH"):
            m.d.comb += [self.weights.valid.eq(self.i.valid), self.i.ready.eq(self.weights.ready)]
            with m.If(self.i.valid & self.weights.ready):
                m.d.sync += [left.eq(left - 2), begun.eq(1)]
                m.next = "LOW"
                with m.If(left == 2):
                    m.d.sync += [load_next.eq(load_next + 1), kind.eq(Kind.TAKEN)]
                    m.d.comb += self.accepted.eq(1)
                    m.next = "ANSWER"


def chunk_bytes(number: Value, size: int) -> Value:
    """Bytes of the chunk of that number of ``size`` bytes."""
    last = chunks(size) - 1
    return Mux(number == last, size - last * CHUNK, CHUNK)
