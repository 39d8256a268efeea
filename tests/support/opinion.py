"""What Verilator thinks of Verilog."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from abc_hw.sim.simulators import environment


def lint(verilog: Path) -> subprocess.CompletedProcess[str]:
    """Verilator's own opinion. One file of many modules cannot be named after each: only that is waived."""
    return subprocess.run(
        ["verilator", "--lint-only", "-Wall", "-Wno-DECLFILENAME", str(verilog)],
        env=os.environ | environment("verilator"), capture_output=True, text=True, check=False,
    )
