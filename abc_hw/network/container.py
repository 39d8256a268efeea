"""The container of network files: a ``.safetensors`` file of integer tensors and one JSON document.

The document lies under the key ``abc_hw`` of the file's metadata. Its checksum covers the document and all
tensors, so that an edited or damaged file is told from a whole one.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..errors import InputError
from ..reading import check_depth
from ..validation import shown
from . import limits
from .bases import MAX_BASES, Bases, CodeArray, IntArray, ScaleForm, ScaleKind
from .codings import CODINGS

FORMAT = "abc-hw network"
VERSIONS = (1, 2)
"""1 is a chain of layers, 2 a graph of nodes."""

METADATA_KEY = "abc_hw"

MAX_AXES = 4
"""Of a tensor; weights have so many."""

INTEGERS: dict[str, Any] = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}
"""safetensors' names of the types that coefficients may have, smallest first."""

Integer = Annotated[int, Field(ge=-(1 << 62), le=1 << 62, strict=True)]
Tensors = dict[str, npt.NDArray[Any]]


class Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BasesRecord(Record):
    """:class:`abc_hw.network.Bases`."""

    kind: str
    count: Annotated[int, Field(ge=1, le=MAX_BASES, strict=True)]

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in CODINGS:
            raise ValueError(" or ".join(map(repr, CODINGS)))
        return kind

    @property
    def bases(self) -> Bases:
        return Bases(kind=self.kind, count=self.count)


class ScaleRecord(Record):
    """:class:`abc_hw.network.ScaleForm`."""

    kind: ScaleKind
    bits: Annotated[int, Field(ge=1, le=16, strict=True)]
    terms: Annotated[int, Field(ge=1, le=4, strict=True)]

    @property
    def form(self) -> ScaleForm:
        return ScaleForm(kind=self.kind, bits=self.bits, terms=self.terms)


# -- writing ------------------------------------------------------------------------------------------------


def seal(document: Mapping[str, Any], tensors: Tensors) -> bytes:
    """The bytes of a file: the document with its checksum, and the tensors; equal ones give equal bytes."""
    sealed = {**document, "checksum": checksum(document, tensors)}
    return safetensors.numpy.save(tensors, {METADATA_KEY: json.dumps(sealed)})


def json_values(training: Mapping[str, Any]) -> Any:
    """What is known of a training, as JSON holds it; InputError if it does not."""
    try:
        return json.loads(json.dumps(dict(training), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"training: expected JSON values, found one that is not ({error})") from None


def pack(codes: CodeArray, bits: int) -> CodeArray:
    """Codes of ``bits`` bits one after the other, lowest bit first, the last byte filled up with 0."""
    return np.packbits((codes.reshape(-1, 1) >> np.arange(bits)) & 1, bitorder="little")


def smallest(values: IntArray) -> npt.NDArray[Any]:
    """The values in the smallest signed type that holds them."""
    for kind in INTEGERS.values():
        holds = np.iinfo(kind)
        if holds.min <= values.min() and values.max() <= holds.max:
            break
    return values.astype(kind, order="C")  # safetensors writes memory as it lies


def checksum(document: Mapping[str, Any], tensors: Tensors) -> str:
    """SHA-256 over a document and its tensors."""
    sha = hashlib.sha256(json.dumps(dict(document), sort_keys=True).encode())
    for name, values in sorted(tensors.items()):
        sha.update(json.dumps([name, values.dtype.name, values.shape]).encode() + values.tobytes())
    return sha.hexdigest()


# -- reading ------------------------------------------------------------------------------------------------


def unseal(data: bytes) -> tuple[dict[str, Any], Tensors]:
    """The JSON document and the tensors, before anything is believed of them but the format and its version.

    Raises
    ------
    InputError : no network file of this program, or of a version to come
    """
    header_end = 8 + int.from_bytes(data[:8], "little")
    if 8 + limits.MAX_HEADER < header_end <= len(data):
        expected = f"a whole .safetensors file with a header of at most {limits.MAX_HEADER} bytes"
        raise InputError(f"expected {expected}, found one of {header_end - 8}")
    try:
        entries = safetensors.deserialize(data)
        text = (json.loads(data[8:header_end]).get("__metadata__") or {}).get(METADATA_KEY)
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()).removeprefix("Error while deserializing: ")
        raise InputError(f"expected a whole .safetensors file, found a cut or foreign one ({reason})") from None
    if text is None:
        raise InputError(f"expected metadata {METADATA_KEY}, found none: no network of this program")
    try:
        document = json.loads(text, parse_constant=_no_constant)
        check_depth(document)
    except InputError as error:
        raise InputError(f"metadata {METADATA_KEY}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"metadata {METADATA_KEY}: expected JSON, found {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"metadata {METADATA_KEY}: expected format {FORMAT!r}, found {shown(document)}")
    version = document.get("format_version")
    if type(version) is not int or version not in VERSIONS:
        newer = "; it is from a newer abc-hw" if type(version) is int and version > max(VERSIONS) else ""
        expected = f"{min(VERSIONS)} to {max(VERSIONS)}"
        raise InputError(f"format_version: expected {expected}, found {shown(version)}{newer}")
    return document, {name: _tensor(name, entry) for name, entry in entries}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON number")


def _tensor(name: str, entry: dict[str, Any]) -> npt.NDArray[Any]:
    kinds = {"U8": np.uint8, **INTEGERS}
    if entry["dtype"] not in kinds:
        raise InputError(f"{name}: expected integers of type {', '.join(kinds)}, found {entry['dtype']}")
    if len(entry["shape"]) > MAX_AXES:
        raise InputError(f"{name}: expected at most {MAX_AXES} axes, found {len(entry['shape'])}")
    kind = np.dtype(kinds[entry["dtype"]])
    return np.frombuffer(entry["data"], kind.newbyteorder("<")).reshape(entry["shape"]).astype(kind)


def take(tensors: Tensors, name: str, kind: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The tensor of that name, of kind u (unsigned) or i (signed) and of that shape."""
    if name not in tensors:
        raise InputError(f"{name}: expected a tensor of shape {shape}, found none")
    tensor = tensors[name]
    if tensor.dtype.kind != kind:
        signed = "signed" if kind == "i" else "unsigned"
        raise InputError(f"{name}: expected {signed} integers, found {tensor.dtype}")
    if tensor.shape != shape:
        raise InputError(f"{name}: expected shape {shape}, found {tensor.shape}")
    return tensor


def unpack(tensors: Tensors, name: str, shape: tuple[int, ...], bits: int) -> CodeArray:
    """Codes of ``bits`` bits that :func:`pack` wrote, in their shape."""
    count = math.prod(shape)
    stream = np.unpackbits(take(tensors, name, "u", (-(-count * bits // 8),)), bitorder="little")
    if stream[count * bits :].any():
        raise InputError(f"{name}: expected bits of 0 behind the last code, found 1")
    codes = np.packbits(stream[: count * bits].reshape(count, bits), axis=1, bitorder="little")
    return codes.reshape(shape)


def check_known(tensors: Tensors, known: set[str]) -> None:
    """InputError for a tensor of another name."""
    for name in sorted(set(tensors) - known):
        raise InputError(f"{name}: expected no such tensor, found one of shape {tensors[name].shape}")


def check_digest(expected: str, found: str) -> None:
    """InputError unless the digest in the document is that of the network."""
    if expected != found:
        raise InputError(f"digest: expected {expected}, found {shown(found)}")
