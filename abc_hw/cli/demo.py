"""``demo``: the whole way once, from images of digits to Verilog that gives the same bits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import numpy.typing as npt
import typer

from abc_hw.data import Split
from abc_hw.errors import InputError
from abc_hw.network import IntArray, Network, files
from abc_hw.writing import write

from . import hardware
from .console import complain, need, percent, progress, record, say, show, table
from .draw import serve
from .generate import describe, design_files, design_texts
from .inputs import named_dataset
from .training import export_checkpoint
from .training import run as run_training

if TYPE_CHECKING:
    from abc_hw.sim.runner import SimulationResult


def demo(
    images: Annotated[int | None, typer.Option(help="Held-out images to simulate.", show_default="all")] = None,
    out: Annotated[Path, typer.Option(help="Folder for all files.")] = Path("runs/demo"),
    cycles: hardware.Cycles = None,
    draw: Annotated[bool, typer.Option("--draw", help="A page to draw digits on, in place of all this.")] = False,
    drawn_for: Annotated[
        Path, typer.Option("--network", help="With --draw: a network file, zoo:NAME or example:NAME.")
    ] = Path("zoo:mnist-lenet-m3n3"),
    engine: Annotated[str, typer.Option(help="With --draw: golden, simulation or board.")] = "golden",
    port: Annotated[str | None, typer.Option(help="With --draw: serial port of the board.")] = None,
    http_port: Annotated[int, typer.Option(help="With --draw: port of the page.")] = 8765,
) -> None:
    """Train M = N = 3 on handwritten digits, export, generate, simulate, compare.

    With --draw no training: a page on this machine on which one draws, and sees what the network sees, its scores
    and the codes of every layer.

    Exit code 0: PyTorch, golden model and Verilog agree on every bit; 1: they do not; 2: something cannot be used.
    """
    if draw:
        serve(drawn_for, engine=engine, port=port, http_port=http_port)
        return
    need("train", "torch", "lightning", "sklearn")
    need("sim", "cocotb")
    from abc_hw.network import onnx_export
    from abc_hw.rtl_gen.cost.choice import fold
    from abc_hw.rtl_gen.engine.design import make_accelerator
    from abc_hw.sim import golden
    from abc_hw.training.quantised import evaluate_integer
    from abc_hw.training.recipes import config_for

    held_out = named_dataset("digits", None).test
    images = len(held_out) if images is None else images
    if not 3 <= images <= len(held_out):
        raise InputError(f"images: expected 3 to {len(held_out)}, the test images of digits, found {images}")
    held_out = held_out[:images]
    trained = run_training(config_for("digits", M=3, N=3), out)
    network, _ = export_checkpoint(trained.checkpoint)
    assert isinstance(network, Network)  # lenet is a chain
    names = {"network": "network.safetensors", "ONNX": "network.onnx", "Verilog": "accelerator.v"}
    paths = {kind: out / name for kind, name in names.items()}
    files.save(network, paths["network"])
    onnx_export.save(network, paths["ONNX"])
    foldings = fold(network, cycles=cycles)
    design = design_files(paths["Verilog"])
    with progress("generating Verilog"):
        accelerator = make_accelerator(network, foldings)
        told = describe(accelerator, design, "accelerator", str(paths["network"]))
        texts = design_texts(accelerator, told)
    for kind, text in texts.items():
        write(design[kind], text.encode())
    hardware.show_folding(network, foldings)
    result = hardware.run(network, held_out.images, foldings, work_dir=out / "simulation")
    with progress("golden model"):
        scores = {
            "PyTorch": evaluate_integer(trained.model, held_out.images),
            "golden model": golden.run(network, held_out.images).scores,
            "Verilog in Verilator": result.scores,
        }
    _show_result(network, held_out, scores, result)
    record(
        files={"checkpoint": trained.checkpoint, **paths}, layers=result.layers, images=images,
        right={name: int((values.argmax(1) == held_out.labels).sum()) for name, values in scores.items()},
        cycles_between_images=result.cycles_between_images, bound=result.bound,
    )
    say(f"checkpoint: {trained.checkpoint}")
    for name, path in paths.items():
        say(f"{name + ':':<11} {path}")
    if not (result.ok and all(np.array_equal(values, result.scores) for values in scores.values())):
        complain("PyTorch, golden model and Verilog do not agree")
        raise typer.Exit(1)


def _show_result(
    network: Network, held_out: Split, scores: dict[str, IntArray], result: SimulationResult
) -> None:
    labels: npt.NDArray[np.int64] = held_out.labels
    assert result.labels is not None  # a chain has classes
    bases = f"M = {network.layers[-1].weight_bases.count}, N = {network.layers[-1].input_bases.count}"
    shown = table("", ">", ">")
    for name, values in scores.items():
        classes = result.labels if values is result.scores else values.argmax(1)
        right = int((classes == labels).sum())
        shown.add_row(f"accuracy, {name}", percent(right / len(labels)), f"{right} of {len(labels)} right")
    shown.add_section()
    for layer in result.layers:
        shown.add_row(
            f"bits of {layer.name}", f"{layer.bits_compared:,} compared", f"{layer.bits_differing:,} differ"
        )
    shown.add_section()
    between = result.cycles_between_images
    average = sum(between) / len(between) if between else 0
    shown.add_row(
        "cycles per image", f"{average:,.1f} measured", f"{result.bound:,} bound ({average / result.bound:.4f})"
    )
    show(f"{network.name}, {bases}: the same {len(labels)} held-out images three times", shown)
