"""Where a simulation keeps its sources, build and records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from abc_hw.errors import InputError
from abc_hw.writing import PLAIN_PATH, PLAIN_SIGNS, own_folder, telling, temporary_folder


@contextlib.contextmanager
def work_folder(work_dir: Path | str | None) -> Iterator[Path]:
    """The folder to work in, for this simulation alone; a temporary one if None.

    Raises
    ------
    InputError
        if it cannot be used, or is in use.
    """
    if work_dir is None:
        with temporary_folder() as temporary:
            yield temporary
        return
    folder = Path(work_dir).resolve()
    if not PLAIN_PATH.fullmatch(str(folder)):
        raise InputError(
            f"work_dir: expected a path of letters, digits and none but {PLAIN_SIGNS} between them, which is what "
            f"Make can build in, found {folder}"
        )
    with own_folder(folder), telling(folder, "a folder"):
        yield folder
