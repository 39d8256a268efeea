"""``zoo list``, ``zoo show`` and ``zoo add``: the networks that come with the program, and how they got there."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abc_hw import zoo
from abc_hw.errors import InputError
from abc_hw.network import Graph, files
from abc_hw.network.reencode import reencode

from .console import complain, need, percent, progress, record, reports, say, show, table
from .inputs import DataDir, named_dataset

if TYPE_CHECKING:
    from abc_hw.training.recipes import TrainingConfig

LARGEST = 1 << 20
"""Bytes that a network file of the zoo may have."""

SOURCES = {
    "digits": (
        "Optical Recognition of Handwritten Digits (Alpaydin, Kaynak, 1998), the copy in scikit-learn",
        "CC BY 4.0, as the UCI Machine Learning Repository gives it",
    ),
    "mnist": ("MNIST (LeCun, Cortes, Burges)", "CC BY-SA 3.0 by common account; the publishers' page gives none"),
    "fashion-mnist": ("Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017), Zalando", "MIT"),
    "cifar-10": (
        "CIFAR-10 (Krizhevsky, Nair, Hinton, 2009), from the 80 Million Tiny Images",
        "none given; the publishers ask to be cited",
    ),
}
"""Data set -> where its images come from, and their licence."""

OPTIONS = {"M": "-M", "N": "-N", "size": "--resize"}
"""Fields of a training configuration whose option is not ``--field``."""

app = typer.Typer(no_args_is_help=True, help="The trained networks that come with the program.")

Name = Annotated[str, typer.Argument(help="Of a network in the zoo.")]


@app.command("list")
@reports
def list_networks() -> None:
    """Show the networks that come with the program; one that has no card is complained of."""
    shown = table("network", ">accuracy", ">test images", ">weight bits", ">XNORs", ">before re-encoding", "data")
    unfit = []
    cards = []
    for name in zoo.names():
        try:
            card = zoo.card(name)
        except InputError as error:
            unfit.append(str(error))
            continue
        cards.append(card.model_dump())
        shown.add_row(
            f"{zoo.PREFIX}{name}", percent(card.accuracy), f"{card.images:,}", f"{card.weight_bits:,}",
            f"{card.xnors:,}", f"{card.xnors_before:,}" if card.xnors_before != card.xnors else "", card.dataset,
        )
    record(networks=cards)
    show("Networks of the zoo, usable wherever a network file is asked for:", shown)
    for line in unfit:
        complain(line)


@app.command("show")
@reports
def show_card(name: Name) -> None:
    """Show the card of a network."""
    record(card=zoo.card(name).model_dump())
    for field, value in zoo.card(name).model_dump(exclude={"format"}).items():
        plain = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else value
        say(f"{field + ':':<14} {plain}")


@app.command("add")
@reports
def add(
    checkpoint: Annotated[Path, typer.Argument(help="A checkpoint of abc-hw train, such as model.ckpt.")],
    name: Annotated[str, typer.Argument(help="The network's name in the zoo.")],
    data_dir: DataDir = None,
    note: Annotated[str, typer.Option(help="What the training's configuration does not say.")] = "",
) -> None:
    """Put a trained network into the zoo of this installation, with a card of what is measured here.

    A chain of layers is re-encoded with as few bases as give the same scores, and the golden model evaluates
    the network on all test images. Exit code 0: added; 1: its scores differ from PyTorch's; 2: something cannot
    be used.
    """
    need("train", "torch", "lightning")
    from abc_hw.sim import fast
    from abc_hw.training.checkpoints import load_checkpoint

    from .training import export_checkpoint

    with progress("exporting"):
        network, differing = export_checkpoint(checkpoint, name)
    if differing:
        complain(f"{checkpoint}: {differing} images score otherwise in PyTorch")
        raise typer.Exit(1)
    config = load_checkpoint(checkpoint).config
    if config.dataset not in SOURCES:
        raise InputError(f"{checkpoint}: expected one of {', '.join(SOURCES)} as data set, found {config.dataset}")
    fewer = network if isinstance(network, Graph) else reencode(network)
    test = named_dataset(config.dataset, data_dir).test
    with progress("golden model") as update:
        scores = fast.run(fewer, test.images, progress=update)
    network_file = files.to_bytes(fewer)
    if len(network_file) > LARGEST:
        raise InputError(f"{name}: expected a network file of up to {LARGEST} bytes, found {len(network_file)}")
    data, licence = SOURCES[config.dataset]
    card = zoo.Card(
        name=name, digest=fewer.digest, dataset=config.dataset, command=command_of(config),
        training=config.told(), note=note, right=int((scores.argmax(1) == test.labels).sum()),
        images=len(test), weight_bits=fewer.weight_bits, xnors=fewer.binary_macs,
        xnors_before=network.binary_macs, data=data, data_licence=licence,
    )
    zoo.add(network_file, card)
    record(card=card.model_dump())
    say(f"{zoo.PREFIX}{name}: {percent(card.accuracy)} of {card.images:,} test images, {card.xnors:,} XNORs")


def command_of(config: TrainingConfig) -> str:
    """What trains that configuration: the data set, M and N, and whatever its recipe does not give."""
    from abc_hw.training.recipes import TrainingConfig, config_for

    from .training import train

    options = inspect.signature(train).parameters
    config = TrainingConfig(**config.told())
    recipe = config_for(config.dataset)
    words = ["abc-hw", "train", "--dataset", config.dataset]
    given, usual = ({**vars(one), **vars(one.reading)} for one in (config, recipe))
    for field, value in given.items():
        option = OPTIONS.get(field, f"--{field.replace('_', '-')}")
        if field in ("dataset", "reading") or (value == usual[field] and field not in ("M", "N")):
            continue
        if value is True:
            words.append(option)
        elif field == "channel_wise":
            words.append("--layer-wise")
        elif field in TrainingConfig.model_fields and field not in options and field not in OPTIONS:
            words += ["--set", f"{field}={value}"]
        elif field == "size":
            words += [option, "x".join(map(str, value))]
        else:
            words += [option, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
    return shlex.join(words)
