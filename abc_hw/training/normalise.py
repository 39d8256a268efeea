"""The normalisation of pixels as a module, so that a float model takes pixels as they are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError


class Normalise(nn.Module):
    """``(pixel / 255 - mean) / std``, per channel: uint8 [B, C, H, W] -> float of the same shape.

    :func:`abc_hw.convert` folds it into the first layer.

    Parameters
    ----------
    mean, std : one number, or one per channel, of pixels over 255, as torchvision has them

    Raises
    ------
    InputError : a deviation that is not positive, numbers of other lengths
    """

    def __init__(self, mean: float | Sequence[float] = 0.0, std: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        self.mean: Tensor
        self.std: Tensor
        for name, given in (("mean", mean), ("std", std)):
            values = torch.as_tensor(given, dtype=torch.float32).reshape(-1)
            if not values.numel() or not bool(values.isfinite().all()):
                raise InputError(f"{name}: expected one finite number, or one per channel, found {given}")
            self.register_buffer(name, values)
        if bool((self.std <= 0).any()):
            raise InputError(f"std: expected positive numbers, found {std}")
        if self.mean.numel() not in (1, self.std.numel()) and self.std.numel() != 1:
            raise InputError(
                f"std: expected one number or {self.mean.numel()}, as mean has, found {self.std.numel()}"
            )

    def forward(self, x: Tensor) -> Tensor:
        """Pixels uint8 [B, C, H, W] (or whole numbers 0..255 of another type) -> float [B, C, H, W]."""
        shape = (-1, *[1] * (x.ndim - 2))
        return (x.to(self.mean) / 255 - self.mean.view(shape)) / self.std.view(shape)

    def per_channel(self, channels: int) -> tuple[Tensor, Tensor]:
        """mean and std, float64 [channels]; InputError if they are of another number of channels."""
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values.numel() not in (1, channels):
                raise InputError(f"{name}: expected one number or {channels}, found {values.numel()}")
        return self.mean.double().expand(channels), self.std.double().expand(channels)

    def extra_repr(self) -> str:
        return f"mean={self.mean.tolist()}, std={self.std.tolist()}"
