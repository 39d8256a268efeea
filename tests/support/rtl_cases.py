"""The sweep: small networks that between them meet every option of the generator, each with its own folding."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np

from abc_hw.network import Network, ScaleForm
from abc_hw.network.description import random_layer
from abc_hw.rtl_gen.folding import LayerFolding

BASIS_COUNTS = (1, 2, 3, 5)
PIXELS = (1, 2, 3, 4, 7)
MOST_XNORS = 160
"""At once, so that a simulation is short."""

FORMS = (
    ScaleForm(kind="fixed", bits=6),
    ScaleForm(kind="csd", bits=6, terms=2),
    ScaleForm(kind="pow2", bits=5),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A convolution with everything behind it, then a classifier."""

    M: int
    N: int
    kernel: int
    stride: int
    padding: int
    form: ScaleForm
    pool: int
    shape: tuple[int, int, int]
    channels: int
    simd: int
    pe: int
    mp: int
    np: int
    seed: int
    px: int = 1

    def __str__(self) -> str:
        return (
            f"M{self.M}N{self.N}-k{self.kernel}s{self.stride}p{self.padding}-{self.form.kind}"
            f"-{'x'.join(map(str, self.shape))}to{self.channels}"
            f"-simd{self.simd}pe{self.pe}mp{self.mp}np{self.np}px{self.px}"
        )

    def network(self) -> Network:
        rng = np.random.default_rng(self.seed)
        planes = self.seed % 4 == 3  # now and then bit-planes instead of thermometer codes
        conv = random_layer(
            rng, name="conv", in_shape=self.shape, out_channels=self.channels, kernel=(self.kernel, self.kernel),
            stride=self.stride, padding=self.padding, M=self.M, N=self.N, alpha_scale=self.form,
            beta_scale=self.form, pool=self.pool, input_kind="planes" if planes else "thermometer",
            levels=4, extremes=True,
        )
        dense = random_layer(
            rng, name="dense", in_shape=conv.out_shape, out_channels=3, kernel=conv.out_shape[:2], M=self.N, N=3,
            alpha_scale=self.form, beta_scale=self.form, levels=None,
        )
        return Network(name="case", layers=(conv, dense), classes=("a", "b", "c"))

    def foldings(self) -> dict[str, LayerFolding]:
        return {
            "conv": LayerFolding(simd=self.simd, pe=self.pe, mp=self.mp, np=self.np, px=self.px),
            "dense": LayerFolding(simd=1 + self.seed % self.channels, pe=1 + self.seed % 3),
        }


def sweep() -> list[Case]:
    """All kernels, strides, paddings and forms with one another; the other options take turns along the list."""
    cases = []
    counts = itertools.cycle(itertools.product(BASIS_COUNTS, BASIS_COUNTS))
    shapes = itertools.cycle([(7, 9, 3), (9, 7, 5), (8, 11, 1), (11, 8, 4)])
    options = itertools.product((1, 3, 5), (1, 2), (False, True), FORMS)
    turns = zip(options, counts, shapes, strict=False)
    for seed, ((kernel, stride, padded, form), (M, N), shape) in enumerate(turns):
        rng = np.random.default_rng(seed)
        inputs, channels = shape[2], int(rng.integers(3, 8))
        padding = kernel // 2 if padded else 0
        columns = (shape[1] + 2 * padding - kernel) // stride + 1
        simds = [*range(1, inputs + 1), *(inputs * columns for columns in range(2, kernel + 1))]
        simd, pe = int(rng.choice(simds)), int(rng.integers(1, channels + 1))
        mp, np_, px = int(rng.integers(1, M + 1)), int(rng.integers(1, N + 1)), PIXELS[seed % len(PIXELS)]
        px = min(px, columns)
        cases.append(Case(
            M=M, N=N, kernel=kernel, stride=stride, padding=padding, form=form, pool=1 + seed % 2, shape=shape,
            channels=channels, simd=simd, pe=min(pe, max(1, MOST_XNORS // (simd * mp * np_ * px))), mp=mp, np=np_,
            seed=seed, px=px,
        ))
    return cases


def whole_windows() -> list[Case]:
    """Convolutions whose words are whole windows."""
    shared = {"M": 3, "N": 2, "channels": 4, "mp": 3, "np": 2, "stride": 1}
    return [
        Case(kernel=3, padding=1, form=FORMS[2], pool=2, shape=(7, 9, 3), simd=27, pe=4, seed=101, px=2, **shared),
        Case(
            kernel=3, padding=0, form=FORMS[0], pool=1, shape=(10, 8, 2), simd=18, pe=2, seed=102,
            **shared | {"stride": 2},
        ),
        Case(kernel=5, padding=0, form=FORMS[1], pool=1, shape=(11, 9, 1), simd=25, pe=4, seed=103, px=3,
             **shared),
        Case(kernel=3, padding=1, form=FORMS[0], pool=1, shape=(6, 4, 2), simd=18, pe=3, seed=104, **shared),
    ]
