"""``info`` of files that are no networks of this program: what they are, and which command takes them."""

from __future__ import annotations

import collections
from pathlib import Path
from typing import Any

from abc_hw.errors import InputError
from abc_hw.reading import read

from .console import need, percent, record, say

MAX_ONNX = 1 << 31
"""Bytes of an ONNX file, which its own format limits to so many."""


def tell_other(path: Path) -> bool:
    """Tell what a file is that is an ONNX file, a checkpoint or a manifest by its name; False for any other name.

    Raises
    ------
    InputError : the name says one of them, and the file is not
    """
    tellers = {".onnx": _onnx, ".ckpt": _checkpoint, ".json": _manifest}
    teller = tellers.get(path.suffix.lower())
    if teller is None:
        return False
    kind, facts, following = teller(path)
    record(file=path, kind=kind, **facts, next=following)
    say(f"{path}: {kind}")
    for key, value in facts.items():
        say(f"{key + ':':<17} {value}")
    for purpose, line in following.items():
        say(f"{purpose + ':':<17} {line}")
    return True


Told = tuple[str, dict[str, Any], dict[str, str]]
"""What a file is, facts of it, and commands that take it, by what they do."""


def _onnx(path: Path) -> Told:
    import onnx

    try:
        model = onnx.load_model_from_string(read(path, "an ONNX file", MAX_ONNX))
    except InputError:
        raise
    except Exception as error:  # protobuf's own errors share no base class
        raise InputError(f"{path}: expected an ONNX file, found {' '.join(str(error).split())}") from None
    if not model.graph.node:
        raise InputError(f"{path}: expected an ONNX file, found one without operations")
    operators = collections.Counter(f"{node.domain}.{node.op_type}".lstrip(".") for node in model.graph.node)
    given = {tensor.name for tensor in model.graph.initializer}
    writer = " ".join(filter(None, [model.producer_name, model.producer_version]))
    facts = {
        "written by": writer or "a program that does not say which",
        "input": ", ".join(_tensor(value) for value in model.graph.input if value.name not in given),
        "output": ", ".join(map(_tensor, model.graph.output)),
        "operations": ", ".join(f"{count} {name}" for name, count in sorted(operators.items())),
    }
    if model.producer_name == "abc-hw":
        line = f"abc-hw evaluate network.safetensors --onnx {path}"
        return "a network that this program has exported", facts, {"compare it": line}
    kind = "an ONNX model of another program"
    return kind, facts, {"make it a network": f"abc-hw import {path} -o network.safetensors --report"}


def _tensor(value: Any) -> str:
    shape = value.type.tensor_type.shape.dim
    return f"{value.name} [{', '.join(dim.dim_param or str(dim.dim_value) for dim in shape)}]"


def _checkpoint(path: Path) -> Told:
    need("train", "torch", "lightning")
    from abc_hw.training.checkpoints import read_facts
    from abc_hw.training.recipes import OWN

    said = read_facts(path)
    facts = {
        "data set": said.config.dataset, "model": said.config.model, "M, N": f"{said.config.M}, {said.config.N}",
        "images": " x ".join(map(str, said.shape)), "classes": ", ".join(said.classes),
        **{f"{name} accuracy": percent(share) for name, share in said.accuracy.items()},
        **{part: ", ".join(f"{key} {value}" for key, value in told.items()) for part, told in said.origin.items()},
    }
    if said.config.model == OWN:
        line = f'abc_hw.load_checkpoint("{path}", model=...), in Python, with the module that was trained'
        return "a checkpoint of a module of one's own", facts, {"read it": line}
    if said.resumable:
        line = f"abc-hw train --resume --out {path.parent}"
        return "a checkpoint of an epoch", facts, {"go on": line}
    line = f"abc-hw export {path} -o network.safetensors"
    return "a checkpoint of a finished training", facts, {"make it a network": line}


def _manifest(path: Path) -> Told:
    from abc_hw.rtl_gen.emit import manifest

    told = manifest.read(path)
    facts: dict[str, Any] = {"module": told.module, "part": told.part}
    if told.network is not None:
        facts |= {"network": told.network.name, "digest": told.network.digest}
    if told.cycles_per_image is not None:
        facts["cycles per image"] = told.cycles_per_image
    return "the manifest of a generated module", facts, {"simulate it": f"abc-hw simulate {path}"}
