"""The manifest: what it says is what the Verilog has, and it refuses what would not fit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from command_line import abc_hw, done, refused

from abc_hw import load
from abc_hw.errors import InputError
from abc_hw.network import Network, files
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.emit import manifest
from abc_hw.rtl_gen.emit.manifest_entries import of_accelerator
from abc_hw.rtl_gen.engine.design import make_accelerator
from abc_hw.rtl_gen.parts.matches import LayerNumbers
from abc_hw.sim.bench import Scoreboard


@pytest.fixture(scope="module")
def network() -> Network:
    return load("example:tiny")


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.v, tiny.json and tiny.load.hex of an accelerator whose weights are loaded."""
    folder = tmp_path_factory.mktemp("generated")
    done("generate", "example:tiny", "--weights", "loaded", "--name", "tiny", "-o", folder / "tiny.v")
    return folder


def ports(verilog: str, module: str) -> dict[str, tuple[str, int]]:
    """Direction and width of each port as the module declares it."""
    body = re.search(rf"^module {module}\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
    assert body is not None
    found = re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", body[0], re.MULTILINE)
    return {name: (direction, int(high or 0) + 1) for direction, high, name in found}


def test_ports_are_those_of_the_verilog(generated: Path) -> None:
    told = manifest.read(generated / "tiny.json")
    expected = {told.clock: ("input", 1), told.reset: ("input", 1)}
    for stream in told.streams:
        there, back = ("input", "output") if stream.direction == "in" else ("output", "input")
        assert sum(field.bits for field in stream.fields) == stream.bits
        expected |= {stream.payload: (there, stream.bits), stream.valid: (there, 1), stream.ready: (back, 1)}
    for signal in told.signals:
        expected[signal.name] = ("input" if signal.direction == "in" else "output", signal.width)
    assert ports((generated / "tiny.v").read_text(), "tiny") == expected


def test_a_network_is_found_from_anywhere(
    tmp_path: Path, network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.save(network, tmp_path / "network.safetensors")
    (tmp_path / "made").mkdir()
    monkeypatch.chdir(tmp_path)
    done("generate", "network.safetensors", "-o", "made/core.v")
    assert json.loads(Path("made/core.json").read_text())["network"]["source"] == "../network.safetensors"
    monkeypatch.chdir("made")
    assert Scoreboard(manifest.read("core.json")).network.digest == network.digest
    monkeypatch.chdir("/")
    assert Scoreboard(manifest.read(tmp_path / "made/core.json")).network.digest == network.digest


def test_facts_are_the_networks(generated: Path, network: Network) -> None:
    told = manifest.read(generated / "tiny.json")
    assert told.network is not None
    assert (told.network.digest, told.network.source) == (network.digest, "example:tiny")
    assert [layer.name for layer in told.layers] == ["conv1", "dense2"]
    assert (told.layers[0].simd, told.layers[0].pe) == (3, 2)
    assert told.cycles_per_image == max(layer.cycles for layer in told.layers)
    assert told.stream("o").transfers == len(network.classes)


def test_load_words_lie_beside_it(generated: Path, network: Network) -> None:
    told = manifest.read(generated / "tiny.json").load
    assert told is not None
    text = (generated / told.file).read_bytes()
    assert hashlib.sha256(text).hexdigest() == told.sha256
    accelerator = make_accelerator(network, fold(network, knobs={"conv1": {"simd": 3, "pe": 2}, "dense2": {
        "simd": 8, "pe": 1, "mp": 1, "np": 2,
    }}), weights="loaded")
    assert [int(line, 16) for line in text.split()] == accelerator.plan.load_words
    assert told.words == len(accelerator.plan.load_words)


def trained_on(network: Network, seed: int) -> Network:
    """Another network of the same shapes, bases and forms, as one more epoch makes it."""
    rng = np.random.default_rng(seed)
    *before, last = network.layers
    alpha = rng.permuted(last.alpha, axis=1) // (1 << int(rng.integers(4)))
    weights = rng.integers(last.weight_bases.levels, size=last.weights.shape, dtype=np.uint8)
    bias = rng.integers(-90, 90, last.out_channels)
    changed = dataclasses.replace(last, weights=weights, alpha=alpha, bias=bias)
    return dataclasses.replace(network, layers=(*before, changed))


def test_ports_do_not_change_with_training(network: Network) -> None:
    trainings = [network, *(trained_on(network, seed) for seed in range(3))]
    widths = {LayerNumbers(each.layers[-1]).output_shape.width for each in trainings}
    assert len(widths) > 1, "their own widths would differ"
    first, *rest = [
        of_accelerator(make_accelerator(each, fold(each)), name="accelerator") for each in trainings
    ]
    for other in rest:
        manifest.check_ports(first, other, "old.json")


def test_other_ports_are_refused(generated: Path, network: Network, tmp_path: Path) -> None:
    options = "--name", "tiny", "-o", tmp_path / "new.v", "--ports-of", generated / "tiny.json"
    said = refused("generate", "example:tiny", *options)
    assert said == f"{generated / 'tiny.json'}: expected ports as there, streams i, o, load, found i, o"
    said = refused("generate", "example:tiny", "--weights", "loaded", "--score-bits", 30, *options)
    assert re.search(r"o\.bits 25, found 33; --score-bits 22 makes them equal if the scores fit", said)
    assert list(tmp_path.iterdir()) == []
    done("generate", "example:tiny", "--weights", "loaded", *options)
    assert manifest.read(tmp_path / "new.json").stream("o") == manifest.read(generated / "tiny.json").stream("o")


def test_too_few_bits_for_the_scores(network: Network) -> None:
    needed = LayerNumbers(network.layers[-1]).output_shape.width
    make_accelerator(network, fold(network), score_bits=needed)
    with pytest.raises(InputError, match=f"score_bits: expected at least {needed}, .*, found {needed - 1}"):
        make_accelerator(network, fold(network), score_bits=needed - 1)


@pytest.mark.parametrize(("text", "message"), [
    ("{", "expected JSON, found"),
    ("{}", "module: expected a value, found none"),
    ('{"module": "m", "surprise": 1}', "expected"),
])
def test_what_is_no_manifest(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(InputError, match=message):
        manifest.read(tmp_path / "m.json")
    with pytest.raises(InputError, match="expected a readable manifest"):
        manifest.read(tmp_path / "none.json")


def test_standard_output_takes_the_verilog_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = abc_hw("generate", "example:tiny", "-o", "-", "--json")
    assert result.stdout.startswith("// accelerator: tiny")
    assert result.stdout.endswith("endmodule\n")
    assert json.loads(result.stderr)["design"]["module"] == "accelerator"
    assert list(tmp_path.iterdir()) == []


# -- --json, --quiet, --verbose of every command that reports --------------------------------------------------


def test_json_has_the_numbers_of_the_tables(tiny: Path) -> None:
    facts = json.loads(done("info", tiny, "--json"))
    assert facts["digest"] == files.load(tiny).digest
    assert [layer["name"] for layer in facts["layers"]] == ["conv1", "dense2"]
    facts = json.loads(done("fold", tiny, "--device", "ecp5-25k", "--cycles", 400, "--json"))
    assert facts["cycles"] <= 400
    assert facts["area"]["luts"] > 0
    facts = json.loads(done("report", tiny, "--json"))
    assert set(facts["layers"]) == {"conv1", "dense2"}
    assert {card["name"] for card in json.loads(done("zoo", "list", "--json"))["networks"]} >= {"cnv-m2n2"}


def test_quiet_and_verbose(tiny: Path, tmp_path: Path) -> None:
    options = "fold", tiny, "--cycles", 400, "-o", tmp_path / "folding.toml"
    result = abc_hw(*options, "--quiet")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert (tmp_path / "folding.toml").is_file()
    assert re.search(r"^folding: \d+\.\d s$", abc_hw(*options, "--verbose").stderr, re.MULTILINE)
