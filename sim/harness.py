"""What stands around an accelerator in simulation: its harness, its input, and what every layer should hand on."""

from __future__ import annotations

import dataclasses
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt

from abc_hw.rtl_gen.emit.verilog import Verilog
from abc_hw.rtl_gen.engine.accelerator import Accelerator

from . import golden


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


def stimulus(accelerator: Accelerator, images: npt.NDArray[Any]) -> list[int]:
    """Transfers of the input stream for ``images`` [B, H, W, C]."""
    i = accelerator.plan.i
    return transfers(images, i.lanes, i.shape.width, i.px)


def expected_taps(accelerator: Accelerator, verilog: Verilog, trace: golden.Trace, name: str) -> list[Tap]:
    """What each layer should hand on, as its port in the Verilog shows it; nothing of one that nobody reads."""
    taps = []
    for plan, layer in zip(accelerator.plan.layers, trace.layers, strict=True):
        bits = plan.o.shape.width
        output = layer.output if layer.output.ndim == 4 else layer.output[:, None, None, :]
        words = transfers(output, plan.o.lanes, bits, plan.o.px)
        # A score past the last class is dropped before anybody looks at it; codes past the last channel are 0.
        counting = np.full_like(output, (1 << bits) - 1) if plan.numbers.layer.hands_on_integers else None
        full = (1 << plan.o.width) - 1
        masks = [full] * len(words) if counting is None else transfers(counting, plan.o.lanes, bits, plan.o.px)
        # Bits that nothing downstream reads are not in the emitted port.
        module = accelerator.plan.module_names[layer.name]
        kept = verilog.kept_bits.get((f"{name}.{module}", "o__payload"))
        width = plan.o.width
        if kept is not None:
            words, masks = (
                [sum((word >> bit & 1) << place for place, bit in enumerate(kept)) for word in column]
                for column in (words, masks)
            )
            width = len(kept)
        if width:
            taps.append(Tap(name=layer.name, module=module, width=width, words=words, masks=masks))
    return taps


def expected_scores(accelerator: Accelerator, trace: golden.Trace) -> list[int]:
    """Transfers of the output stream: {last, label, score}; the label of all but the last is masked out."""
    score_bits, label_bits = output_fields(accelerator)
    words = []
    for scores, label in zip(trace.scores.tolist(), trace.classes.tolist(), strict=True):
        for index, score in enumerate(scores):
            last = index == len(scores) - 1
            word = score & ((1 << score_bits) - 1)
            words.append(word | (label << score_bits) | (1 << (score_bits + label_bits)) if last else word)
    return words


def output_fields(accelerator: Accelerator) -> tuple[int, int]:
    """Bits of (score, label) in the output stream."""
    return len(accelerator.o.payload.score), len(accelerator.o.payload.label)


def load_stimulus(accelerator: Accelerator) -> list[int]:
    """Transfers of the load stream, {first, data}."""
    words = accelerator.plan.load_words
    return [words[0] | 1 << len(accelerator.load.payload.data), *words[1:]]


def harness_text(
    accelerator: Accelerator, taps: list[Tap], *, name: str, images: int, words: int,
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
    score_bits, label_bits = output_fields(accelerator)
    return template.render(
        name=name,
        taps=taps,
        images=images,
        transfers=words,
        classes=accelerator.plan.network.layers[-1].out_channels,
        i_width=accelerator.plan.i.width,
        o_width=score_bits + label_bits + 1,
        loads=loads[1] if loads else 0,
        second=loads[0] if loads else 0,
        load_width=len(accelerator.load.payload.as_value()) if loads else 0,
        barrier=barrier,
    )
