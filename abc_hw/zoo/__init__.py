"""The networks that come with the program: trained, integer, each with a card that says how good it is.

``NAME.safetensors`` is the network file and ``NAME.json`` its :class:`Card`, both written by ``abc-hw zoo add``. A
network of the zoo goes by ``zoo:NAME`` wherever a network file is asked for.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from abc_hw.errors import InputError
from abc_hw.network import Network, files
from abc_hw.validation import validate

FOLDER = Path(__file__).parent
PREFIX = "zoo:"

Count = Annotated[int, Field(ge=0, strict=True)]


class Card(BaseModel):
    """What is known of a network of the zoo.

    Members
    -------
    digest : :attr:`abc_hw.network.Network.digest` of the network that was measured
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
    """The network of that name; InputError if there is none."""
    return files.load(path(name))


def card(name: str) -> Card:
    """The card of the network of that name.

    Raises
    ------
    InputError : no such network, or a card that is not there or not whole
    """
    file = path(name).with_suffix(".json")
    try:
        document = json.loads(file.read_bytes())
    except OSError as error:
        raise InputError(f"{file}: expected a card, found {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{file}: expected JSON, found {error}") from None
    return validate(Card, document, str(file))


def resolve(text: str | Path) -> Path:
    """The file that is meant: for ``zoo:NAME`` that of the zoo, otherwise the path itself.

    Raises
    ------
    InputError : ``zoo:`` with a name that is not there
    """
    named = str(text)
    return path(named.removeprefix(PREFIX)) if named.startswith(PREFIX) else Path(text)
