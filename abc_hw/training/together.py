"""What processes that train together compute as one: sums over the images of all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed


class _SumOverProcesses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].clone()
        distributed.all_reduce(total)
        return total


def batch_norm(
    x: Tensor, running_mean: Tensor | None, running_var: Tensor | None, weight: Tensor, bias: Tensor,
    momentum: float, eps: float,
) -> Tensor:
    """``functional.batch_norm`` in training, with the statistics of the batches of all processes as one.

    Every process must call it at the same time, with equally many images.
    """
    over, wide = [axis for axis in range(x.ndim) if axis != 1], x.float()
    count = x.numel() // x.shape[1] * distributed.get_world_size()

    def spread(row: Tensor) -> Tensor:
        return row.view(1, -1, *[1] * (x.ndim - 2))

    mean = _SumOverProcesses.apply(wide.sum(over)) / count
    centred = wide - spread(mean)
    variance = _SumOverProcesses.apply(centred.square().sum(over)) / count
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.lerp_(mean, momentum)
            running_var.lerp_(variance * (count / max(count - 1, 1)), momentum)
    return (centred * spread((variance + eps).rsqrt() * weight) + spread(bias)).to(x.dtype)
