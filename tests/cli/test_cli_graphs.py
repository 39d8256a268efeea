"""Commands on networks that are graphs: what ``info`` tells, what ``evaluate`` compares, their hardware."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from command_line import done, refused
from opinion import lint

from abc_hw.network import Bases, Codes, Graph, ScaleForm, files, onnx_export
from abc_hw.network.nodes import Add, Conv, Decode, MaxPool, Output, Scores, SumPool, Threshold

PIXELS, ONE = Bases(kind="planes", count=8), Bases(kind="thermometer", count=1)
FORM = ScaleForm(kind="pow2", bits=8)


def forked(*, classes: bool) -> Graph:
    """Digits' pixels past a convolution and a decoder of their own, added; untrained."""
    rng = np.random.default_rng(1)
    convs = [
        Conv(
            name=name, inputs=before, kernel=kernel, padding=padding, weight_bases=ONE, input_bases=bases,
            weights=rng.integers(2, size=(channels, *kernel, 1)), alpha=np.ones((channels, 1), int),
            alpha_scale=FORM, beta=1 << np.arange(bases.count), beta_scale=FORM,
        )
        for name, before, kernel, padding, bases, channels in (
            ("conv", "input", (3, 3), (1, 1, 1, 1), PIXELS, 1), ("dense", "cut", (8, 8), (0, 0, 0, 0), ONE, 10)
        )
    ]  # fmt: skip
    nodes = [
        convs[0],
        Decode(name="value", inputs="input", input_bases=PIXELS, beta=1 << np.arange(8), beta_scale=FORM),
        Add(name="sum", inputs=("conv", "value")),
        SumPool(name="pool", inputs="sum", size=(1, 1), stride=(1, 1)),
        Threshold(name="cut", inputs="pool", thresholds=[[0]], bases=ONE),
    ]
    nodes += [convs[1], Scores(name="scores", inputs="dense", bias=np.arange(10))] if classes else [
        Output(name="out", inputs="cut")
    ]
    names = tuple("0123456789") if classes else ()
    codes, training = Codes(PIXELS, (8, 8, 1)), {"dataset": "digits"}
    return Graph(name="forked", input=codes, nodes=tuple(nodes), classes=names, training=training)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    files.save(forked(classes=True), tmp_path / "forked.safetensors")
    return tmp_path / "forked.safetensors"


def test_info_shows_every_node_and_fork(path: Path) -> None:
    said = done("info", path)
    graph = forked(classes=True)
    assert "forked: 8x8x1 8 bit-planes in, 10 classes out" in said
    for node in graph.nodes:
        assert f" {node.name} " in said
    assert " input   conv, value " in said
    assert graph.digest in said
    told = json.loads(done("info", path, "--json"))
    assert told["xnors"] == graph.binary_macs == 64 * 9 * 8 + 64 * 10
    assert [node["name"] for node in told["nodes"]] == [node.name for node in graph.nodes]
    assert [node["stored_bits"] for node in told["nodes"]] == [9 + 8 + 64, 64, 0, 0, 13, 640 + 80 + 8, 50]


def test_evaluate_compares_golden_and_onnx(path: Path, tmp_path: Path) -> None:
    model = tmp_path / "forked.onnx"
    onnx_export.save(forked(classes=True), model)
    assert "0 of 3,590" in done("evaluate", path, "--onnx", model)


def test_what_needs_scores_or_a_chain_says_so(path: Path, tmp_path: Path) -> None:
    ends = tmp_path / "ends.safetensors"
    files.save(forked(classes=False), ends)
    expected = "expected a network that ends in scores, found one that hands out its values"
    assert refused("evaluate", ends, "--dataset", "digits") == f"{ends}: {expected}"
    fork = f"{path}: conv: expected an input of its own in a chain of layers, found fork input"
    assert refused("demo", "--draw", "--network", path) == fork


def test_generate_and_simulate(path: Path, tmp_path: Path) -> None:
    verilog = tmp_path / "out.v"
    assert "conv limits" in done("generate", path, "-o", verilog, "--cycles", 600)
    assert lint(verilog).returncode == 0
    told = json.loads(verilog.with_suffix(".json").read_text())
    assert [unit["name"] for unit in told["units"]] == ["value", "sum", "pool", "cut"]
    assert told["cycles_per_image"] == 576
    assert told["streams"][1]["transfers"] == 10
    said = done("simulate", path, "--images", 3, "--dataset", "digits", "--simulator", "icarus", "--cycles", 600)
    assert "bound 576 (1.0000 of it)" in said
    assert "equals the golden model" in done("simulate", verilog.with_suffix(".json"), "--simulator", "icarus")


@pytest.mark.long
def test_a_graph_behind_axi(path: Path, tmp_path: Path) -> None:
    verilog = tmp_path / "out.v"
    done("generate", path, "-o", verilog, "--cycles", 600, "--interface", "axi", "--reset", "async-low")
    assert lint(verilog).returncode == 0
    told = json.loads(verilog.with_suffix(".json").read_text())
    assert [unit["name"] for unit in told["units"]] == ["value", "sum", "pool", "cut"]
    assert told["axi"]["packet_bytes"] == 44
    assert "equals the golden model" in done("simulate", verilog.with_suffix(".json"), "--simulator", "icarus")


def test_hardware_of_a_graph_without_convolutions(tmp_path: Path) -> None:
    """No XNOR gate is there to be busy or idle."""
    path, verilog = tmp_path / "pooled.safetensors", tmp_path / "pooled.v"
    pool = MaxPool(name="pool", inputs="input", size=(2, 2), stride=(2, 2))
    graph = Graph(
        name="pooled", input=Codes(PIXELS, (8, 8, 1)), nodes=(pool, Output(name="out", inputs="pool")), training={}
    )
    files.save(graph, path)
    assert " 100 % " in done("generate", path, "-o", verilog)
    assert "an image every 64 cycles" in done("report", path)
