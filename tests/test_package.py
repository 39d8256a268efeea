"""What is installed: the public names, and a wheel that works beside folders of the same names as its own."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from places import ROOT

import abc_hw
from abc_hw import sources
from abc_hw.errors import InputError

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

SCRIPT = """
import numpy as np
import abc_hw
network = abc_hw.load("zoo:digits-lenet-m3n3")
text: str = abc_hw.generate(network, abc_hw.fold(network, cycles=2000), name="lenet")
print(abc_hw.__version__, len(network.layers), text.count("endmodule") > 0)
"""


def test_every_public_name_is_there() -> None:
    assert abc_hw.load("example:tiny").name == "tiny"
    assert {name: getattr(abc_hw, name).__doc__ is not None for name in abc_hw.__all__} == dict.fromkeys(
        abc_hw.__all__, True
    )
    assert set(abc_hw.__all__) <= set(dir(abc_hw))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = abc_hw.nonsense  # type: ignore[attr-defined]


def test_type_checkers_are_told_of_the_same_names() -> None:
    stub = ast.parse((ROOT / "abc_hw" / "__init__.pyi").read_text())
    told = {
        alias.asname: (node.module, alias.name)
        for node in stub.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert told == abc_hw._HOMES  # type: ignore[attr-defined]


def test_the_version_is_the_same_everywhere() -> None:
    (changes, *_) = re.findall(r"^## (\S+), ", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    (cited,) = re.findall(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert changes == cited == VERSION


def test_examples_go_by_name() -> None:
    assert {"tiny", "lenet", "mlp"} <= set(sources.example_names())
    assert sources.read("example:tiny")[1]["conv1"] == {"simd": 3, "pe": 2}
    with pytest.raises(InputError, match=r"example: expected one of .*tiny.*, found 'tine'"):
        sources.resolve("example:tine")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the wheel installs."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("abc_hw", "rtl_gen", "sim", "boards", "examples"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", ".", "-w", str(folder)],
        cwd=source, check=True, capture_output=True, timeout=300,
    )
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A user's folder, with packages of his own that are called as ours are."""
    for name in ("sim", "boards", "rtl_gen"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise RuntimeError('a package of the user')\n")
    return tmp_path


def run_installed(installed: Path, folder: Path, *arguments: str) -> str:
    """What python with these arguments prints, in the folder, with the wheel's contents in its path."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True, text=True, check=False, timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_works_beside_folders_of_the_same_names(installed: Path, elsewhere: Path) -> None:
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"abc_hw"}
    where = run_installed(installed, elsewhere, "-c", "import abc_hw; print(abc_hw.__file__)")
    assert Path(where.strip()).is_relative_to(installed)
    said = run_installed(installed, elsewhere, "-m", "abc_hw", "generate", "example:tiny", "-o", "tiny.v")
    assert "an image every" in said
    assert "endmodule" in (elsewhere / "tiny.v").read_text()


@pytest.mark.long
def test_the_wheel_simulates_and_its_types_are_strict(installed: Path, elsewhere: Path) -> None:
    said = run_installed(
        installed, elsewhere, "-m", "abc_hw", "simulate", "example:tiny", "--random", "--images", "3"
    )
    assert "cycles between images" in said
    shutil.copytree(installed / "abc_hw" / "examples" / "cocotb", elsewhere / "bench")
    (elsewhere / "sim").rename(elsewhere / "bench" / "sim")
    for simulator in ("icarus", "verilator"):
        said = run_installed(installed, elsewhere / "bench", "run.py", simulator)
        assert "TESTS=2 PASS=2 FAIL=0" in said
    (elsewhere / "script.py").write_text(SCRIPT)
    assert run_installed(installed, elsewhere, "script.py") == f"{VERSION} 4 True\n"
    run_installed(installed, elsewhere, "-m", "mypy", "--strict", "script.py")


def test_convert_is_a_function_and_a_room() -> None:
    code = (
        "import abc_hw\n"
        "first = abc_hw.convert\n"
        "from abc_hw.convert import convert, export\n"
        "assert convert is first and export is abc_hw.export\n"
        "try: abc_hw.convert(3, M=2, N=2, calibration=[])\n"
        "except Exception as error: print(type(error).__name__)\n"
        "try: convert(3, M=2, N=2, calibration=[])\n"
        "except Exception as error: print(type(error).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split()
    assert first == second


@pytest.mark.long
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_nothing_is_used_that_a_system_lacks(system: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--platform", system, "--cache-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
