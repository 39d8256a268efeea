"""Any generated module in a simulator, from its manifest: the bench that comes with it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from cocotb_tools.check_results import get_results

from abc_hw.errors import InputError
from abc_hw.rtl_gen.emit import manifest
from abc_hw.writing import temporary_folder

from .simulators import cocotb_runner

__all__ = ["check_generated"]


def check_generated(
    path: Path | str, *, simulator: str = "icarus", seed: int = 0, images: int = 3
) -> str | None:
    """Simulate the module of a manifest, whose Verilog lies beside it, on random input with pauses.

    Parameters
    ----------
    images : of an accelerator

    Returns
    -------
    None if it equals the golden function of its part, else the first difference.

    Raises
    ------
    InputError : no manifest, no Verilog beside it, or no such simulator
    RuntimeError : the simulator fails; the message has the end of its log
    """
    path = Path(path).resolve()
    design = manifest.read(path)
    verilog = path.with_suffix(".v")
    if not verilog.is_file():
        raise InputError(f"{verilog}: expected the Verilog of {path.name}, found none")
    with temporary_folder() as folder, cocotb_runner(simulator) as runner:
        log, results = folder / "log", folder / "results.xml"
        with contextlib.suppress(SystemExit, RuntimeError):  # the files tell what failed
            runner.build(
                sources=[verilog], hdl_toplevel=design.module, build_dir=folder, timescale=("1ns", "1ps"),
                log_file=log,
            )
            runner.test(
                test_module="abc_hw.sim.tb_generated", hdl_toplevel=design.module, test_dir=folder,
                build_dir=folder, log_file=log, results_xml=str(results),
                extra_env={"ABC_HW_DESIGN": str(path), "ABC_HW_SEED": str(seed), "ABC_HW_IMAGES": str(images),
                           "COCOTB_ANSI_OUTPUT": "0"},
            )
        said = log.read_text() if log.exists() else ""
        if not results.exists():
            raise RuntimeError(f"{simulator} could not simulate {verilog.name}:\n{said[-2000:]}")
        tests, failed = get_results(results)
        if tests and not failed:
            return None
        return (re.findall(r"DifferenceError: (.*)", said) or ["the bench failed:\n" + said[-2000:]])[-1]
