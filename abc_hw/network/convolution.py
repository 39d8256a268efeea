"""The convolution on bases of +-1, the node that everything else stands around."""

from __future__ import annotations

import dataclasses
import math
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from . import rules
from .bases import Bases, CodeArray, IntArray, ScaleForm
from .edges import Integers, Padding, Shape, swept
from .node import Node, check_form, check_window


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Conv(Node):
    """``acc[c] = sum_m alpha[c, m] sum_n beta[n] (2 popcount(xnor(B[m, c], A[n])) - K)`` of every window.

    H x W x C codes -> OH x OW x C_out integers. A dense layer is a convolution whose kernel covers its whole
    input. Output channel c sees the input channels of group ``c // (C_out / groups)`` only.

    Members
    -------
    kernel, stride : (height, width)
    padding : rows above and below, columns left and right, each less than the kernel's side
    padding_code : the code that positions outside have, or one for each input channel; None: they count nothing
    weight_bases, input_bases : how weight codes and input codes stand for M and N bases
    weights : uint8 codes, [C_out, kernel height, kernel width, C / groups]
    alpha : int64 [C_out, M];  alpha_scale : its form
    beta : int64 [N];  beta_scale : its form
    """

    kind: ClassVar[str] = "conv"
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    padding_code: int | tuple[int, ...] | None = 0
    groups: int = 1
    weight_bases: Bases
    input_bases: Bases
    weights: CodeArray
    alpha: IntArray
    alpha_scale: ScaleForm
    beta: IntArray
    beta_scale: ScaleForm

    @property
    def out_channels(self) -> int:
        """C_out."""
        return int(self.weights.shape[0])

    @property
    def in_channels(self) -> int:
        """C, of all groups."""
        return int(self.weights.shape[3]) * self.groups

    @property
    def dot_length(self) -> int:
        """K: how many XNORs one popcount counts."""
        return math.prod(self.weights.shape[1:])

    @cached_property
    def weight_values(self) -> IntArray:
        """``sum_m alpha[c, m] B_m``, int64 [C_out, kernel height, kernel width, C / groups]."""
        flat = self.weights.reshape(self.out_channels, -1).astype(np.int64)
        values = np.take_along_axis(self.weight_bases.values(self.alpha), flat, axis=1)
        return values.reshape(self.weights.shape)

    @property
    def input_values(self) -> IntArray:
        """``sum_n beta[n] A_n`` of each input code, int64 [levels]."""
        return self.input_bases.values(self.beta)

    @cached_property
    def acc_bounds(self) -> tuple[IntArray, IntArray]:
        """Least and greatest value that acc can take, per channel, over all inputs: two int64 [C_out].

        Exact: each input position contributes its own least (greatest) weight value x input value. Positions
        outside contribute what lies between.
        """
        levels, inputs = self.weight_bases.levels, self.input_values
        rows = self.weights.reshape(self.out_channels, -1)
        often = np.stack([np.bincount(row, minlength=levels) for row in rows])
        values = self.weight_bases.values(self.alpha)
        low, high = values * int(inputs.min()), values * int(inputs.max())
        return (often * np.minimum(low, high)).sum(axis=1), (often * np.maximum(low, high)).sum(axis=1)

    @property
    def has_one_code(self) -> bool:
        """Do all positions outside, if there are any, have the same code?"""
        return type(self.padding_code) is int or not any(self.padding)

    @property
    def padding_codes(self) -> CodeArray:
        """Of each input channel outside, 0 where they count nothing: uint8 [C]."""
        return np.broadcast_to(np.array(self.padding_code or 0, np.uint8), (self.in_channels,))

    @property
    def outside_taps(self) -> IntArray:
        """What each position of the kernel adds outside the map, more than as code 0: int64 [C_out, KH, KW]."""
        values = self.input_values
        more = np.full(self.in_channels, 0) if self.padding_code is None else values[self.padding_codes]
        of_group = np.repeat((more - values[0]).reshape(self.groups, -1), self.out_channels // self.groups, axis=0)
        return np.einsum("cklg,cg->ckl", self.weight_values, of_group)

    def outside(self, shape: Shape) -> IntArray:
        """What positions outside a map of ``shape`` add more than they would as code 0: int64 [OH, OW, C_out]."""
        taps = self.outside_taps
        height, width = swept(f"{self.name}.kernel", shape, self.kernel, self.stride, self.padding)
        masks = []
        for axis, count in enumerate((height, width)):
            first = np.arange(count) * self.stride[axis] - self.padding[2 * axis]
            places = first[:, None] + np.arange(self.kernel[axis])
            masks.append(((places >= 0) & (places < shape[axis])).astype(np.int64))
        return np.asarray(taps.sum(axis=(1, 2)) - np.einsum("yk,xl,ckl->yxc", *masks, taps))

    def output(self, *edges: Any) -> Integers:
        """Integers within ``acc_bounds``."""
        edge = self._codes(edges[0], self.input_bases)
        if edge.shape[2] != self.in_channels:
            self._refuse("weights", f"{edge.shape[2]} input channels", self.in_channels)
        size = swept(f"{self.name}.kernel", edge.shape, self.kernel, self.stride, self.padding)
        return Integers(*self.acc_bounds, (*size, self.out_channels))

    def __post_init__(self) -> None:
        super().__post_init__()
        self._freeze("weights", np.uint8)
        self._freeze("alpha", np.int64)
        self._freeze("beta", np.int64)
        check_window(self, "kernel")
        rules.integer(f"{self.name}.groups", self.groups, least=1)
        self._check_shapes()
        self._check_padding_code()
        self._check_numbers()

    def _check_padding_code(self) -> None:
        """Codes that are all alike become one."""
        code, levels = self.padding_code, self.input_bases.levels
        codes = code if isinstance(code, tuple | list) else () if code is None else (code,)
        wrong = [one for one in codes if not (type(one) is int and 0 <= one < levels)]
        if wrong or (isinstance(code, tuple | list) and len(code) != self.in_channels):
            found = repr(wrong[0]) if wrong else f"{len(codes)} for {self.in_channels} channels"
            self._refuse("padding_code", f"a code below {levels} or none", found)
        if isinstance(code, tuple | list):
            object.__setattr__(self, "padding_code", code[0] if len(set(code)) == 1 else tuple(code))

    def _check_shapes(self) -> None:
        if self.weights.ndim != 4 or self.weights.shape[1:3] != self.kernel or not self.weights.shape[3]:
            kernel = " x ".join(map(str, self.kernel))
            self._refuse("weights", f"shape C_out x {kernel} x C", self.weights.shape)
        channels, m, n = self.out_channels, self.weight_bases.count, self.input_bases.count
        if channels < 1:
            self._refuse("weights", "at least one output channel", 0)
        if channels % self.groups:
            self._refuse("groups", f"a divisor of {channels} output channels", self.groups)
        for field, shape in (("alpha", (channels, m)), ("beta", (n,))):
            if getattr(self, field).shape != shape:
                self._refuse(field, f"shape {shape}", getattr(self, field).shape)

    def _check_numbers(self) -> None:
        if int(self.weights.max()) >= self.weight_bases.levels:
            self._refuse("weights", f"codes below {self.weight_bases.levels}", int(self.weights.max()))
        for field in ("alpha", "beta"):
            check_form(self, field, getattr(self, f"{field}_scale"))
        least, greatest = self.acc_bounds
        if max(abs(int(least.min())), abs(int(greatest.max()))) >= rules.MAX_MAGNITUDE:
            self._refuse("alpha", "accumulators below 2**46", int(greatest.max()))
