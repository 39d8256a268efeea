"""Batches of images, shared out among the processes that train together, and moved at random."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from ..data import Split
from ..errors import InputError


@dataclasses.dataclass(frozen=True)
class Place:
    """Which of how many processes this one is; alone it is the first of one."""

    rank: int = 0
    of: int = 1

    def share(self, count: int) -> slice:
        """Which part of ``count`` things in a row is this one's; all parts are of equal size."""
        size = count // self.of
        return slice(self.rank * size, (self.rank + 1) * size)


ALONE = Place()


class _Images(TorchDataset[tuple[Tensor, Tensor]]):
    """A split of which whole batches are fetched at once: uint8 [B, H, W, C], int64 [B]."""

    def __init__(self, split: Split) -> None:
        self.images = torch.from_numpy(np.ascontiguousarray(split.images))
        self.labels = torch.from_numpy(split.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        index = torch.tensor(indices)
        return self.images[index], self.labels[index]


class _EpochShuffle(Sampler[int]):
    """An order that depends on seed and epoch only, so that a resumed run sees the same batches.

    A step's images are shared out among the processes; those that fill no step are left out.
    """

    def __init__(self, size: int, batch: int, seed: int, place: Place) -> None:
        self.size, self.batch, self.seed, self.place, self.epoch = size, batch, seed, place, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size // self.batch * (self.batch // self.place.of)

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.size)
        steps = order[: self.size // self.batch * self.batch].reshape(-1, self.batch)
        return iter(steps[:, self.place.share(self.batch)].flatten().tolist())


def _whole(batch: Any) -> tuple[Tensor, Tensor]:
    images, labels = batch  # already a batch: _Images fetches it at once
    return images, labels


Loader = DataLoader[tuple[Tensor, Tensor]]


def check_shares(split: Split, batch: int, processes: int) -> None:
    """InputError unless batches can be shared out evenly."""
    if batch % processes:
        raise InputError(f"batch: expected a multiple of the {processes} processes, found {batch}")
    if len(split) < processes:
        raise InputError(f"devices: expected at most one for each of {len(split)} images, found {processes}")


def training_batches(split: Split, batch: int, seed: int, place: Place = ALONE) -> Loader:
    """This process's share of batches of ``batch`` images, or of all if there are fewer, in an order by epoch."""
    batch = min(batch, len(split))
    sampler = _EpochShuffle(len(split), batch, seed, place)
    return DataLoader(_Images(split), batch // place.of, sampler=sampler, collate_fn=_whole)


def validation_batches(split: Split, place: Place = ALONE) -> Loader:
    """This process's images, in batches of 256."""
    return DataLoader(_Images(split[place.rank :: place.of]), 256, collate_fn=_whole)


GREY = 128
"""Of the square that covers a part of an image."""


def augment_images(images: Tensor, kind: str, place: Place = ALONE, *, cutout: int = 0) -> Tensor:
    """uint8 [B, H, W, C] moved, mirrored and covered at random as ``TrainingConfig`` says.

    Processes with equal random numbers draw for the images of all, so that a batch is moved as one process would.
    """
    if kind != "none":
        images = _moved(images, kind, place)
    return _covered(images, cutout, place) if cutout else images


def _covered(images: Tensor, side: int, place: Place) -> Tensor:
    """With a grey square about a random pixel of each (cutout: DeVries, Taylor, arXiv 1708.04552)."""
    count, height, width, _ = images.shape
    mine = place.share(count * place.of)
    drawn = torch.rand(2, count * place.of, 1, device=images.device)[:, mine]
    rows, columns = (
        ((torch.arange(size, device=images.device) - (drawn[axis] * size).floor() + side // 2) // side) == 0
        for axis, size in enumerate((height, width))
    )
    return images.masked_fill((rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(3), GREY)


def _moved(images: Tensor, kind: str, place: Place) -> Tensor:
    count, height, width, _ = images.shape
    mine = place.share(count * place.of)
    if kind == "flip-crop":
        mirrored = (torch.rand(count * place.of, device=images.device) < 0.5)[mine]
        images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(2), images)
    reach = 4 if min(height, width) >= 32 else 2
    padded = functional.pad(images, (0, 0, reach, reach, reach, reach))
    moves = torch.randint(0, 2 * reach + 1, (2, count * place.of, 1), device=images.device)[:, mine]
    rows = moves[0] + torch.arange(height, device=images.device)
    columns = moves[1] + torch.arange(width, device=images.device)
    everyone = torch.arange(count, device=images.device).view(-1, 1, 1)
    return padded[everyone, rows.unsqueeze(2), columns.unsqueeze(1)]
