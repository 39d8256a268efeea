"""The networks that come with the program: whole, as their cards say, and fit for everything a network is for."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import abc_hw, done, refused
from places import ROOT

from abc_hw import zoo
from abc_hw.cli.networks import weight_bits
from abc_hw.cli.zoo import LARGEST, SOURCES
from abc_hw.errors import InputError
from abc_hw.network import Graph, Network, files, onnx_export
from abc_hw.network.reencode import reencode
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.sim import fast, golden
from abc_hw.sim.counters import with_operators
from abc_hw.sim.runner import simulate

NETWORKS = zoo.names()
MANY = 5_000_000
"""XNORs of an image from which on Verilator is spared the adders of an accelerator."""

ACCURACY = ROOT / "docs" / "accuracy.md"


def synthetic(network: Network | Graph, count: int = 2) -> np.ndarray:
    """Images of any brightness at any place."""
    return np.random.default_rng(11).integers(256, size=(count, *network.input_shape), dtype=np.uint8)


def test_there_are_the_networks_that_the_documentation_names() -> None:
    assert {"digits-lenet-m3n3", "mnist-lenet-m1n1", "mnist-lenet-m3n3"} <= set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_the_one_of_its_card(name: str) -> None:
    network, card = zoo.load_any(name), zoo.card(name)
    assert card.name == network.name == name
    assert card.digest == network.digest
    assert card.xnors == network.binary_macs <= card.xnors_before
    if isinstance(network, Network):
        assert card.weight_bits == sum(weight_bits(layer) for layer in network.layers)
        assert reencode(network) is network
    else:
        assert card.weight_bits == network.weight_bits
    assert (card.data, card.data_licence) == SOURCES[card.dataset]
    assert card.dataset == network.training["dataset"]
    assert network.training["accuracy"]["test"] == card.accuracy  # PyTorch's evaluation and the golden model's
    assert zoo.path(name).stat().st_size <= LARGEST


@pytest.mark.parametrize("name", NETWORKS)
def test_the_documentation_gives_the_figures_of_the_card(name: str) -> None:
    card = zoo.card(name)
    (row,) = [line for line in ACCURACY.read_text().splitlines() if line.startswith(f"| `zoo:{name}` |")]
    assert row.split(" | ")[2:6] == [
        f"{card.right:,} of {card.images:,}", f"{100 * card.accuracy:.2f} %", f"{card.weight_bits:,}",
        f"{card.xnors:,}",
    ]
    assert card.command in ACCURACY.read_text()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_scores_the_same_by_three_evaluators(name: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    network = zoo.load_any(name)
    images = synthetic(network)
    if isinstance(network, Network):
        scores = golden.run(network, images).scores
    else:
        scores = golden.run_graph(network, images).output
    model = onnx_export.model(network).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    assert np.array_equal(scores, session.run(["scores"], {"image": images})[0])
    assert np.array_equal(scores, fast.run(network, images))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_makes_an_accelerator_that_agrees_with_the_golden_model_in_every_layer(
    name: str, tmp_path: Path
) -> None:
    """The large ones with their counters as operators, which are proven equal to them."""
    network = zoo.load_any(name)

    def counted(text: str) -> str:
        if network.binary_macs <= MANY:
            return text
        changed, count = with_operators(text, target="generic")
        assert count
        return changed

    count = 5 if name.startswith("digits") else 1
    images = synthetic(network, count)
    result = simulate(network, images, foldings=fold(network), work_dir=tmp_path, mutate=counted)
    text = (tmp_path / "accelerator.v").read_text()
    assert "module accelerator(" in text
    if isinstance(network, Network):
        assert text.count("\nendmodule") > len(network.layers)
        assert [layer.name for layer in result.layers] == [*(layer.name for layer in network.layers), "output"]
        assert result.latencies[0] == result.planned
    assert all(layer.bits_compared > 0 for layer in result.layers)
    assert result.ok
    assert result.cycles_between_images[2:] == [result.bound] * (count - 3)


def test_commands_of_cards_are_words_that_train_knows() -> None:
    from abc_hw.cli.zoo import command_of
    from abc_hw.training.recipes import config_for

    config = config_for(
        "fashion-mnist", M=2, N=(8, 2, 2, 1), kind="residual", cutout=4, start="/home/me/runs/first/model.ckpt",
        teacher="zoo:one",
    )
    words = shlex.split(command_of(config))
    assert words[:8] == ["abc-hw", "train", "--dataset", "fashion-mnist", "-M", "2", "-N", "8,2,2,1"]
    assert words[8:] == [
        "--kind", "residual", "--set", "cutout=4", "--start", "model.ckpt", "--set", "teacher=zoo:one",
    ]
    known = re.findall(r"--[a-z-]+", done("train", "--help"))
    cards = [shlex.split(zoo.card(name).command) for name in NETWORKS]
    assert {word for card in (words, *cards) for word in card if word.startswith("--")} <= set(known)


def test_the_digits_network_is_as_good_as_its_card_says() -> None:
    from abc_hw.data import load

    pytest.importorskip("sklearn")
    test, card = load("digits").test, zoo.card("digits-lenet-m3n3")
    scores = fast.run(zoo.load("digits-lenet-m3n3"), test.images)
    assert (int((scores.argmax(1) == test.labels).sum()), len(test)) == (card.right, card.images)


def test_names_resolve_to_files_and_files_to_themselves() -> None:
    assert zoo.resolve("zoo:digits-lenet-m3n3") == zoo.path("digits-lenet-m3n3")
    assert zoo.resolve(Path("zoo:digits-lenet-m3n3")) == zoo.path("digits-lenet-m3n3")
    assert zoo.resolve("runs/network.safetensors") == Path("runs/network.safetensors")
    message = f"zoo: expected one of {', '.join(NETWORKS)}, found '../secret'"
    with pytest.raises(InputError, match=f"^{message}$"):
        zoo.resolve("zoo:../secret")


def test_commands_take_networks_of_the_zoo() -> None:
    assert "zoo:digits-lenet-m3n3" in done("zoo", "list")
    assert zoo.card("mnist-lenet-m1n1").digest in done("zoo", "show", "mnist-lenet-m1n1")
    assert zoo.card("mnist-lenet-m1n1").digest in done("info", "zoo:mnist-lenet-m1n1")
    assert refused("info", "zoo:none").startswith("zoo: expected one of ")


def test_a_network_is_added_with_what_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from abc_hw.training import loop
    from abc_hw.training.recipes import config_for

    config = config_for("digits", model="mlp", epochs=2, integer_epochs=1, tie_steps=True, N=2, lr=0.01)
    trained = loop.train(config, tmp_path / "run", progress=False)
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    said = done("zoo", "add", tmp_path / "run" / loop.FINAL, "new-one", "--note", "for a test")
    assert zoo.names() == ("new-one",)
    card = zoo.card("new-one")
    assert card.accuracy == trained.accuracy["test"]
    assert said.startswith(f"zoo:new-one: {100 * card.accuracy:.2f} % of 359 test images")
    assert card.note == "for a test"
    assert card.command == (
        "abc-hw train --dataset digits --model mlp -M 3 -N 2 --tie-steps --epochs 2 --integer-epochs 1 --lr 0.01"
    )
    assert card.xnors_before == 3 * (8 * 64 * 256 + 2 * 256 * 256 + 2 * 256 * 10)
    assert card.xnors == 2 * (8 * 64 * 256 + 2 * 256 * 256 + 2 * 256 * 10)
    assert zoo.load("new-one").digest == card.digest
    exported = tmp_path / "fewer.safetensors"
    said = done("export", tmp_path / "run" / loop.FINAL, "-o", exported, "--reencode")
    assert f"{card.xnors:,} for one image, {card.xnors_before:,} before" in said
    assert files.load(exported).digest == card.digest


def test_a_card_that_is_not_whole_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "digits-lenet-m3n3"
    document = json.loads(zoo.path(name).with_suffix(".json").read_bytes())
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    (tmp_path / f"{name}.safetensors").write_bytes(b"")
    card = tmp_path / f"{name}.json"
    for text, message in [
        (None, f"{card}: expected a card, found No such file or directory"),
        ("{", f"{card}: expected JSON, found "),
        (json.dumps({**document, "images": 0}), f"{card}: images: expected greater than or equal to 1, found 0"),
    ]:
        if text is not None:
            card.write_text(text)
        with pytest.raises(InputError) as caught:
            zoo.card(name)
        assert str(caught.value).startswith(message)


# -- additions that are cut short ---------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("known", [False, True])
def test_an_addition_that_is_cut_short_anywhere_is_none_or_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    cards = {name: zoo.card(name) for name in ("mnist-lenet-m1n1", "mnist-lenet-m2n2")}
    first, second = (
        (zoo.path(name).read_bytes(), card.model_copy(update={"name": "one"})) for name, card in cards.items()
    )
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    replace, left = os.replace, 0

    def counted(*arguments: Any) -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed
        replace(*arguments)

    monkeypatch.setattr(os, "replace", counted)
    monkeypatch.setattr(Path, "replace", lambda *arguments: counted(*arguments))
    seen = set()
    for steps in range(4):
        for file in tmp_path.iterdir():
            file.unlink()
        left = 99
        if known:
            zoo.add(*first)
        for network, card in (second, first, second):  # an addition meets what the one before left
            left = steps
            try:
                zoo.add(network, card)
            except Killed:
                assert steps < 3
            for name in zoo.names():
                assert zoo.card(name).digest == zoo.load(name).digest
                seen.add(zoo.card(name).digest)
            left = 99
            done("zoo", "list")
    assert seen == {card.digest for card in cards.values()}


def test_a_card_of_another_network_is_told_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = "mnist-lenet-m1n1", "mnist-lenet-m2n2"
    for name in names:
        for ending in (".safetensors", ".json"):
            (tmp_path / f"{name}{ending}").write_bytes(zoo.path(name).with_suffix(ending).read_bytes())
    (tmp_path / f"{names[0]}.json").write_bytes(zoo.path(names[1]).with_suffix(".json").read_bytes())
    monkeypatch.setattr(zoo, "FOLDER", tmp_path)
    listed = abc_hw("zoo", "list")
    assert listed.exit_code == 0
    assert f"zoo:{names[1]}" in listed.stdout
    assert f"{names[0]}.json: expected the card of {names[0]}.safetensors" in listed.stderr
    assert "add the network anew" in refused("zoo", "show", names[0])
