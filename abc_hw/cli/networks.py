"""``info`` and ``evaluate``: what a network is, and how well it does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer

from abc_hw import sources
from abc_hw.data import Images
from abc_hw.errors import InputError
from abc_hw.network import Bases, Graph, IntArray, Layer, Network, ScaleForm
from abc_hw.reading import read

from .console import complain, need, percent, progress, record, say, show, table
from .graphs import node_facts, show_nodes
from .inputs import (
    Background,
    DataDir,
    Grey,
    ImagesFile,
    Invert,
    LabelColumn,
    Resize,
    SameDataset,
    Wanted,
)
from .others import MAX_ONNX, tell_other

NetworkFile = Annotated[Path, typer.Argument(help="A network file, zoo:NAME, example:NAME, or a TOML file.")]

ONNX_BATCH = 500
def info(network: NetworkFile) -> None:
    """Show the layers or nodes of a network: shapes, bases, coefficients, memory, operations, widths.

    Of a checkpoint, an ONNX file and the manifest of a generated module: what it is, and which command takes it.
    """
    if tell_other(network):
        return
    found = sources.load_any(network)
    record(
        name=found.name, input_shape=found.input_shape, classes=found.classes, digest=found.digest,
        training=found.training, xnors=found.binary_macs,
    )
    if isinstance(found, Graph):
        record(nodes=[node_facts(found, node) for node in found.nodes])
        show_nodes(found)
    else:
        record(constants_digest=found.constants_digest, layers=[_facts(layer) for layer in found.layers])
        _show_layers(found)
    about = {"classes": list(found.classes), **found.training, "digest": found.digest}
    for key, value in about.items():
        say(f"{key + ':':<17} {_plain(value)}")


def _show_layers(found: Network) -> None:
    shape = " x ".join(map(str, found.input_shape))
    shapes = table("layer", ">input", ">kernel", ">output", ">M", ">N", ">XNORs")
    numbers = table("layer", "alpha", "beta", ">weights", ">coefficients", ">accumulator")
    for layer in found.layers:
        shapes.add_row(*_shapes(layer))
        numbers.add_row(*_numbers(layer))
    shapes.add_section()
    shapes.add_row("all", "", "", "", "", "", f"{found.binary_macs:,}")
    numbers.add_section()
    weights = found.weight_bits
    coefficients = sum(coefficient_bits(layer) for layer in found.layers)
    numbers.add_row("all", "", "", f"{weights:,}", f"{coefficients:,}", "")
    show(f"{found.name}: {shape} pixels in, {len(found.classes)} classes out", shapes)
    show("In bits (coefficients: alpha, beta, thresholds, bias):", numbers)


def _facts(layer: Layer) -> dict[str, Any]:
    """What ``--json`` tells of a layer."""
    return {
        "name": layer.name, "in_shape": layer.in_shape, "kernel": layer.kernel, "stride": layer.stride,
        "padding": layer.padding, "pool": layer.pool, "out_shape": layer.out_shape, "M": layer.weight_bases,
        "N": layer.input_bases, "alpha": _form(layer.alpha_scale), "beta": _form(layer.beta_scale),
        "xnors": layer.binary_macs, "weight_bits": weight_bits(layer), "coefficient_bits": coefficient_bits(layer),
    }


def _shapes(layer: Layer) -> list[str]:
    kernel = "x".join(map(str, layer.kernel))
    if layer.stride > 1:
        kernel += f" /{layer.stride}"
    if layer.padding:
        kernel += f" +{layer.padding}"
    return [
        layer.name,
        "x".join(map(str, layer.in_shape)),
        kernel,
        "x".join(map(str, layer.out_shape)),
        _bases(layer.weight_bases),
        _bases(layer.input_bases),
        f"{layer.binary_macs:,}",
    ]


def _numbers(layer: Layer) -> list[str]:
    least, greatest = layer.acc_bounds
    return [
        layer.name,
        _form(layer.alpha_scale),
        _form(layer.beta_scale),
        f"{weight_bits(layer):,}",
        f"{coefficient_bits(layer):,}",
        str(signed_bits(int(least.min()), int(greatest.max()))),
    ]


def _bases(bases: Bases) -> str:
    return f"{bases.count} bit-planes" if bases.kind == "planes" else str(bases.count)


def _form(form: ScaleForm) -> str:
    terms = f", {form.terms} terms" if form.kind == "csd" else ""
    return f"{form.kind} {form.bits}{terms}"


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def signed_bits(least: int, greatest: int) -> int:
    """Bits of a two's complement number that holds both."""
    return max((-least - 1).bit_length() if least < 0 else 0, greatest.bit_length() if greatest > 0 else 0) + 1


def weight_bits(layer: Layer) -> int:
    """Bits of the weight codes of a layer."""
    return layer.weights.size * layer.weight_bases.bits


def coefficient_bits(layer: Layer) -> int:
    """Bits of alpha, beta and of thresholds (or bias) at the width of the accumulator."""
    least, greatest = layer.acc_bounds
    wide = layer.thresholds if layer.thresholds is not None else layer.bias
    assert wide is not None  # a layer has one of the two
    acc = signed_bits(int(least.min()), int(greatest.max()))
    return layer.alpha.size * layer.alpha_scale.bits + layer.beta.size * layer.beta_scale.bits + wide.size * acc


def evaluate(
    network: NetworkFile,
    dataset: SameDataset = None,
    data_dir: DataDir = None,
    images_file: ImagesFile = None,
    resize: Resize = False,
    grey: Grey = None,
    background: Background = None,
    invert: Invert = None,
    label: LabelColumn = None,
    onnx: Annotated[Path | None, typer.Option(help="Compare with this ONNX file's scores in onnxruntime.")] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Compare with PyTorch's integer evaluation of this checkpoint.")
    ] = None,
) -> None:
    """Accuracy on all test images by the fast path of the golden model, and whether others give the same scores.

    Exit code 0: all scores are equal; 1: some differ; 2: something cannot be used.
    """
    if onnx is not None:
        need("test", "onnxruntime")
    if checkpoint is not None:
        need("train", "torch", "lightning")
    found = sources.load_any(network)
    if not found.classes:
        raise InputError(f"{network}: expected a network that ends in scores, found one that hands out its values")
    wanted = Wanted(
        dataset=dataset, data_dir=data_dir, images_file=images_file, resize=resize, grey=grey,
        background=background, invert=invert, label=label,
    )
    with progress("reading images"):
        _, images, labels = wanted.test_images(found, labelled=True)
    assert labels is not None  # asked for
    from abc_hw.sim import fast, golden

    golden.check_images(found, images)
    start = time.monotonic()
    with progress("fast path") as update:
        scores = fast.run(found, images, progress=update)
    results: dict[str, tuple[IntArray, float]] = {"fast path": (scores, time.monotonic() - start)}
    if onnx is not None:
        start = time.monotonic()
        results["onnxruntime"] = (_onnx_scores(onnx, found, images), time.monotonic() - start)
    if checkpoint is not None:
        start = time.monotonic()
        results["PyTorch, integers"] = (_torch_scores(checkpoint, found, images), time.monotonic() - start)
    shown = table("by", ">accuracy", ">scores that differ", ">seconds")
    differing = 0
    for name, (values, seconds) in results.items():
        different = int((values != scores).sum())
        differing += different
        accuracy = float((values.argmax(1) == labels).mean())
        compared = "" if values is scores else f"{different} of {values.size:,}"
        shown.add_row(name, percent(accuracy), compared, f"{seconds:.1f}")
    show(f"{found.name} on {len(images):,} test images", shown)
    record(network=found.name, images=len(images), differing=differing, accuracy={
        name: float((values.argmax(1) == labels).mean()) for name, (values, _) in results.items()
    })
    if differing:
        complain(f"{differing} scores differ from those of the fast path")
        raise typer.Exit(1)


def _onnx_scores(path: Path, network: Network | Graph, images: Images) -> IntArray:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data = read(path, "an ONNX file", MAX_ONNX)
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own errors share no base class
        raise InputError(f"{path}: expected an ONNX file, found {str(error).splitlines()[0]}") from None
    (given,) = session.get_inputs()[:1]
    if given.name != "image" or tuple(given.shape[1:]) != network.input_shape:
        raise InputError(
            f"{path}: expected input image of shape {network.input_shape}, found {given.name} {given.shape[1:]}"
        )
    parts: list[npt.NDArray[Any]] = []
    with progress("onnxruntime") as update:
        for start in range(0, len(images), ONNX_BATCH):
            parts += session.run(["scores"], {"image": images[start : start + ONNX_BATCH]})
            update(min(start + ONNX_BATCH, len(images)), len(images))
    return np.concatenate(parts)


def _torch_scores(path: Path, network: Network | Graph, images: Images) -> IntArray:
    from abc_hw.training.checkpoints import load_checkpoint
    from abc_hw.training.quantised import evaluate_integer

    trained = load_checkpoint(path)
    if len(trained.classes) != len(network.classes):
        raise InputError(f"{path}: expected {len(network.classes)} classes, found {len(trained.classes)}")
    with progress("PyTorch") as update:
        return evaluate_integer(trained.model, images, progress=update)
