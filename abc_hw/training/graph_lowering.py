"""The integers of a module with skip paths: exact evaluation in PyTorch, and the graph, of the same pieces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..data import Images
from ..network import Codes, Graph
from .paths import trace_paths
from .pieces import PLANES, Piece
from .quantised import BATCH, Progress, check_finite, check_images

Shape = tuple[int, int, int]


def trace_nodes(
    model: nn.Module, images: Images, names: Sequence[str] | None = None, *, progress: Progress | None = None
) -> dict[str, npt.NDArray[Any]]:
    """What the network computes, exactly, by the names of the nodes of :func:`to_graph` (None: of all).

    Codes are uint8, integers int64, both [B, H, W, C]; "scores" are int64 [B, classes].

    Raises
    ------
    InputError : images of another shape or type; as :func:`to_graph`
    """
    check_images(images, getattr(model, "in_shape", images.shape[1:]))
    check_finite(model)
    made = trace_paths(model, images.shape[1:]).pieces
    parts: dict[str, list[npt.NDArray[Any]]] = {}
    for start in range(0, max(1, len(images)), BATCH):
        found = _evaluate(made, torch.tensor(images[start : start + BATCH]).permute(0, 3, 1, 2))
        for name in found if names is None else names:
            value = found[name]
            kept = value.permute(0, 2, 3, 1) if value.ndim == 4 else value
            parts.setdefault(name, []).append(kept.contiguous().numpy())
        if progress is not None:
            progress(min(start + BATCH, len(images)), len(images))
    return {name: np.concatenate(found) for name, found in parts.items()}


@torch.no_grad()
def _evaluate(made: Sequence[Piece], images: Tensor) -> dict[str, Tensor]:
    values = {"input": images}
    for piece in made:
        values[piece.name] = piece.compute(*(values[name] for name in piece.inputs))
    del values["input"]
    return values


def to_graph(
    model: nn.Module, in_shape: Shape, *, name: str, classes: Sequence[str],
    training: Mapping[str, Any] | None = None,
) -> Graph:
    """The integer network of a trained module with skip paths, for images (H, W, C).

    Raises
    ------
    InputError : a number is not finite; as :func:`abc_hw.training.paths.trace_paths`
    """
    check_finite(model)
    made = trace_paths(model, in_shape).pieces
    return Graph(
        name=name, input=Codes(PLANES, in_shape), nodes=tuple(piece.node() for piece in made),
        classes=tuple(classes), training=dict(training or {}),
    )  # fmt: skip
