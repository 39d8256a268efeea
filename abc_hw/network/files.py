"""The network file: one ``.safetensors`` file of integers between training and hardware.

Tensors, for each layer, by name::

    conv1.weights      uint8 [bytes], the codes packed to ceil(log2(levels)) bits each, lowest bit first,
                       in the order [C_out, kernel height, kernel width, C_in]
    conv1.alpha        [C_out, M]           alpha, beta, thresholds and bias are stored in the
    conv1.beta         [N]                  smallest of int8, int16, int32 and int64 that holds them
    conv1.thresholds   [C_out, levels - 1]  in every layer but the classifier
    conv1.bias         [C_out]              in the classifier

Everything else is one JSON document (:class:`Document`), in the container of :mod:`abc_hw.network.container`. That
is version 1, a chain; a graph has version 2 (:mod:`abc_hw.network.graph_files`), and both are read here.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ..errors import InputError
from ..reading import read
from ..validation import validate
from ..writing import write
from . import graph_files, limits
from .bases import MAX_BASES
from .container import (
    FORMAT,
    BasesRecord,
    Integer,
    Record,
    ScaleRecord,
    Tensors,
    check_digest,
    check_known,
    checksum,
    json_values,
    pack,
    seal,
    smallest,
    take,
    unpack,
    unseal,
)  # fmt: skip
from .graph import Graph, chain_of
from .limits import Name, Side
from .spec import Layer, Network


class LayerRecord(Record):
    """What a layer is besides its tensors; fields as in :class:`abc_hw.network.Layer`.

    ``levels`` is how many codes the layer hands on, null in the classifier.
    """

    name: Name
    in_shape: tuple[Side, Side, Side]
    out_channels: Side
    kernel: tuple[Side, Side]
    stride: Integer
    padding: Integer
    pool: Integer
    weight_bases: BasesRecord
    input_bases: BasesRecord
    alpha_scale: ScaleRecord
    beta_scale: ScaleRecord
    levels: Annotated[int, Field(ge=2, le=1 << MAX_BASES, strict=True)] | None


class Document(Record):
    """The JSON document of a chain's file.

    ``digest`` is :attr:`abc_hw.network.Network.digest`; ``checksum`` is SHA-256 over this document without
    the checksum and over all tensors.
    """

    format: Literal["abc-hw network"]
    format_version: Literal[1]
    name: Name
    classes: Annotated[tuple[Name, ...], Field(max_length=limits.MAX_SIDE)]
    training: dict[str, Any]
    layers: Annotated[tuple[LayerRecord, ...], Field(max_length=limits.MAX_LAYERS)]
    digest: Name
    checksum: Name


# -- writing ------------------------------------------------------------------------------------------------


def save(network: Network | Graph, path: str | Path) -> None:
    """Write a chain (version 1) or a graph (version 2); equal networks give equal bytes.

    Raises
    ------
    InputError : the folder cannot be written (nothing is left behind then), or ``training`` is not JSON
    """
    try:
        data = to_bytes(network)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    write(path, data)


def to_bytes(network: Network | Graph) -> bytes:
    """The bytes of a network's file.

    Raises
    ------
    InputError : ``training`` holds something that JSON does not
    """
    if isinstance(network, Graph):
        return graph_files.to_bytes(network)
    tensors: Tensors = {}
    for layer in network.layers:
        tensors[f"{layer.name}.weights"] = pack(layer.weights, layer.weight_bases.bits)
        for field in ("alpha", "beta", "thresholds", "bias"):
            if (values := getattr(layer, field)) is not None:
                tensors[f"{layer.name}.{field}"] = smallest(values)
    document: dict[str, Any] = {
        "format": FORMAT,
        "format_version": 1,
        "name": network.name,
        "classes": network.classes,
        "training": json_values(network.training),
        "layers": [_record(layer) for layer in network.layers],
        "digest": network.digest,
    }
    return seal(document, tensors)


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


# -- reading ------------------------------------------------------------------------------------------------


def load(path: str | Path) -> Network:
    """Read a network that is a chain of layers, of either version.

    Raises
    ------
    InputError : as :func:`load_any`; a graph that is no chain (:func:`abc_hw.network.chain_of`)
    """
    network = load_any(path)
    if isinstance(network, Network):
        return network
    try:
        return chain_of(network)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def load_any(path: str | Path) -> Network | Graph:
    """Read a network: a chain from version 1 of the file, a graph from version 2.

    Raises
    ------
    InputError : not a whole, unedited network file of these formats; one line with file, tensor or field, what
        was expected and what was found
    """
    return from_bytes(read(path, "a network file", limits.MAX_FILE), str(path))


def from_bytes(data: bytes, where: str) -> Network | Graph:
    """The network in a file's bytes; ``where`` is the name that messages give them.

    Raises
    ------
    InputError : as :func:`load_any`
    """
    try:
        raw, tensors = unseal(data)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    sealed = {key: value for key, value in raw.items() if key != "checksum"}
    edited = raw.get("checksum") != checksum(sealed, tensors)
    try:
        network = graph_files.graph(raw, tensors) if raw["format_version"] == 2 else _network(raw, tensors)
    except InputError as error:
        reason = " (the file was edited or damaged after it was written)" if edited else ""
        raise InputError(f"{where}: {error}{reason}") from None
    if edited:
        raise InputError(f"{where}: expected the checksum of its contents, found one of others: edited or damaged")
    return network


def _network(raw: dict[str, Any], tensors: Tensors) -> Network:
    document = validate(Document, raw, "description")
    weights = 0
    for record in document.layers:
        limits.check_shape(f"{record.name}.in_shape", record.in_shape)
        shape = (record.out_channels, *record.kernel, record.in_shape[2])
        weights = limits.check_weights(record.name, shape, weights)
    network = Network(
        name=document.name,
        layers=tuple(_layer(record, tensors) for record in document.layers),
        classes=document.classes,
        training=document.training,
    )
    known = {f"{layer.name}.{field}" for layer in network.layers for field in ("weights", "alpha", "beta")}
    known |= {f"{layer.name}.{'bias' if layer.is_classifier else 'thresholds'}" for layer in network.layers}
    check_known(tensors, known)
    check_digest(network.digest, document.digest)
    return network


def _layer(record: LayerRecord, tensors: Tensors) -> Layer:
    weight_bases, input_bases = record.weight_bases.bases, record.input_bases.bases
    shape = (record.out_channels, *record.kernel, record.in_shape[2])
    weights = unpack(tensors, f"{record.name}.weights", shape, weight_bases.bits)
    ends: dict[str, Any]
    if record.levels is None:
        ends = {"bias": take(tensors, f"{record.name}.bias", "i", (record.out_channels,))}
    else:
        thresholds = (record.out_channels, record.levels - 1)
        ends = {"thresholds": take(tensors, f"{record.name}.thresholds", "i", thresholds)}
    return Layer(
        name=record.name,
        in_shape=record.in_shape,
        kernel=record.kernel,
        stride=record.stride,
        padding=record.padding,
        weight_bases=weight_bases,
        input_bases=input_bases,
        weights=weights,
        alpha=take(tensors, f"{record.name}.alpha", "i", (record.out_channels, weight_bases.count)),
        alpha_scale=record.alpha_scale.form,
        beta=take(tensors, f"{record.name}.beta", "i", (input_bases.count,)),
        beta_scale=record.beta_scale.form,
        pool=record.pool,
        **ends,
    )
