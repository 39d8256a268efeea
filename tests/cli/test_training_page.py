"""The page of a training: what it says is what was computed, and a browser draws it."""

from __future__ import annotations

import base64
import io
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from browser import amount, drawn, needs_browser
from command_line import done
from PIL import Image
from places import EXAMPLES

from abc_hw import data
from abc_hw.cli.training_page import epochs_of, picture
from abc_hw.training.checkpoints import load_checkpoint
from abc_hw.training.quantised import evaluate_integer

Element = ElementTree.Element


@pytest.fixture(scope="module")
def page(trained: Path) -> Element:
    """The page of the suite's short training, which is also well-formed XML."""
    return ElementTree.fromstring((trained / "page.html").read_text().removeprefix("<!DOCTYPE html>\n"))


def by_id(page: Element, name: str) -> Element:
    (found,) = (element for element in page.iter() if element.get("id") == name)
    return found


def text(element: Element) -> str:
    return " ".join("".join(element.itertext()).split())


def test_the_page_refers_to_nothing_outside(page: Element) -> None:
    sources = [element.get("src", "") for element in page.iter("img")]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert not {element.tag for element in page.iter()} & {"script", "link", "iframe", "a"}


def test_confusions_and_wrong_images_are_those_of_the_integer_network(page: Element, trained: Path) -> None:
    test = data.load("digits").test
    scores = evaluate_integer(load_checkpoint(trained / "model.ckpt").model, test.images)
    told = scores.argmax(1)
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (test.labels, told), 1)
    body = by_id(page, "confusion").find("tbody")
    assert body is not None
    assert [[int(text(cell)) for cell in row.findall("td")] for row in body] == expected.tolist()
    assert (text(by_id(page, "right")), text(by_id(page, "images"))) == (str(int(expected.trace())), "359")
    figures = list(by_id(page, "wrong"))
    assert len(figures) == min(30, 359 - int(expected.trace()))
    for figure in figures:
        found = re.fullmatch(r"(\d+): taken for (\d) \(([-\d,]+)\), is (\d) \(([-\d,]+)\)", text(figure))
        assert found is not None
        index, wrong, high, right, low = (int(number.replace(",", "")) for number in found.groups())
        assert (wrong, right) == (told[index], test.labels[index])
        assert [high, low] == scores[index, [wrong, right]].tolist()
        image = figure.find("img")
        assert image is not None
        content = base64.b64decode(image.get("src", "").split(",")[1])
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), test.images[index, ..., 0])


def test_layers_show_their_thresholds_and_levels(page: Element, trained: Path) -> None:
    model = load_checkpoint(trained / "model.ckpt").model
    body = by_id(page, "layers").find("tbody")
    assert body is not None
    for row, block in zip(body, model, strict=True):
        cells = row.findall("td")
        assert text(cells[0]) == block.block.name
        bars = cells[4].findall(".//rect")
        assert len(bars) == block.layer.M + 1
        shares = [float(text(bar).split(":")[1].removesuffix(" %")) for bar in bars]
        assert sum(shares) == pytest.approx(100, abs=0.3)
        bases = block.layer.input_bases
        if hasattr(bases, "t"):
            shown = [float(element.text or "") for element in cells[5].findall(".//text")]
            assert shown == pytest.approx(sorted(bases.t.tolist()), abs=0.006)


def test_curves_have_a_point_for_each_epoch(page: Element, trained: Path) -> None:
    epochs = epochs_of(trained / "log")
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    lines = list(by_id(page, "curves").iter("polyline"))
    assert len(lines) == 2
    assert all(len(line.get("points", "").split()) == 2 for line in lines)
    assert f"training loss: {epochs[-1]['loss']:.4f}" in text(by_id(page, "curves"))


def test_a_resumed_run_shows_its_newest_figures(tmp_path: Path) -> None:
    for number, rows in enumerate(("0,0.5,\n0,,0.6\n1,0.4,\n", "1,0.3,\n1,,0.7\n")):
        folder = tmp_path / f"version_{number}"
        folder.mkdir()
        (folder / "metrics.csv").write_text("epoch,loss,validation_accuracy\n" + rows)
    assert epochs_of(tmp_path) == [
        {"epoch": 1, "loss": 0.5, "validation_accuracy": 0.6},
        {"epoch": 2, "loss": 0.3, "validation_accuracy": 0.7},
    ]


def test_what_is_no_picture_has_none() -> None:
    assert picture(np.zeros((1, 1, 9), np.uint8)) == ""
    assert picture(np.zeros((4, 4, 2), np.uint8)) == ""
    assert picture(np.zeros((4, 4, 3), np.uint8)).startswith("data:image/png;base64,")


def test_full_precision_has_a_page_without_integers(tmp_path: Path) -> None:
    done("train", "--kind", "float", "--epochs", "1", "--integer-epochs", "0", "--model", "mlp", "--out", tmp_path)
    page = ElementTree.fromstring((tmp_path / "page.html").read_text().removeprefix("<!DOCTYPE html>\n"))
    assert "in full precision, with no integers" in text(page)
    assert not [element for element in page.iter() if element.get("id") in ("layers", "before")]


# -- in a browser -------------------------------------------------------------------------------------------


@needs_browser
def test_a_browser_draws_curves_bars_steps_and_images(trained: Path, tmp_path: Path) -> None:
    pixels = drawn(trained / "page.html", tmp_path)
    blue, red = amount(pixels, "4c78a8"), amount(pixels, "e45756")
    bars = sum(3 * 12 * 20 for _ in load_checkpoint(trained / "model.ckpt").model)  # at least, of each layer
    assert blue > bars
    assert red > 3 * 200  # steps of three layers
    assert amount(pixels, "f6f6f6") > 2 * 0.9 * 400 * 160  # the fields of two curves
    assert amount(pixels, "000000") > 1000  # the backgrounds of wrong digits
    assert amount(pixels, "ffffff") < 0.95 * pixels[..., 0].size


@needs_browser
def test_a_browser_draws_the_report_of_an_accelerator(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    done("report", EXAMPLES / "digits-small.toml", "--device", "ecp5-25k", "--cycles", "3000", "--html", path)
    pixels = drawn(path, tmp_path)
    assert amount(pixels, "e45756") > 390 * 13  # the layer that sets the pace is busy all the time
    assert amount(pixels, "e6e6e6") > 400  # the idle part of another
