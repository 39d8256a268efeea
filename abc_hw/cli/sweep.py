"""``sweep``: the same network in many variants, trained one after another or on many machines, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from abc_hw.data import name_of
from abc_hw.training.sweep import COLUMNS, DEFAULT_VARIANTS, Result, Variant, markdown, rows
from abc_hw.writing import own_folder, write

from .console import need, record, say, show, table
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
    read_seeds,
    size_of,
)
from .sweep_page import PAGE, page
from .sweeping import Training, one_by_one, side_by_side
from .training import Model, Settings, reading_changes


def sweep(
    variants: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="VARIANT ...",
            help="Each KIND:M/N, perhaps with xWIDTH and +tied behind it, or float; +NAME=VALUE sets a field of "
            "run.toml.",
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
    settings: Settings = None,
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
    scheduler: Annotated[
        str | None,
        typer.Option(
            help="Train on the workers of this Dask scheduler, or local: one a core here.",
            show_default="one after another",
        ),
    ] = None,
) -> None:
    """Train variants of one network on the same budget, and show their test accuracy beside their cost.

    The golden model evaluates each exported network on all test images. Called again, it goes on where it was
    stopped: finished trainings are kept. Workers of a --scheduler must see the folder and the data.

    Exit code 0: the table is whole; 2: something cannot be used.
    """
    need("train", "torch", "lightning")
    from abc_hw.training.recipes import config_for, read_setting

    wanted = [Variant.parse(text) for text in variants or DEFAULT_VARIANTS]
    given = {
        "dataset": dataset or "digits", "model": model, "epochs": epochs, "integer_epochs": integer_epochs,
        "precision": precision,
    }
    common = dict(map(read_setting, settings or ()))
    common |= {name: value for name, value in given.items() if value is not None}
    common |= reading_changes(
        size=size_of(resize), grey=grey, background=background, invert=invert, label=label, test_share=test_share,
        split_seed=split_seed,
    )
    configs = [
        (variant, config_for(**{**common, **variant.changes, "seed": seed}))
        for variant in wanted
        for seed in read_seeds(seeds)
    ]
    _, some = configs[0]
    need_for_dataset(some.dataset, data_dir)
    folder = out or Path("runs", f"{name_of(some.dataset)}-{some.model}-sweep")
    trainings = [
        Training(
            variant=variant, config=config, folder=(folder / f"{variant.folder}-seed{config.seed}").resolve(),
            data_dir=None if data_dir is None else data_dir.resolve(),
        )
        for variant, config in configs
    ]
    with own_folder(folder):
        results = _results(trainings, folder, scheduler)
    record(results=results, table=folder / "table.md", page=folder / PAGE)
    shown = table(*(name if index < 2 else f">{name}" for index, name in enumerate(COLUMNS)))
    for cells in rows(results):
        shown.add_row(*cells)
    show(_title(trainings), shown)
    say(f"table: {folder / 'table.md'}")
    say(f"page:  {folder / PAGE}")


def _results(trainings: Sequence[Training], folder: Path, scheduler: str | None) -> list[Result]:
    """Of all trainings, in their order; the table grows with each."""
    found: dict[int, Result] = {}
    results: list[Result] = []
    for index, result in one_by_one(trainings) if scheduler is None else side_by_side(trainings, scheduler):
        found[index] = result
        results = [found[place] for place in sorted(found)]
        write(folder / "table.md", markdown(results).encode())
        write(folder / PAGE, page(_title(trainings), results, len(trainings)).encode())
    return results


def _title(trainings: Sequence[Training]) -> str:
    some = trainings[0].config
    return f"{some.model} on {some.dataset}, {some.epochs} epochs each"
