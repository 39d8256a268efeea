"""What lies behind the things in images: whether they are bright on dark ground or dark on bright."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from .parts import Images

Ground = Literal["dark", "bright", "any"]
"""``any``: the images have no common one."""

NEARLY_ALL = 0.95
"""Of a data set's images must have a ground for it to be that of the data set."""

DARK, BRIGHT = 64, 192
"""Greatest and least middle value that the border of an image has on dark and on bright ground."""


def grounds(images: Images) -> list[Ground]:
    """The ground of each image of uint8 [count, H, W, C], told by the middle value of its outermost pixels."""
    edges = [images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]]
    middles = np.median(np.concatenate([edge.reshape(len(images), -1) for edge in edges], 1), axis=1)
    return ["dark" if middle <= DARK else "bright" if middle >= BRIGHT else "any" for middle in middles]


def common_ground(images: Images) -> Ground:
    """The ground that nearly all images have; ``any`` if there is none, or if nothing lies on it."""
    if len(images) == 0 or min(images.shape[1:3]) < 3 or images.max() <= DARK or images.min() >= BRIGHT:
        return "any"
    each = grounds(images)
    for ground in ("dark", "bright"):
        if each.count(ground) >= NEARLY_ALL * len(each):
            return ground
    return "any"
