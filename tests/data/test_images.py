"""Image files: what people have becomes what a network takes, or one line."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abc_hw.data import Reading, read_image, read_images
from abc_hw.errors import InputError

GREY = np.arange(48, dtype=np.uint8).reshape(8, 6) * 5


def saved(path: Path, array: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(array)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


def colours(seed: int = 0, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (8, 6, channels), dtype=np.uint8)


def test_image_files_become_codes(tmp_path: Path) -> None:
    pixels = np.arange(64, dtype=np.uint8).reshape(8, 8) * 3
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(tmp_path / "colour.png")
    images = read_images([tmp_path / "grey.png", tmp_path / "colour.png"], (8, 8, 1))
    np.testing.assert_array_equal(images, np.stack([pixels[..., None]] * 2))
    assert read_images([tmp_path / "grey.png"], (8, 8, 3)).shape == (1, 8, 8, 3)


def test_bad_image_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    Image.new("L", (9, 8)).save(tmp_path / "wide.png")
    with pytest.raises(InputError, match=r"text.png: expected an image, found"):
        read_images([tmp_path / "text.png"], (8, 8, 1))
    with pytest.raises(InputError, match=r"none.png: expected an image, found No such file or directory"):
        read_images([tmp_path / "none.png"], (8, 8, 1))
    with pytest.raises(InputError, match=r"wide.png: expected 8 x 8 pixels \(or --resize\), found 8 x 9"):
        read_images([tmp_path / "wide.png"], (8, 8, 1))
    with pytest.raises(InputError, match=r"images: expected a network for images of 1 or 3 channels, found 2"):
        read_images([], (8, 8, 2))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".gif", ".pgm"])
def test_grey_images_of_any_format_are_grey(tmp_path: Path, suffix: str) -> None:
    found = read_image(saved(tmp_path / f"grey{suffix}", GREY))
    np.testing.assert_array_equal(found, GREY[..., None])


def test_colours_stay_unless_grey_is_wanted(tmp_path: Path) -> None:
    path = saved(tmp_path / "colour.png", colours())
    np.testing.assert_array_equal(read_image(path), colours())
    luma = np.asarray(Image.fromarray(colours()).convert("L"))
    np.testing.assert_array_equal(read_image(path, Reading(grey=True))[..., 0], luma)
    np.testing.assert_array_equal(read_image(path, channels=1)[..., 0], luma)
    threefold = read_image(path, Reading(grey=True), channels=3)
    np.testing.assert_array_equal(threefold, np.stack([luma] * 3, -1))


def test_palettes_are_colours_only_if_they_have_some(tmp_path: Path) -> None:
    flat = np.zeros((8, 6, 3), np.uint8)
    flat[:4] = 200
    assert read_image(saved(tmp_path / "grey.png", flat, "P")).shape == (8, 6, 1)
    flat[:4, :, 0] = 10
    assert read_image(saved(tmp_path / "colour.png", flat, "P")).shape == (8, 6, 3)


def test_16_bits_are_scaled_to_8(tmp_path: Path) -> None:
    deep = saved(tmp_path / "deep.png", GREY.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(deep)[..., 0], GREY)
    ends = np.array([[0, 128, 129, 65535]], np.uint16)
    assert read_image(saved(tmp_path / "ends.png", ends)).ravel().tolist() == [0, 0, 1, 255]


def test_one_of_16_bits_may_stand_for_nothing(tmp_path: Path) -> None:
    """Scaled first: Pillow would take 16-bit values as they are, white from 255 on, and none as transparent."""
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    deep.save(tmp_path / "clear.png", transparency=257 * 100)
    assert refusal(tmp_path / "clear.png").startswith("expected opaque pixels, found transparent ones")
    found = read_image(tmp_path / "clear.png", Reading(background="white"))
    np.testing.assert_array_equal(found[..., 0], np.where(GREY == 100, 255, GREY))
    deep.save(tmp_path / "opaque.png", transparency=1)
    np.testing.assert_array_equal(read_image(tmp_path / "opaque.png")[..., 0], GREY)


def test_integers_of_other_kinds_have_no_known_white(tmp_path: Path) -> None:
    saved(tmp_path / "wide.tif", GREY.astype(np.int32))
    (tmp_path / "signed.tif").write_bytes(signed_tiff())
    for name in ("wide.tif", "signed.tif"):
        expected = "expected pixels of 8 or 16 bits without sign, found wider or signed ones"
        assert refusal(tmp_path / name) == expected


def signed_tiff() -> bytes:
    """One row of four 16-bit numbers with signs."""
    entries = [(256, 4, 4), (257, 4, 1), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1),
               (278, 4, 1), (279, 4, 8), (339, 3, 2)]
    listed = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    pixels = struct.pack("<4h", 1, 2, 3, 4)
    return b"II*\0" + struct.pack("<I", 16) + pixels + struct.pack("<H", len(entries)) + listed + bytes(4)


def test_a_rotation_that_the_file_asks_for_is_applied(tmp_path: Path) -> None:
    turned = Image.fromarray(np.rot90(GREY).copy())
    exif = Image.Exif()
    exif[274] = 6  # the camera was held so that the picture has to be turned clockwise
    turned.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png")[..., 0], GREY)


def test_transparent_pixels_need_a_background(tmp_path: Path) -> None:
    layered = np.zeros((8, 6, 4), np.uint8)
    layered[:4] = (10, 20, 30, 255)
    path = saved(tmp_path / "layered.png", layered)
    with pytest.raises(InputError) as refusal:
        read_image(path)
    assert str(refusal.value) == (
        f"{path}: expected opaque pixels, found transparent ones; --background COLOUR stands behind them"
    )
    found = read_image(path, Reading(background="#ff8000"))
    assert (found[0, 0].tolist(), found[7, 5].tolist()) == ([10, 20, 30], [255, 128, 0])
    with pytest.raises(InputError, match=r"expected a colour such as white or #f0f0f0, found 'whiter'$"):
        read_image(path, Reading(background="whiter"))
    layered[..., 3] = 255
    assert read_image(saved(tmp_path / "opaque.png", layered)).shape == (8, 6, 3)


def test_grey_with_transparency_stays_grey_on_a_grey_background(tmp_path: Path) -> None:
    path = saved(tmp_path / "la.png", np.stack([GREY, np.where(GREY > 100, 255, 0).astype(np.uint8)], -1))
    found = read_image(path, Reading(background="white"))
    np.testing.assert_array_equal(found[..., 0], np.where(GREY > 100, GREY, 255))


def test_sizes_and_brightness_change_on_request(tmp_path: Path) -> None:
    path = saved(tmp_path / "grey.png", GREY)
    assert read_image(path, Reading(size=(4, 3))).shape == (4, 3, 1)
    np.testing.assert_array_equal(read_image(path, Reading(invert=True))[..., 0], 255 - GREY)
    assert read_images([path], (4, 4, 1), Reading(size=(4, 4))).shape == (1, 4, 4, 1)


# -- refusals -----------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_image(path)
    line = str(caught.value)
    assert "\n" not in line
    return line.removeprefix(f"{path}: ")


@pytest.mark.parametrize("side", [9_000, 60_000])
def test_a_picture_too_large_is_refused_before_it_is_unpacked(tmp_path: Path, side: int) -> None:
    path = tmp_path / "large.png"
    path.write_bytes(png(side, side))
    found = "9,000 x 9,000" if side == 9_000 else "more"
    assert refusal(path) == f"expected an image of at most 67,108,864 pixels, found {found}"


def test_floating_point_and_several_pictures_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "float.tif", GREY.astype(np.float32) / 255)
    assert refusal(path) == "expected pixels that are whole numbers, found floating-point ones"
    frames = [Image.fromarray(colours(seed)) for seed in range(3)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    assert refusal(tmp_path / "moving.gif") == "expected one picture, found 3"


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp", ".gif", ".jp2", ".ppm", ".webp"])
def test_damaged_files_are_one_line(tmp_path: Path, suffix: str) -> None:
    whole = saved(tmp_path / f"whole{suffix}", colours(), "RGB").read_bytes()
    path = tmp_path / f"damaged{suffix}"
    rng = np.random.default_rng(1)
    lines = []
    for _ in range(40):
        content = bytearray(whole[: rng.integers(len(whole) // 8, len(whole))])
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(256)
        path.write_bytes(content)
        try:
            read_image(path)
        except InputError as error:
            lines.append(str(error))
    assert lines
    assert [line for line in lines if not line.startswith(f"{path}: expected ") or "\n" in line] == []
