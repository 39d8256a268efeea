"""The page of a sweep: every variant at its accuracy and cost, in the chart and in the table."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from browser import amount, drawn, needs_browser

from abc_hw.cli.sweep_page import page
from abc_hw.training.sweep import Result, rows

RESULTS = [
    Result(variant="abc:1/1", seed=1, validation=0.8, right=80, images=100, xnors=1_000, weight_bits=10),
    Result(variant="abc:1/1", seed=2, validation=0.8, right=84, images=100, xnors=1_000, weight_bits=10),
    Result(variant="abc:3/3", seed=1, validation=0.9, right=90, images=100, xnors=9_000, weight_bits=30),
    Result(variant="float", seed=1, validation=0.9, right=92, images=100),
]


@pytest.fixture(scope="module")
def text() -> str:
    return page("mlp on <digits>", RESULTS, 6)


def test_points_lie_where_their_numbers_are(text: str) -> None:
    root = ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))
    cheap, dear = root.iter("circle")
    assert float(dear.get("cx", "")) - float(cheap.get("cx", "")) == pytest.approx(0.9 * 640)
    assert "abc:1/1: 82.00 %" in "".join(cheap.itertext())
    full, *ranges = (line for line in root.iter("line"))
    steps = 320 / 1.1 / 12  # a per cent in pixels: 80 to 92, and a twentieth above and below
    assert float(full.get("y1", "")) == pytest.approx(320 * 0.05 / 1.1, abs=0.1)
    assert float(cheap.get("cy", "")) - float(full.get("y1", "")) == pytest.approx(10 * steps, abs=0.1)
    assert float(ranges[0].get("y2", "")) - float(ranges[0].get("y1", "")) == pytest.approx(4 * steps, abs=0.1)
    body = next(element for element in root.iter("tbody"))
    assert [[cell.text or "" for cell in row] for row in body] == rows(RESULTS)
    assert "mlp on <digits>" in "".join(root.itertext())
    told = {element.get("id"): element.text for element in root.iter("b")}
    assert told == {"done": "4", "all": "6"}


@pytest.mark.parametrize("results", [RESULTS[:1], RESULTS[3:], RESULTS[1:3]])
def test_a_page_can_be_made_of_any_results(results: list[Result]) -> None:
    root = ElementTree.fromstring(page("some", results, 4).removeprefix("<!DOCTYPE html>\n"))
    assert len(list(root.iter("circle"))) == len({r.variant for r in results if r.xnors})


@needs_browser
def test_a_browser_draws_the_chart(text: str, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(text)
    pixels = drawn(path, tmp_path)
    assert amount(pixels, "4c78a8") > 2 * 60 + 2 * 50  # two points, and the range of one of them
    assert amount(pixels, "54a24b") > 0.5 * 640  # the dashes of full precision
    assert amount(pixels, "f6f6f6") > 0.9 * 640 * 320
