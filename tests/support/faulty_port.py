"""A serial port that damages what passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import serial


class FaultyPort:
    """A serial port that damages what passes, in one of six ways: each write with probability ``rate``, and each
    read, of which a frame takes several, with a tenth of that. ``faults`` counts what was done.
    """

    def __init__(self, port: serial.Serial, rate: float, seed: int) -> None:
        self._port, self.rate = port, rate
        self._rng = np.random.default_rng(seed)
        self.faults = {"flip": 0, "cut": 0, "twice": 0, "noise": 0, "lost": 0, "hole": 0}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def _damaged(self, data: bytes, rate: float) -> bytes:
        rng, changed = self._rng, bytearray(data)
        if not data or rng.random() >= rate:
            return data
        kind = str(rng.choice(list(self.faults)))
        self.faults[kind] += 1
        place = int(rng.integers(len(data)))
        match kind:
            case "flip":
                for spot in rng.integers(0, len(data), rng.integers(1, 4)):
                    changed[spot] ^= int(rng.integers(1, 256))
            case "cut":
                del changed[place:]
            case "twice":
                changed += data
            case "noise":
                changed[place:place] = rng.integers(0, 256, rng.integers(1, 30), dtype=np.uint8).tobytes()
            case "lost":
                changed.clear()
            case "hole":
                del changed[place : place + int(rng.integers(1, 9))]
        return bytes(changed)

    def write(self, data: bytes) -> None:
        self._port.write(self._damaged(data, self.rate))

    def read(self, size: int) -> bytes:
        return self._damaged(self._port.read(size), self.rate / 10)
