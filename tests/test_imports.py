"""What importing a module loads: the hardware half of the project stays free of the training half's packages."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from places import ROOT

HEAVY = ["torch", "lightning", "sklearn"]
TRAINING = {
    "abc_hw.cli.training_page", "abc_hw.conversion.exporting", "abc_hw.conversion.fitting",
    "abc_hw.conversion.floats", "abc_hw.conversion.skip_paths",
}
"""Modules outside abc_hw.training that belong to the training half."""


def modules(*packages: str) -> Iterator[str]:
    for name in packages:
        yield name
        for found in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."):
            yield found.name


def loaded_by(*names: str) -> set[str]:
    """All modules that a fresh interpreter has loaded after importing those."""
    code = f"import importlib, sys\nfor name in {names!r}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def hardware_half() -> list[str]:
    return [name for name in modules("abc_hw") if not name.startswith("abc_hw.training.") and name not in TRAINING]


def test_the_hardware_half_loads_nothing_that_trains() -> None:
    names = hardware_half()
    assert {
        "abc_hw.network.files", "abc_hw.cli.main", "abc_hw.rtl_gen.emit.verilog", "abc_hw.sim.golden",
        "abc_hw.sim.runner", "abc_hw.boards.host.driver",
    } <= set(names)
    loaded = loaded_by(*names)
    assert set(names) <= loaded
    assert loaded.isdisjoint(HEAVY)


def test_the_training_half_is_told_apart_rightly() -> None:
    """Guards the test above: what it leaves out does load torch."""
    assert "torch" in loaded_by("abc_hw.training.binarize")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file names in its imports, relative ones resolved."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    package = package if package[0] == "abc_hw" else ("abc_hw", *package)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*start, *filter(None, [node.module])])
            yield from (f"{module}.{name.name}" for name in node.names)


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in (ROOT / folder).rglob("*.py") if path.resolve() == path)


def test_only_the_command_line_knows_hardware_simulation_and_boards() -> None:
    known = ("abc_hw.rtl_gen", "abc_hw.sim", "abc_hw.boards")
    found = {
        str(path.relative_to(ROOT))
        for path in sources("abc_hw") for name in imported(path) if name.startswith(known)
    }
    assert found
    assert {path for path in found if not path.startswith("abc_hw/cli/")} == set()


ORDER = ["parts", "schedule", "blocks", "folding", "engine", "cost", "bus", "emit"]
"""Rooms of rtl_gen, each of which knows those before it."""


def test_each_room_of_hardware_knows_those_before_it_only() -> None:
    for path in sources("rtl_gen"):
        room = path.relative_to(ROOT / "rtl_gen").with_suffix("").parts[0]
        if room == "__init__":
            continue
        known = {
            name.split(".")[2] for name in imported(path)
            if name.startswith("abc_hw.rtl_gen.") and name.split(".")[2] in ORDER
        }
        later = {*ORDER[ORDER.index(room) + 1:]}
        assert not known & later, (str(path), known & later)


def test_everything_is_imported_by_its_name_when_installed() -> None:
    """The folders beside abc_hw are links in it; a user's own ``sim`` must never be taken for ours."""
    every = sources("abc_hw", "rtl_gen", "sim", "boards", "benchmarks", "tests")
    short = {"rtl_gen", "sim", "boards"}
    assert {str(path) for path in every for name in imported(path) if name.split(".")[0] in short} == set()


def test_yosys_is_taken_from_one_place_which_leaves_the_process_as_it_was() -> None:
    every = sources("abc_hw", "rtl_gen", "sim", "boards", "benchmarks", "tests")
    yosys = (path for path in every for name in imported(path) if name.startswith("pyosys"))
    takers = {str(path.relative_to(ROOT)) for path in yosys}
    assert takers == {"rtl_gen/emit/libyosys.py"}
    code = (
        "import sys; flags = sys.getdlopenflags(); import abc_hw.rtl_gen.emit.plain; "
        "assert 'pyosys' in sys.modules; assert sys.getdlopenflags() == flags"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_the_command_line_starts_without_heavy_packages() -> None:
    heavy = {"amaranth", "pyosys", "cocotb", "onnx", "onnxruntime", *HEAVY}
    assert not heavy & loaded_by("abc_hw.cli.main")


def test_abc_hw_itself_imports_nothing() -> None:
    loaded = loaded_by("abc_hw")
    assert {name for name in loaded if name.startswith("abc_hw")} == {"abc_hw"}
    assert "numpy" not in loaded
