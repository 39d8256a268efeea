# amaranth: UnusedElaboratable=no
"""An accelerator behind AXI: images and scores as AXI4-Stream, all else as registers of AXI4-Lite."""

import dataclasses
from functools import cached_property

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring

from abc_hw.errors import InputError

from ..engine.accelerator import Accelerator, AcceleratorPlan
from ..engine.design import AnyPlan, accelerator_of
from .axi import lite_members, stream_members
from .packets import ImagePackets, ImagePlan, ScorePackets, ScorePlan
from .register_map import Register, register_map
from .registers import LiteRegisters

__all__ = ["IN", "LITE", "OUT", "AxiAccelerator", "AxiPlan"]

IN, OUT, LITE = "s_axis", "m_axis", "s_axil"
"""What stands before the names of the ports."""

WIDTHS = (8, 16, 32, 64, 128, 256, 512)
"""Of TDATA."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class AxiPlan:
    """An accelerator and the widths of its streams.

    Members
    -------
    inner : the accelerator
    in_bits, out_bits : of TDATA

    Raises
    ------
    InputError
        if a width is none of ``WIDTHS``, or what leaves the accelerator are no scores.
    """

    inner: AnyPlan
    in_bits: int = 32
    out_bits: int = 32

    def __post_init__(self) -> None:
        if self.inner.argmax is None:
            name = self.inner.network.name
            raise InputError(f"interface: expected stream for {name}, which does not end in scores, found axi")
        for name in ("in_bits", "out_bits"):
            if getattr(self, name) not in WIDTHS:
                widths = ", ".join(map(str, WIDTHS))
                raise InputError(f"axi-{name.replace('_', '-')}: expected {widths}, found {getattr(self, name)}")

    @property
    def images(self) -> ImagePlan:
        """Images as bytes."""
        return ImagePlan(shape=self.inner.network.input_shape, bits=self.in_bits, o=self.inner.i)

    @property
    def classes(self) -> int:
        """Scores of an image."""
        assert self.inner.argmax is not None  # refused otherwise
        return self.inner.argmax.classes

    @property
    def scores(self) -> ScorePlan:
        """Scores as bytes."""
        return ScorePlan(i=self.inner.o_layout, classes=self.classes, bits=self.out_bits)

    @property
    def cycles(self) -> int:
        """Least cycles between images: those of the slowest part."""
        return max(self.inner.cycles, self.images.cycles, self.scores.cycles)

    @property
    def load_transfers(self) -> int:
        """Words that load everything; 0 where nothing is loaded."""
        inner = self.inner
        return inner.gate.load_transfers if isinstance(inner, AcceleratorPlan) and inner.loads else 0

    @cached_property
    def fixed(self) -> dict[str, int]:
        """What registers say of the design, by their names and their fields'."""
        digest = self.inner.served_digest
        return {
            "image_bytes": self.images.size, "classes_count": self.classes,
            "score_bytes": self.scores.word, "cycles_count": self.cycles,
            "load_words_count": self.load_transfers,
            **{f"digest_{part}_bytes": int(digest[8 * part : 8 * part + 8], 16) for part in range(4)},
        }

    @property
    def registers(self) -> tuple[Register, ...]:
        """The map; the same for every design."""
        return register_map()


class AxiAccelerator(wiring.Component):
    """::

        s_axis --> image packets --> accelerator --> score packets --> m_axis
                                        ^  |
                          load, loaded  |  v
        s_axil <------------------> registers

    Parameters
    ----------
    plan : of the accelerator and its widths

    Members
    -------
    s_axis_... : images, :class:`.packets.ImagePackets`
    m_axis_... : scores, :class:`.packets.ScorePackets`
    s_axil_... : registers, as ``registers.rdl`` describes them
    """

    def __init__(self, plan: AxiPlan) -> None:
        self._plan = plan
        super().__init__({
            **stream_members(IN, plan.in_bits, sends=False), **stream_members(OUT, plan.out_bits, sends=True),
            **lite_members(LITE),
        })

    @property
    def plan(self) -> AxiPlan:
        return self._plan

    def elaborate(self, platform: object) -> Module:
        m = Module()
        plan = self._plan
        m.submodules.images = images = ImagePackets(plan.images)
        m.submodules.core = core = accelerator_of(plan.inner)
        m.submodules.packets = packets = ScorePackets(plan.scores)
        m.submodules.registers = registers = LiteRegisters(plan.registers)
        self._outward(m, images, "s", IN)
        self._outward(m, packets, "m", OUT)
        self._outward(m, registers, "s", LITE)
        wiring.connect(m, images.o, core.i)
        wiring.connect(m, core.o, packets.i)
        self._tell(m, images, packets, registers)
        if isinstance(core, Accelerator) and core.plan.loads:
            self._load(m, core, registers)
        else:
            m.d.comb += registers.status_loaded.eq(1)
        return m

    def _outward(self, m: Module, inner: wiring.Component, short: str, prefix: str) -> None:
        """Connect a bus of a part to the same of the whole."""
        for name, member in inner.signature.members.items():
            if not name.startswith(f"{short}_"):
                continue
            ours, its = getattr(self, prefix + name[len(short) :]), getattr(inner, name)
            m.d.comb += its.eq(ours) if member.flow == wiring.In else ours.eq(its)

    def _tell(
        self, m: Module, images: ImagePackets, packets: ScorePackets, registers: LiteRegisters
    ) -> None:
        """What can be read of the design and of images."""
        m.d.comb += [getattr(registers, name).eq(value) for name, value in self._plan.fixed.items()]
        clear = Signal()
        m.d.comb += [registers.control_free.eq(1), clear.eq(registers.control_strobe & registers.data[0])]
        counted = {
            "images_in": images.ends, "images_out": packets.ends, "images_malformed": images.malformed,
        }
        for name, one in counted.items():
            count = Signal(32, name=f"{name}_count")
            m.d.sync += count.eq(count + one)
            with m.If(clear):
                m.d.sync += count.eq(0)
            m.d.comb += getattr(registers, f"{name}_count").eq(count)
        under_way = Signal(16)
        m.d.sync += under_way.eq(under_way + images.begins - packets.ends)
        m.d.comb += registers.status_busy.eq(under_way != 0)

    def _load(self, m: Module, core: Accelerator, registers: LiteRegisters) -> None:
        """Words from registers to the accelerator, through one that holds a word until it is taken."""
        names = ("load_first", "load")
        free = ~core.load.valid | core.load.ready
        strobes: list[Value] = [getattr(registers, f"{name}_strobe") for name in names]
        m.d.comb += [
            registers.status_loaded.eq(core.loaded), registers.status_load_ready.eq(free),
            *(getattr(registers, f"{name}_free").eq(free) for name in names),
        ]
        data, first = Signal(len(core.load.payload.data)), Signal()
        waits = Signal()
        m.d.comb += [
            core.load.valid.eq(waits), core.load.payload.data.eq(data), core.load.payload.first.eq(first),
        ]
        with m.If(free):
            m.d.sync += waits.eq(strobes[0] | strobes[1])
        with m.If(strobes[0] | strobes[1]):
            m.d.sync += [data.eq(registers.data), first.eq(strobes[0])]
