"""Yosys as a program: the one on PATH, or the one in the pyosys wheel.

A Yosys error ends its process; so whatever a user's design can upset runs in one of its own.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["run_yosys"]

_WHEEL = """
import sys
from pyosys import libyosys as ys
design = ys.Design()
for command in sys.argv[1:]:
    ys.Pass.call(design, command)
"""


def run_yosys(*commands: str) -> str:
    """Run ``commands`` one after the other on an empty design; returns what Yosys printed.

    Raises
    ------
    RuntimeError
        if Yosys fails; the message has the end of what it printed.
    """
    native = shutil.which("yosys")
    line: Sequence[str] = (
        [native, "-p", "; ".join(commands)] if native else [sys.executable, "-c", _WHEEL, *commands]
    )
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"Yosys failed at: {(done.stdout + done.stderr).strip()[-1500:]}")
    return done.stdout
