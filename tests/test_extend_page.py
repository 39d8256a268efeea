"""docs/extend.md: its code runs, and what it adds computes the same everywhere; and registries by entry points."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import ROOT
from streams import run_stream

from abc_hw import data, registry
from abc_hw.errors import InputError
from abc_hw.network import Graph, codings, files, nodes, onnx_export
from abc_hw.rtl_gen.blocks.pointwise import Pointwise
from abc_hw.sim import fast, golden
from abc_hw.training import checkpoints, kinds, models, quantised

PAGE = (ROOT / "docs" / "extend.md").read_text(encoding="utf-8")
ADDED = {"ternary": kinds.KINDS, "halves": data.DATASETS, "two-layers": models.MODELS, "fold": nodes.KINDS}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What the page's code defines, and the folder that it ran in as "at"."""
    folder, names = tmp_path_factory.mktemp("page"), dict[str, Any]()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
            exec(compile(block, "docs/extend.md", "exec", dont_inherit=True), names)
    yield names | {"at": folder}
    for name, where in ADDED.items():
        del where[name]


pytestmark = pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec.*:FutureWarning")


def test_ternary_weights_are_the_same_bits_everywhere(page: dict[str, Any]) -> None:
    network = page["network"]
    images = page["images"]
    for layer in network.layers:
        assert (layer.weight_bases.kind, layer.weight_bases.count) == ("thermometer", 2)
        assert (layer.alpha[:, 0] == layer.alpha[:, 1]).all()
        assert set(np.unique(layer.weights)) == {0, 1, 2}
    scores = golden.run(network, images).scores
    assert (fast.run(network, images) == scores).all()
    assert (quantised.evaluate_integer(page["trained"].model, images) == scores).all()
    assert page["result"].ok
    assert (page["result"].scores == scores[:2]).all()
    assert page["trained"].accuracy["test"] > 0.9
    again = checkpoints.load_checkpoint(page["at"] / "runs" / "ternary" / "model.ckpt")
    assert (quantised.evaluate_integer(again.model, images) == scores).all()


def test_the_node_is_the_same_everywhere(page: dict[str, Any]) -> None:
    graph = page["graph"]
    images = np.random.default_rng(1).integers(256, size=(5, 2, 3, 2), dtype=np.uint8)
    found = golden.run_graph(graph, images).output
    assert np.array_equal(found, np.abs((2 * images.astype(int) - 255) + 55))
    assert np.array_equal(fast.run(graph, images), found)
    loaded = files.load_any(page["at"] / "distance.safetensors")
    assert isinstance(loaded, Graph)
    assert (loaded.digest, loaded.nodes[1].middle) == (graph.digest, -55)  # type: ignore[attr-defined]
    sent = (2 * images.astype(int) - 255).reshape(-1, 2).tolist()
    received, _ = run_stream(Pointwise(page["plan"]), sent, expected=len(sent), stalls=0.3)
    assert [[int(lane) for lane in transfer] for transfer in received] == found.reshape(-1, 2).tolist()
    assert page["text"].count("module fold(") == 1
    with pytest.raises(InputError, match=r"distance: expected one of table, .* in an ONNX export, found fold"):
        onnx_export.model(graph)


def test_what_a_kind_cannot_have(page: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"M: expected one of \[2\] for the kind ternary, found 3"):
        page["train"](page["config"].model_copy(update={"M": 3}), "runs/three", progress=False)


# -- registries -------------------------------------------------------------------------------------------------


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of entry points of an installed package with one module."""
    (tmp_path / "offering.py").write_text("from abc_hw.network.codings import CODINGS\nGRAY = CODINGS['planes']\n")
    facts = tmp_path / "offering-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: offering\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield facts / "entry_points.txt"
    sys.modules.pop("offering", None)


def made() -> registry.Registry[codings.Coding]:
    return registry.Registry("bases.kind", "abc_hw.codings", {"planes": codings.CODINGS["planes"]})


def test_other_packages_are_found(package: Path) -> None:
    package.write_text("[abc_hw.codings]\ngray = offering:GRAY\nbroken = offering:NONE\n")
    found = made()
    assert list(found) == ["planes", "gray", "broken"]
    assert len(found) == 3
    assert "offering" not in sys.modules  # not before it is asked for
    assert found.find("gray") is codings.CODINGS["planes"]
    with pytest.raises(InputError, match=r"bases\.kind broken: expected offering:NONE, found .*has no attribute"):
        found.find("broken")
    with pytest.raises(InputError, match=r"bases\.kind: expected one of planes, gray, broken, found grey"):
        found.find("grey")


def test_a_name_that_is_taken_is_refused(package: Path) -> None:
    package.write_text("[abc_hw.codings]\nplanes = offering:GRAY\n")
    expected = r"abc_hw\.codings: expected another name than planes, which is taken, found offering:GRAY"
    with pytest.raises(InputError, match=expected):
        list(made())
