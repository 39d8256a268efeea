"""Inputs made to break a reader: one line and exit code 2, at once, with nothing shown that a terminal obeys."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command_line import TINY, done, refused

from abc_hw.network import description, files
from abc_hw.network.container import METADATA_KEY
from abc_hw.training.sweep import read_result

ESCAPES = "\x1b]0;owned\x07[/red]\u202e"


def with_metadata(data: bytes, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """A network file whose header is changed."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    text = json.dumps(change(header)).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


HEADERS: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no metadata": (lambda header: {**header, "__metadata__": None}, "expected metadata abc_hw, found none"),
    "deep": (
        lambda header: {**header, "__metadata__": {METADATA_KEY: json.dumps({"a": nested(200)})}},
        "expected at most 40 lists and tables inside each other",
    ),
    "very deep": (
        lambda header: {**header, "__metadata__": {METADATA_KEY: "[" * 100_000}}, "metadata abc_hw: expected JSON"
    ),
    "long number": (
        lambda header: {**header, "__metadata__": {METADATA_KEY: '{"format": ' + "9" * 5000 + "}"}},
        "metadata abc_hw: expected JSON",
    ),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_a_hostile_header_is_refused(tiny: Path, kind: str) -> None:
    change, message = HEADERS[kind]
    tiny.write_bytes(with_metadata(tiny.read_bytes(), change))
    assert message in refused("info", tiny)


DESCRIPTIONS = {
    "nesting": ("a = " + "[" * 5000, "expected TOML, found lists or tables too deep in each other"),
    "tables": ("[" + ".".join("a" * 100) + "]", "expected at most 40 lists and tables inside each other"),
    "digits": ("seed = " + "9" * 5000, "expected TOML, found "),
    "large hexadecimal": ("seed = 0x" + "f" * 9000, "found "),
    "classes": ("classes = 1000000", "classes: expected at most 32768 of them, found 1000000"),
    "channels": ("out_channels = 1000000000", "layers[0].out_channels: expected less than or equal to 32768"),
    "image": ("input_shape = [30000, 30000, 1]", "input_shape: expected at most 16777216 values, found 900000000"),
    "kernel": ("input_shape = [4096, 4096, 1]\nkernel = 4000", "conv1.weights: expected at most 1048576 weights"),
    "size": ("#" * (1 << 20), "expected a readable description of at most 1048576 bytes, found more"),
}


@pytest.mark.parametrize("kind", DESCRIPTIONS)
def test_a_hostile_description_is_refused(tmp_path: Path, kind: str) -> None:
    path, (lines, message) = tmp_path / "net.toml", DESCRIPTIONS[kind]
    text = TINY.read_text()
    for line in lines.splitlines():
        field = line.partition(" =")[0]
        kept = [old for old in text.splitlines() if not old.startswith(f"{field} =")]
        into = kept.index("[[layers]]") + (1 if field in ("out_channels", "kernel") else 0)
        text = "\n".join([*kept[:into], line, *kept[into:]])
    path.write_text(text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert message in refused("info", path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000, "kB"


def test_thousands_of_layers_are_refused_without_a_list_of_them(tmp_path: Path) -> None:
    layer = '\n[[layers]]\nkind = "dense"\nout_channels = 2\n'
    (tmp_path / "net.toml").write_text(TINY.read_text() + layer * 8000)
    line = refused("info", tmp_path / "net.toml")
    assert "layers: expected Tuple should have at most 512 items" in line
    assert len(line) < 300 + len(str(tmp_path))


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    for name in ("net.safetensors", "net.toml", "model.ckpt"):
        os.mkfifo(tmp_path / name)
    for command in (
        ["info", tmp_path / "net.safetensors"],
        ["info", tmp_path / "net.toml"],
        ["export", tmp_path / "model.ckpt"],
        ["generate", TINY, "--folding", tmp_path / "net.toml"],
    ):
        assert refused(*command).endswith("found a pipe or device")


# -- what is shown ------------------------------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A network with a class and a training record that mean something to terminals."""
    path = tmp_path / "odd.toml"
    path.write_text(TINY.read_text().replace("tiny", "größe"), encoding="utf-8")
    network = description.load(path)[0]
    object.__setattr__(network, "classes", (ESCAPES, "b", "c"))
    object.__setattr__(network, "training", {ESCAPES: ESCAPES})
    files.save(network, tmp_path / "odd.safetensors")
    return tmp_path / "odd.safetensors"


def test_names_are_shown_as_they_are_and_obeyed_by_no_terminal(odd: Path) -> None:
    text = done("info", odd)
    assert "\\x1b]0;owned\\x07[/red]\\u202e" in text
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    line = refused("info", ESCAPES.replace("/", ""))
    assert "\\x1b]0;owned" in line
    assert "\x1b" not in line


def test_a_terminal_that_knows_ascii_only(odd: Path) -> None:
    variables = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-c", "from abc_hw.cli.main import main; main()", "info", str(odd)]
    told = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("gr\\xf6\\xdfe: ")


# -- options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["run", TINY, "--simulate", "--seed", -1], "seed: expected a number from 0, found -1"),
        (["train", "--seed", 10**26], "seed: "),
        (["train", "--batch", 10**26], "batch: "),
        (["train", "--epochs", 10**26], "epochs: "),
        (["simulate", TINY, "--random", "--images", 10**12], "images: expected at most 16777216 random images"),
        (["simulate", TINY, "--random", "--cycles", 10**30], "cycles: expected a number up to 1000000000000000"),
        (["build", "--board", "icebreaker", "--seed", -1], "seeds: expected numbers from 0 that differ"),
        (["evaluate", TINY, "--dataset", "digits"], "digits: expected 3 classes, which tiny tells apart"),
        (["export", "model.ckpt", "-o", "zoo:mine"], "zoo:mine: expected a name such as network.safetensors"),
        (["export", "model.ckpt", "-o", "mine.toml"], "mine.toml: expected a name such as network.safetensors"),
    ],
)
def test_an_option_that_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[object], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused(*command)
    assert not list(tmp_path.iterdir())


def test_however_slow_is_fast_enough() -> None:
    done("fold", TINY, "--fps", "1e-308")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"variant": "abc:1/1", "seed": 1, "validation": 2, "right": 1, "images": 1}']
)
def test_a_damaged_result_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"^{path}: .*; without the file the network is measured again$"):
        read_result(path, "abc:1/1", 1)


def test_a_folder_with_a_space_is_refused_where_make_cannot_build(tmp_path: Path) -> None:
    assert refused("simulate", TINY, "--random", "--work-dir", tmp_path / "a b").startswith("work_dir: expected ")
    assert not list(tmp_path.iterdir())


def test_two_simulations_in_one_folder_are_refused(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        line = refused("simulate", TINY, "--random", "--work-dir", tmp_path)
    finally:
        os.close(descriptor)
    assert line.startswith(f"{tmp_path}: expected a folder that no other run of abc-hw writes into now")
    assert not list(tmp_path.iterdir())
