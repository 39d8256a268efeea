"""A short training in full precision, for modules that are then put onto bases."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from abc_hw.data import Split
from abc_hw.training.forward import batch_of


def teach(model: nn.Module, split: Split, *, rate: float, rounds: int) -> None:
    """Adam on all images of a split, in batches of 64."""
    images, labels = batch_of(model, torch.from_numpy(split.images)), torch.from_numpy(split.labels)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(rounds):
        for chosen in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()
