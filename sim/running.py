"""A prepared folder through a simulator, as often as one likes: harness, design and input lie in it already.

``rerun.sh`` in a work folder does it again from what lies there, changed by hand or not.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import sys
from pathlib import Path

from cocotb_tools.runner import Icarus
from cocotb_tools.runner import Verilator as VerilatorRunner

from abc_hw.errors import InputError
from abc_hw.rtl_gen.emit.yosys import search_path

from .contents import contents_in_files
from .simulators import effort, environment, under

__all__ = ["leave_rerun", "run_bench", "viewer_lists", "wave_kind"]

TOP = "accelerator"

KINDS = {"icarus": (".fst", ".vcd"), "verilator": (".vcd",)}
"""Suffixes of the waveform files that a simulator writes, the usual one first."""

RANDOM_START = ("+verilator+rand+reset+2", "+verilator+seed+1")
"""Of Verilator's models: registers and memories without an initial value begin with any; Icarus begins with x."""


def wave_kind(path: Path | str | None, simulator: str) -> str | None:
    """The suffix that tells which kind of waveform file is wanted; the simulator's usual one where there is none.

    Raises
    ------
    InputError : a kind that the simulator does not write
    """
    if path is None:
        return None
    kinds = KINDS[simulator]
    kind = Path(path).suffix or kinds[0]
    if kind not in kinds:
        usual = " or ".join(kinds)
        raise InputError(f"waves: expected a name that ends in {usual} from {simulator}, found {path}")
    return kind


def run_bench(folder: Path, simulator: str, *, kind: str | None) -> Path | None:
    """Build what lies in the folder and run its bench; returns the waveform file of that kind.

    Raises
    ------
    InputError : no such simulator
    RuntimeError : it cannot build the design; the message has the end of its log
    """
    build = folder / "build"
    build.mkdir(exist_ok=True)
    design = build / f"{TOP}.v"
    text = contents_in_files((folder / design.name).read_text(), build)
    design.write_text(text)
    cycles = json.loads((folder / "run.json").read_text())["most_cycles"]
    split, optimised = effort(cycles, text, best="-Os")
    runner = _LeanVerilator(optimised) if simulator == "verilator" else _Icarus(kind)
    build_args = {
        "verilator": [
            "-Wno-fatal", "-Wno-WIDTH", "-O3", "--x-initial", "unique", *split,
        ],
        "icarus": ["-Wall", "-Wno-timescale"],
    }
    with under(environment(simulator)):
        try:
            runner.build(
                sources=[folder / "harness.sv", design], hdl_toplevel="harness", always=True,
                build_dir=build, build_args=build_args[simulator], waves=kind is not None,
                timescale=("1ns", "1ps"), log_file=folder / "build.log",
            )
        except (SystemExit, RuntimeError) as error:
            log = (folder / "build.log").read_text()[-2000:] if (folder / "build.log").exists() else ""
            raise RuntimeError(f"{simulator} could not build the design:\n{log}") from error
        with contextlib.suppress(SystemExit, RuntimeError):  # a failed bench: its result file says what differs
            runner.test(
                test_module="abc_hw.sim.tb_accelerator", hdl_toplevel="harness", build_dir=build,
                test_dir=folder, waves=kind is not None, log_file=folder / "simulation.log",
                extra_env={"COCOTB_ANSI_OUTPUT": "0"}, plusargs=RANDOM_START,
            )
    if kind is None:
        return None
    return folder / "dump.vcd" if simulator == "verilator" else build / "harness.fst"


class _LeanVerilator(VerilatorRunner):
    """Verilator without every signal made public: the bench touches only the harness's ports, and the model
    compiles in a fraction of the time."""

    def __init__(self, optimised: str) -> None:
        super().__init__()
        self._optimised = optimised

    def _build_command(self) -> list[list[str]]:
        verilate, make = super()._build_command()
        lean = [word for word in verilate if word != "--public-flat-rw"]
        return [lean, [*make, self._optimised]]


class _Icarus(Icarus):
    """Icarus, which writes either kind of waveform file under the same name."""

    def __init__(self, kind: str | None) -> None:
        super().__init__()
        self._kind = kind

    def _test_command(self) -> list[list[str]]:
        commands = super()._test_command()
        wanted = "-vcd" if self._kind == ".vcd" else "-fst"
        return [[wanted if word == "-fst" else word for word in command] for command in commands]


def viewer_lists(waves: Path, layers: list[str]) -> dict[Path, str]:
    """What shows the streams when waves are opened: for GTKWave a save file, for Surfer its commands."""
    streams = [f"harness.dut.{port}" for port in ("clk", "rst", *_ports("i"), *_ports("o"))]
    streams += [f"harness.dut.{layer}.{port}" for layer in layers for port in _ports("o")]
    return {
        waves.with_suffix(".gtkw"): f'[dumpfile] "{waves.name}"\n' + "".join(f"{name}\n" for name in streams),
        waves.with_suffix(".sucl"): f"load_file {waves.name}\n"
        + "".join(f"variable_add {name}\n" for name in streams),
    }


def _ports(stream: str) -> list[str]:
    return [f"{stream}__{part}" for part in ("valid", "ready", "payload")]


def leave_rerun(folder: Path, simulator: str) -> None:
    """Write ``rerun.sh`` into the folder."""
    words = [sys.executable, "-m", "abc_hw.sim.running", simulator]
    script = folder / "rerun.sh"
    script.write_text(
        "#!/bin/sh\n# Builds and simulates what lies here once more; with --waves it writes waveforms.\n"
        f'cd "$(dirname "$0")" || exit 2\nPYTHONPATH={shlex.quote(search_path())} exec {shlex.join(words)} "$@"\n'
    )
    script.chmod(0o755)


def main() -> int:
    """Run what lies in the current folder; 0 if no bit differs."""
    simulator, *options = sys.argv[1:]
    folder = Path.cwd()
    (folder / "result.json").unlink(missing_ok=True)
    waves = run_bench(folder, simulator, kind=KINDS[simulator][0] if "--waves" in options else None)
    if not (folder / "result.json").exists():
        print((folder / "simulation.log").read_text()[-2000:], file=sys.stderr)
        return 1
    result = json.loads((folder / "result.json").read_text())
    for counts in result["layers"]:
        print(f"{counts['name']}: {counts['bits_compared']} bits compared, {counts['bits_differing']} differ")
    if waves is not None:
        print(f"waves: {waves}")
    differ = any(counts["bits_differing"] for counts in result["layers"])
    return int(differ or result["timed_out"])


if __name__ == "__main__":
    sys.exit(main())
