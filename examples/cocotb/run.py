"""Generate, build, test: python run.py [icarus|verilator]"""

import subprocess
import sys
from pathlib import Path

from cocotb_tools.check_results import get_results

from abc_hw.sim.simulators import cocotb_runner

here = Path(__file__).resolve().parent
simulator = sys.argv[1] if len(sys.argv) > 1 else "icarus"

generate = [sys.executable, "-m", "abc_hw", "generate", "example:tiny", "-q", "-o", "accelerator.v"]
subprocess.run(generate, check=True)
with cocotb_runner(simulator) as runner:
    runner.build(
        sources=["accelerator.v", here / "top.v"], hdl_toplevel="top", build_dir=f"build/{simulator}",
        timescale=("1ns", "1ps"),
    )
    results = runner.test(test_module="test_top", hdl_toplevel="top", test_dir=".")
tests, failed = get_results(results)
sys.exit(failed > 0 or tests == 0)
