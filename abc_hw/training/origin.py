"""What made a model besides its configuration: versions of tools, and the data."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..data import Dataset
from ..errors import InputError

TOOLS = ("abc-hw", "torch", "lightning", "numpy")
"""Packages whose versions a trained model keeps."""


def origin(dataset: Dataset) -> dict[str, Any]:
    """JSON values for checkpoint and network file: ``versions`` of tools, ``data`` (:attr:`Dataset.facts`)."""
    versions = {"python": platform.python_version(), **{tool: version(tool) for tool in TOOLS}}
    return {"versions": versions, "data": dataset.facts}


def check_same_data(said: dict[str, Any], dataset: Dataset, where: Path) -> None:
    """InputError unless the data are those of an earlier :func:`origin`; one of 0.1 did not keep them."""
    was, now = said.get("data", {}).get("digest"), dataset.facts["digest"]
    if was not in (None, now):
        expected = f"the data of digest {str(was)[:16]}, as {where} was trained"
        raise InputError(f"{dataset.name}: expected {expected}, found {now[:16]}")
