"""Drop-in modules: a convolution and a fully connected layer on bases of +-1, and what stands around them.

A layer turns its real input into activation bases, its weight into weight bases, and computes (equation 11 of
arXiv 1711.11294) ``O = sum_m sum_n alpha_m beta_n conv(B_m, A_n)`` as the one float convolution
``conv(sum_m alpha_m B_m, sum_n beta_n A_n)``, which is the same number. Padding is level 0: every A_n = -1.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import InputError
from ..network import Bases, ScaleForm
from . import kernels, together
from .activation_bases import Unquantised, check_count
from .binarize import (
    least_squares,
    spread_shifts,
    straight_through,
    to_integers,
)
from .kinds import KINDS, Kind, find_kind, input_bases

# -- layers -------------------------------------------------------------------------------------------------


class _ABCLayer(nn.Module):
    """What a convolution and a fully connected layer have in common: weight bases and input bases."""

    def __init__(
        self,
        weight_shape: tuple[int, ...],
        bias: bool,
        *,
        M: int,
        N: int,
        scale: ScaleForm | None,
        channel_wise: bool,
        learnable_u: bool,
        common_scale: bool,
        weight_kind: str,
        activation_kind: str,
        rectified: bool,
        tie_steps: bool,
    ) -> None:
        super().__init__()
        check_count("M", M)
        kind = find_kind("weight_kind", weight_kind)
        if tie_steps and (kind is None or not kind.ties):
            raise InputError(f"tie_steps: expected weights of kind abc, found {weight_kind}")
        if kind is not None and M not in kind.counts:
            raise InputError(f"M: expected one of {[*kind.counts]} for the kind {weight_kind}, found {M}")
        self.M = M
        self.scale = scale or ScaleForm()
        self.channel_wise = channel_wise
        self.common_scale = common_scale
        self.tie_steps = tie_steps
        self.integer = self.free = False
        self.kind = weight_kind
        self.weight = nn.Parameter(torch.empty(weight_shape))
        nn.init.kaiming_uniform_(self.weight, nonlinearity="linear")
        self.bias = nn.Parameter(torch.zeros(weight_shape[0])) if bias else None
        self.u = nn.Parameter(spread_shifts(M), requires_grad=learnable_u)
        self.input_bases = input_bases(
            activation_kind, N, scale=self.scale, rectified=rectified, tie_steps=tie_steps
        )

    @property
    def weight_kind(self) -> Kind:
        """How the weights are cut into bases; InputError if they are not."""
        if self.kind == "float":
            raise InputError("kind: expected weights on bases, found float, which has no integers")
        return KINDS[self.kind]

    @property
    def weight_bases(self) -> Bases:
        """How a weight code stands for the M bases."""
        return Bases(kind=self.weight_kind.coding, count=self.M)

    @property
    def alpha(self) -> Tensor:
        """Coefficients of the weight bases by least squares, float64 [C_out, M] ([1, M] if layer-wise)."""
        fitted, groups, _ = self._fitted_alpha(self.weight, self.binary_weight())
        return fitted[:, groups]

    def set_integer(self, on: bool) -> None:
        """Compute with integer alpha and beta (times free positive scales) from now on, or no longer.

        Straight-through: the gradients stay those of the float layer at the rounded numbers.
        """
        self.integer = on
        self.input_bases.integer = on

    def set_free(self, on: bool) -> None:
        """Compute with the weights in full precision from now on, or no longer."""
        self.free = on

    def binary_weight(self) -> Tensor:
        """The bases B_m, [M, *weight.shape], of +-1."""
        return self.weight_kind.weights(self.weight, self.u)

    @torch.no_grad()
    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """alpha ~ scale x integers: bases [M, *weight.shape], int64 [C_out, M], float64 [C_out] positive.

        With ``common_scale`` all channels have the same scale. The sign of a single beta is in the integers.
        """
        bases = self.binary_weight()
        assert not isinstance(self.input_bases, Unquantised)  # then the weights are not on bases either
        integers, scale = self._alpha_integers(bases)
        return bases, integers * self.input_bases.integers()[2], scale

    def _fitted_alpha(self, weight: Tensor, bases: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The alpha that differ, float64 [rows, groups], the group of each basis, and the Gram matrix."""
        groups = self.weight_kind.groups(self.u, self.tie_steps)
        count = int(groups.max()) + 1
        if count < self.M:  # least squares on the sums of the bases that weigh the same
            bases = torch.stack([bases[groups == group].sum(0) for group in range(count)])
        alpha, gram = least_squares(weight, bases, channel_wise=self.channel_wise)
        return alpha, groups, gram

    def _alpha_integers(self, bases: Tensor) -> tuple[Tensor, Tensor]:
        # float64, so that no order of summation can move a rounding
        alpha, groups, gram = self._fitted_alpha(self.weight.double(), bases.double())
        integers, scale = to_integers(alpha, self.scale, gram=gram, common=self.common_scale)
        rows = self.weight.shape[0]
        return integers[:, groups].expand(rows, self.M), scale.expand(rows)

    def approximate_weight(self) -> Tensor:
        """``sum_m alpha_m B_m`` in the shape of weight.

        The gradient goes straight through to weight: equation 6 without its factor ``sum_m alpha_m``, a number per
        channel that Adam would cancel. alpha is not differentiated: over 8 seeds the digits recipe gives 98.4 %,
        and 97.9 % with the derivative of the least squares added. Of kind float, or :meth:`set_free`, it is the
        weight itself.
        """
        if self.kind == "float" or self.free:
            return self.weight
        if self.integer:
            value = self._combined(self.binary_weight().detach()).detach()
        elif (approximation := self.weight_kind.approximation) is not None:
            groups = self.weight_kind.groups(self.u, self.tie_steps).tolist()
            rows = kernels.rows_of(self.weight.detach())
            value = kernels.ordered_like(
                approximation(rows, self.u.detach(), groups, self.channel_wise), self.weight
            )
        else:
            value = self._combined(self.binary_weight()).detach()
        through = straight_through(self.weight, value)
        if not self.u.requires_grad:
            return through
        value = self._combined(self.binary_weight())
        return through + (value - value.detach())

    def _combined(self, bases: Tensor) -> Tensor:
        if self.integer:
            integers, scale = self._alpha_integers(bases)
            alpha = scale.unsqueeze(1) * integers
        else:
            fitted, groups, _ = self._fitted_alpha(self.weight, bases)
            alpha = fitted[:, groups]
        coefficients = alpha.to(bases).T.reshape(self.M, -1, *[1] * (self.weight.ndim - 1))
        return (coefficients * bases).sum(0)

    def _operands(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input counted from level 0, weight, and the bias that makes up for what the input lacks."""
        weight = self.approximate_weight()
        value, lowest = self.input_bases(x)
        if lowest.numel() > 1:  # one for each channel
            bias = weight.sum((2, 3)) @ lowest
        else:
            bias = lowest * weight.sum(tuple(range(1, weight.ndim)))
        return value, weight, bias if self.bias is None else bias + self.bias


class ABCConv2d(_ABCLayer):
    """``nn.Conv2d`` on M weight bases and N activation bases; zero padding becomes padding with level 0.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, padding, bias : as ``nn.Conv2d``; one stride and one padding
        for both directions
    M, N : numbers of bases, 1 to 8
    scale : form of the integers that alpha and beta become (default: csd, 2 terms, 6 bits)
    channel_wise : one alpha per basis and output channel, else one per basis
    learnable_u : train the shifts u of the weight bases as well
    common_scale : one scale of the integer alpha for all channels (a classifier needs it)
    weight_kind : ``abc``, ``residual``, or ``float`` for weights in full precision
    activation_kind : ``abc``, ``residual``, ``pixels`` for uint8 images (then N = 8), or ``float``: relu(x)
    rectified : the input comes from a ReLU, which decides where v and beta start
    tie_steps : three bases, of weights or input, have coefficients (p, q, p): two bit-planes can replace them

    Raises
    ------
    InputError : a count, kind or size that cannot be.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
        *,
        M: int,
        N: int,
        scale: ScaleForm | None = None,
        channel_wise: bool = True,
        learnable_u: bool = False,
        common_scale: bool = False,
        weight_kind: str = "abc",
        activation_kind: str = "abc",
        rectified: bool = False,
        tie_steps: bool = False,
    ) -> None:
        kernel = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        _check_sizes(in_channels=in_channels, out_channels=out_channels, kernel_size=min(kernel), stride=stride)
        super().__init__(
            (out_channels, in_channels, *kernel), bias, M=M, N=N, scale=scale, channel_wise=channel_wise,
            learnable_u=learnable_u, common_scale=common_scale, weight_kind=weight_kind,
            activation_kind=activation_kind, rectified=rectified, tie_steps=tie_steps,
        )
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.stride, self.padding = kernel, stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """Real [B, C_in, H, W] (or uint8 pixels) -> real [B, C_out, OH, OW]."""
        value, weight, bias = self._operands(x)
        return functional.conv2d(value, weight, bias, self.stride, self.padding)

    def extra_repr(self) -> str:
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"padding={self.padding}, M={self.M}, bias={self.bias is not None}"
        )


class ABCLinear(_ABCLayer):
    """``nn.Linear`` on M weight bases and N activation bases; parameters as :class:`ABCConv2d`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        M: int,
        N: int,
        scale: ScaleForm | None = None,
        channel_wise: bool = True,
        learnable_u: bool = False,
        common_scale: bool = False,
        weight_kind: str = "abc",
        activation_kind: str = "abc",
        rectified: bool = False,
        tie_steps: bool = False,
    ) -> None:
        _check_sizes(in_features=in_features, out_features=out_features)
        super().__init__(
            (out_features, in_features), bias, M=M, N=N, scale=scale, channel_wise=channel_wise,
            learnable_u=learnable_u, common_scale=common_scale, weight_kind=weight_kind,
            activation_kind=activation_kind, rectified=rectified, tie_steps=tie_steps,
        )
        self.in_features, self.out_features = in_features, out_features

    def forward(self, x: Tensor) -> Tensor:
        """Real [..., in_features] (or uint8 pixels) -> real [..., out_features]."""
        value, weight, bias = self._operands(x)
        return functional.linear(value, weight, bias)

    def extra_repr(self) -> str:
        return f"{self.in_features}, {self.out_features}, M={self.M}, bias={self.bias is not None}"


def _check_sizes(**sizes: int) -> None:
    for name, size in sizes.items():
        if type(size) is not int or size < 1:
            raise InputError(f"{name}: expected a positive integer, found {size!r}")


# -- models of them -----------------------------------------------------------------------------------------


def abc_layers(model: nn.Module) -> list[ABCConv2d | ABCLinear]:
    """The layers on bases in a module, each once."""
    return [module for module in model.modules() if isinstance(module, ABCConv2d | ABCLinear)]


def set_integer(model: nn.Module, on: bool) -> None:
    """Switch all parts that can (:meth:`ABCConv2d.set_integer`)."""
    for part in model.modules():
        if part is not model and callable(switch := getattr(part, "set_integer", None)):
            switch(on)


def set_free(model: nn.Module, on: bool) -> None:
    """Leave the weights of all layers in full precision (:meth:`ABCConv2d.set_free`), or no longer."""
    for layer in abc_layers(model):
        layer.set_free(on)


def is_integer(model: nn.Module) -> bool:
    """Whether layers compute with integer alpha and beta."""
    return any(layer.integer for layer in abc_layers(model))


def shift_parameters(model: nn.Module) -> list[nn.Parameter]:
    """v and beta of all layers, which train at a rate of their own."""
    return [p for name, p in model.named_parameters() if name.endswith(("input_bases.v", "input_bases.beta"))]


# -- batch norm ---------------------------------------------------------------------------------------------


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of [B, C] or [B, C, H, W] whose slope is kept positive by using ``|weight|``.

    A max-pool behind the convolution commutes with a rising function only, so behind a pool the slope must not
    become negative. ``positive=False`` lets it (it is then folded by negating alpha, where no pool stands).
    ``together`` takes the statistics over all processes that train together, which all must do then.
    """

    together = False

    def __init__(self, features: int, *, positive: bool = True, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__(features, eps=eps, momentum=momentum)
        self.positive = positive

    @property
    def slope(self) -> Tensor:
        """What the normalised value is multiplied by, [C]."""
        return self.weight.abs() if self.positive else self.weight

    def _check_input_dim(self, x: Tensor) -> None:
        if x.ndim not in (2, 4):
            raise ValueError(f"expected [B, C] or [B, C, H, W], found {x.ndim} dimensions")

    def forward(self, x: Tensor) -> Tensor:
        """The same shape, normalised with the batch's statistics in training, else with the running ones."""
        self._check_input_dim(x)
        momentum = self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if momentum is None:  # cumulative average: every batch counts the same
                momentum = 1.0 / float(self.num_batches_tracked)
        if self.training and self.together:
            numbers = self.running_mean, self.running_var, self.slope, self.bias
            return together.batch_norm(x, *numbers, momentum or 0.0, self.eps)
        return functional.batch_norm(
            x, self.running_mean, self.running_var, self.slope, self.bias, self.training, momentum or 0.0, self.eps
        )

    def state(self) -> dict[str, Any]:
        """The numbers it computes with in evaluation, float64 [C]: mean, variance, slope, bias."""
        assert self.running_mean is not None
        assert self.running_var is not None
        named = {"mean": self.running_mean, "variance": self.running_var, "slope": self.slope, "bias": self.bias}
        return {name: tensor.detach().double() for name, tensor in named.items()}
