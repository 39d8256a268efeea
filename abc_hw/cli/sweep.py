"""``sweep``: the same network in many variants, trained one after another, in one table."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from abc_hw.data import name_of
from abc_hw.errors import InputError
from abc_hw.network import Graph
from abc_hw.network.reencode import reencode
from abc_hw.training.sweep import COLUMNS, DEFAULT_VARIANTS, Result, Variant, markdown, read_result, rows
from abc_hw.writing import own_folder, write

from .console import need, progress, record, say, show, table
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
from .training import Model, reading_changes, telling

if TYPE_CHECKING:
    from abc_hw.data import Split
    from abc_hw.training.checkpoints import Trained
    from abc_hw.training.recipes import TrainingConfig

RESULT = "result.json"
"""Of a finished training, in the folder of its run."""


def sweep(
    variants: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VARIANT ...", help="Each KIND:M/N, perhaps with xWIDTH and +tied behind it, or float.",
            show_default=" ".join(DEFAULT_VARIANTS),
        ),
    ] = None,
    dataset: DatasetName = None,
    model: Model = None,
    seeds: Annotated[str, typer.Option(help="One training of each variant per seed, as 1,2,3.")] = "1",
    epochs: Annotated[int | None, typer.Option(help="Of each training.")] = None,
    integer_epochs: Annotated[
        int | None, typer.Option(help="How many of the last epochs compute with integer coefficients.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="float32 or bfloat16.", show_default="float32")] = None,
    data_dir: DataDir = None,
    resize: Size = None,
    grey: Grey = None,
    background: Background = None,
    invert: Invert = None,
    label: LabelColumn = None,
    test_share: TestShare = None,
    split_seed: SplitSeed = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of all runs and the table.", show_default="runs/DATASET-MODEL-sweep"),
    ] = None,
) -> None:
    """Train variants of one network on the same budget, and show their test accuracy beside their cost.

    The golden model evaluates each exported network on all test images. Called again, it goes on where it was
    stopped: finished trainings are kept. Exit code 0: the table is whole; 2: something cannot be used.
    """
    need("train", "torch", "lightning")
    from abc_hw.training.recipes import config_for

    wanted = [Variant.parse(text) for text in variants or DEFAULT_VARIANTS]
    given = {
        "dataset": dataset or "digits", "model": model, "epochs": epochs, "integer_epochs": integer_epochs,
        "precision": precision,
    }
    common = {name: value for name, value in given.items() if value is not None}
    common |= reading_changes(
        size=size_of(resize), grey=grey, background=background, invert=invert, label=label, test_share=test_share,
        split_seed=split_seed,
    )
    configs = {
        (variant, seed): config_for(**{**common, **variant.changes, "seed": seed})
        for variant in wanted
        for seed in _numbers(seeds)
    }
    some = next(iter(configs.values()))
    need_for_dataset(some.dataset, data_dir)
    folder = out or Path("runs", f"{name_of(some.dataset)}-{some.model}-sweep")
    with own_folder(folder):
        results = _results(configs, folder, data_dir)
    record(results=results, table=folder / "table.md")
    shown = table(*(name if index < 2 else f">{name}" for index, name in enumerate(COLUMNS)))
    for cells in rows(results):
        shown.add_row(*cells)
    show(f"{some.model} on {some.dataset}, {some.epochs} epochs each", shown)
    say(f"table: {folder / 'table.md'}")


def _results(
    configs: Mapping[tuple[Variant, int], TrainingConfig], folder: Path, data_dir: Path | None
) -> list[Result]:
    """Of all trainings, in their order; the table grows with each."""
    results = []
    for number, ((variant, seed), config) in enumerate(configs.items(), 1):
        say(f"{number} of {len(configs)}: {variant.text}, seed {seed}")
        results.append(_result(variant, config, folder / f"{variant.folder}-seed{seed}", data_dir))
        write(folder / "table.md", markdown(results).encode())
    return results


def _numbers(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise InputError(f"seeds: expected numbers that differ, as in 1,2,3, found {text!r}")
    return [int(part) for part in parts]


def _result(variant: Variant, config: TrainingConfig, folder: Path, data_dir: Path | None) -> Result:
    """That of a training, which is done, or ended, if need be."""
    from abc_hw.data import load
    from abc_hw.training import loop
    from abc_hw.training.checkpoints import load_checkpoint

    final, kept = folder / loop.FINAL, folder / RESULT
    if final.exists():
        trained = load_checkpoint(final)
        if trained.config != config:
            raise InputError(f"{final}: expected this sweep's configuration, found another; choose another --out")
    else:
        trained = loop.train(
            config, folder, data_dir=data_dir, resume=(folder / loop.LAST).exists(), **telling()
        )
    if kept.exists():
        return read_result(kept, variant.text, config.seed)
    result = _measure(variant, trained, load(config.dataset, data_dir, config.reading).test)
    write(kept, json.dumps(dataclasses.asdict(result), indent=2).encode())
    return result


def _measure(variant: Variant, trained: Trained, test: Split) -> Result:
    from abc_hw.sim import fast
    from abc_hw.training.lowering import to_network

    config = trained.config
    result = Result(
        variant=variant.text, seed=config.seed, validation=trained.accuracy["validation"],
        right=round(trained.accuracy["test"] * len(test)), images=len(test),
    )
    if config.kind == "float":
        return result
    network = to_network(trained.model, name=f"{name_of(config.dataset)}-{config.model}", classes=trained.classes)
    fewer = network if isinstance(network, Graph) else reencode(network)
    with progress("golden model") as update:
        scores = fast.run(fewer, test.images, progress=update)
    return dataclasses.replace(
        result, right=int((scores.argmax(1) == test.labels).sum()), xnors=fewer.binary_macs,
        xnors_before=network.binary_macs, weight_bits=fewer.weight_bits,
    )
