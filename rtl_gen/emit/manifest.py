"""The manifest: what a generated module is, for programs: ports, fields, lanes, folding, cycles, digests.

``NAME.json`` beside ``NAME.v``. Benches (:mod:`abc_hw.sim.bench`), wrappers and build systems read it, so that
nobody copies a number out of a comment.
"""

import json
import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from abc_hw import sources
from abc_hw.errors import InputError
from abc_hw.reading import read_json
from abc_hw.validation import validate

from ..engine.accelerator import WeightSource, weight_source
from .resets import RESETS, ResetKind

__all__ = [
    "FORMAT_VERSION", "AxiRecord", "Bits", "BufferRecord", "LayerRecord", "LoadRecord", "Manifest",
    "NetworkRecord", "Signal", "Stream", "UnitRecord", "check_ports", "read", "source_from",
]

FORMAT_VERSION = 1

Count = Annotated[int, Field(ge=0, strict=True)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bits(_Record):
    """A field of a payload: ``bits`` bits from bit ``lsb`` on, two's complement if ``signed``."""

    name: str
    lsb: Count
    bits: Count
    signed: bool = False


class Stream(_Record):
    """A ready/valid stream: a transfer happens at a rising edge with both ``valid`` and ``ready`` at 1.

    Members
    -------
    name, direction : seen from the module
    payload, valid, ready : names of its ports
    bits : of the payload
    fields : of the payload, lowest first
    lanes : codes of each pixel, each ``code_bits``, the lowest channel lowest; 0 where there are other
        fields
    px : pixels of a transfer, the first one lowest
    transfers : of an image, or of everything that is loaded
    """

    name: str
    direction: Literal["in", "out"]
    payload: str
    valid: str
    ready: str
    bits: Count
    fields: tuple[Bits, ...]
    lanes: Count = 0
    px: Count = 1
    code_bits: Count = 0
    transfers: Count

    def field(self, name: str) -> Bits:
        """The field of that name."""
        return next(field for field in self.fields if field.name == name)


class Signal(_Record):
    """A port outside the streams: ``dims`` elements of ``bits`` bits, the first element lowest, the last
    dimension innermost."""

    name: str
    direction: Literal["in", "out"]
    bits: Count
    dims: tuple[Count, ...] = ()
    signed: bool = False
    meaning: str

    @property
    def width(self) -> int:
        """Bits of the port."""
        width = self.bits
        for size in self.dims:
            width *= size
        return width


class LayerRecord(_Record):
    """A layer, its folding, its cycles per image and its cycles from a group's last word to the first code."""

    name: str
    in_shape: tuple[int, int, int]
    out_shape: tuple[int, int, int]
    kernel: tuple[int, int]
    stride: tuple[Count, Count]
    padding: tuple[Count, Count, Count, Count]
    pool: Count
    M: Count
    N: Count
    simd: Count
    pe: Count
    mp: Count
    np: Count
    px: Count = 1
    cycles: Count
    latency: Count


class UnitRecord(_Record):
    """A unit of a graph's accelerator that is no convolution: the kind of its node and its cycles per image."""

    name: str
    kind: str
    out_shape: tuple[int, int, int]
    cycles: Count


class BufferRecord(_Record):
    """A buffer in front of input ``input`` of a unit, for ``depth`` transfers of ``bits`` bits."""

    unit: str
    input: Count
    depth: Count
    bits: Count


class NetworkRecord(_Record):
    """The network: ``source`` by its path from the manifest's folder, and once read from where the reader is;
    ``constants_digest`` of all but the weights, ``shape_digest`` of all but what another training may change (of a
    graph neither); are images ``signed`` numbers, whose codes have the sign bit inverted?"""

    name: str
    source: str
    digest: str
    constants_digest: str = ""
    shape_digest: str = ""
    input_shape: tuple[int, int, int]
    signed: bool = False
    classes: tuple[str, ...]


class LoadRecord(_Record):
    """The words that load the weights: a file for ``$readmemh`` beside the manifest, and its SHA-256."""

    file: str
    words: Count
    sha256: str


class AxiRecord(_Record):
    """What stands around an accelerator behind AXI.

    Members
    -------
    images, scores, lite : what stands before the names of the ports of images, scores and registers
    in_bits, out_bits : of TDATA
    image_bytes : of a packet that comes in, a byte a code
    score_bytes : of a score, and of the class behind the scores
    packet_bytes : of a packet that leaves
    registers : address of each, in bytes
    """

    images: str
    scores: str
    lite: str
    in_bits: Count
    out_bits: Count
    image_bytes: Count
    score_bytes: Count
    packet_bytes: Count
    registers: dict[str, int]


class Manifest(_Record):
    """What a generated module is.

    Members
    -------
    module : its name;  part : ``accelerator``, or which part of one
    reset_kind : how it resets; reset_edges : rising edges for which the reset must be active, at the least
    weights, constants : fixed, or loaded; target : technology
    cycles_per_image : least cycles from image to image, both streams free-running
    latency : of a part, cycles from its input to its output; of an accelerator, from an image's last transfer to
        its class, :attr:`abc_hw.rtl_gen.engine.accelerator.AcceleratorPlan.latency`
    axi : of an accelerator behind AXI, in the place of streams
    layers : or convolutions of a graph, whose other units are ``units``, with ``buffers`` before some
    load : where the weights are loaded
    generator : programs and their versions
    """

    format: Literal["abc-hw manifest"] = "abc-hw manifest"
    format_version: Literal[1] = 1
    module: str
    part: str = "accelerator"
    clock: str = "clk"
    reset: str = "rst"
    reset_kind: ResetKind = "sync"
    reset_edges: Count = 1
    network: NetworkRecord | None = None
    weights: Literal["rom", "loaded"] = "rom"
    constants: Literal["rom", "loaded"] = "rom"
    target: str
    cycles_per_image: Count | None = None
    latency: Count | None = None
    streams: tuple[Stream, ...] = ()
    signals: tuple[Signal, ...] = ()
    layers: tuple[LayerRecord, ...] = ()
    axi: AxiRecord | None = None
    units: tuple[UnitRecord, ...] = ()
    buffers: tuple[BufferRecord, ...] = ()
    load: LoadRecord | None = None
    parameters: dict[str, int | str] = {}
    generator: dict[str, str]

    @property
    def reset_active(self) -> int:
        """The value of the reset while it resets."""
        return RESETS[self.reset_kind].active

    def with_reset(self, kind: ResetKind) -> "Manifest":
        """The same module with another reset."""
        return self.model_copy(update={"reset": RESETS[kind].port, "reset_kind": kind})

    @property
    def loads(self) -> WeightSource:
        """What is loaded."""
        return weight_source(self.weights, self.constants)

    def stream(self, name: str) -> Stream:
        """The stream of that name; InputError if there is none."""
        for stream in self.streams:
            if stream.name == name:
                return stream
        there = ", ".join(stream.name for stream in self.streams) or "none"
        raise InputError(f"{self.module}: expected a stream {name}, found {there}")

    def text(self) -> str:
        """As the file holds it."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True), indent=2) + "\n"


def read(path: str | Path) -> Manifest:
    """The manifest in a file.

    Raises
    ------
    InputError : not readable, no JSON, or no manifest; the message names the field
    """
    found = validate(Manifest, read_json(path, "a readable manifest"), str(path))
    if found.network is None or not found.network.source or sources.comes_along(found.network.source):
        return found
    network = found.network.model_copy(update={"source": str(Path(path).parent / found.network.source)})
    return found.model_copy(update={"network": network})


def source_from(folder: Path, network: Path) -> str:
    """How a manifest in ``folder`` names a network, so that it is found wherever a bench runs."""
    if sources.comes_along(network) or network.is_absolute():
        return str(network)
    return os.path.relpath(network, folder)


def check_ports(old: Manifest, new: Manifest, where: str) -> None:
    """InputError if what is built around the ``old`` module would not fit the ``new`` one.

    What fits: the same clock and reset, and streams and signals of equal names, widths, fields and transfers. The
    number of words that load weights must be equal too.
    """
    for field in ("module", "part", "clock", "reset", "reset_kind"):
        _equal(where, field, getattr(old, field), getattr(new, field))
    _equal(where, "axi", old.axi, new.axi)
    for kind in ("streams", "signals"):
        before = {item.name: item for item in getattr(old, kind)}
        after = {item.name: item for item in getattr(new, kind)}
        _equal(where, kind, ", ".join(before) or "none", ", ".join(after) or "none")
        for name, item in before.items():
            for field, value in item.model_dump(exclude={"name", "fields", "meaning"}).items():
                _equal(where, f"{name}.{field}", value, getattr(after[name], field), _remedy(item, field))
            for one, other in zip(getattr(item, "fields", ()), getattr(after[name], "fields", ()), strict=False):
                _equal(where, f"{name}.{one.name}", one, other)


def _remedy(item: Stream | Signal, field: str) -> str:
    scores = [part for part in getattr(item, "fields", ()) if part.name == "score"]
    if field != "bits" or not scores:
        return ""
    return f"; --score-bits {scores[0].bits} makes them equal if the scores fit"


def _equal(where: str, what: str, old: object, new: object, remedy: str = "") -> None:
    if old != new:
        raise InputError(f"{where}: expected ports as there, {what} {old}, found {new}{remedy}")
