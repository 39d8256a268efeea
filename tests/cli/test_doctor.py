"""``doctor`` with things missing, ``flash`` with programs that only write down, ``run`` that looks for a board."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command_line import abc_hw, done, refused

from abc_hw import zoo
from abc_hw.boards.host import ports
from abc_hw.boards.host.ports import Found, choose, held_network
from abc_hw.boards.identity import Identity
from abc_hw.boards.platforms import BOARDS
from abc_hw.cli.doctor import PROGRAMMERS
from abc_hw.errors import InputError
from abc_hw.rtl_gen.cost.choice import fold
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan

which, find_spec, access = shutil.which, importlib.util.find_spec, os.access


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with every program, every package, and one port that may be used."""
    loaders = {name: f"/usr/bin/{name}" for name in PROGRAMMERS.values()}
    monkeypatch.setattr(shutil, "which", lambda name, *a, **k: loaders.get(name) or which(name, *a, **k))
    port = SimpleNamespace(device="/dev/null", description="a board")
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port])


@pytest.mark.usefixtures("whole")
def test_a_whole_machine_is_well() -> None:
    said = done("doctor")
    assert "missing" not in said
    assert said.endswith("all there\n")
    assert json.loads(done("doctor", "--json"))["missing"] == []


@pytest.mark.usefixtures("whole")
@pytest.mark.parametrize(("name", "remedy"), [
    ("iverilog", "apt-get install iverilog"),
    ("iceprog", "apt-get install fpga-icestorm"),
    ("torch", "pip install 'abc-hw[train]'"),
    ("cocotb", "pip install 'abc-hw[sim]'"),
    ("/dev/null", "sudo usermod -aG dialout $USER, then log in anew"),
])
def test_what_is_missing_is_named_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, name: str, remedy: str
) -> None:
    there = shutil.which
    monkeypatch.setattr(shutil, "which", lambda tool, *a, **k: None if tool == name else there(tool, *a, **k))
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module, *a: None if module == name else find_spec(module, *a)
    )
    monkeypatch.setattr(os, "access", lambda path, mode: path != name and access(path, mode))
    result = abc_hw("doctor")
    assert result.exit_code == 1
    assert result.stderr == f"error: 1 missing: {name}\n"
    (line,) = [line for line in result.stdout.splitlines() if line.strip().startswith("missing")]
    assert line.rstrip().endswith(remedy)


# -- flash ------------------------------------------------------------------------------------------------------


@pytest.fixture
def programmers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in which every program that loads bitstreams writes its words."""
    said = tmp_path / "said"
    for name in set(PROGRAMMERS.values()):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho "$(basename "$0")" "$@" >> {said}\n[ ! -e {tmp_path}/broken ]\n')
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return said


@pytest.mark.parametrize("board", BOARDS)
def test_flash_calls_the_boards_program(programmers: Path, tmp_path: Path, board: str) -> None:
    (tmp_path / f"top.{BOARDS[board].bitstream}").write_bytes(b"bits")
    assert f"loaded into {board}" in done("flash", "--board", board, tmp_path)
    assert programmers.read_text().split()[0] == PROGRAMMERS[board]
    (tmp_path / "broken").touch()
    result = abc_hw("flash", "--board", board, tmp_path)
    assert (result.exit_code, result.stderr) == (1, f"error: {PROGRAMMERS[board]} failed with exit code 1\n")


def test_flash_needs_a_bitstream_and_a_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = refused("flash", "--board", "ulx3s-85f", tmp_path)
    assert said.startswith(f"{tmp_path / 'top.bit'}: expected a bitstream, found none")
    (tmp_path / "top.bit").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    said = refused("flash", "--board", "ulx3s-85f", tmp_path)
    assert said == "openFPGALoader: expected it on PATH, found none: apt-get install openfpgaloader"


# -- which board ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def identity() -> Identity:
    """Of a board with the digits network."""
    network = zoo.load("digits-lenet-m3n3")
    return Identity.of(AcceleratorPlan.of(network, fold(network)), clock=12_000_000)


def test_the_first_board_that_fits_is_chosen(identity: Identity) -> None:
    deaf = Found("/dev/a", None, "/dev/a: silent")
    other = Found("/dev/b", dataclasses.replace(identity, digest=b"x" * 16))
    right = Found("/dev/c", identity)
    network = zoo.load("digits-lenet-m3n3")
    assert choose([deaf, other, right], network) is right
    assert choose([deaf, other, right]) is other
    with pytest.raises(InputError, match=r"a board with .* found /dev/a: silent; /dev/b: .*"):
        choose([deaf, other], network)
    assert held_network(identity) == "zoo:digits-lenet-m3n3"
    with pytest.raises(InputError, match="network: expected one of the zoo in the board, found digest 78"):
        held_network(other.identity)  # type: ignore[arg-type]


def test_run_takes_the_board_that_answers(identity: Identity, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def run(network: Any, images: Any, *, port: str, **_: Any) -> None:
        asked.update(name=network.name, port=port)
        raise InputError("enough")

    port = SimpleNamespace(device="/dev/b", description="")
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: [port])
    monkeypatch.setattr(ports, "ask", lambda port: Found(port, identity))
    monkeypatch.setattr("abc_hw.boards.host.run.run", run)
    result = abc_hw("run", "--images", 1)
    assert "/dev/b: a board with zoo:digits-lenet-m3n3" in result.stdout
    assert result.stderr == "error: enough\n"
    assert asked["port"] == "/dev/b"
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    said = refused("run")
    assert said == "port: expected a board at a serial port, or --port or --simulate, found no serial port at all"
