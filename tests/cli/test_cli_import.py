"""``abc-hw import``: a quantised ONNX file becomes a network file, or one line."""

from __future__ import annotations

import json
from pathlib import Path

from command_line import done, refused
from qonnx_models import Model, images

from abc_hw.conversion.onnx_import import import_onnx
from abc_hw.network import files
from abc_hw.network.graph import Graph
from abc_hw.sim import golden


def model(tmp_path: Path) -> Path:
    made = Model((1, 1, 4, 4))
    x = made.add("Sub", made.add("Mul", "x", made.constant(2.0)), made.constant(1.0))
    flat = made.add("Flatten", made.quant(x, 1.0, 2))
    return made.save(tmp_path / "m-odel.onnx", made.add("MatMul", flat, made.weights((16, 3), 2)))


def test_the_file_computes_what_the_model_does(tmp_path: Path) -> None:
    path, out = model(tmp_path), tmp_path / "network.safetensors"
    text = done("import", path, "-o", out, "--report", "--classes", "a,b,c")
    assert "table of 256 bytes: table1" in text
    assert "2 x 2 bases: conv1" in text
    loaded = files.load_any(out)
    assert isinstance(loaded, Graph)
    assert loaded.name == "m-odel"
    assert loaded.classes == ("a", "b", "c")
    imported = import_onnx(path)
    codes, _ = images(imported, 5)
    scores, expected = (golden.run_graph(graph, codes).output for graph in (loaded, imported.graph))
    assert scores.tolist() == expected.tolist()


def test_the_report_as_json(tmp_path: Path) -> None:
    path, out = model(tmp_path), tmp_path / "network.safetensors"
    said = json.loads(done("import", path, "-o", out, "--json"))
    assert said["pixels"] is True
    assert said["digest"] == files.load_any(out).digest
    assert [node["operator"] for node in said["nodes"]].count("Quant") == 2


def test_a_refusal_leaves_no_file(tmp_path: Path) -> None:
    made = Model((1, 6))
    x = made.add("MatMul", made.add("Sigmoid", made.quant("x", 0.5, 3)), made.weights((6, 3), 2))
    path, out = made.save(tmp_path / "m.onnx", x), tmp_path / "network.safetensors"
    line = refused("import", path, "-o", out)
    assert line.startswith(f"{path}: node Sigmoid_0 (Sigmoid): expected one of ")
    assert not out.exists()
