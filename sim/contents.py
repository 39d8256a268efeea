"""Contents of memories in files of their own, for the simulator to read.

A compiler of models makes a statement of each word, most of its work for a network with large weights.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["contents_in_files"]

FEWEST = 64
"""Words of a memory from which on its contents go to a file."""

_CONTENTS = re.compile(r"^  initial begin\n((?:    (\w+)\[\d+\] = \d+'h[0-9a-f]+;\n)+)  end\n", re.MULTILINE)
_WORD = re.compile(r"\[(\d+)\] = \d+'h([0-9a-f]+);")


def contents_in_files(text: str, folder: Path) -> str:
    """Verilog whose memories with ``FEWEST`` words or more take the same words from files in ``folder``.

    Parameters
    ----------
    text : as :func:`abc_hw.rtl_gen.emit.verilog.emit_accelerator` makes it
    folder : of the files, there already; its whole path is of signs that Make takes
    """
    count = 0

    def moved(initial: re.Match[str]) -> str:
        nonlocal count
        words = _WORD.findall(initial[1])
        if len(words) < FEWEST:
            return initial[0]
        path = folder.resolve() / f"contents{count}.hex"
        count += 1
        path.write_text("".join(f"@{int(place):x} {word}\n" for place, word in words))
        return f'  initial $readmemh("{path}", {initial[2]});\n'

    return _CONTENTS.sub(moved, text)
