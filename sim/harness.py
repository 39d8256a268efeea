"""What stands around an accelerator in simulation: its harness, its input, and what every layer should hand on."""

from __future__ import annotations

import dataclasses
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
from amaranth.hdl import Shape

from abc_hw.rtl_gen.emit.verilog import Verilog
from abc_hw.rtl_gen.engine.accelerator import Accelerator
from abc_hw.rtl_gen.engine.design import AnyAccelerator, AnyPlan

from .expected import Expected
from .golden import check_images


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tap:
    """A recorded stream: the layer's name, its module, bits of a transfer, the transfers that should come, and
    which of their bits count."""

    name: str
    module: str
    width: int
    words: list[int]
    masks: list[int]

    @property
    def transfers(self) -> int:
        return len(self.words)


def transfers(codes: npt.NDArray[Any], lanes: int, bits: int, px: int = 1) -> list[int]:
    """Codes [B, H, W, C] as stream transfers of ``lanes`` codes of ``px`` pixels, each of ``bits`` bits, the first
    code lowest."""
    width, channels = codes.shape[-2:]
    rows = np.asarray(codes, np.int64).reshape(-1, width, channels) & ((1 << bits) - 1)
    padded = np.pad(rows, ((0, 0), (0, -width % px), (0, -channels % lanes)))
    split = padded.reshape(len(rows), -1, px, padded.shape[2] // lanes, lanes)
    words = split.transpose(0, 1, 3, 2, 4).reshape(-1, px * lanes)
    if px * lanes * bits < 63:
        return (words << (bits * np.arange(px * lanes))).sum(axis=1).tolist()
    return [sum(int(code) << (bits * lane) for lane, code in enumerate(row)) for row in words]


def stimulus(accelerator: AnyAccelerator, images: npt.NDArray[Any]) -> list[int]:
    """Transfers of the input stream for ``images`` [B, H, W, C]."""
    plan = accelerator.plan
    return transfers(check_images(plan.network, images), plan.i.lanes, plan.i.shape.width, plan.i.px)


def expected_taps(accelerator: AnyAccelerator, verilog: Verilog, golden: Expected, name: str) -> list[Tap]:
    """What each traced stream should be, as its port in the Verilog shows it; nothing of one that nobody reads."""
    taps = []
    for traced in accelerator.plan.traced:
        stream = traced.stream
        bits, width = stream.shape.width, stream.width
        output = golden.values[traced.name]
        words = transfers(output, stream.lanes, bits, stream.px)
        full = (1 << width) - 1
        counting = np.full_like(output, (1 << bits) - 1, np.int64)
        masks = [full] * len(words) if traced.padded else transfers(counting, stream.lanes, bits, stream.px)
        # Bits that nothing downstream reads are not in the emitted port.
        kept = verilog.kept_bits.get((f"{name}.{traced.module}", "o__payload"))
        if kept is not None:
            words, masks = (
                [sum((word >> bit & 1) << place for place, bit in enumerate(kept)) for word in column]
                for column in (words, masks)
            )
            width = len(kept)
        if width:
            taps.append(Tap(name=traced.name, module=traced.module, width=width, words=words, masks=masks))
    return taps


@dataclasses.dataclass(frozen=True, kw_only=True)
class OutputFields:
    """The output stream: bits of a score or value, is it signed, bits of a label (0 where there is none); ``last``
    stands above them."""

    bits: int
    signed: bool
    label: int

    @classmethod
    def of(cls, plan: AnyPlan) -> OutputFields:
        """Of a plan."""
        layout = plan.o_layout
        names = dict(iter(layout))
        value = Shape.cast(names["score" if "score" in names else "value"].shape)
        label = Shape.cast(names["label"].shape).width if "label" in names else 0
        return cls(bits=value.width, signed=value.signed, label=label)

    @property
    def width(self) -> int:
        """Bits of a transfer."""
        return self.bits + self.label + 1

    def number(self, word: int) -> int:
        """The score or value of a transfer."""
        low = word & ((1 << self.bits) - 1)
        half = 1 << (self.bits - 1)
        return (low ^ half) - half if self.signed else low

    def label_of(self, word: int) -> int:
        """The label of a transfer."""
        return word >> self.bits & ((1 << self.label) - 1)


def expected_output(plan: AnyPlan, golden: Expected) -> tuple[list[int], list[int]]:
    """(transfers of the output stream, which of their bits count): the label only in the last one of an image."""
    fields, count = OutputFields.of(plan), plan.o_transfers
    end = 1 << (fields.bits + fields.label)
    words, masks = [], []
    labels = [0] * len(golden.output) if golden.classes is None else golden.classes.tolist()
    for values, label in zip(golden.output.reshape(-1, count).tolist(), labels, strict=True):
        row = [value & ((1 << fields.bits) - 1) for value in values]
        words += [*row[:-1], row[-1] | label << fields.bits | end]
        masks += [(1 << fields.bits) - 1 | end] * (count - 1) + [2 * end - 1]
    return words, masks


def load_stimulus(accelerator: Accelerator) -> list[int]:
    """Transfers of the load stream, {first, data}."""
    words = accelerator.plan.load_words
    return [words[0] | 1 << len(accelerator.load.payload.data), *words[1:]]


def harness_text(
    accelerator: AnyAccelerator, taps: list[Tap], *, name: str, images: int, words: int,
    loads: tuple[int, int] | None = None, barrier: int = 0,
) -> str:
    """SystemVerilog of the harness for ``images`` images of together ``words`` input transfers.

    ``loads`` are the transfers of the load stream, of the first network and of all; the second network is loaded
    once ``barrier`` transfers of images have been sent.
    """
    template = jinja2.Environment(
        loader=jinja2.PackageLoader("abc_hw.sim", "."), undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True, autoescape=False,
    ).get_template("harness.sv.j2")
    load_width = 0
    if loads and isinstance(accelerator, Accelerator):
        load_width = len(accelerator.load.payload.as_value())
    return template.render(
        name=name,
        taps=taps,
        images=images,
        transfers=words,
        outputs=accelerator.plan.o_transfers,
        i_width=accelerator.plan.i.width,
        o_width=OutputFields.of(accelerator.plan).width,
        loads=loads[1] if loads else 0,
        second=loads[0] if loads else 0,
        load_width=load_width,
        barrier=barrier,
    )
