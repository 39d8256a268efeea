"""A board without the board: the whole design, serial line included, in Verilator behind a pseudo-terminal.

The host driver opens :attr:`SimulatedBoard.port` as it would a board's port.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from abc_hw.errors import InputError
from abc_hw.rtl_gen.emit.verilog import emit
from abc_hw.sim.simulators import effort, environment
from abc_hw.writing import temporary_folder

from ..gateware.top import LinkedAccelerator

NAME = "board"
SOURCE = Path(__file__).with_name("simulated_board.cpp")


def build_simulator(top: LinkedAccelerator, folder: Path, images: int | None = None) -> Path:
    """Compile the simulation of ``top`` in ``folder``, for about so many images (None: many); the program's path.

    Raises
    ------
    InputError
        if Verilator or its compiler is missing.
    RuntimeError
        if the build fails; the message ends with the tool's last words.
    """
    variables = environment("verilator")
    identity = top.identity
    # A byte on the line is ten bits, and the line is what takes longest.
    line = 10 * top.divisor
    cycles = None if images is None else (images * identity.image_bytes + identity.load_bytes) * line
    text = emit(top, name=NAME).text
    split, optimised = effort(cycles, text, best="-O1")
    (folder / f"{NAME}.v").write_text(text)
    shutil.copy(SOURCE, folder)
    command = [
        "verilator", "--cc", "--exe", "--build", "-O3", "--x-initial", "unique", "-Wno-fatal", "-Wno-WIDTH",
        *split, "-MAKEFLAGS", optimised,
        "--top-module", NAME, "--Mdir", "model", f"{NAME}.v", SOURCE.name,
    ]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | variables, capture_output=True, text=True, check=False
    )
    program = folder / "model" / f"V{NAME}"
    if done.returncode or not program.exists():
        raise RuntimeError(f"verilator could not build the design:\n{(done.stdout + done.stderr)[-2000:]}")
    return program


class SimulatedBoard:
    """A running simulation; made by :func:`simulated_board`."""

    _master: int
    _slave: int
    _process: subprocess.Popen[bytes]

    def __init__(self, program: Path, top: LinkedAccelerator) -> None:
        if sys.platform == "win32":
            raise InputError("simulate: expected a system with pseudo-terminals, found Windows; WSL has them")
        import pty
        import tty

        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        # While nothing moves on the line for so long, nothing moves in the design: its clock may stop.
        quiet = 2 * sum(top.accelerator.plan.rates.values()) + 20_000
        self._process = subprocess.Popen(
            [str(program), str(self._master), str(top.divisor), str(quiet)],
            stdin=subprocess.PIPE, pass_fds=[self._master],
        )

    @property
    def port(self) -> str:
        """The pseudo-terminal's name."""
        if sys.platform != "win32":
            return os.ttyname(self._slave)
        raise NotImplementedError  # no simulated board is made there

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        """Switch the board off."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._master)
        os.close(self._slave)


@contextlib.contextmanager
def simulated_board(
    top: LinkedAccelerator, work_dir: Path | str | None = None, *, images: int | None = None
) -> Iterator[SimulatedBoard]:
    """Build and run the simulation of ``top``.

    Parameters
    ----------
    top : the design; its fastest line (``baud=None``) makes the simulation quick
    work_dir : existing folder to keep sources and build in; a temporary one otherwise
    images : how many it will see, about: for few its model is built sooner and runs slower; None: many

    Raises
    ------
    InputError, RuntimeError
        see :func:`build_simulator`
    """
    with contextlib.ExitStack() as stack:
        if work_dir is None:
            work_dir = stack.enter_context(temporary_folder())
        board = SimulatedBoard(build_simulator(top, Path(work_dir).resolve(), images), top)
        stack.callback(board.close)
        yield board
