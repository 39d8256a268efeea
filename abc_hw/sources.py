"""Where a network comes from, by what the user types: a file, a description, or what comes with the program."""

from __future__ import annotations

import contextlib
from pathlib import Path

from . import zoo
from .errors import InputError, NetworkError
from .network import Graph, Network, chain_of, description, files, graph_description
from .reading import read_toml

EXAMPLES = Path(__file__).parent / "examples"
EXAMPLE_PREFIX = "example:"
DESCRIPTION_SUFFIX = ".toml"


def example_names() -> tuple[str, ...]:
    """The descriptions that come with the program, in alphabetical order."""
    return tuple(sorted(file.stem for file in EXAMPLES.glob(f"*{DESCRIPTION_SUFFIX}")))


def comes_along(text: str | Path) -> bool:
    """Is it something that comes with the program, and no file of the user's?"""
    return str(text).startswith((zoo.PREFIX, EXAMPLE_PREFIX))


def is_other(path: str | Path) -> bool:
    """Is a path of that name read as something else than a network file?"""
    return comes_along(path) or Path(path).suffix == DESCRIPTION_SUFFIX


def resolve(text: str | Path) -> Path:
    """The file that is meant: ``zoo:NAME`` and ``example:NAME`` come with the program, all else is a path.

    Raises
    ------
    InputError : a name that is not there
    """
    named = str(text)
    if not named.startswith(EXAMPLE_PREFIX):
        return zoo.resolve(text)
    name = named.removeprefix(EXAMPLE_PREFIX)
    if name not in example_names():
        raise InputError(f"example: expected one of {', '.join(example_names())}, found {name!r}")
    return EXAMPLES / f"{name}{DESCRIPTION_SUFFIX}"


TAKERS = {
    ".onnx": "an ONNX file, of which abc-hw import makes one",
    ".ckpt": "a checkpoint, of which abc-hw export makes one",
    ".v": "Verilog", ".sv": "Verilog", ".json": "a manifest",
}
"""Suffix -> what a file is that cannot be read as a network."""


def _refuse_others(path: Path) -> None:
    if path.suffix.lower() in TAKERS and path.is_file():
        raise InputError(f"{path}: expected a network file, found {TAKERS[path.suffix.lower()]}")


def read(text: str | Path) -> tuple[Network, description.Folding]:
    """The network in a network file, or one with random weights as a TOML description says, and its folding knobs.

    Raises
    ------
    InputError : see :func:`resolve`, :func:`abc_hw.network.files.load`, :func:`abc_hw.network.description.load`
    """
    path = resolve(text)
    if path.suffix == DESCRIPTION_SUFFIX:
        if not _has_nodes(path):
            return description.load(path)
        try:
            return chain_of(graph_description.load(path)), {}
        except InputError as error:
            raise InputError(f"{path}: {str(error).removeprefix(f'{path}: ')}") from None
    _refuse_others(path)
    return files.load(path), {}


def read_design(text: str | Path) -> tuple[Network | Graph, description.Folding]:
    """As :func:`read`, for hardware: a network that is no chain of layers comes as a graph, without knobs.

    Raises
    ------
    InputError : as :func:`read`, but for what is no chain
    """
    path = resolve(text)
    if path.suffix == DESCRIPTION_SUFFIX and not _has_nodes(path):
        return description.load(path)
    found = load_any(path)
    if isinstance(found, Graph):
        with contextlib.suppress(NetworkError):
            return chain_of(found), {}
    return found, {}


def load_any(source: str | Path) -> Network | Graph:
    """As :func:`load`, but networks that are no chain of layers come as graphs.

    Raises
    ------
    InputError : as :func:`load`
    """
    path = resolve(source)
    if path.suffix != DESCRIPTION_SUFFIX:
        _refuse_others(path)
        return files.load_any(path)
    return graph_description.load(path) if _has_nodes(path) else description.load(path)[0]


def _has_nodes(path: Path) -> bool:
    """Is it a description of nodes, not of layers?"""
    return "nodes" in read_toml(path, "a readable description")


def load(source: str | Path) -> Network:
    """The network of a network file, ``zoo:NAME``, ``example:NAME`` or a TOML description (random weights).

    Raises
    ------
    InputError : nothing of that name, or nothing that is a network; one line says what is wrong where
    """
    return read(source)[0]
