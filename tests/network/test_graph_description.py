"""TOML descriptions of nodes: the graphs that they become, and what is refused on one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import done
from places import EXAMPLES
from random_graphs import random_codes

from abc_hw import sources
from abc_hw.errors import InputError
from abc_hw.network import Codes, Network, files, graph_description
from abc_hw.network.nodes import KINDS, Output
from abc_hw.sim import fast, golden

RESIDUAL = EXAMPLES / "residual.toml"

HEAD = 'name = "net"\ninput_shape = [6, 9, 4]\ninput_bits = 3\nsigned = true\n'

ALL = """
[[nodes]]
kind = "decode"
[[nodes]]
kind = "max_pool"
size = [1, 2]
stride = 1
padding = [0, 0, 1, 0]
[[nodes]]
kind = "requantise"
bits = 4
name = "low"
[[nodes]]
kind = "conv"
from = ["input"]
name = "grouped"
kernel = [3, 1]
padding = [1, 1, 0, 0]
groups = 4
out_channels = 4
M = 1
scale = { kind = "pow2", bits = 3 }
[[nodes]]
kind = "add"
from = ["low", "grouped"]
[[nodes]]
kind = "threshold"
N = 1
[[nodes]]
kind = "dense"
out_channels = 3
[[nodes]]
kind = "requantise"
bits = 2
[[nodes]]
kind = "encode"
"""


def described(tmp_path: Path, nodes: str, head: str = HEAD) -> Path:
    path = tmp_path / "net.toml"
    path.write_text(head + nodes)
    return path


def test_every_kind_becomes_its_node(tmp_path: Path) -> None:
    graph = graph_description.load(described(tmp_path, ALL))
    kinds = [node.kind for node in graph.nodes]
    assert kinds == [
        "decode", "max_pool", "requantise", "conv", "add", "threshold", "conv", "requantise", "encode", "output",
    ]  # fmt: skip
    assert graph.signed
    assert [node.name for node in graph.nodes][:4] == ["decode1", "max_pool2", "low", "grouped"]
    assert isinstance(graph.nodes[-1], Output)
    assert graph.output == Codes(graph.edges["encode9"].bases, (1, 1, 3))
    images = random_codes(np.random.default_rng(0), graph, 4)
    assert np.array_equal(fast.run(graph, images), golden.run_graph(graph, images).output)
    again = graph_description.load(described(tmp_path, ALL))
    assert again.digest == graph.digest
    assert graph_description.load(described(tmp_path, ALL, HEAD + "seed = 2\n")).digest != graph.digest
    assert {"dense", *KINDS} - {"table", "scores", "output"} == set(
        graph_description.NodeDescription.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
    )


def test_the_example_is_a_residual_block_whose_codes_are_all_in_use(tmp_path: Path) -> None:
    graph = sources.load_any("example:residual")
    assert not isinstance(graph, Network)
    images = np.random.default_rng(0).integers(256, size=(30, 8, 8, 1), dtype=np.uint8)
    values = golden.run_graph(graph, images).values
    for name in ("threshold3", "threshold5"):
        shares = np.bincount(values[name].ravel(), minlength=3) / values[name].size
        assert shares.min() > 0.15
    assert values["stream"].std() > 10
    files.save(graph, tmp_path / "residual.safetensors")
    assert files.load_any(tmp_path / "residual.safetensors").digest == graph.digest
    assert "residual: 8x8x1 8 bit-planes in, 10 classes out" in done("info", "example:residual")


def test_where_a_chain_is_wanted_the_first_other_node_is_named(tmp_path: Path) -> None:
    expected = "stream: expected threshold, max_pool or scores behind stem, found requantise"
    with pytest.raises(InputError, match=f"^{re.escape(str(RESIDUAL))}: {expected}$"):
        sources.load(RESIDUAL)
    chain = described(
        tmp_path,
        '[[nodes]]\nkind = "conv"\nout_channels = 2\nkernel = 3\n[[nodes]]\nkind = "threshold"\nN = 2\n'
        '[[nodes]]\nkind = "max_pool"\nsize = 2\n[[nodes]]\nkind = "dense"\n',
        'name = "net"\ninput_shape = [6, 6, 1]\nclasses = 2\n',
    )
    assert [layer.name for layer in sources.load(chain).layers] == ["conv1", "dense4"]
    assert sources.load(chain).layers[0].pool == 2


REFUSALS: list[tuple[str, str]] = [
    ('kind = "concat"', "nodes[0].kind: expected 'conv', 'dense', 'threshold'"),
    ('kind = "add"\nfrom = ["input", "later"]', "add1.from: expected names of nodes before it, found 'later'"),
    ('kind = "add"', "add1.inputs: expected 2 of them, found 1"),
    ('kind = "add"\nfrom = ["input", "input"]', "add1.from: expected integers, found codes of 3 planes bases"),
    ('kind = "conv"\nkernel = 3', "conv1.out_channels: expected a number, found none"),
    ('kind = "conv"\nout_channels = 3', "conv1.kernel: expected a number, found none"),
    ('kind = "conv"\nout_channels = 3\nkernel = 3\nsize = 2', "conv1.size: expected no such field in conv, "),
    ('kind = "conv"\nout_channels = 3\nkernel = 3\ngroups = 3', "conv1.groups: expected a divisor of 4 "),
    ('kind = "conv"\nout_channels = 3\nkernel = 7', "conv1.kernel: expected at most the padded input (6, 9)"),
    ('kind = "dense"', "dense1.out_channels: expected a number, found none"),
    ('kind = "max_pool"', "max_pool1.size: expected a side or [height, width], found none"),
    ('kind = "threshold"', "threshold1.from: expected integers, found codes of 3 planes bases, 6 x 9 x 4"),
    (
        'kind = "decode"\n[[nodes]]\nkind = "conv"\nout_channels = 1\nkernel = 1',
        "conv2.from: expected codes, such as a threshold hands on, found integers ",
    ),
    (
        'kind = "conv"\nout_channels = 1\nkernel = 6\n[[nodes]]\nkind = "encode"',
        "encode2.from: expected at most 256 values, found integers ",
    ),
    ('kind = "requantise"\nbits = 1', "nodes[0].bits: expected greater than or equal to 2, found 1"),
    ('kind = "conv"\nout_channels = 99999\nkernel = 1', "nodes[0].out_channels: expected less than or "),
]


@pytest.mark.parametrize(("node", "message"), REFUSALS, ids=[text[:40] for _, text in REFUSALS])
def test_what_cannot_be_is_refused_by_node_and_field(tmp_path: Path, node: str, message: str) -> None:
    path = described(tmp_path, "[[nodes]]\n" + node)
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}: {message}')}") as caught:
        sources.load_any(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("classes", ["", "classes = 3\n"])
def test_classes_are_asked_for_where_there_are_scores_and_only_there(tmp_path: Path, classes: str) -> None:
    ends: Any = '[[nodes]]\nkind = "decode"\n' if classes else '[[nodes]]\nkind = "dense"\nout_channels = 3\n'
    with pytest.raises(InputError, match=r"classes: expected [03] names, one per score, found [03]$"):
        sources.load_any(described(tmp_path, ends, HEAD + classes))
