"""An accelerator behind AXI: lint, a client of others' making, registers from one description, refusals."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from command_line import done, refused
from opinion import lint

from abc_hw.rtl_gen.bus.register_map import register_map
from abc_hw.rtl_gen.emit import manifest
from abc_hw.sim.generated import check_generated
from abc_hw.sim.simulators import cocotb_runner

OPTIONS = "example:tiny", "--interface", "axi", "--name", "core"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An accelerator of which all is loaded, of two pixels at once in its first layer, with a wider output."""
    made = tmp_path_factory.mktemp("axi")
    (made / "two.toml").write_text("conv1 = { simd = 3, pe = 2, px = 2 }\n")
    more = "--constants", "loaded", "--axi-out-bits", "64", "--folding", made / "two.toml"
    done("generate", *OPTIONS, *more, "-o", made / "core.v")
    return made


def test_it_lints(folder: Path) -> None:
    opinion = lint(folder / "core.v")
    assert (opinion.returncode, opinion.stderr) == (0, "")


def test_a_client_in_icarus(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with cocotb_runner("icarus") as runner:
        runner.build(
            sources=[folder / "core.v"], hdl_toplevel="core", build_dir=folder / "build", timescale=("1ns", "1ps")
        )
        results = runner.test(
            test_module="axi_bench", hdl_toplevel="core", test_dir=folder, build_dir=folder / "build"
        )
    assert get_results(results) == (3, 0)


@pytest.mark.long
@pytest.mark.parametrize(("simulator", "images"), [("verilator", 1000), ("icarus", 100)])
def test_many_images_with_pauses_on_all_channels(tmp_path: Path, simulator: str, images: int) -> None:
    done("generate", *OPTIONS, "--axi-in-bits", "16", "-o", tmp_path / "core.v")
    assert check_generated(tmp_path / "core.json", simulator=simulator, images=images) is None


def test_registers_are_where_header_and_manifest_say(folder: Path) -> None:
    told = manifest.read(folder / "core.json")
    assert told.axi is not None
    addresses = {one.name: one.address for one in register_map()}
    assert told.axi.registers == addresses
    names = ["load", "load_first", "images_in", "status"]
    asked = "".join(f'printf("%zu\\n", offsetof(abc_hw_accelerator_t, {name}));' for name in names)
    (folder / "main.c").write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "core.h"\nint main(void) {{ {asked} return 0; }}\n'
    )
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", "main", "main.c"], cwd=folder, check=True)
    said = subprocess.run(["./main"], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(addresses[name]) for name in names]


def test_a_new_training_keeps_the_ports(folder: Path, tmp_path: Path) -> None:
    wider = "generate", *OPTIONS, "--constants", "loaded", "-o", tmp_path / "core.v", "--ports-of"
    assert re.match(r".*core.json: expected ports as there, axi .*", refused(*wider, folder / "core.json"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("options", "line"), [
    (("--axi-in-bits", "24"), "axi-in-bits: expected 8, 16, 32, 64, 128, 256, 512, found 24"),
    (("--part", "layer:conv1"), "interface: expected stream with --part layer:conv1, found axi"),
    (("--input-px", "2"), "input-px: expected 1 with --interface axi, found 2"),
    (("--interface", "wishbone"), "interface: expected stream or axi, found wishbone"),
    (("--interface", "stream", "--register-pages", "x"),
     "register-pages: expected it with --interface axi, found stream"),
])
def test_what_makes_no_bus(tmp_path: Path, options: tuple[str, ...], line: str) -> None:
    assert refused("generate", *OPTIONS, *options, "-o", tmp_path / "core.v") == line
