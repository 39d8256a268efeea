"""Images on another ground than those of the training: what a network was trained on decides, or the user does."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from abc_hw.data import Images
from abc_hw.data.ground import Ground, common_ground, grounds
from abc_hw.data.published import GROUNDS
from abc_hw.network import Graph, Network

from .console import record, say

OPPOSITE: dict[Ground, Ground] = {"dark": "bright", "bright": "dark"}


def ground_of(network: Network | Graph) -> Ground:
    """The ground of the images that a network was trained on, ``any`` if they had none or nothing is known.

    It is in the network's training record; networks of 0.1 name their data set only.
    """
    data = network.training.get("data")
    if isinstance(data, dict) and data.get("ground") in ("dark", "bright", "any"):
        said: Ground = data["ground"]
        return said
    reading = network.training.get("reading")
    ground = GROUNDS.get(str(network.training.get("dataset")), "any")
    turned = isinstance(reading, dict) and reading.get("invert") is True
    return OPPOSITE.get(ground, ground) if turned else ground


def on_its_ground(
    network: Network | Graph, images: Images, names: Sequence[str], *, invert: bool | None
) -> Images:
    """Images [B, H, W, C] as the network knows them: those on the opposite ground are inverted, which is told.

    What the user says with ``invert`` stands; then a ground that does not fit is only told.
    """
    wanted = ground_of(network)
    if wanted == "any":
        return images
    made = images.copy()
    inverted = []
    for index, (name, ground) in enumerate(zip(names, grounds(images), strict=True)):
        if ground != OPPOSITE[wanted]:
            continue
        if invert is None:
            made[index] = 255 - images[index]
            inverted.append(name)
            say(f"{name}: on {ground} ground, {network.name} was trained on {wanted}: inverted")
        else:
            say(f"{name}: on {ground} ground, {network.name} was trained on {wanted}")
    record(ground=wanted, inverted=inverted)
    return np.asarray(made, np.uint8)


def set_on_its_ground(network: Network | Graph, images: Images, name: str, *, invert: bool | None) -> Images:
    """A data set or file of images [B, H, W, C] as the network knows them: :func:`on_its_ground` for all at once.

    Decided by the ground that nearly all of them have; where there is none, or they are signed, they stay.
    """
    wanted = ground_of(network)
    if wanted == "any" or images.dtype != np.uint8 or common_ground(images) != OPPOSITE[wanted]:
        return images
    turned = invert is None
    told = f"{name}: images on {OPPOSITE[wanted]} ground, {network.name} was trained on {wanted}"
    say(f"{told}: inverted" if turned else told)
    record(ground=wanted, inverted=[name] if turned else [])
    return np.asarray(255 - images, np.uint8) if turned else images
