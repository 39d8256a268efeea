"""Parts of an accelerator as modules: they lint, equal their golden functions, and their benches can fail."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from command_line import abc_hw, done, refused

from abc_hw.cli.generate import module_name
from abc_hw.rtl_gen.emit import manifest
from abc_hw.sim.simulators import environment

ARRAY = "--part", "array", "--simd", "5", "--pe", "2", "-M", "3", "-N", "2", "--mp", "2", "--dot-length", "13"
CASES = {
    "array": ARRAY,
    "array of one basis": ("--part", "array", "--simd", "9", "--pe", "3", "-M", "1", "-N", "3", "--np", "2"),
    "popcount": ("--part", "popcount", "--simd", "37"),
    "layer": ("example:tiny", "--part", "layer:conv1"),
    "classifier": ("example:tiny", "--part", "layer:dense2"),
    "scale": ("example:tiny", "--part", "scale:conv1"),
    "loaded": ("example:tiny", "--weights", "loaded"),
    "trained": ("example:tiny", "--constants", "loaded"),
    "loaded layer": ("example:tiny", "--part", "layer:conv1", "--constants", "loaded"),
}
IN_SUITE = ("array", "scale", "loaded layer")


def generated(folder: Path, case: str) -> Path:
    done("generate", *CASES[case], "--name", "part", "-o", folder / "part.v")
    return folder / "part.v"


def lint(verilog: Path) -> None:
    opinion = subprocess.run(
        ["verilator", "--lint-only", "-Wall", "-Wno-DECLFILENAME", str(verilog)],
        env=os.environ | environment("verilator"), capture_output=True, text=True, check=False,
    )
    assert (opinion.returncode, opinion.stderr) == (0, "")


@pytest.mark.parametrize("case", [
    case if case in IN_SUITE else pytest.param(case, marks=pytest.mark.long) for case in CASES
])
def test_a_part_lints_and_equals_its_golden_function(tmp_path: Path, case: str) -> None:
    verilog = generated(tmp_path, case)
    lint(verilog)
    said = done("simulate", tmp_path / "part.json", "--simulator", "icarus", "--seed", 1)
    assert "equals the golden model in icarus" in said


@pytest.mark.long
@pytest.mark.parametrize("case", ["array", "popcount", "layer", "classifier", "scale", "loaded"])
def test_a_planted_fault_is_found(tmp_path: Path, case: str) -> None:
    """In each part one constant or operator is changed; the bench names a place."""
    verilog = generated(tmp_path, case)
    text = verilog.read_text()
    if case in ("array", "popcount"):
        broken = re.sub(r" \^ ", " | ", text, count=1)
    elif case == "loaded":
        first, *rest = (tmp_path / "part.load.hex").read_text().splitlines()
        (tmp_path / "part.load.hex").write_text("\n".join([f"{int(first, 16) ^ 255:x}", *rest]) + "\n")
        broken = text
    else:
        which = "alphas" if case == "scale" else "weights"
        word = re.search(rf"(module part_inner_{which}\(.*?)= (\d+)'h([0-9a-f]+);", text, re.DOTALL)
        assert word is not None
        changed = f"{word[1]}= {word[2]}'h{int(word[3], 16) ^ 7:x};"
        broken = f"{text[: word.start()]}{changed}{text[word.end() :]}"
    assert broken != text or case == "loaded"
    verilog.write_text(broken)
    result = abc_hw("simulate", tmp_path / "part.json", "--simulator", "icarus")
    assert result.exit_code == 1
    assert re.search(r"error: .*: expected -?\d+, found -?\d+|expected score -?\d+, found -?\d+", result.stderr)


def test_a_part_has_a_name_of_its_own() -> None:
    parts = None, "array", "popcount", "layer:conv2", "scale:conv2"
    assert [module_name(part) for part in parts] == ["accelerator", "array", "popcount", "conv2", "conv2_scale"]


def test_the_manifest_tells_latency_packing_and_ports(tmp_path: Path) -> None:
    done("generate", *CASES["array"], "--name", "part", "-o", tmp_path / "part.v")
    told = manifest.read(tmp_path / "part.json")
    ports = {signal.name: (signal.direction, signal.bits, signal.dims) for signal in told.signals}
    assert ports == {
        "a": ("in", 2, (5,)), "w": ("in", 2, (2, 5)), "group_m": ("in", 1, ()), "word": ("in", 1, ()),
        "last": ("in", 1, ()), "dots": ("out", 4, (2, 2, 2)), "valid": ("out", 1, ()),
    }
    assert told.latency is not None
    header = (tmp_path / "part.v").read_text().partition("module")[0]
    assert f"latency {told.latency} cycles" in header
    for signal in told.signals:
        assert signal.meaning in header


@pytest.mark.parametrize(("options", "line"), [
    (("--part", "array", "--simd", "4"), "pe: expected --pe with --part array, found none"),
    (("--part", "array", "--simd", "4", "--pe", "0", "-M", "1", "-N", "1"),
     "pe: expected a number from 1, found 0"),
    (("--part", "array", "--simd", "4", "--pe", "1", "-M", "1", "-N", "1", "--mp", "2"),
     "mp: expected 1 to 1, found 2"),
    (("example:tiny", "--part", "array"), "network: expected none with --part array, found example:tiny"),
    (("--part", "popcount"), "simd: expected --simd with --part popcount, found none"),
    (("example:tiny", "--part", "layer:conv7"), "part: expected a layer, conv1, dense2, found 'conv7'"),
    (("example:tiny", "--part", "whole"),
     "part: expected array, popcount, scale:LAYER, layer:LAYER, found 'whole'"),
    (("example:tiny", "--simd", "4"), "simd: expected it with --part array or popcount, found none"),
    (("example:tiny", "--part", "scale:conv1", "--constants", "loaded"),
     "weights: expected rom with --part scale:conv1, found loaded"),
    (("example:tiny", "--constants", "ram"), "constants: expected rom or loaded, found ram"),
    ((), "network: expected a network file, zoo:NAME, example:NAME or a TOML file, found none"),
])
def test_what_makes_no_part(tmp_path: Path, options: tuple[str, ...], line: str) -> None:
    assert refused("generate", *options, "-o", tmp_path / "part.v") == line
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_without_verilog(tmp_path: Path) -> None:
    generated(tmp_path, "popcount").unlink()
    said = refused("simulate", tmp_path / "part.json")
    assert said == f"{tmp_path / 'part.v'}: expected the Verilog of part.json, found none"
