"""Files that a user names, read whole, and only as large as they may be."""

from __future__ import annotations

import json
import os
import stat
import tomllib
from pathlib import Path
from typing import Any

from .errors import InputError

MAX_TEXT = 1 << 20
"""Bytes of a document that people write."""

MAX_DEPTH = 40
"""Lists and tables inside each other in a document."""


def read(path: str | Path, what: str, most: int) -> bytes:
    """The bytes of a regular file of at most ``most`` bytes; ``what`` names in messages what it should hold.

    Raises
    ------
    InputError : no such file, no permission, a folder, pipe or device, or a larger file
    """
    path = Path(path)
    try:
        check_regular(path, what)
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InputError(f"{path}: expected {what}, found {error.strerror}") from None
    except InputError:
        raise
    except ValueError as error:  # a name with a zero byte
        raise InputError(f"{path}: expected {what}, found {error}") from None
    if len(data) > most:
        raise InputError(f"{path}: expected {what} of at most {most} bytes, found more")
    return data


def check_regular(path: str | Path, what: str) -> None:
    """InputError for a folder, pipe or device; reading from some of them would wait for ever."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # who opens it will tell
        return
    if not stat.S_ISREG(mode):
        found = "a folder" if stat.S_ISDIR(mode) else "a pipe or device"
        raise InputError(f"{path}: expected {what}, found {found}")


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """The TOML document in a file.

    Raises
    ------
    InputError : see :func:`read`, and no TOML, or one of too many levels
    """
    return parse_toml(read(path, what, MAX_TEXT), str(path))


def parse_toml(text: bytes, where: str) -> dict[str, Any]:
    """The TOML document in UTF-8; ``where`` is the name that messages give it; InputError if it is none."""
    try:
        document = tomllib.loads(text.decode())
        check_depth(document)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except RecursionError:
        raise InputError(f"{where}: expected TOML, found lists or tables too deep in each other") from None
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise InputError(f"{where}: expected TOML, found {' '.join(str(error).split())}") from None
    return document


def read_json(path: str | Path, what: str) -> Any:
    """The JSON value in a file; InputError as of :func:`read`, and if it is none."""
    data = read(path, what, MAX_TEXT)
    try:
        document = json.loads(data)
        check_depth(document)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except RecursionError:
        raise InputError(f"{path}: expected JSON, found lists or tables too deep in each other") from None
    except ValueError as error:
        raise InputError(f"{path}: expected JSON, found {' '.join(str(error).split())}") from None
    return document


def check_depth(document: Any) -> None:
    """InputError if lists and tables lie too deep in each other."""
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [
            inner for outer in level if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    raise InputError(f"document: expected at most {MAX_DEPTH} lists and tables inside each other, found more")
