"""Yosys as a library, ``ys``: the one place from which this project takes it.

On import pyosys tells Python to load every later extension with its symbols open to all others (``RTLD_GLOBAL``),
and leaves it at that. Extensions with functions of one name then call each other's: the kernels of
``torch.compile`` are all named ``kernel``. Here the process is left as it was.
"""

import sys

if sys.platform == "win32":  # its libraries share no symbols
    from pyosys import libyosys as ys
else:
    _flags = sys.getdlopenflags()
    try:
        from pyosys import libyosys as ys
    finally:
        sys.setdlopenflags(_flags)

__all__ = ["ys"]
