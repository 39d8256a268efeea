"""Variants of one network side by side: their notation, their table, and the command that trains them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import abc_hw, done, refused

from abc_hw import data
from abc_hw.errors import InputError
from abc_hw.sim import fast
from abc_hw.training import loop, lowering
from abc_hw.training.sweep import DEFAULT_VARIANTS, Result, Variant, markdown, rows


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("abc:1/1", {"kind": "abc", "M": 1, "N": 1}),
        ("abc:3/2+tied", {"kind": "abc", "M": 3, "N": 2, "tie_steps": True}),
        ("residual:2/2x1.5", {"kind": "residual", "M": 2, "N": 2, "width": 1.5}),
        ("float", {"kind": "float"}),
        ("floatx2", {"kind": "float", "width": 2.0}),
        ("residual:1/2+average=0.9+optimizer=sgd+scale_bits=8", {
            "kind": "residual", "M": 1, "N": 2, "average": 0.9, "optimizer": "sgd", "scale_bits": 8,
        }),
    ],
)
def test_a_variant_is_what_it_says(text: str, changes: dict[str, Any]) -> None:
    assert Variant.parse(text).changes == changes


@pytest.mark.parametrize("text", ["", "abc", "abc:3", "abc:3/3x", "float:1/1", "abc:3/3tied", "abc:3/3 float"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="variant: expected KIND:M/N"):
        Variant.parse(text)


def test_a_setting_is_a_field_of_the_configuration() -> None:
    with pytest.raises(InputError, match=r"set: expected NAME=VALUE with .* a field of run.toml, found 'speed=2'"):
        Variant.parse("abc:2/2+speed=2")


def test_folders_of_variants_differ() -> None:
    texts = [*DEFAULT_VARIANTS, "abc:1/1x2", "abc:1/1x1.5", "abc:11/1"]
    assert len({Variant.parse(text).folder for text in texts}) == len(texts)


def test_the_table_has_means_and_extremes_of_the_seeds() -> None:
    common = {"images": 100, "xnors": 1000, "xnors_before": 4000, "weight_bits": 10}
    results = [
        Result(variant="abc:3/3", seed=1, validation=0.5, right=90, **common),
        Result(variant="float", seed=1, validation=0.9, right=95, images=100),
        Result(variant="abc:3/3", seed=2, validation=0.7, right=93, **common),
    ]
    abc, full = rows(results)
    assert abc == ["abc:3/3", "1, 2", "91.50 %", "90.00 %", "93.00 %", "60.00 %", "1,000", "4,000", "10"]
    assert full == ["float", "1", "95.00 %", "95.00 %", "95.00 %", "90.00 %", "", "", ""]
    assert markdown(results).splitlines()[2] == "| " + " | ".join(abc) + " |"


def test_a_sweep_trains_measures_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "sweep"
    arguments = ("sweep", "residual:2/1", "float", "--model", "mlp", "--epochs", 1, "--out", out)
    shown = done(*arguments)
    assert "2 of 2: float, seed 1" in shown
    assert len([line for line in shown.splitlines() if line.startswith("epoch 1 of 1: ")]) == 2
    result = Result(**json.loads((out / "residual-2-1-seed1" / "result.json").read_text()))
    trained = loop.load_checkpoint(out / "residual-2-1-seed1" / "model.ckpt")
    network = lowering.to_network(trained.model, name="digits-mlp", classes=trained.classes)
    test = data.load("digits").test
    assert result.right == (fast.run(network, test.images).argmax(1) == test.labels).sum()
    assert result.xnors == network.binary_macs
    table = (out / "table.md").read_text()
    assert f"{100 * result.accuracy:.2f} %" in table

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished training was repeated")

    monkeypatch.setattr(loop, "train", refuse)
    done(*arguments)
    assert (out / "table.md").read_text() == table
    assert "this sweep's configuration" in refused_after_progress(*arguments[:-4], "--epochs", 2, "--out", out)


def refused_after_progress(*arguments: object) -> str:
    result = abc_hw(*arguments)
    assert result.exit_code == 2
    return result.stderr


def test_a_sweep_refuses_what_it_cannot_train(tmp_path: Path) -> None:
    assert "variant: expected" in refused("sweep", "abc", "--out", tmp_path)
    assert "seeds: expected" in refused("sweep", "--seeds", "1,1", "--out", tmp_path)
    assert "kind:" in refused("sweep", "ternary:2/2", "--out", tmp_path)
