"""``from abc_hw.convert import convert, export``: the room ``abc_hw.conversion`` under the name of its function.

A module takes the place of the function ``abc_hw.convert`` when it is imported, so this one is called like it.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from . import conversion
from .conversion import __all__ as __all__

if TYPE_CHECKING:
    from .conversion import Converted as Converted
    from .conversion import Normalise as Normalise
    from .conversion import convert as convert
    from .conversion import export as export
    from .conversion import report as report


class _Called(ModuleType):
    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return conversion.convert(*arguments, **named)


def __getattr__(name: str) -> Any:
    return getattr(conversion, name)


sys.modules[__name__].__class__ = _Called
