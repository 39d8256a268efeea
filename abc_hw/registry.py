"""Things by name that come with the program, from other packages, or from the program that uses it.

Another package offers one by an entry point of the registry's group, the name on the command line in front::

    [project.entry-points."abc_hw.boards"]
    my-board = "my_package.boards:MY_BOARD"

It is found as soon as it is installed, and loaded when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from .errors import InputError

Thing = TypeVar("Thing")


class Registry(MutableMapping[str, Thing], Generic[Thing]):
    """A mapping from names to things of one kind.

    Parameters
    ----------
    what : they are called in messages
    group : of the entry points
    own : those that come with the program
    """

    def __init__(self, what: str, group: str, own: Mapping[str, Thing]) -> None:
        self._what, self._group, self._known = what, group, dict(own)
        self._offered: dict[str, EntryPoint] | None = None

    @property
    def offered(self) -> Mapping[str, EntryPoint]:
        """Entry points of other packages, none of whose names is one of the program's own.

        Raises
        ------
        InputError : two packages offer the same name, or one offers a name that comes with the program
        """
        if self._offered is None:
            found: dict[str, EntryPoint] = {}
            for point in entry_points(group=self._group):
                if point.name in self._known or point.name in found:
                    expected = f"another name than {point.name}, which is taken"
                    raise InputError(f"{self._group}: expected {expected}, found {point.value}")
                found[point.name] = point
            self._offered = found
        return self._offered

    def find(self, name: str) -> Thing:
        """The thing of that name.

        Raises
        ------
        InputError : there is none, or the package that offers it cannot be loaded
        """
        if name not in self:
            raise InputError(f"{self._what}: expected one of {', '.join(self)}, found {name}")
        return self[name]

    def __getitem__(self, name: str) -> Thing:
        if name not in self._known:
            if name not in self.offered:
                raise KeyError(name)
            point = self.offered[name]
            try:
                self._known[name] = point.load()
            except Exception as error:  # a package of others may fail in any way
                reason = " ".join(str(error).split())
                raise InputError(f"{self._what} {name}: expected {point.value}, found {reason}") from None
        return self._known[name]

    def __setitem__(self, name: str, thing: Thing) -> None:
        self._known[name] = thing

    def __delitem__(self, name: str) -> None:
        del self._known[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._known
        yield from (name for name in self.offered if name not in self._known)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._known or name in self.offered
