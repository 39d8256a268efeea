"""Image files as a network takes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from abc_hw.errors import InputError

MODES = {1: "L", 3: "RGB"}
"""How Pillow calls images of so many channels."""


def read_images(paths: Sequence[Path], shape: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """Images uint8 [B, H, W, C] from files of any format that Pillow reads.

    Colours become grey, or grey becomes colours, where the network wants it; sizes are not changed.

    Raises
    ------
    InputError
        if a file is no image, or has another size than ``shape`` (H, W, C) says.
    """
    height, width, channels = shape
    if channels not in MODES:
        raise InputError(f"images: expected a network for images of 1 or 3 channels, found {channels}")
    images = np.zeros((len(paths), *shape), np.uint8)
    for index, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                pixels = np.asarray(image.convert(MODES[channels]), np.uint8)
        except (UnidentifiedImageError, OSError) as error:
            found = getattr(error, "strerror", None) or error
            raise InputError(f"{path}: expected an image, found {found}") from None
        if pixels.shape[:2] != (height, width):
            found = " x ".join(map(str, pixels.shape[:2]))
            raise InputError(f"{path}: expected {height} x {width} pixels, found {found}")
        images[index] = pixels.reshape(shape)
    return images
