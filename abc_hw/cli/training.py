"""``train`` and ``export``: from images to a checkpoint to the network file."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from abc_hw import sources
from abc_hw.data import Reading, load, name_of
from abc_hw.errors import InputError
from abc_hw.network import Graph, Network, files
from abc_hw.network.reencode import reencode
from abc_hw.writing import check_writable, write

from .console import bars_wanted, complain, need, percent, progress, record, say, show, table
from .inputs import (
    Background,
    DataDir,
    DatasetName,
    Grey,
    Invert,
    LabelColumn,
    Size,
    SplitSeed,
    TestShare,
    need_for_dataset,
    size_of,
)

if TYPE_CHECKING:
    from abc_hw.training.checkpoints import Trained
    from abc_hw.training.recipes import TrainingConfig

CHECKED_IMAGES = 64
"""Random images on which an export is compared with PyTorch's integer evaluation."""

Model = Annotated[
    str | None,
    typer.Option(
        help="mlp, lenet, seed-lenet, vgg, vgg-tiny, vgg-small, cnv, resnet20 or resnet18.",
        show_default="lenet; vgg for cifar-10",
    ),
]
WeightBases = Annotated[
    str | None, typer.Option("-M", help="Weight bases: one number, or one per layer as 3,2,2.", show_default="3")
]
InputBases = Annotated[
    str | None,
    typer.Option(
        "-N", help="Activation bases: likewise; the first of a list is 8, the bits of a pixel.", show_default="3"
    ),
]

Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="NAME=VALUE", help="Another field of run.toml, such as teacher=runs/float/model.ckpt."
    ),
]


def train(
    dataset: DatasetName = None,
    model: Model = None,
    m: WeightBases = None,
    n: InputBases = None,
    kind: Annotated[
        str | None,
        typer.Option(
            help="How weights and activations become bases: abc, residual, or float for not at all.",
            show_default="abc",
        ),
    ] = None,
    width: Annotated[
        float | None, typer.Option(help="Times the channels of all but the last layer.", show_default="1")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Rounds over the training images.")] = None,
    integer_epochs: Annotated[
        int | None, typer.Option(help="How many of the last epochs compute with integer coefficients.")
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Greatest learning rate.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images per step.")] = None,
    seed: Annotated[int | None, typer.Option(help="Decides everything random.")] = None,
    scale: Annotated[str | None, typer.Option(help="Form of the coefficients: fixed, csd or pow2.")] = None,
    scale_bits: Annotated[int | None, typer.Option(help="Their bits.")] = None,
    scale_terms: Annotated[int | None, typer.Option(help="Powers of two in a csd coefficient.")] = None,
    tie_steps: Annotated[
        bool | None, typer.Option("--tie-steps", help="Train 3 bases so that 2 can replace them.")
    ] = None,
    learnable_u: Annotated[
        bool | None, typer.Option("--learnable-u", help="Train the shifts of abc weight bases as well.")
    ] = None,
    layer_wise: Annotated[
        bool, typer.Option("--layer-wise", help="One coefficient for all channels of a layer, as in the paper.")
    ] = False,
    augment: Annotated[str | None, typer.Option(help="none, crop or flip-crop.")] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="float32 or bfloat16: what convolutions multiply in.", show_default="float32"),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="A checkpoint or network file to start from.", show_default="from nothing")
    ] = None,
    settings: Settings = None,
    data_dir: DataDir = None,
    resize: Size = None,
    grey: Grey = None,
    background: Background = None,
    invert: Invert = None,
    label: LabelColumn = None,
    test_share: TestShare = None,
    split_seed: SplitSeed = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.", show_default="runs/DATASET-MODEL")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in --out.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of all this, as the run.toml that every run keeps; options win over it."),
    ] = None,
    accelerator: Annotated[
        str | None, typer.Option(help="cpu, gpu, or what else Lightning knows.", show_default="what is there")
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(help="How many on a machine, or which as in 0,2; they share each batch.", show_default="1"),
    ] = None,
    nodes: Annotated[int | None, typer.Option(min=1, help="How many machines.", show_default="1")] = None,
    strategy: Annotated[
        str | None, typer.Option(help="How they train together, such as ddp.", show_default="Lightning's choice")
    ] = None,
) -> None:
    """Train an ABC-Net and keep it as a checkpoint.

    What is not given comes from a recipe for the data set. The folder keeps all of it as run.toml.

    Exit code 0: trained; 2: something cannot be used.
    """
    need("train", "torch", "lightning")
    from abc_hw.training.recipes import read_config, read_setting

    said = {} if config is None else read_config(config)
    said |= dict(map(read_setting, settings or ()))
    given = {
        "dataset": dataset, "model": model, "M": per_layer("M", m), "N": per_layer("N", n), "epochs": epochs,
        "integer_epochs": integer_epochs, "lr": lr, "batch": batch, "seed": seed, "scale": scale,
        "scale_bits": scale_bits, "scale_terms": scale_terms, "tie_steps": tie_steps, "augment": augment,
        "kind": kind, "width": width,
        "learnable_u": learnable_u, "channel_wise": False if layer_wise else None, "precision": precision,
        "start": start,
    }
    changes = said | {name: value for name, value in given.items() if value is not None}
    changes |= reading_changes(
        Reading(**said.get("reading", {})), size=size_of(resize), grey=grey, background=background, invert=invert,
        label=label, test_share=test_share, split_seed=split_seed,
    )
    if resume and out is None:
        raise InputError("out: expected the folder of the run that is to be resumed, found none")
    wanted = _resumed_config(out, changes) if resume and out is not None else _new_config(changes)
    folder = out or Path("runs", f"{name_of(wanted.dataset)}-{wanted.model}")
    machines = {"accelerator": accelerator, "devices": devices, "num_nodes": nodes, "strategy": strategy}
    said_of_machines = {name: value for name, value in machines.items() if value is not None}
    try:
        run(wanted, folder, data_dir=data_dir, resume=resume, **said_of_machines)
    except KeyboardInterrupt:
        complain(f"interrupted; go on with: abc-hw train --resume --out {folder}")
        raise typer.Exit(130) from None


def reading_changes(said: Reading | None = None, **changes: Any) -> dict[str, Any]:
    """The configuration's field ``reading``: ``said``, and what the user wants else; nothing if nothing."""
    if all(value is None for value in changes.values()):
        return {}
    return {"reading": (said or Reading()).but(**changes)}


def per_layer(field: str, text: str | None) -> int | tuple[int, ...] | None:
    """``"3"`` as a number, ``"3,2,2"`` as a tuple of numbers.

    Raises
    ------
    InputError : something else, or a number below 1
    """
    if text is None:
        return None
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 1:
        raise InputError(f"{field}: expected a number from 1, or one per layer as in 3,2,2, found {text!r}")
    return numbers[0] if len(numbers) == 1 else numbers


def _new_config(changes: dict[str, Any]) -> TrainingConfig:
    from abc_hw.training.recipes import config_for

    return config_for(**{"dataset": "digits", **changes})


def _resumed_config(folder: Path, changes: dict[str, Any]) -> TrainingConfig:
    """That of the checkpoint in the folder, with what the user gave, which training then checks against it."""
    from abc_hw.training.checkpoints import load_checkpoint
    from abc_hw.training.loop import LAST
    from abc_hw.training.recipes import config_for

    said = load_checkpoint(folder / LAST, to_resume=True).config.model_dump()
    return config_for(**{**said, **changes})


def telling() -> dict[str, Any]:
    """Options of :func:`abc_hw.training.loop.train` that tell how far it is: a bar on a terminal, else lines."""
    bar = bars_wanted()
    return {"progress": bar, "on_epoch": None if bar and sys.stdout.isatty() else lambda epoch: say(str(epoch))}


def run(
    config: TrainingConfig, folder: Path, *, data_dir: Path | None = None, resume: bool = False, **machines: Any
) -> Trained:
    """Train, and show a table of what came out; ``machines`` are options of ``lightning.Trainer``."""
    from abc_hw.training import loop

    from .training_page import PAGE, page

    need_for_dataset(config.dataset, data_dir)
    start = time.monotonic()
    trained = loop.train(config, folder, data_dir=data_dir, resume=resume, **telling(), **machines)
    if not loop.is_first():
        return trained
    written = folder / PAGE
    test = load(config.dataset, data_dir, config.reading).test
    write(written, page(trained, folder / "log", test).encode())
    rows = {
        "data set": config.dataset,
        "model": config.model,
        "M, N": f"{config.M}, {config.N}",
        "coefficients": f"{config.scale}, {config.scale_bits} bits",
        "epochs": str(config.epochs),
        "seconds": f"{time.monotonic() - start:.0f}",
        **{f"{name} accuracy": percent(share) for name, share in trained.accuracy.items()},
    }
    said = config.model_dump(mode="json")
    record(checkpoint=trained.checkpoint, page=written, config=said, accuracy=trained.accuracy)
    shown = table("", "")
    for name, value in rows.items():
        shown.add_row(name, value)
    show("Trained; accuracy of the integer network:", shown)
    say(f"checkpoint: {trained.checkpoint}")
    say(f"page:       {written}")
    return trained


def export(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of abc-hw train, such as model.ckpt.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The network file.")] = Path(
        "network.safetensors"
    ),
    onnx: Annotated[Path | None, typer.Option(help="Also write an integer-exact ONNX file.")] = None,
    name: Annotated[str | None, typer.Option(help="Of the network.", show_default="DATASET-MODEL")] = None,
    fewer: Annotated[
        bool, typer.Option("--reencode", help="Use as few bases as give exactly the same scores.")
    ] = False,
) -> None:
    """Turn a checkpoint into the integer network that hardware is made from.

    The result is compared with PyTorch's integer evaluation on random images. Exit code 0: written and equal;
    1: scores differ; 2: something cannot be used.
    """
    need("train", "torch", "lightning")
    check_writable(output, onnx)
    if sources.is_other(output):
        raise InputError(f"{output}: expected a name such as network.safetensors, found that of something else")
    with progress("exporting"):
        network, differing = export_checkpoint(checkpoint, name)
    if differing:
        complain(f"{checkpoint}: {differing} of {CHECKED_IMAGES} images score otherwise in PyTorch")
        raise typer.Exit(1)
    if fewer:
        if isinstance(network, Graph):
            raise InputError(f"{checkpoint}: expected a chain of layers to re-encode, found a residual network")
        before, network = network.binary_macs, reencode(network)
        say(f"XNORs:   {network.binary_macs:,} for one image, {before:,} before re-encoding")
    files.save(network, output)
    record(network=output, onnx=onnx, digest=network.digest, xnors=network.binary_macs)
    say(f"network: {output} (digest {network.digest[:16]})")
    if onnx is not None:
        from abc_hw.network import onnx_export

        with progress("writing ONNX"):
            onnx_export.save(network, onnx)
        say(f"ONNX:    {onnx}")


def export_checkpoint(checkpoint: Path, name: str | None = None) -> tuple[Network | Graph, int]:
    """The integer network of a checkpoint, and on how many random images its scores differ from PyTorch's (0).

    Raises
    ------
    InputError : see :func:`abc_hw.training.checkpoints.load_checkpoint` and
    :func:`abc_hw.training.lowering.to_network`
    """
    from abc_hw.sim import fast
    from abc_hw.training.checkpoints import load_checkpoint
    from abc_hw.training.lowering import to_network
    from abc_hw.training.quantised import evaluate_integer

    trained = load_checkpoint(checkpoint)
    name = name or f"{name_of(trained.config.dataset)}-{trained.config.model}"
    try:
        network = to_network(trained.model, name=name, classes=trained.classes, training=trained.record)
    except InputError as error:
        raise InputError(f"{checkpoint}: {error}") from None
    shape = (CHECKED_IMAGES, *network.input_shape)
    images = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    differs = (fast.run(network, images) != evaluate_integer(trained.model, images)).any(axis=1)
    return network, int(differs.sum())
