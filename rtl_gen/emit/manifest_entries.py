"""Entries of a manifest, from plans."""

import dataclasses
import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any, Literal

from amaranth.hdl import Shape
from amaranth.lib.data import StructLayout

from abc_hw.network import Graph, Network

from ..engine.accelerator import AcceleratorPlan, WeightSource
from ..engine.design import AnyAccelerator, AnyPlan, load_words
from ..engine.graph_plan import GraphPlan
from ..engine.layer import LayerPlan
from ..engine.loading import GatePlan
from ..parts.stream import CodeStream
from .manifest import (
    Bits,
    BufferRecord,
    LayerRecord,
    LoadRecord,
    Manifest,
    NetworkRecord,
    Signal,
    Stream,
    UnitRecord,
)

__all__ = [
    "codes", "layer_record", "load_record", "load_stream", "load_text", "loaded_signal", "loading",
    "network_record", "of_accelerator", "packed", "units", "versions",
]


def versions() -> dict[str, str]:
    """The programs that make a module."""
    return {name: version(name) for name in ("abc-hw", "amaranth", "pyosys")}


def load_text(words: Iterable[int]) -> str:
    """Words that are loaded, a transfer's data a line in hexadecimal, as ``$readmemh`` reads it."""
    return "".join(f"{word:x}\n" for word in words)


def load_record(words: Sequence[int], file: str) -> LoadRecord:
    """What the manifest says of them."""
    return LoadRecord(file=file, words=len(words), sha256=hashlib.sha256(load_text(words).encode()).hexdigest())


def loaded_signal() -> Signal:
    """The port that tells that all is loaded."""
    return Signal(name="loaded", direction="out", bits=1, meaning="the weights are there")


def load_stream(gate: GatePlan) -> Stream:
    """The stream that loads."""
    data = gate.load_payload["data"].width
    fields = Bits(name="data", lsb=0, bits=data), Bits(name="first", lsb=data, bits=1)
    return packed("load", "in", fields, transfers=gate.load_transfers)


def of_accelerator(
    accelerator: AnyAccelerator, *, name: str, source: str = "", load_file: str = ""
) -> Manifest:
    """The manifest of ``accelerator`` as module ``name``; ``load_file`` is where its load words go."""
    plan = accelerator.plan
    words = load_words(plan)
    return Manifest(
        module=name, network=network_record(plan.network, source), **loading(plan.weights), target=plan.target,
        cycles_per_image=plan.cycles, latency=plan.latency, streams=tuple(_streams(plan)),
        signals=(loaded_signal(),) if words else (),
        layers=tuple(layer_record(one, one.latency, name) for name, one in plan.engines.items()),
        load=load_record(words, load_file) if words else None, **units(plan), generator=versions(),
    )


def units(plan: AnyPlan) -> dict[str, Any]:
    """What the manifest says of units that are no convolutions, and of buffers."""
    if not isinstance(plan, GraphPlan):
        return {}
    return {
        "units": tuple(
            UnitRecord(
                name=unit.name, kind=unit.kind, out_shape=unit.edge.shape, cycles=plan.plans[unit.name].cycles
            )
            for unit in plan.units if unit.name not in plan.engines
        ),
        "buffers": tuple(
            BufferRecord(unit=unit, input=index, depth=buffer.depth, bits=buffer.stream.width)
            for (unit, index), buffer in plan.buffer_plans.items()
        ),
    }


def loading(weights: WeightSource) -> dict[str, Any]:
    """The manifest's fields on what is loaded."""
    return {
        "weights": "rom" if weights == "rom" else "loaded",
        "constants": "loaded" if weights == "trained" else "rom",
    }


def network_record(network: Network | Graph, source: str) -> NetworkRecord:
    """What the manifest says of the network."""
    digests = {}
    if isinstance(network, Network):
        digests = {"constants_digest": network.constants_digest, "shape_digest": network.shape_digest}
    return NetworkRecord(
        name=network.name, source=source, digest=network.digest, input_shape=network.input_shape,
        signed=network.signed, classes=network.classes, **digests,
    )


def layer_record(plan: LayerPlan, latency: int, name: str) -> LayerRecord:
    """What the manifest says of a layer, or of a convolution by the name of its unit."""
    layer = plan.numbers.layer
    return LayerRecord(
        name=name, in_shape=layer.in_shape, out_shape=layer.out_shape, kernel=layer.kernel,
        stride=layer.stride, padding=layer.padding, pool=layer.pool, M=layer.weight_bases.count,
        N=layer.input_bases.count, cycles=plan.schedule.cycles, latency=latency,
        **dataclasses.asdict(plan.folding),
    )


def _streams(plan: AnyPlan) -> Iterable[Stream]:
    yield codes("i", "in", plan.i, transfers=plan.i_transfers)
    yield packed("o", "out", tuple(_fields(plan.o_layout)), transfers=plan.o_transfers)
    if isinstance(plan, AcceleratorPlan) and plan.loads:
        yield load_stream(plan.gate)


def _fields(layout: StructLayout) -> Iterable[Bits]:
    """The fields of a payload."""
    for name, field in layout:
        shape = Shape.cast(field.shape)
        yield Bits(name=str(name), lsb=field.offset, bits=shape.width, signed=shape.signed)


def packed(name: str, direction: Literal["in", "out"], fields: tuple[Bits, ...], *, transfers: int) -> Stream:
    """A stream whose payload has these fields."""
    return Stream(
        name=name, direction=direction, payload=f"{name}__payload", valid=f"{name}__valid", ready=f"{name}__ready",
        bits=sum(field.bits for field in fields), fields=fields, transfers=transfers,
    )


def codes(name: str, direction: Literal["in", "out"], stream: CodeStream, *, transfers: int) -> Stream:
    """A stream of codes."""
    bits = stream.shape.width
    fields = tuple(
        Bits(name=(f"pixel{pixel}_" if stream.px > 1 else "") + f"lane{lane}",
             lsb=stream.place(pixel, lane) * bits, bits=bits, signed=stream.shape.signed)
        for pixel in range(stream.px) for lane in range(stream.lanes)
    )
    made = packed(name, direction, fields, transfers=transfers)
    return made.model_copy(update={"lanes": stream.lanes, "code_bits": bits, "px": stream.px})
