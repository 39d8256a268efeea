"""The network file: one ``.safetensors`` file of integers between training and hardware.

Tensors, for each layer, by name::

    conv1.weights      uint8 [bytes], the codes packed to ceil(log2(levels)) bits each, lowest bit first,
                       in the order [C_out, kernel height, kernel width, C_in]
    conv1.alpha        [C_out, M]           alpha, beta, thresholds and bias are stored in the
    conv1.beta         [N]                  smallest of int8, int16, int32 and int64 that holds them
    conv1.thresholds   [C_out, levels - 1]  in every layer but the classifier
    conv1.bias         [C_out]              in the classifier

Everything else is one JSON document (:class:`Document`) under the key ``abc_hw`` of the file's metadata. Its
checksum covers the document and all tensors, so that an edited or damaged file is told from a whole one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy
from pydantic import BaseModel, ConfigDict, Field

from ..errors import InputError
from ..validation import shown, validate
from ..writing import write
from . import MAX_BASES, Bases, BasesKind, CodeArray, IntArray, Layer, Network, ScaleForm, ScaleKind

FORMAT = "abc-hw network"
FORMAT_VERSION = 1
METADATA_KEY = "abc_hw"

INTEGERS: dict[str, Any] = {"I8": np.int8, "I16": np.int16, "I32": np.int32, "I64": np.int64}
"""safetensors' names of the types that coefficients may have, smallest first."""

Integer = Annotated[int, Field(strict=True)]
Positive = Annotated[int, Field(ge=1, strict=True)]
Name = Annotated[str, Field(strict=True)]
Tensors = dict[str, npt.NDArray[Any]]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BasesRecord(_Record):
    """:class:`abc_hw.network.Bases`."""

    kind: BasesKind
    count: Annotated[int, Field(ge=1, le=MAX_BASES, strict=True)]


class ScaleRecord(_Record):
    """:class:`abc_hw.network.ScaleForm`."""

    kind: ScaleKind
    bits: Annotated[int, Field(ge=1, le=16, strict=True)]
    terms: Annotated[int, Field(ge=1, le=4, strict=True)]


class LayerRecord(_Record):
    """What a layer is besides its tensors; fields as in :class:`abc_hw.network.Layer`.

    ``levels`` is how many codes the layer hands on, null in the classifier.
    """

    name: Name
    in_shape: tuple[Positive, Positive, Positive]
    out_channels: Positive
    kernel: tuple[Positive, Positive]
    stride: Integer
    padding: Integer
    pool: Integer
    weight_bases: BasesRecord
    input_bases: BasesRecord
    alpha_scale: ScaleRecord
    beta_scale: ScaleRecord
    levels: Annotated[int, Field(ge=2, strict=True)] | None


class Document(_Record):
    """The JSON document of a file.

    ``digest`` is :attr:`abc_hw.network.Network.digest`; ``checksum`` is SHA-256 over this document without
    the checksum and over all tensors.
    """

    format: Literal["abc-hw network"]
    format_version: Literal[1]
    name: Name
    classes: tuple[Name, ...]
    training: dict[str, Any]
    layers: tuple[LayerRecord, ...]
    digest: Name
    checksum: Name


# -- writing ------------------------------------------------------------------------------------------------


def save(network: Network, path: str | Path) -> None:
    """Write a network; equal networks give equal bytes.

    Raises
    ------
    InputError : the folder cannot be written (nothing is left behind then), or ``training`` is not JSON
    """
    try:
        data = to_bytes(network)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    write(path, data)


def to_bytes(network: Network) -> bytes:
    """The bytes of a network's file.

    Raises
    ------
    InputError : ``training`` holds something that JSON does not
    """
    tensors: Tensors = {}
    for layer in network.layers:
        tensors[f"{layer.name}.weights"] = _pack(layer.weights, layer.weight_bases.bits)
        for field in ("alpha", "beta", "thresholds", "bias"):
            if (values := getattr(layer, field)) is not None:
                tensors[f"{layer.name}.{field}"] = _smallest(values)
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": network.name,
        "classes": network.classes,
        "training": _json_values(network.training),
        "layers": [_record(layer) for layer in network.layers],
        "digest": network.digest,
    }
    document["checksum"] = _checksum(document, tensors)
    return safetensors.numpy.save(tensors, {METADATA_KEY: json.dumps(document)})


def _record(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "in_shape": layer.in_shape,
        "out_channels": layer.out_channels,
        "kernel": layer.kernel,
        "stride": layer.stride,
        "padding": layer.padding,
        "pool": layer.pool,
        "weight_bases": dataclasses.asdict(layer.weight_bases),
        "input_bases": dataclasses.asdict(layer.input_bases),
        "alpha_scale": dataclasses.asdict(layer.alpha_scale),
        "beta_scale": dataclasses.asdict(layer.beta_scale),
        "levels": None if layer.thresholds is None else layer.thresholds.shape[1] + 1,
    }


def _json_values(training: Mapping[str, Any]) -> Any:
    try:
        return json.loads(json.dumps(dict(training), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise InputError(f"training: expected JSON values, found one that is not ({error})") from None


def _pack(codes: CodeArray, bits: int) -> CodeArray:
    """Codes of ``bits`` bits one after the other, lowest bit first, the last byte filled up with 0."""
    return np.packbits((codes.reshape(-1, 1) >> np.arange(bits)) & 1, bitorder="little")


def _smallest(values: IntArray) -> npt.NDArray[Any]:
    for kind in INTEGERS.values():
        limits = np.iinfo(kind)
        if limits.min <= values.min() and values.max() <= limits.max:
            break
    return values.astype(kind, order="C")  # safetensors writes memory as it lies


def _checksum(document: dict[str, Any], tensors: Tensors) -> str:
    sha = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
    for name, values in sorted(tensors.items()):
        sha.update(json.dumps([name, values.dtype.name, values.shape]).encode() + values.tobytes())
    return sha.hexdigest()


# -- reading ------------------------------------------------------------------------------------------------


def load(path: str | Path) -> Network:
    """Read a network.

    Raises
    ------
    InputError : not a whole, unedited network file of this format; one line with file, tensor or field, what
        was expected and what was found
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{path}: expected a network file, found {error.strerror}") from None
    return from_bytes(data, str(path))


def from_bytes(data: bytes, where: str) -> Network:
    """The network in a file's bytes; ``where`` is the name that messages give them.

    Raises
    ------
    InputError : as :func:`load`
    """
    try:
        raw, tensors = _open(data)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    sealed = {key: value for key, value in raw.items() if key != "checksum"}
    edited = raw.get("checksum") != _checksum(sealed, tensors)
    try:
        network = _network(validate(Document, raw, "description"), tensors)
    except InputError as error:
        reason = " (the file was edited or damaged after it was written)" if edited else ""
        raise InputError(f"{where}: {error}{reason}") from None
    if edited:
        raise InputError(f"{where}: expected the checksum of its contents, found one of others: edited or damaged")
    return network


def _network(document: Document, tensors: Tensors) -> Network:
    network = Network(
        name=document.name,
        layers=tuple(_layer(record, tensors) for record in document.layers),
        classes=document.classes,
        training=document.training,
    )
    known = {f"{layer.name}.{field}" for layer in network.layers for field in ("weights", "alpha", "beta")}
    known |= {f"{layer.name}.{'bias' if layer.is_classifier else 'thresholds'}" for layer in network.layers}
    for name in sorted(set(tensors) - known):
        raise InputError(f"{name}: expected no such tensor, found one of shape {tensors[name].shape}")
    if network.digest != document.digest:
        raise InputError(f"digest: expected {network.digest}, found {shown(document.digest)}")
    return network


def _open(data: bytes) -> tuple[dict[str, Any], Tensors]:
    """The JSON document and the tensors, before anything is believed of them."""
    try:
        entries = safetensors.deserialize(data)
        header_end = 8 + int.from_bytes(data[:8], "little")
        text = json.loads(data[8:header_end]).get("__metadata__", {}).get(METADATA_KEY)
    except (safetensors.SafetensorError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split()).removeprefix("Error while deserializing: ")
        raise InputError(f"expected a whole .safetensors file, found a cut or foreign one ({reason})") from None
    if text is None:
        raise InputError(f"expected metadata {METADATA_KEY}, found none: no network of this program")
    try:
        document = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InputError(f"metadata {METADATA_KEY}: expected JSON, found {error}") from None
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"metadata {METADATA_KEY}: expected format {FORMAT!r}, found {shown(document)}")
    version = document.get("format_version")
    if version != FORMAT_VERSION:
        newer = "; it is from a newer abc-hw" if isinstance(version, int) and version > FORMAT_VERSION else ""
        raise InputError(f"format_version: expected {FORMAT_VERSION}, found {shown(version)}{newer}")
    return document, {name: _tensor(name, entry) for name, entry in entries}


def _no_constant(name: str) -> None:
    raise ValueError(f"{name}, which is no JSON number")


def _tensor(name: str, entry: dict[str, Any]) -> npt.NDArray[Any]:
    kinds = {"U8": np.uint8, **INTEGERS}
    if entry["dtype"] not in kinds:
        raise InputError(f"{name}: expected integers of type {', '.join(kinds)}, found {entry['dtype']}")
    kind = np.dtype(kinds[entry["dtype"]])
    return np.frombuffer(entry["data"], kind.newbyteorder("<")).reshape(entry["shape"]).astype(kind)


def _take(tensors: Tensors, name: str, kind: str, shape: tuple[int, ...]) -> npt.NDArray[Any]:
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


def _layer(record: LayerRecord, tensors: Tensors) -> Layer:
    weight_bases = Bases(**record.weight_bases.model_dump())
    input_bases = Bases(**record.input_bases.model_dump())
    shape = (record.out_channels, *record.kernel, record.in_shape[2])
    count, bits = math.prod(shape), weight_bases.bits
    name = f"{record.name}.weights"
    stream = np.unpackbits(_take(tensors, name, "u", (-(-count * bits // 8),)), bitorder="little")
    if stream[count * bits :].any():
        raise InputError(f"{name}: expected bits of 0 behind the last code, found 1")
    codes = np.packbits(stream[: count * bits].reshape(count, bits), axis=1, bitorder="little")
    ends: dict[str, Any]
    if record.levels is None:
        ends = {"bias": _take(tensors, f"{record.name}.bias", "i", (record.out_channels,))}
    else:
        thresholds = (record.out_channels, record.levels - 1)
        ends = {"thresholds": _take(tensors, f"{record.name}.thresholds", "i", thresholds)}
    return Layer(
        name=record.name,
        in_shape=record.in_shape,
        kernel=record.kernel,
        stride=record.stride,
        padding=record.padding,
        weight_bases=weight_bases,
        input_bases=input_bases,
        weights=codes.reshape(shape),
        alpha=_take(tensors, f"{record.name}.alpha", "i", (record.out_channels, weight_bases.count)),
        alpha_scale=ScaleForm(**record.alpha_scale.model_dump()),
        beta=_take(tensors, f"{record.name}.beta", "i", (input_bases.count,)),
        beta_scale=ScaleForm(**record.beta_scale.model_dump()),
        pool=record.pool,
        **ends,
    )
