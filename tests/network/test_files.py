"""The network file: what is written comes back, and whatever else there may be is refused on one line."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from random_networks import random_network
from test_network import make_classifier, make_layer, make_network

from abc_hw.errors import InputError
from abc_hw.network import Network, ScaleForm, container, files

EDITED = " (the file was edited or damaged after it was written)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.safetensors"


def parts(data: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """JSON document and tensors of a file."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return json.loads(header["__metadata__"]["abc_hw"]), dict(safetensors.numpy.load(data))


def assemble(document: Any, tensors: dict[str, np.ndarray]) -> bytes:
    return safetensors.numpy.save(tensors, {"abc_hw": json.dumps(document)})


def assert_same(one: Network, other: Network) -> None:
    """Equal in every field of every layer, not in the digest alone."""
    assert (one.name, one.classes, one.training) == (other.name, other.classes, other.training)
    for before, after in zip(one.layers, other.layers, strict=True):
        for field in dataclasses.fields(before):
            left, right = getattr(before, field.name), getattr(after, field.name)
            if isinstance(left, np.ndarray):
                assert left.dtype == right.dtype
                assert np.array_equal(left, right)
            else:
                assert left == right
    assert one.digest == other.digest


# -- what is written comes back -----------------------------------------------------------------------------


@given(st.integers(0, 2**32))
def test_round_trip(seed: int) -> None:
    network = random_network(np.random.default_rng(seed))
    data = files.to_bytes(network)
    read = files.from_bytes(data, "net")
    assert_same(network, read)
    assert files.to_bytes(read) == data


def test_file_round_trip(path: Path) -> None:
    network = make_network(training={"accuracy": 0.989, "epochs": 3, "data": {"name": "digits"}})
    files.save(network, path)
    assert_same(network, files.load(path))
    assert os.listdir(path.parent) == [path.name]
    first = path.read_bytes()
    files.save(network, str(path))
    assert path.read_bytes() == first


def test_memory_order_changes_no_byte() -> None:
    network = make_network()
    layer = network.layers[0]
    turned = dataclasses.replace(
        layer, **{field: np.asfortranarray(getattr(layer, field)) for field in ("weights", "alpha", "thresholds")}
    )
    again = dataclasses.replace(network, layers=(turned, network.layers[1]))
    assert files.to_bytes(again) == files.to_bytes(network)


def test_weights_take_the_bits_of_their_levels() -> None:
    _, tensors = parts(files.to_bytes(make_network()))
    assert tensors["conv1.weights"].dtype == np.uint8
    assert tensors["conv1.weights"].shape == (-(-54 * 2 // 8),)  # 3 levels: 2 bits each
    assert tensors["dense2.weights"].shape == (24 // 8,)  # 2 levels: 1 bit each
    codes = make_layer().weights.reshape(-1)
    stream = int.from_bytes(tensors["conv1.weights"].tobytes(), "little")
    assert stream == sum(int(code) << 2 * index for index, code in enumerate(codes))


@pytest.mark.parametrize(("bits", "kind"), [(8, np.int8), (16, np.int16), (32, np.int32)])
def test_numbers_take_the_smallest_type(bits: int, kind: type) -> None:
    wider = np.dtype(f"int{2 * bits}")
    limit = 1 << (bits - 1)
    for value, expected in ((limit - 1, kind), (-limit, kind), (limit, wider), (-limit - 1, wider)):
        network = make_network(layers=(make_layer(), make_classifier(bias=np.array([0, value]))))
        _, tensors = parts(files.to_bytes(network))
        assert tensors["dense2.bias"].dtype == expected


# -- what cannot be written ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, np.float32(1)])
def test_training_that_is_no_json_is_refused(path: Path, value: Any) -> None:
    message = rf"^{re.escape(str(path))}: training: expected JSON values, found one that is not \(.+\)$"
    with pytest.raises(InputError, match=message):
        files.save(make_network(training={"accuracy": value}), path)
    assert not os.listdir(path.parent)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none" / "net.safetensors"
    message = f"{path}: expected a file that can be written, found No such file or directory"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        files.save(make_network(), path)


def test_folder_in_the_way_is_refused_and_nothing_left_behind(path: Path) -> None:
    path.mkdir()
    message = f"{path}: expected a file that can be written, found Is a directory"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        files.save(make_network(), path)
    assert os.listdir(path.parent) == [path.name]


def test_failing_write_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.save(make_network(), path)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        os.ftruncate(descriptor, 10)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    message = f"{path}: expected a file that can be written, found No space left on device"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        files.save(make_network(name="other"), path)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


# -- what cannot be read ------------------------------------------------------------------------------------


def refuse(data: bytes, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        files.from_bytes(data, "net")


def test_missing_file_is_refused(path: Path) -> None:
    message = f"{path}: expected a network file, found No such file or directory"
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        files.load(path)


def test_messages_name_the_file(path: Path) -> None:
    path.write_bytes(b"GIF89a" * 20)
    message = f"{path}: expected a whole .safetensors file, found a cut or foreign one"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        files.load(path)


@pytest.mark.parametrize("data", [b"", b"\0" * 7, b"\x89PNG\r\n\x1a\n" * 9, b"\xff" * 100, b"PK\3\4" * 20])
def test_foreign_files_are_refused(data: bytes) -> None:
    opening = re.escape("net: expected a whole .safetensors file, found a cut or foreign one (")
    with pytest.raises(InputError, match=rf"^{opening}[^\n]+\)$"):
        files.from_bytes(data, "net")


def test_every_truncation_is_refused() -> None:
    data = files.to_bytes(make_network())
    for length in range(len(data)):
        with pytest.raises(InputError, match="cut or foreign one"):
            files.from_bytes(data[:length], "net")


def test_another_programs_safetensors_is_refused() -> None:
    tensors = {"linear.weight": np.zeros((2, 2), np.float32)}
    expected = "net: expected metadata abc_hw, found none: no network of this program"
    refuse(safetensors.numpy.save(tensors), expected)
    refuse(safetensors.numpy.save(tensors, {"format": "pt"}), expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "expected JSON, found Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ('{"a": NaN}', "expected JSON, found NaN, which is no JSON number"),
        ("[" * 100_000, "expected JSON, found maximum recursion depth exceeded"),
        ("7", "expected format 'abc-hw network', found 7"),
        ('{"format": "x"}', "expected format 'abc-hw network', found {'format': 'x'}"),
    ],
)
def test_metadata_that_is_no_description_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(f'net: metadata abc_hw: {message}')}"):
        files.from_bytes(safetensors.numpy.save({"a": np.zeros(1)}, {"abc_hw": text}), "net")


@pytest.mark.parametrize(
    ("version", "message"),
    [(3, "found 3; it is from a newer abc-hw"), (0, "found 0"), (None, "found None"), ("1", "found '1'")],
)
def test_other_versions_are_refused(version: Any, message: str) -> None:
    document, tensors = parts(files.to_bytes(make_network()))
    refuse(
        assemble(document | {"format_version": version}, tensors),
        f"net: format_version: expected 1 to 2, {message}",
    )


TENSOR_EDITS: list[tuple[str, Any, str]] = [
    ("conv1.alpha", None, "conv1.alpha: expected a tensor of shape (3, 2), found none" + EDITED),
    ("conv1.weights", None, "conv1.weights: expected a tensor of shape (14,), found none" + EDITED),
    ("dense2.bias", None, "dense2.bias: expected a tensor of shape (2,), found none" + EDITED),
    (
        "conv9.alpha",
        np.zeros(2, np.int8),
        "conv9.alpha: expected no such tensor, found one of shape (2,)" + EDITED,
    ),
    ("conv1.bias", np.zeros(3, np.int8), "conv1.bias: expected no such tensor, found one of shape (3,)" + EDITED),
    ("conv1.beta", np.zeros(3, np.int8), "conv1.beta: expected shape (2,), found (3,)" + EDITED),
    ("conv1.weights", np.zeros(13, np.uint8), "conv1.weights: expected shape (14,), found (13,)" + EDITED),
    ("conv1.weights", np.zeros(14, np.int8), "conv1.weights: expected unsigned integers, found int8" + EDITED),
    ("conv1.beta", np.zeros(2, np.uint8), "conv1.beta: expected signed integers, found uint8" + EDITED),
    (
        "conv1.weights",
        np.full(14, np.nan, np.float32),
        "conv1.weights: expected integers of type U8, I8, I16, I32, I64, found F32",
    ),
    (
        "conv1.thresholds",
        np.full((3, 2), np.nan),
        "conv1.thresholds: expected integers of type U8, I8, I16, I32, I64, found F64",
    ),
    (
        "conv1.weights",
        np.full(14, 255, np.uint8),
        "conv1.weights: expected bits of 0 behind the last code, found 1",
    ),
    (
        "conv1.weights",
        np.array([255] * 13 + [15], np.uint8),
        "conv1.weights: expected codes below 3, found 3" + EDITED,
    ),
    (
        "conv1.alpha",
        np.full((3, 2), 32, np.int8),
        "conv1.alpha: expected values of form fixed with 6 bits, found 32" + EDITED,
    ),
    (
        "conv1.thresholds",
        np.array([[0, 1], [2, 1], [0, 0]], np.int8),
        "conv1.thresholds: expected ascending values in each channel, found [2, 1] in channel 1" + EDITED,
    ),
    (
        "conv1.beta",
        np.array([3, 3], np.int8),
        "digest: expected ",
    ),
]


@pytest.mark.parametrize(
    ("name", "values", "message"), TENSOR_EDITS, ids=[text[:50] for _, _, text in TENSOR_EDITS]
)
def test_edited_tensors_are_refused(name: str, values: Any, message: str) -> None:
    document, tensors = parts(files.to_bytes(make_network()))
    tensors.pop(name, None)
    if values is not None:
        tensors[name] = values
    with pytest.raises(InputError, match=f"^net: {re.escape(message)}") as caught:
        files.from_bytes(assemble(document, tensors), "net")
    assert "\n" not in str(caught.value)


DOCUMENT_EDITS: list[tuple[tuple[Any, ...], Any, str]] = [
    (("layers", 0, "kernel"), [3], "description: layers[0].kernel[1]: expected a value, found none"),
    (("layers", 0, "stride"), "1", "description: layers[0].stride: expected a valid integer, found '1'"),
    (("layers", 0, "stride"), 1.5, "description: layers[0].stride: expected a valid integer, found 1.5"),
    (("layers", 0, "extra"), 1, "description: layers[0].extra: expected no such field, found 1"),
    (
        ("layers", 0, "weight_bases", "count"),
        0,
        "description: layers[0].weight_bases.count: expected greater than or equal to 1, found 0",
    ),
    (
        ("layers", 0, "weight_bases", "kind"),
        "gray",
        "description: layers[0].weight_bases.kind: expected 'thermometer' or 'planes', found 'gray'",
    ),
    (
        ("layers", 0, "beta_scale", "bits"),
        99,
        "description: layers[0].beta_scale.bits: expected less than or equal to 16, found 99",
    ),
    (("layers", 0, "out_channels"), 4, "conv1.weights: expected shape (18,), found (14,)"),
    (("layers", 0, "levels"), 4, "conv1.thresholds: expected shape (3, 3), found (3, 2)"),
    (("layers", 0, "levels"), None, "conv1.bias: expected a tensor of shape (3,), found none"),
    (("layers", 0, "name"), "other", "other.weights: expected a tensor of shape (14,), found none"),
    (("layers", 1, "in_shape"), [2, 2, 4], "dense2.weights: expected shape (4,), found (3,)"),
    (("layers",), [], "layers: expected at least one layer, found 0"),
    (("classes",), ["a"], "classes: expected 2 names, one per output, found 1"),
    (("digest",), "0" * 64, "digest: expected "),
]


@pytest.mark.parametrize(
    ("place", "value", "message"), DOCUMENT_EDITS, ids=[text[:60] for _, _, text in DOCUMENT_EDITS]
)
def test_edited_descriptions_are_refused(place: tuple[Any, ...], value: Any, message: str) -> None:
    document, tensors = parts(files.to_bytes(make_network()))
    owner = document
    for step in place[:-1]:
        owner = owner[step]
    owner[place[-1]] = value
    with pytest.raises(InputError, match=f"^net: {re.escape(message)}") as caught:
        files.from_bytes(assemble(document, tensors), "net")
    assert str(caught.value).endswith(EDITED)


@pytest.mark.parametrize(
    ("field", "value"), [("training", {"accuracy": 1.0}), ("classes", ["b", "a"]), ("name", "other")]
)
def test_edits_that_change_no_bit_are_refused_too(field: str, value: Any) -> None:
    document, tensors = parts(files.to_bytes(make_network()))
    document[field] = value
    refuse(
        assemble(document, tensors),
        "net: expected the checksum of its contents, found one of others: edited or damaged",
    )


@given(st.data())
def test_damaged_bytes_are_refused_or_harmless(data: st.DataObject) -> None:
    network = make_network()
    damaged = bytearray(files.to_bytes(network))
    for _ in range(data.draw(st.integers(1, 3))):
        index = data.draw(st.integers(0, len(damaged) - 1))
        damaged[index] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        del damaged[data.draw(st.integers(0, len(damaged))) :]
    _read_or_refuse(bytes(damaged), network)


def _read_or_refuse(data: bytes, network: Network) -> None:
    try:
        read = files.from_bytes(data, "net")
    except InputError as error:
        assert str(error).startswith("net: ")  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert_same(read, network)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
def test_forged_descriptions_are_refused_or_valid(data: st.DataObject) -> None:
    """Any value anywhere in the document, with a checksum that fits: never another exception."""
    document, tensors = parts(files.to_bytes(make_network()))
    forged = copy.deepcopy(document)
    owner: Any = forged
    while True:
        keys = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
        key = data.draw(st.sampled_from(keys))
        if isinstance(owner[key], dict | list) and owner[key] and data.draw(st.booleans()):
            owner = owner[key]
            continue
        owner[key] = data.draw(JSON_VALUES | st.integers(-2, 9))
        break
    if "checksum" in forged:
        sealed = {name: value for name, value in forged.items() if name != "checksum"}
        forged["checksum"] = container.checksum(sealed, tensors)
    try:
        read = files.from_bytes(assemble(forged, tensors), "net")
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert read.digest == make_network().digest


def test_scale_forms_come_back_as_they_were() -> None:
    for form in (ScaleForm(kind="fixed", bits=7), ScaleForm(kind="csd", bits=5, terms=3), ScaleForm(kind="pow2")):
        layer = make_layer(alpha=np.ones((3, 2), int), alpha_scale=form)
        network = make_network(layers=(layer, make_classifier()))
        assert files.from_bytes(files.to_bytes(network), "net").layers[0].alpha_scale == form
