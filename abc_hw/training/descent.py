"""How a step of training descends: the optimizer, its rate over the steps, and the average of the weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn

from .layers import abc_layers, shift_parameters
from .recipes import TrainingConfig

MOMENTUM = 0.9
"""Of ``sgd``, Nesterov's."""


def optimizer_for(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Of all that is trained; v and beta at their share of the rate, decay on weights of layers only."""
    shifts = shift_parameters(model)
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1] if config.weight_decay else []
    apart = {id(parameter) for parameter in (*shifts, *weights)}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in apart]
    rate = config.lr
    groups: list[dict[str, Any]] = [
        {"params": others, "lr": rate, "weight_decay": 0.0},
        {"params": shifts, "lr": config.shift_rate * rate, "weight_decay": 0.0},
    ]
    if weights:
        groups.append({"params": weights, "lr": rate, "weight_decay": config.weight_decay})
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, momentum=MOMENTUM, nesterov=True, fused=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, fused=True)


def rate_over_steps(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """``warm_up`` steps, at most a tenth of all, up to the rate; a cosine from it to 0 after the last."""
    warm_up = max(1, min(config.warm_up, steps // 10))

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / warm_up) * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1.0)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


@torch.no_grad()
def clamp_weights(model: nn.Module, quantile: float) -> None:
    """Clamp the weights of each filter on bases at a quantile of a Laplacian with their mean magnitude.

    Weights far out hardly ever change their sign (Xu et al., ReCU, arXiv 2103.12369).
    """
    reach = -math.log(2 - 2 * quantile)
    for layer in abc_layers(model):
        limit = layer.weight.abs().flatten(1).mean(1) * reach
        limit = limit.view(-1, *[1] * (layer.weight.ndim - 1))
        layer.weight.copy_(layer.weight.clamp(-limit, limit))


def averaging(config: TrainingConfig) -> list[EMAWeightAveraging]:
    """What validates, saves and ends with an exponential average of the weights, where one is wanted."""
    return [EMAWeightAveraging(decay=config.average)] if config.average else []
