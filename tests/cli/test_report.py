"""The report: a page that stands alone, with the estimator's numbers."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from command_line import abc_hw
from places import EXAMPLES

from abc_hw.network import description
from abc_hw.rtl_gen.cost.estimate import Estimate, estimate
from abc_hw.rtl_gen.folding import fold_for_cycles

EXAMPLE = EXAMPLES / "digits-small.toml"


class Page(HTMLParser):
    """Tags that refer to something, tables by id as rows of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.texts: dict[str, str] = {}
        self._rows: list[list[str]] = []
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.references += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        if tag in ("script", "link", "iframe", "img"):
            self.references.append(tag)
        if tag == "table":
            self._rows = self.tables[str(named["id"])] = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        self._open = str(named.get("id", tag))

    def handle_data(self, data: str) -> None:
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] += data.strip()
        self.texts[self._open] = self.texts.get(self._open, "") + data.strip()

    def handle_endtag(self, tag: str) -> None:
        self._open = ""
        if tag == "table":
            self._rows = []


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    result = abc_hw(
        "report", str(EXAMPLE), "--device", "ecp5-25k", "--cycles", "3000", "--html", str(path)
    )
    assert result.exit_code == 0, result.output
    assert "conv1" in result.output
    return path.read_text()


@pytest.fixture(scope="module")
def made() -> Estimate:
    network, _ = description.load(EXAMPLE)
    return estimate(network, fold_for_cycles(network, 3000))


def test_page_stands_alone_and_is_well_formed(text: str) -> None:
    page = Page(text)
    assert page.references == []
    assert "url(" not in text
    assert "http" not in text
    root = ElementTree.fromstring(text.replace("<!DOCTYPE html>", ""))
    pictures = [one for one in root.iter("svg") if one.get("id")]
    assert [one.get("id") for one in pictures] == ["dataflow", "area"]
    assert all(len(one) > 5 for one in pictures)


def test_numbers_are_the_estimators(text: str, made: Estimate) -> None:
    page = Page(text)
    assert page.texts["cycles"] == f"{made.cycles:,}"
    rows = page.tables["layers"][1:]
    for row, layer in zip(rows, made.layers, strict=False):
        knobs, area = layer.schedule.folding, layer.area
        assert row[0] == layer.schedule.layer.name
        assert row[4:10] == [*map(str, dataclasses.astuple(knobs)), f"{layer.cycles:,}"]
        assert row[11:] == [f"{area.luts:,.0f}", f"{area.ffs:,.0f}", str(area.brams), str(area.dsps)]
    macs = sum(layer.schedule.layer.binary_macs for layer in made.layers)
    gates = sum(layer.schedule.xnors for layer in made.layers)
    assert rows[len(made.layers)][10] == f"{100 * macs / gates / made.cycles:.1f} %"
    assert rows[len(made.layers)][11] == f"{made.area.luts:,.0f}"
    for row, (block, area) in zip(page.tables["blocks"][1:], made.blocks.items(), strict=True):
        assert row[:2] == [block, f"{area.luts:,.0f}"]
        assert row[3:] == [f"{area.ffs:,.0f}", str(area.brams), str(area.dsps)]
    memories = [memory for layer in made.layers for memory in layer.memories]
    for row, memory in zip(page.tables["memories"][1:], memories, strict=True):
        assert row[2:5] == [f"{memory.plan.words:,}", f"{memory.plan.width:,}", f"{memory.plan.bits:,}"]
        assert row[6] == f"{memory.mapped.cells:,}"


def test_pictures_follow_the_cycles(text: str, made: Estimate) -> None:
    root = ElementTree.fromstring(text.replace("<!DOCTYPE html>", ""))
    (dataflow,) = (one for one in root.iter("svg") if one.get("id") == "dataflow")
    busy = [one for one in dataflow.iter("rect") if one.get("height") == "14"][1::2]
    widths = [float(str(one.get("width"))) for one in busy]
    assert widths == [pytest.approx(400 * layer.cycles / made.cycles, abs=0.01) for layer in made.layers]
    assert "sets the pace" in text
    assert text.count(f"waits for {made.limiting}") == sum(layer.cycles < made.cycles for layer in made.layers)
