"""Where an accelerator first differs from the golden model: the layer, the block, the pixel, the channel.

Every block of every layer, and every other unit of a graph, is watched in Icarus, which shows every signal of the
design. Slower by far than :func:`abc_hw.sim.runner.simulate`, so it comes after that one has found a difference.
"""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt

from abc_hw.network import Graph, Network
from abc_hw.rtl_gen.emit.manifest_entries import of_accelerator
from abc_hw.rtl_gen.emit.verilog import Verilog, emit_accelerator
from abc_hw.rtl_gen.engine.accelerator import Accelerator, AcceleratorPlan, WeightSource
from abc_hw.rtl_gen.engine.design import AnyAccelerator, AnyPlan, accelerator_of, plan_of
from abc_hw.rtl_gen.engine.graph_plan import GraphPlan
from abc_hw.rtl_gen.engine.traced import Traced
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.writing import temporary_folder

from .expected import expected
from .golden import check_images
from .simulators import cocotb_runner
from .trace import BLOCKS, Transfer, by_lanes, transfers_of

__all__ = ["Place", "Probe", "locate", "probes"]

TOP = "accelerator"


@dataclasses.dataclass(frozen=True)
class Place:
    """The first number of the first block that differs.

    Members
    -------
    layer, block : the block is a key of :data:`abc_hw.sim.trace.BLOCKS`, or "" if no transfer came at all
    image : counted from 0;  pixel : (row, column) of the block's output
    channel : of the block's output; of a window, the place in the kernel, (row, column, channel) in one number
    expected, found : None, bits that are unknown
    """

    layer: str
    block: str
    image: int
    pixel: tuple[int, int]
    channel: int
    expected: int
    found: int | None

    def __str__(self) -> str:
        found = "unknown bits" if self.found is None else self.found
        where = f"image {self.image}, pixel {self.pixel}, channel {self.channel}"
        return f"{self.layer}, {self.block}: {where}: expected {self.expected}, found {found}"


@dataclasses.dataclass(frozen=True)
class Probe:
    """A block that is watched.

    Members
    -------
    layer, block : its layer or unit, and its name; that of a unit that is no layer is the kind of its node
    scope : modules from the top's to the one that shows the result
    valid, result : ports of that module: when, and what; a result at a stream's end has a ready too
    late : cycles from the one to the other
    kept : bits of the result that the port still has; None: all
    transfers : what should come
    """

    layer: str
    block: str
    scope: tuple[str, ...]
    valid: str
    result: str
    late: int
    kept: list[int] | None
    transfers: list[Transfer]

    def first_difference(self, words: list[int | None]) -> Place | None:
        """The first number that differs among the results that came."""
        for word, transfer in zip(words, self.transfers, strict=False):
            for index, field in enumerate(transfer.fields):
                if field is None:
                    continue
                mask, value = self._bits_of(index, transfer.bits, word or 0)
                if mask and (word is None or (value ^ field.value) & mask):
                    found = None if word is None else self._whole(value, mask, field.value, transfer.bits)
                    where = field.image, field.pixel, field.channel
                    return Place(self.layer, self.block, *where, field.value, found)
        return None

    def _bits_of(self, index: int, bits: int, word: int) -> tuple[int, int]:
        """(which bits of a field the port has, what they are)."""
        kept = range(bits * (index + 1)) if self.kept is None else self.kept
        mask = value = 0
        for at, bit in enumerate(kept):
            place = bit - index * bits
            if 0 <= place < bits:
                mask |= 1 << place
                value |= (word >> at & 1) << place
        return mask, value

    @staticmethod
    def _whole(value: int, mask: int, expected: int, bits: int) -> int:
        """The number with bits that the port has not as they are expected, of the sign that is expected."""
        found = value | expected & ~mask & ((1 << bits) - 1)
        return found - (1 << bits) if expected < 0 and found >> (bits - 1) else found


def probes(accelerator: AnyAccelerator, verilog: Verilog, images: npt.NDArray[Any]) -> Iterator[Probe]:
    """The blocks of all layers, and other units of a graph, in the order of the data."""
    plan = accelerator.plan
    golden = expected(plan, images)
    for traced, source in zip(plan.traced, _sources(plan), strict=True):
        if traced.name in plan.engines:
            for block, (module, valid, port) in BLOCKS.items():
                transfers = list(transfers_of(block, plan.engines[traced.name], golden.values[source]))
                scope = tuple(filter(None, (traced.module, module)))
                kept = verilog.kept_bits.get((".".join((TOP, *scope)), port))
                late = plan.engines[traced.name].scale.ahead if block == "scale" else 0
                yield Probe(traced.name, block, scope, valid, port, late, kept, transfers)
        else:
            kept = verilog.kept_bits.get((f"{TOP}.{traced.module}", "o__payload"))
            transfers = _handed_on(traced, golden.values[traced.name])
            kind, scope = _kind(plan, traced), (traced.module,)
            yield Probe(traced.name, kind, scope, "o__valid", "o__payload", 0, kept, transfers)


def _sources(plan: AnyPlan) -> list[str]:
    """From whom each traced part takes first."""
    if isinstance(plan, AcceleratorPlan):
        return ["input", *(traced.name for traced in plan.traced[:-1])]
    return [unit.inputs[0] for unit in plan.units]


def _kind(plan: AnyPlan, traced: Traced) -> str:
    assert isinstance(plan, GraphPlan)  # all parts of a chain are engines
    return next(unit.kind for unit in plan.units if unit.name == traced.name)


def _handed_on(traced: Traced, values: npt.NDArray[Any]) -> list[Transfer]:
    stream = traced.stream
    to = stream.channel_words(values.shape[-1]) * stream.lanes
    return list(by_lanes(values, stream.shape.width, stream.lanes, stream.px, to=to))


def locate(
    network: Network | Graph, images: npt.NDArray[Any], *, foldings: Mapping[str, LayerFolding],
    weights: WeightSource = "rom", stalls: float = 0.0, mutate: Callable[[str], str] | None = None,
) -> Place | None:
    """The place where the accelerator first differs, by the order of data in it; None if none does.

    Parameters
    ----------
    network, images, foldings, weights, stalls, mutate : as of :func:`abc_hw.sim.runner.simulate`; the images up to
        the first one that differs are enough

    Raises
    ------
    RuntimeError : Icarus fails; the message has the end of its log
    """
    accelerator = accelerator_of(plan_of(network, foldings, weights=weights))
    verilog = emit_accelerator(accelerator, name=TOP)
    text = verilog.text if mutate is None else mutate(verilog.text)
    watched = list(probes(accelerator, verilog, images))
    with temporary_folder() as folder, cocotb_runner("icarus") as runner:
        folder = Path(folder)
        (folder / f"{TOP}.v").write_text(text)
        told = of_accelerator(accelerator, name=TOP)
        (folder / f"{TOP}.json").write_text(told.text())
        words = accelerator.plan.load_words if isinstance(accelerator, Accelerator) else []
        words = words if accelerator.plan.loads else []
        (folder / "load.json").write_text(json.dumps(words))
        places = [(probe.scope, probe.valid, probe.result, probe.late) for probe in watched]
        codes = check_images(network, images)
        cycles = 4 * (sum(accelerator.plan.rates.values()) + accelerator.plan.cycles * len(images)) + 10_000
        (folder / "run.pickle").write_bytes(pickle.dumps((codes, stalls, places, cycles)))
        log = folder / "log"
        try:
            runner.build(
                sources=[folder / f"{TOP}.v"], hdl_toplevel=TOP, build_dir=folder / "build",
                timescale=("1ns", "1ps"), log_file=log,
            )
            runner.test(
                test_module="abc_hw.sim.tb_trace", hdl_toplevel=TOP, test_dir=folder, build_dir=folder / "build",
                log_file=log, extra_env={"COCOTB_ANSI_OUTPUT": "0"},
            )
        except (SystemExit, RuntimeError) as error:
            raise RuntimeError(f"icarus could not trace the design:\n{log.read_text()[-2000:]}") from error
        seen = json.loads((folder / "seen.json").read_text())
    for probe, words in zip(watched, seen, strict=True):
        place = probe.first_difference(words) if words is not None else None
        if place is not None:
            return place
    return None
