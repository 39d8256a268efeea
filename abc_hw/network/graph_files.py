"""Version 2 of the network file: a graph of nodes.

The tensors of a node are named ``node.field``: ``weights`` as uint8 [bytes], codes packed to ceil(log2(levels))
bits each, lowest bit first, in the order [C_out, kernel height, kernel width, C / groups]; ``entries`` and
``least`` as uint8; all others in the smallest of int8, int16, int32 and int64 that holds them, in the shapes of
:mod:`abc_hw.network.nodes`. All other fields of a node are in the JSON document (:class:`Document`).
"""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, Union, get_args

import numpy as np
from pydantic import Field, create_model

from ..errors import InputError
from ..validation import shown, validate
from . import limits
from .bases import MAX_BASES, Bases, ScaleForm
from .container import (
    FORMAT,
    BasesRecord,
    Integer,
    Record,
    ScaleRecord,
    Tensors,
    check_digest,
    check_known,
    json_values,
    pack,
    seal,
    smallest,
    unpack,
)  # fmt: skip
from .edges import Codes
from .graph import Graph
from .limits import Name, Side
from .nodes import KINDS, Conv, Node

Pair = tuple[Side, Side]
Ends = tuple[Integer, Integer, Integer, Integer]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class NodeRecord(Record):
    """What every node has besides its tensors; the fields are those of :mod:`abc_hw.network.nodes`.

    ``tensors`` names the fields that are tensors.
    """

    tensors: ClassVar[tuple[str, ...]] = ()

    name: Name
    inputs: tuple[Name, ...]


class TableRecord(NodeRecord):
    tensors = ("entries",)
    kind: Literal["table"]
    bases: BasesRecord


class ConvRecord(NodeRecord):
    """``shape`` is that of the weights."""

    tensors = ("alpha", "beta")
    kind: Literal["conv"]
    kernel: Pair
    stride: Pair
    padding: Ends
    padding_code: Integer | tuple[Integer, ...] | None
    groups: Side
    weight_bases: BasesRecord
    input_bases: BasesRecord
    alpha_scale: ScaleRecord
    beta_scale: ScaleRecord
    shape: tuple[Side, Side, Side, Side]


class ThresholdRecord(NodeRecord):
    tensors = ("thresholds",)
    kind: Literal["threshold"]
    bases: BasesRecord


class EncodeRecord(NodeRecord):
    kind: Literal["encode"]
    low: Integer
    bits: Annotated[int, Field(ge=1, le=MAX_BASES, strict=True)]


class DecodeRecord(NodeRecord):
    tensors = ("beta",)
    kind: Literal["decode"]
    input_bases: BasesRecord
    beta_scale: ScaleRecord


class RequantiseRecord(NodeRecord):
    tensors = ("factor", "offset")
    kind: Literal["requantise"]
    factor_scale: ScaleRecord
    shift: Integer
    low: Integer
    high: Integer


class AddRecord(NodeRecord):
    kind: Literal["add"]


class MaxPoolRecord(NodeRecord):
    """``some_least``: whether there is a tensor ``least``."""

    kind: Literal["max_pool"]
    size: Pair
    stride: Pair
    padding: Ends
    some_least: Annotated[bool, Field(strict=True)]


class SumPoolRecord(NodeRecord):
    kind: Literal["sum_pool"]
    size: Pair
    stride: Pair
    padding: Ends


class ScoresRecord(NodeRecord):
    tensors = ("bias",)
    kind: Literal["scores"]
    scale: Annotated[Real, Field(gt=0)]
    offset: Real


class OutputRecord(NodeRecord):
    kind: Literal["output"]


AnyRecord = Annotated[
    TableRecord | ConvRecord | ThresholdRecord | EncodeRecord | DecodeRecord | RequantiseRecord | AddRecord
    | MaxPoolRecord | SumPoolRecord | ScoresRecord | OutputRecord,
    Field(discriminator="kind"),
]  # fmt: skip


OWN_KINDS = {
    get_args(record.model_fields["kind"].annotation)[0] for record in get_args(get_args(AnyRecord)[0])
}
"""Those of :data:`AnyRecord`."""


class InputRecord(Record):
    """The codes of an image (:class:`abc_hw.network.Codes`), and whether they are signed numbers."""

    bases: BasesRecord
    shape: tuple[Side, Side, Side]
    signed: Annotated[bool, Field(strict=True)]


class Document(Record):
    """The JSON document of a graph's file; ``digest`` is :attr:`abc_hw.network.Graph.digest`."""

    format: Literal["abc-hw network"]
    format_version: Literal[2]
    name: Name
    input: InputRecord
    classes: Annotated[tuple[Name, ...], Field(max_length=limits.MAX_SIDE)]
    training: dict[str, Any]
    nodes: Annotated[tuple[AnyRecord, ...], Field(max_length=limits.MAX_NODES)]
    digest: Name
    checksum: Name


# -- writing ------------------------------------------------------------------------------------------------


def to_bytes(graph: Graph) -> bytes:
    """The bytes of a graph's file.

    Raises
    ------
    InputError : ``training`` holds something that JSON does not
    """
    tensors: Tensors = {}
    records = [_record(node, tensors) for node in graph.nodes]
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": 2,
        "name": graph.name,
        "input": {
            "bases": dataclasses.asdict(graph.input.bases), "shape": graph.input.shape, "signed": graph.signed,
        },
        "classes": graph.classes,
        "training": json_values(graph.training),
        "nodes": records,
        "digest": graph.digest,
    }  # fmt: skip
    return seal(document, tensors)


class OfferedRecord(NodeRecord):
    """Of a node of another package."""


@lru_cache
def _offered_record(kind: str) -> type[OfferedRecord]:
    """Of that kind: its integers are fields, its arrays tensors."""
    own = {
        field.name: field.type in (int, "int")
        for field in dataclasses.fields(KINDS[kind]) if field.name not in NodeRecord.model_fields
    }
    integers: dict[str, Any] = {name: (Integer, ...) for name, integer in own.items() if integer}
    said: dict[str, Any] = {"kind": (Literal[kind], ...), **integers}
    made = create_model(f"{kind}Record", __base__=OfferedRecord, **said)
    made.tensors = tuple(name for name in own if name not in integers)
    return made


def _document(kinds: set[str]) -> type[Document]:
    """A document whose nodes are of the program's own and of those ``kinds``."""
    offered = [_offered_record(kind) for kind in sorted(kinds - OWN_KINDS)]
    if not offered:
        return Document
    record: Any = Annotated[Union[AnyRecord, *offered], Field(discriminator="kind")]
    nodes: Any = (Annotated[tuple[record, ...], Field(max_length=limits.MAX_NODES)], ...)
    made: type[Document] = create_model("Document", __base__=Document, nodes=nodes)
    return made


def _record(node: Node, tensors: Tensors) -> dict[str, Any]:
    """The JSON fields of a node; its arrays go into ``tensors``."""
    record: dict[str, Any] = {"kind": node.kind}
    for field in dataclasses.fields(node):
        value, name = getattr(node, field.name), f"{node.name}.{field.name}"
        if field.name == "weights":
            assert isinstance(node, Conv)  # no other node has weights
            tensors[name] = pack(node.weights, node.weight_bases.bits)
            record["shape"] = node.weights.shape
        elif field.name == "least":
            record["some_least"] = value is not None
            if value is not None:
                tensors[name] = value.astype(np.uint8)
        elif isinstance(value, np.ndarray):
            tensors[name] = value if value.dtype == np.uint8 else smallest(value)
        else:
            record[field.name] = dataclasses.asdict(value) if isinstance(value, Bases | ScaleForm) else value
    return record


# -- reading ------------------------------------------------------------------------------------------------


def graph(raw: dict[str, Any], tensors: Tensors) -> Graph:
    """The graph of a document and its tensors.

    Raises
    ------
    InputError : a rule of the document, of a node or of the graph is broken; the message names it
    """
    listed = raw.get("nodes")
    for index, node in enumerate(listed if isinstance(listed, list) else ()):
        kind = node.get("kind") if isinstance(node, dict) else node
        if not isinstance(kind, str) or kind not in KINDS:
            where = f"description: nodes[{index}].kind"
            raise InputError(f"{where}: expected one of {', '.join(KINDS)}, found {shown(kind)}")
    kinds = {node["kind"] for node in listed} if isinstance(listed, list) else set()
    document = validate(_document(kinds), raw, "description")
    weights = 0
    for record in document.nodes:
        if isinstance(record, ConvRecord):
            weights = limits.check_weights(record.name, record.shape, weights)
    known: set[str] = set()
    nodes = [_node(record, tensors, known) for record in document.nodes]
    check_known(tensors, known)
    made = Graph(
        name=document.name, input=Codes(document.input.bases.bases, document.input.shape),
        signed=document.input.signed, nodes=tuple(nodes), classes=document.classes, training=document.training,
    )  # fmt: skip
    check_digest(made.digest, document.digest)
    return made


def _node(record: Any, tensors: Tensors, known: set[str]) -> Node:
    """The node of a record; the names of its tensors are added to ``known``."""
    fields: dict[str, Any] = {}
    for name in type(record).model_fields:
        value = getattr(record, name)
        if isinstance(value, BasesRecord):
            value = value.bases
        elif isinstance(value, ScaleRecord):
            value = value.form
        fields[name] = value
    kind = KINDS[fields.pop("kind")]
    for field in record.tensors:
        fields[field] = _tensor(tensors, f"{record.name}.{field}", "u" if field == "entries" else "i", known)
    if isinstance(record, ConvRecord):
        name, shape = f"{record.name}.weights", fields.pop("shape")
        fields["weights"] = unpack(tensors, name, shape, record.weight_bases.bases.bits)
        known.add(name)
    if fields.pop("some_least", False):
        flags = _tensor(tensors, f"{record.name}.least", "u", known)
        if flags.size and flags.max() > 1:
            raise InputError(f"{record.name}.least: expected 0 or 1 per channel, found {int(flags.max())}")
        fields["least"] = flags.astype(bool)
    return kind(**fields)


def _tensor(tensors: Tensors, name: str, kind: str, known: set[str]) -> Any:
    """The tensor of that name, of kind u (unsigned) or i (signed); the node checks its shape."""
    if name not in tensors:
        raise InputError(f"{name}: expected a tensor, found none")
    known.add(name)
    if tensors[name].dtype.kind != kind:
        signed = "signed" if kind == "i" else "unsigned"
        raise InputError(f"{name}: expected {signed} integers, found {tensors[name].dtype}")
    return tensors[name]
