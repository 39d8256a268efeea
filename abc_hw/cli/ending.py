"""How a command ends that is told to: nothing half-written, no temporary folder, no program left running."""

from __future__ import annotations

import signal
import sys
from types import FrameType

import psutil

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


def end_when_told() -> None:
    """From now on SIGTERM and SIGHUP end this process as an exception does; its exit code is 128 + their number.

    All programs that it has started, and those that they have, end first; so they do before a KeyboardInterrupt.
    A signal that is ignored stays so.
    """
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _end)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _end(number: int, frame: FrameType | None) -> None:
    for ending in ENDING:
        signal.signal(ending, signal.SIG_IGN)  # once is enough; what follows tidies up
    end_children()
    sys.exit(128 + number)


def _interrupt(number: int, frame: FrameType | None) -> None:
    end_children()
    raise KeyboardInterrupt


def end_children() -> None:
    """Kill every program that this process has started, and those that they have."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
