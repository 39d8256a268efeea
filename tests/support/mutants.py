"""Files made a little wrong: bytes, JSON documents and TOML texts, and the promise that readers keep for them."""

from __future__ import annotations

import copy
import json
import resource
import signal
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import numpy as np

from abc_hw.errors import InputError

SECONDS = 20
"""A reader that takes longer hangs; most take a few milliseconds, on machines that do other things beside."""

MOST_GROWTH = 1_000_000
"""kB by which all readings together may grow the process."""

Random = np.random.Generator

AS_BYTES = "surrogateescape"
"""How bytes that are no UTF-8 lie in a text."""

HOSTILE: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 255, 256, 2**31 - 1, 2**31, 2**62, 2**63, 10**30, 0.5, -0.0, 1e308, "", " ",
    "conv1", "module", "größe", "\x1b[31m", "[/red]", "\ud800", "\x00", "a" * 2000, "../../etc", [], {}, [[]],
    [1, 2], [1, 2, 3], [-1, 1], [2**20, 2**20, 1], [None], {"kind": "planes", "count": 8}, {"a": {"a": {}}},
)  # fmt: skip
"""Values that some reader may not expect."""


def changed_bytes(data: bytes, rng: Random) -> bytes:
    """The bytes with one to four faults."""
    made = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        place, length = int(rng.integers(len(made) + 1)), int(rng.integers(1, 33))
        match int(rng.integers(7)):
            case 0 if made:
                made[place % len(made)] ^= 1 << int(rng.integers(8))
            case 1:
                made[place : place + length] = rng.integers(256, size=length, dtype=np.uint8).tobytes()
            case 2:
                del made[place:]
            case 3:
                del made[place : place + length]
            case 4:
                made[place:place] = made[place : place + length]
            case 5:
                made[place : place + length] = bytes([int(rng.choice([0, 255, 127, 128]))]) * length
            case _:
                made[:8] = int(rng.choice([0, 1, 8, 2**16, 2**31, 2**32, 2**63])).to_bytes(8, "little")
    return bytes(made)


def changed_document(document: Any, rng: Random) -> Any:
    """A copy of a JSON value with one to three faults."""
    made = copy.deepcopy(document)
    for _ in range(rng.integers(1, 4)):
        owners = [value for value in _inside(made) if isinstance(value, dict | list) and len(value)]
        if not owners:
            return made
        owner = owners[int(rng.integers(len(owners)))]
        keys = list(owner) if isinstance(owner, dict) else list(range(len(owner)))
        key = keys[int(rng.integers(len(keys)))]
        match int(rng.integers(5)):
            case 0:
                del owner[key]
            case 1 if isinstance(owner, dict):
                owner[str(HOSTILE[int(rng.integers(20, 28))])] = owner[key]
            case 1:
                owner.extend(owner[:1] * int(rng.choice([1, 2, 600])))
            case 2 if isinstance(owner[key], int):
                owner[key] = owner[key] + int(rng.choice([-1, 1, 7, 2**15, -(2**40)]))
            case _:
                owner[key] = copy.deepcopy(HOSTILE[int(rng.integers(len(HOSTILE)))])
    return made


def _inside(value: Any) -> Iterator[Any]:
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _inside(inner)


def changed_lines(text: str, rng: Random) -> str:
    """A text with one to three faults: in the values behind its ``=``, in its lines, or in its letters."""
    lines = text.splitlines()
    for _ in range(rng.integers(1, 4)):
        place = int(rng.integers(len(lines)))
        match int(rng.integers(6)):
            case 0:
                del lines[place]
            case 1:
                lines.insert(int(rng.integers(len(lines) + 1)), lines[place])
            case 2:
                data = changed_bytes(lines[place].encode(errors=AS_BYTES), rng)
                lines[place] = data.decode(errors=AS_BYTES)
            case 3:
                lines.insert(place, "x = " + "[" * int(rng.choice([1, 50, 5000])))
            case _:
                field = lines[place].partition("=")[0]
                value = HOSTILE[int(rng.integers(len(HOSTILE)))]
                lines[place] = f"{field}= {json.dumps(value)}"
        lines = lines or [""]
    return "\n".join(lines)


class Promise:
    """Readers that are called through this must give a value or one line, in time and without much memory.

    ``accepted`` and ``refused`` count what became of the inputs.
    """

    def __init__(self) -> None:
        self.accepted = self.refused = 0
        self._before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        signal.signal(signal.SIGALRM, _too_long)

    def __str__(self) -> str:
        return f"{self.accepted:,} read, {self.refused:,} refused, {self.growth / 1e3:.0f} MB grown"

    @property
    def growth(self) -> int:
        """kB by which the process has grown since."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self._before

    def keep(self, read: Callable[[], Any], what: object) -> Any:
        """What the reader gives, None if it refuses; AssertionError, with what was read, where it does neither."""
        signal.alarm(SECONDS)
        value, line = None, ""
        try:
            value = read()
        except InputError as error:
            line = str(error)
        except BaseException as error:
            raise AssertionError(f"{type(error).__name__}: {error} from {what!r}") from error
        finally:
            signal.alarm(0)
        assert self.growth < MOST_GROWTH, what
        assert len(line.splitlines()) == (value is None), what
        self.accepted += value is not None
        self.refused += value is None
        return value


class TooLong(BaseException):
    """A reader took longer than :data:`SECONDS`."""


def _too_long(number: int, frame: FrameType | None) -> None:
    raise TooLong
