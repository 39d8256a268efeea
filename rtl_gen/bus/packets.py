"""Images and scores as packets of AXI4-Stream."""

import dataclasses

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..parts.arith import ceil_div, extend
from ..parts.stream import CodeStream
from .axi import stream_members
from .gearbox import ByteGearbox

__all__ = ["ImagePackets", "ImagePlan", "ScorePackets", "ScorePlan", "keep_of"]


def keep_of(count: Value, size: int) -> Value:
    """TKEEP of ``size`` bits of which the lowest ``count`` are 1."""
    return Cat(count > byte for byte in range(size))


# -- images -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """Images as bytes.

    Members
    -------
    shape : (H, W, C) of an image, a byte a code
    bits : of TDATA
    o : the stream that the accelerator takes, a pixel or less a transfer

    Raises
    ------
    ValueError
        if it takes several pixels in a transfer.
    """

    shape: tuple[int, int, int]
    bits: int
    o: CodeStream

    def __post_init__(self) -> None:
        if self.o.px != 1:
            raise ValueError(f"Transfers must have one pixel, not {self.o.px}")

    @property
    def size(self) -> int:
        """Bytes of an image."""
        height, width, channels = self.shape
        return height * width * channels

    @property
    def beats(self) -> int:
        """Transfers of a packet."""
        return ceil_div(8 * self.size, self.bits)

    @property
    def words(self) -> int:
        """Transfers of a pixel to the accelerator."""
        return ceil_div(self.shape[2], self.o.lanes)

    @property
    def cycles(self) -> int:
        """Least cycles between images."""
        return max(self.beats, self.shape[0] * self.shape[1] * self.words)


class ImagePackets(wiring.Component):
    """Packets, one an image, to the accelerator's transfers.

    An image is its codes, a byte each, row by row, channels innermost, the first in the lowest bits of the first
    transfer. TLAST must be with the transfer that has its last byte, and nowhere else; TKEEP must be all ones but
    there, where it has a 1 for each byte that is left. A packet that is not so is malformed and keeps to its place
    among the images all the same: of one too short the codes that lack are 0, of one too long the transfers past
    the image are thrown away. Whatever TKEEP says, bytes are taken as if it were right.

    Parameters
    ----------
    plan : of images

    Members
    -------
    s_tdata, ... : In, AXI4-Stream
    o : Out, stream of codes
    begins : Out(1), the first transfer of an image is taken
    ends : Out(1), the last one is, or would have been;  malformed : Out(1), with or after ``ends``: once for each
        packet that is
    """

    def __init__(self, plan: ImagePlan) -> None:
        self._plan = plan
        super().__init__({
            **stream_members("s", plan.bits, sends=False), "o": Out(plan.o.signature),
            "begins": Out(1), "ends": Out(1), "malformed": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, size = self._plan, self._plan.bits // 8
        m.submodules.gearbox = gearbox = ByteGearbox(i_size=size, o_size=plan.o.lanes)
        beat = Signal(range(plan.beats))
        short, long, wrong = Signal(), Signal(), Signal()  # codes lack; too many came; something was amiss
        in_last = plan.size - (plan.beats - 1) * size
        last = beat == plan.beats - 1
        count = Mux(last, in_last, size)
        taken = self.s_tvalid & self.s_tready
        passed = gearbox.i.valid & gearbox.i.ready
        m.d.comb += [
            self.s_tready.eq(long | (gearbox.i.ready & ~short)),
            gearbox.i.valid.eq(~long & (self.s_tvalid | short)),
            gearbox.i.payload.count.eq(count),
            gearbox.i.payload.bytes.eq(Cat(
                Mux(short | (count <= byte), 0, self.s_tdata[8 * byte : 8 * byte + 8]) for byte in range(size)
            )),
            self.begins.eq(passed & (beat == 0)), self.ends.eq(passed & last),
        ]
        amiss = taken & ~long & ((self.s_tlast != last) | (self.s_tkeep != keep_of(count, size)))
        with m.If(passed):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
            with m.If(~short):
                m.d.sync += [short.eq(self.s_tlast & ~last), long.eq(last & ~self.s_tlast)]
            with m.Elif(last):
                m.d.sync += short.eq(0)
        with m.If(long & taken & self.s_tlast):
            m.d.sync += long.eq(0)
        m.d.sync += wrong.eq((wrong | amiss) & ~self.ends)
        m.d.comb += self.malformed.eq(self.ends & (wrong | amiss))
        self._to_codes(m, gearbox)
        return m

    def _to_codes(self, m: Module, gearbox: ByteGearbox) -> None:
        """Bytes into lanes; of a pixel's last transfer only those that it has."""
        plan = self._plan
        lanes, width = plan.o.lanes, plan.o.shape.width
        word = Signal(range(plan.words))
        in_last = plan.shape[2] - (plan.words - 1) * lanes
        last = word == plan.words - 1
        want = Mux(last, in_last, lanes)
        m.d.comb += [
            gearbox.want.eq(want), self.o.valid.eq(gearbox.o.valid), gearbox.o.ready.eq(self.o.ready),
        ]
        for lane in range(lanes):
            code = gearbox.o.payload[8 * lane : 8 * lane + width]
            m.d.comb += self.o.payload[lane].eq(Mux(last, 0, code) if lane >= in_last else code)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += word.eq(Mux(last, 0, word + 1))


# -- scores -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScorePlan:
    """Scores as bytes.

    Members
    -------
    i : payload of the accelerator's output
    classes : scores of an image
    bits : of TDATA
    """

    i: data.StructLayout
    classes: int
    bits: int

    @property
    def word(self) -> int:
        """Bytes of a score, and of the class."""
        return 4 if self.i["score"].width <= 32 else 8

    @property
    def size(self) -> int:
        """Bytes of a packet."""
        return self.word * (self.classes + 1)

    @property
    def beats(self) -> int:
        """Transfers of a packet."""
        return ceil_div(8 * self.size, self.bits)

    @property
    def cycles(self) -> int:
        """Least cycles between images."""
        return max(self.beats, self.classes + 1)


class ScorePackets(wiring.Component):
    """The accelerator's scores to packets, one an image.

    A packet is the scores, class 0 first, then the class of the image: signed numbers of ``plan.word`` bytes, the
    lowest byte first. TKEEP is all ones but with TLAST, where it has a 1 for each byte that is left.

    Parameters
    ----------
    plan : of scores

    Members
    -------
    i : In, stream of scores
    m_tdata, ... : Out, AXI4-Stream
    ends : Out(1), the last transfer of a packet is taken
    """

    def __init__(self, plan: ScorePlan) -> None:
        self._plan = plan
        super().__init__({
            "i": In(stream.Signature(plan.i)), **stream_members("m", plan.bits, sends=True), "ends": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan, size = self._plan, self._plan.bits // 8
        m.submodules.gearbox = gearbox = ByteGearbox(i_size=plan.word, o_size=size)
        numbers = Shape(8 * plan.word, signed=True)
        at_class, label = Signal(), Signal.like(self.i.payload.label)
        score = Value.cast(self.i.payload.score)
        m.d.comb += [
            gearbox.i.valid.eq(self.i.valid | at_class), self.i.ready.eq(gearbox.i.ready & ~at_class),
            gearbox.i.payload.count.eq(plan.word),
            gearbox.i.payload.bytes.eq(Mux(at_class, extend(label, numbers), extend(score, numbers))),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += [at_class.eq(self.i.payload.last), label.eq(self.i.payload.label)]
        with m.Elif(gearbox.i.ready):
            m.d.sync += at_class.eq(0)
        beat = Signal(range(plan.beats))
        last = beat == plan.beats - 1
        want = Mux(last, plan.size - (plan.beats - 1) * size, size)
        m.d.comb += [
            gearbox.want.eq(want), self.m_tvalid.eq(gearbox.o.valid), gearbox.o.ready.eq(self.m_tready),
            self.m_tlast.eq(last), self.m_tkeep.eq(keep_of(want, size)),
            self.m_tdata.eq(Cat(
                Mux(want > byte, gearbox.o.payload[8 * byte : 8 * byte + 8], Const(0, 8)) for byte in range(size)
            )),
            self.ends.eq(self.m_tvalid & self.m_tready & last),
        ]
        with m.If(self.m_tvalid & self.m_tready):
            m.d.sync += beat.eq(Mux(last, 0, beat + 1))
        return m
