"""Image files as uint8 arrays: the one place where they are read."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..errors import InputError
from ..reading import check_regular
from .reading import Reading

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]

MODES = {1: "L", 3: "RGB"}
"""How Pillow calls images of so many channels."""

MOST_PIXELS = 1 << 26
"""Of one image file; a file that announces more is refused before memory is taken for it."""

GREY_MODES = ("1", "L", "LA", "La")
DEEP_MODES = ("I;16", "I;16L", "I;16B", "I;16N", "I")

WITHIN_16_BITS = ("PNG", "PPM")
"""Formats in which Pillow's mode I holds numbers of 16 bits; in others nobody knows what white is."""


def read_image(path: Path, reading: Reading | None = None, *, channels: int | None = None) -> Pixels:
    """The pixels of an image file, [H, W, C] with C = 1 or 3.

    16-bit images are scaled to 8 bits, and a rotation that the file asks for is applied.

    Parameters
    ----------
    reading : size, grey, background, invert
    channels : 1 turns colours to grey, 3 grey to colours; None: as the image is

    Raises
    ------
    InputError
        no file, no whole image, one of several pictures, of floating-point numbers or integers of more than 16
        bits, of more than :data:`MOST_PIXELS`, or with transparent pixels where no background is given; the line
        starts with the path
    """
    from PIL import Image

    reading = reading or Reading()
    check_regular(path, "an image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a file says besides its pixels
            with Image.open(path) as image:
                _check_header(image)
                image.load()
                made = _converted(image, reading, channels)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except Image.DecompressionBombError:
        raise InputError(f"{path}: expected an image of at most {MOST_PIXELS:,} pixels, found more") from None
    except MemoryError:
        raise
    except Exception as error:  # foreign bytes make the readers fail in many ways
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        if "cannot identify" in reason:
            reason = "something else"
        raise InputError(f"{path}: expected an image, found {reason.removesuffix('.')}") from None
    return _finished(made, reading)


def read_images(paths: Sequence[Path], shape: tuple[int, int, int], reading: Reading | None = None) -> Pixels:
    """Images [B, H, W, C] from files of any format that Pillow reads.

    Colours become grey, or grey becomes colours, where the network wants it; sizes change only with
    ``reading.size``.

    Raises
    ------
    InputError
        as :func:`read_image`, and for another size than ``shape`` (H, W, C) says
    """
    height, width, channels = shape
    if channels not in MODES:
        raise InputError(f"images: expected a network for images of 1 or 3 channels, found {channels}")
    images = np.zeros((len(paths), *shape), np.uint8)
    for index, path in enumerate(paths):
        pixels = read_image(path, reading, channels=channels)
        if pixels.shape[:2] != (height, width):
            found = " x ".join(map(str, pixels.shape[:2]))
            raise InputError(f"{path}: expected {height} x {width} pixels (or --resize), found {found}")
        images[index] = pixels
    return images


def adapt(images: Pixels, reading: Reading) -> Pixels:
    """Images [B, H, W, C] that did not come from image files, scaled, greyed and inverted as ``reading`` says."""
    from PIL import Image

    channels = images.shape[3]
    greyed = reading.grey and channels == 3
    scaled = reading.size is not None and reading.size != images.shape[1:3]
    if (scaled or greyed) and len(images):
        if channels not in MODES:
            raise InputError(f"images: expected 1 or 3 channels to scale or to grey, found {channels}")
        made = []
        for pixels in images:
            image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
            made.append(_finished(image.convert("L") if greyed else image, reading))
        return np.stack(made)
    return 255 - images if reading.invert else images


def background_of(text: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour's name or #rrggbb; InputError for something else."""
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise InputError(f"background: expected a colour such as white or #f0f0f0, found {text!r}") from None


# -- one image ----------------------------------------------------------------------------------------------


def _check_header(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise InputError(f"expected an image of at most {MOST_PIXELS:,} pixels, found {width:,} x {height:,}")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # photographs with a preview behind them
        raise InputError(f"expected one picture, found {frames}")
    if image.mode == "F":
        raise InputError("expected pixels that are whole numbers, found floating-point ones")
    if image.mode == "I" and image.format not in WITHIN_16_BITS:
        raise InputError("expected pixels of 8 or 16 bits without sign, found wider or signed ones")


def _converted(image: Image.Image, reading: Reading, channels: int | None) -> Image.Image:
    """Upright, opaque, of 8 bits, of mode L or RGB."""
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    if upright.mode in DEEP_MODES:
        upright = _eight_bits(upright)
    if upright.has_transparency_data:
        upright = _opaque(upright, reading.background)
    if reading.grey:
        upright = upright.convert("L")
    if channels is None:
        channels = 1 if upright.mode in GREY_MODES else 3
        if upright.mode == "P" and all(_equal_channels(upright)):
            channels = 1
    return upright.convert(MODES[channels])


def _equal_channels(image: Image.Image) -> tuple[bool, bool]:
    red, green, blue = np.moveaxis(np.asarray(image.convert("RGB")), -1, 0)
    return np.array_equal(red, green), np.array_equal(green, blue)


def _opaque(image: Image.Image, background: str | None) -> Image.Image:
    from PIL import Image

    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return image.convert("L" if image.mode in GREY_MODES else "RGB")
    if background is None:
        raise InputError("expected opaque pixels, found transparent ones; --background COLOUR stands behind them")
    colour = background_of(background)
    made = Image.alpha_composite(Image.new("RGBA", image.size, (*colour, 255)), layered).convert("RGB")
    return made.convert("L") if image.mode in GREY_MODES and len(set(colour)) == 1 else made


def _eight_bits(image: Image.Image) -> Image.Image:
    from PIL import Image

    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise InputError(f"expected pixels of 8 or 16 bits, found values from {values.min()} to {values.max()}")
    grey = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    clear = image.info.get("transparency")  # the one value that stands for nothing
    if clear is None:
        return grey
    return Image.merge("LA", (grey, Image.fromarray(np.where(values == clear, 0, 255).astype(np.uint8))))


def _finished(image: Image.Image, reading: Reading) -> Pixels:
    from PIL import Image

    if reading.size is not None and image.size != reading.size[::-1]:
        image = image.resize(reading.size[::-1], Image.Resampling.BILINEAR)
    pixels = np.asarray(image, np.uint8)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    return 255 - pixels if reading.invert else pixels
