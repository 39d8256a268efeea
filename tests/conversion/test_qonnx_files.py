"""Networks that others trained: every quantised tensor equals the judge's.

The files of the public QONNX model zoo are read from a folder ``shared/qonnx`` beside the repository, where there
is one; they belong to their authors and are not part of it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from graph_rtl import assert_verilog_equals_golden
from places import ROOT
from qonnx_models import assert_equals_the_judge, other_classes_in_float32

from abc_hw.conversion.onnx_import import import_onnx

FOLDER = ROOT.parent / "shared" / "qonnx"
FILES = ["TFC_1W2A", "TFC_2W2A", "kwsmlp_w3a3"]


def given(name: str) -> Path:
    path = FOLDER / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"{name}.onnx of the QONNX model zoo is not beside the repository")
    return path


@pytest.mark.parametrize("name", FILES)
def test_tensors_and_scores(name: str) -> None:
    path = given(name)
    assert assert_equals_the_judge(path, import_onnx(path), 25) == 4


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_a_thousand_inputs(name: str) -> None:
    path = given(name)
    assert assert_equals_the_judge(path, import_onnx(path), 1000) == 4


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_classes_in_float32(name: str) -> None:
    """Sums depend on their order there, and so do ties: how many classes of 1,000 are others (``-s`` shows it)."""
    path = given(name)
    other = other_classes_in_float32(path, import_onnx(path), 1000)
    print(f"{name}: {other} of 1,000 classes are others in float32")
    assert other < 20


@pytest.mark.long
@pytest.mark.parametrize("name", FILES)
def test_verilog(name: str) -> None:
    """The third one is too wide for Icarus in its usual folding."""
    wide = name == "kwsmlp_w3a3"
    assert_verilog_equals_golden(
        import_onnx(given(name)).graph, 20, stalls=0.0, simulator="verilator" if wide else "icarus",
        cycles=8000 if wide else None,
    )
