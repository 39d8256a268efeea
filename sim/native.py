"""Many images through the generated Verilog: a Verilated model in a loop of its own, on all cores.

Only the accelerator's output is looked at. For every layer's stream see :mod:`abc_hw.sim.runner`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from abc_hw.errors import InputError
from abc_hw.network import Graph, IntArray, Network
from abc_hw.rtl_gen.engine.accelerator import Accelerator, WeightSource
from abc_hw.rtl_gen.engine.design import AnyAccelerator
from abc_hw.rtl_gen.folding import LayerFolding
from abc_hw.rtl_gen.parts.arith import ceil_div

from .contents import contents_in_files
from .counters import with_operators
from .fast import Progress
from .folders import work_folder
from .golden import check_images
from .harness import OutputFields, load_stimulus, stimulus
from .netlist import accelerator_text, find_flow, simulated
from .simulators import effort, environment

TOP = "accelerator"
SOURCE = Path(__file__).with_name("native.cpp")

REPORT = 8
"""Images after which a process tells how many are done."""

BATCH = 500
"""Images whose transfers are made at once; it bounds memory and changes no result."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class NativeResult:
    """What came out.

    Members
    -------
    scores : int64 [B, classes];  labels : int64 [B]. Of a network without classes its output [B, H, W, C], and
        no labels
    cycles : of the simulated clock from each image's last score to the next one's, where one process ran both
    bound : least cycles between images that the folding allows
    """

    scores: IntArray
    labels: IntArray | None
    cycles: IntArray
    bound: int


def simulate_scores(
    network: Network | Graph,
    images: npt.NDArray[Any],
    *,
    foldings: Mapping[str, LayerFolding],
    weights: WeightSource = "rom",
    target: str | None = None,
    netlist: str | None = None,
    stalls: float = 0.0,
    seed: int = 0,
    jobs: int | None = None,
    fast: bool = False,
    work_dir: Path | str | None = None,
    progress: Progress | None = None,
    built: Callable[[], None] | None = None,
    mutate: Callable[[str], str] | None = None,
) -> NativeResult:
    """Scores and classes of ``images`` by the generated Verilog in Verilator.

    Parameters
    ----------
    network, foldings, weights, target, netlist : what to simulate, as of :func:`abc_hw.sim.runner.simulate`
    images : uint8 (or int8 where the network's are signed) [B, H, W, C], at least one
    stalls, seed : share of cycles, 0 to 0.9, in which input is held back and output not taken, at random
    jobs : processes at once; all cores otherwise
    fast : popcounts by the simulator's own operator, see :mod:`abc_hw.sim.counters`
    work_dir : keep sources, build and records here; a temporary folder otherwise
    progress : told (images done, images in all)
    built : called when the model is built and images begin
    mutate : changes the Verilog text before it is built, to try whether a fault is noticed

    Raises
    ------
    InputError
        if the images or the folding do not fit, ``fast`` stands beside a netlist, or Verilator is missing.
    RuntimeError
        if the model cannot be built, or does not end.
    """
    if not 0 <= stalls <= 0.9:
        raise InputError(f"stalls: expected a share from 0 to 0.9, found {stalls}")
    if fast and netlist is not None:
        raise InputError(f"fast: expected the Verilog, whose popcounts are modules, found a netlist for {netlist}")
    images = check_images(network, images)
    flow = None if netlist is None else find_flow(netlist)
    accelerator = simulated(network, foldings, weights=weights, target=target, flow=flow)
    with work_folder(work_dir) as folder:
        verilog, _ = accelerator_text(accelerator, top=TOP, flow=flow, folder=folder)
        text = verilog.text
        if fast:
            text, _ = with_operators(text, target=accelerator.plan.target)
        cycles = len(images) * accelerator.plan.cycles
        program = build_native(accelerator, text if mutate is None else mutate(text), folder, cycles=cycles)
        if built is not None:
            built()
        parts = np.array_split(np.arange(len(images)), min(jobs or os.cpu_count() or 1, len(images)))
        shares = [_Share(folder, index, accelerator, images[part]) for index, part in enumerate(parts)]
        _run(program, shares, round(stalls * 256), seed, _patience(accelerator, stalls), progress)
        rows = [share.rows() for share in shares]
    outputs, shape = accelerator.plan.o_transfers, accelerator.plan.traced[-1].shape
    scores = np.concatenate([row[:, :outputs] for row in rows])
    return NativeResult(
        scores=scores if network.classes else scores.reshape(-1, *shape),
        labels=np.concatenate([row[:, outputs] for row in rows]) if network.classes else None,
        cycles=np.concatenate([np.diff(row[:, outputs + 1]) for row in rows]),
        bound=accelerator.plan.cycles,
    )


def _patience(accelerator: AnyAccelerator, stalls: float) -> int:
    """Cycles without an image after which there will be none."""
    plan = accelerator.plan
    cycles = sum(plan.rates.values()) + plan.cycles + _load_transfers(accelerator)
    return round((4 * cycles + 10_000) / (1 - stalls) ** 2)


def build_native(accelerator: AnyAccelerator, verilog: str, folder: Path, *, cycles: int | None = None) -> Path:
    """Compile the model of an accelerator and its loop in ``folder``, for some ``cycles``; the program's path.

    Raises
    ------
    InputError
        if Verilator or its compiler is missing.
    RuntimeError
        if the build fails; the message ends with the tool's last words.
    """
    variables = environment("verilator")
    verilog = contents_in_files(verilog, folder)
    (folder / f"{TOP}.v").write_text(verilog)
    shutil.copy(SOURCE, folder)
    fields = OutputFields.of(accelerator.plan)
    facts = {
        "I_BYTES": ceil_div(_input_bits(accelerator), 8), "TRANSFERS": accelerator.plan.i_transfers,
        "OUTPUTS": accelerator.plan.o_transfers, "O_SCORE_BITS": fields.bits,
        "O_SIGNED": int(fields.signed), "O_LABEL_BITS": fields.label, "LOAD_BYTES": _load_bytes(accelerator),
        "LOAD_TRANSFERS": _load_transfers(accelerator), "REPORT": REPORT,
    }
    (folder / "design.h").write_text("".join(f"#define {name} {value}\n" for name, value in facts.items()))
    split, optimised = effort(cycles, verilog)
    command = [
        "verilator", "--cc", "--exe", "--build", "-j", "0", "-O3", "--x-assign", "fast", "--x-initial", "fast",
        "--noassert", "-Wno-fatal", "-Wno-WIDTH", "-CFLAGS", "-march=native",
        *split, "-MAKEFLAGS", optimised,
        "--top-module", TOP, "--Mdir", "native", f"{TOP}.v", SOURCE.name,
    ]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    program = folder / "native" / f"V{TOP}"
    if done.returncode or not program.exists():
        raise RuntimeError(f"verilator could not build the design:\n{(done.stdout + done.stderr)[-2000:]}")
    return program


def _input_bits(accelerator: AnyAccelerator) -> int:
    return accelerator.plan.i.width


def _load_bytes(accelerator: AnyAccelerator) -> int:
    if not (isinstance(accelerator, Accelerator) and accelerator.plan.loads):
        return 0
    return ceil_div(len(accelerator.load.payload.as_value()), 8)


def _load_transfers(accelerator: AnyAccelerator) -> int:
    if not (isinstance(accelerator, Accelerator) and accelerator.plan.loads):
        return 0
    return accelerator.plan.gate.load_transfers


class _Share:
    """The images of one process, in files."""

    def __init__(self, folder: Path, index: int, accelerator: AnyAccelerator, images: npt.NDArray[Any]) -> None:
        self.images = len(images)
        self.input, self.output = folder / f"images.{index}", folder / f"scores.{index}"
        self.done = 0
        size = ceil_div(_input_bits(accelerator), 8)
        with self.input.open("wb") as file:
            if isinstance(accelerator, Accelerator) and accelerator.plan.loads:
                file.write(_bytes_of(load_stimulus(accelerator), _load_bytes(accelerator)))
            for start in range(0, len(images), BATCH):
                file.write(_bytes_of(stimulus(accelerator, images[start : start + BATCH]), size))

    def rows(self) -> IntArray:
        """Scores, label and cycle of each image, int64 [B, outputs + 2]."""
        return np.fromfile(self.output, "<i8").reshape(self.images, -1)


def _bytes_of(words: Sequence[int], size: int) -> bytes:
    return b"".join(word.to_bytes(size, "little") for word in words)


def _run(
    program: Path, shares: Sequence[_Share], stall: int, seed: int, patience: int, progress: Progress | None
) -> None:
    """Run all shares at once; RuntimeError if one does not end."""
    total = sum(share.images for share in shares)
    with _processes([
        [str(program), str(share.input), str(share.output), str(share.images), str(stall),
         str((seed + index) * 2654435761 % (1 << 32)), str(patience)]
        for index, share in enumerate(shares)
    ]) as processes:
        changed = threading.Condition()

        def follow(share: _Share, process: subprocess.Popen[str]) -> None:
            assert process.stdout is not None
            for line in process.stdout:
                with changed:
                    share.done = int(line)
                    if progress is not None:
                        progress(sum(share.done for share in shares), total)

        threads = [
            threading.Thread(target=follow, args=pair) for pair in zip(shares, processes, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for share, process in zip(shares, processes, strict=True):
            if process.wait():
                said = "" if process.stderr is None else process.stderr.read()[-2000:]
                raise RuntimeError(
                    f"verilator ended with code {process.returncode} after {share.done} of {share.images} images "
                    f"and at most {patience} cycles without one:\n{said}"
                )


@contextlib.contextmanager
def _processes(commands: Sequence[Sequence[str]]) -> Iterator[list[subprocess.Popen[str]]]:
    """Programs that end when the block does, however it ends."""
    started: list[subprocess.Popen[str]] = []
    try:
        for command in commands:
            started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        yield started
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()
