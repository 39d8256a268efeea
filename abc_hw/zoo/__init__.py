"""The networks that come with the program: trained, integer, each with a card that says how good it is.

``NAME.safetensors`` is the network file and ``NAME.json`` its :class:`Card`, both written by ``abc-hw zoo add``. A
network of the zoo goes by ``zoo:NAME`` wherever a network file is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from abc_hw.errors import InputError
from abc_hw.network import Graph, Network, files
from abc_hw.reading import read_json
from abc_hw.validation import shown, validate
from abc_hw.writing import own_folder, telling, write

FOLDER = Path(__file__).parent
PREFIX = "zoo:"

FOLLOWING = ".next.json"
"""Ending of a card that is there before its network is."""

Count = Annotated[int, Field(ge=0, strict=True)]


class Card(BaseModel):
    """What is known of a network of the zoo.

    Members
    -------
    digest : of the network that was measured, :attr:`abc_hw.network.Network.digest` or that of the graph
    command : what trains it, as far as one machine's arithmetic equals another's
    training : the whole configuration of the training
    note : what the configuration does not say, may be empty
    right, images : test images whose class the golden model finds, of how many
    weight_bits : bits of all weight codes
    xnors : XNOR-and-count operations for one image, as the network is
    xnors_before : the same before re-encoding (:mod:`abc_hw.network.reencode`)
    data : where the images come from;  data_licence : what is known of their licence
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["abc-hw card"] = "abc-hw card"
    name: str
    digest: str
    dataset: str
    command: str
    training: dict[str, Any]
    note: str
    right: Count
    images: Annotated[int, Field(ge=1, strict=True)]
    weight_bits: Count
    xnors: Count
    xnors_before: Count
    data: str
    data_licence: str

    @property
    def accuracy(self) -> float:
        """Share of the test images whose class is right, 0 to 1."""
        return self.right / self.images


def names() -> tuple[str, ...]:
    """The networks there are, in alphabetical order."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.safetensors")))


def path(name: str) -> Path:
    """The network file of that name; InputError if there is none."""
    if name not in names():
        raise InputError(f"zoo: expected one of {', '.join(names())}, found {name!r}")
    return FOLDER / f"{name}.safetensors"


def load(name: str) -> Network:
    """The chain of layers of that name; InputError if there is none, or a graph that is no chain."""
    return files.load(path(name))


def load_any(name: str) -> Network | Graph:
    """The network of that name, chain or graph; InputError if there is none."""
    return files.load_any(path(name))


def chains() -> tuple[str, ...]:
    """The names of those that are chains of layers, in alphabetical order."""
    return tuple(name for name in names() if isinstance(load_any(name), Network))


def card(name: str) -> Card:
    """The card of the network of that name.

    Raises
    ------
    InputError : no such network, or a card that is not there, not whole, or another network's
    """
    network = path(name)
    following = _following(network)
    if following is not None:
        return following
    settled = network.with_suffix(".json")
    found, digest = _read_card(settled), files.load_any(network).digest
    if found.digest != digest:
        raise InputError(
            f"{settled}: expected the card of {network.name}, digest {digest[:16]}, found that of another, "
            f"digest {shown(found.digest[:16])}; add the network anew"
        )
    return found


def _following(network: Path) -> Card | None:
    """The network's card, if an addition was cut short between the network and its card."""
    file = network.with_suffix(FOLLOWING)
    if not file.exists():
        return None
    card = _read_card(file)
    return card if card.digest == files.load_any(network).digest else None


def _read_card(file: Path) -> Card:
    return validate(Card, read_json(file, "a card"), str(file))


def add(network: bytes, card: Card) -> None:
    """Put a network file and its card in, under the card's name, in place of any of that name.

    One step: whenever the process ends, :func:`load` and :func:`card` give both of before, or both of now.

    Raises
    ------
    InputError : the zoo's folder cannot be written, or another process writes into it
    """
    file = FOLDER / f"{card.name}.safetensors"
    with own_folder(FOLDER), telling(file):
        if file.exists() and _following(file) is not None:
            file.with_suffix(FOLLOWING).replace(file.with_suffix(".json"))
        write(file.with_suffix(FOLLOWING), f"{card.model_dump_json(indent=2)}\n".encode())
        write(file, network)
        file.with_suffix(FOLLOWING).replace(file.with_suffix(".json"))


def resolve(text: str | Path) -> Path:
    """The file that is meant: for ``zoo:NAME`` that of the zoo, otherwise the path itself.

    Raises
    ------
    InputError : ``zoo:`` with a name that is not there
    """
    named = str(text)
    return path(named.removeprefix(PREFIX)) if named.startswith(PREFIX) else Path(text)
