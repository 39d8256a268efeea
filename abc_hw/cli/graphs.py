"""``info`` of a network that is a graph: its nodes, what runs between them, and what is stored for each."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from abc_hw.network import Bases, Codes, Graph, Integers
from abc_hw.network.edges import Edge
from abc_hw.network.nodes import Conv, Encode, MaxPool, Node, Requantise, SumPool, Threshold

from .console import show, table


def show_nodes(graph: Graph) -> None:
    """Print the nodes in order, each with its inputs, geometry, output and operations, and the bits stored."""
    shown = table("node", "kind", "from", "geometry", ">output", "values", ">XNORs", ">bits stored")
    for node in graph.nodes:
        edge, macs = graph.edges[node.name], graph.binary_macs_of(node)
        shown.add_row(
            node.name, node.kind, ", ".join(node.inputs), _geometry(node), "x".join(map(str, edge.shape)),
            _values(edge), f"{macs:,}" if macs else "", f"{stored_bits(graph, node):,}",
        )  # fmt: skip
    shown.add_section()
    total = sum(stored_bits(graph, node) for node in graph.nodes)
    shown.add_row("all", "", "", "", "", "", f"{graph.binary_macs:,}", f"{total:,}")
    sign = "signed " if graph.signed else ""
    ends = f"{len(graph.classes)} classes out" if graph.classes else f"{_values(graph.output)} out"
    shape = "x".join(map(str, graph.input_shape))
    show(f"{graph.name}: {shape} {sign}{_values(graph.input)} in, {ends}", shown)
    forks = {name: takers for name, takers in graph.consumers.items() if len(takers) > 1}
    if forks:
        forked = table("fork", "goes to")
        for name, takers in forks.items():
            forked.add_row(name, ", ".join(node.name for node in takers))
        show("Values that several nodes take:", forked)


def node_facts(graph: Graph, node: Node) -> dict[str, Any]:
    """What ``--json`` tells of a node."""
    edge = graph.edges[node.name]
    told: dict[str, Any] = {"name": node.name, "kind": node.kind, "inputs": node.inputs, "out_shape": edge.shape}
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if field.name not in ("name", "inputs") and not isinstance(value, np.ndarray):
            told[field.name] = value
    if isinstance(edge, Integers):
        told |= {"least": edge.least, "greatest": edge.greatest}
    return told | {"xnors": graph.binary_macs_of(node), "stored_bits": stored_bits(graph, node)}


def stored_bits(graph: Graph, node: Node) -> int:
    """Bits of what a node knows: weights at the width of their codes, coefficients at that of their form,
    thresholds at that of the values they cut, all else at the width that holds it."""
    bits = 0
    for field in dataclasses.fields(node):
        value = getattr(node, field.name)
        if not isinstance(value, np.ndarray):
            continue
        if field.name == "weights":
            assert isinstance(node, Conv)  # no other node has weights
            width = node.weight_bases.bits
        elif (form := getattr(node, f"{field.name}_scale", None)) is not None:
            width = form.bits
        elif isinstance(node, Threshold):
            (edge,) = graph.arriving(node)
            assert isinstance(edge, Integers)  # a graph checks that
            width = edge.bits
        else:
            width = Integers(value.min(), value.max(), (1, 1, 1)).bits
        bits += value.size * width
    return bits


def _geometry(node: Node) -> str:
    if isinstance(node, Conv | MaxPool | SumPool):
        size = node.kernel if isinstance(node, Conv) else node.size
        text = "x".join(map(str, size))
        if node.stride != (1, 1):
            text += " /" + _sides(node.stride)
        if any(node.padding):
            text += " +" + _sides(node.padding)
        return text + (f" in {node.groups} groups" if isinstance(node, Conv) and node.groups > 1 else "")
    if isinstance(node, Requantise):
        return f">> {node.shift}"
    return f"- {node.low}" if isinstance(node, Encode) else ""


def _sides(sides: tuple[int, ...]) -> str:
    return str(sides[0]) if len(set(sides)) == 1 else ",".join(map(str, sides))


def _values(edge: Edge) -> str:
    return bases_text(edge.bases) if isinstance(edge, Codes) else f"{edge.least} .. {edge.greatest}"


def bases_text(bases: Bases) -> str:
    """Short for a kind and number of bases."""
    return f"{bases.count} bit-planes" if bases.kind == "planes" else f"{bases.count} bases"

