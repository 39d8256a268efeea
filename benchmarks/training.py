"""What a training step on bases costs, beside one of the same network in full precision, compiled likewise.

    python -m benchmarks.training [--models cnv,vgg,resnet20] [--variants abc:1/1,residual:2/2]
                                  [--precisions bfloat16] [--steps N] [--threads N] [--batch N] [--plain]

Every variant and the full precision network (Conv2d, max-pool, BatchNorm, ReLU, all under torch.compile) take a
step in turn, so that whatever else the machine does meets all of them alike. A step is what `abc-hw train` runs:
augmentation, forward, backward, Adam. Prints medians of seconds, the processor's (of all threads) and those of the
clock, each also as a multiple of full precision's, and in MB what forward keeps for backward. `--plain` compiles
nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from abc_hw.training import kernels
from abc_hw.training.forward import multiplying_in
from abc_hw.training.loop import augment_images
from abc_hw.training.models import blocks_of
from abc_hw.training.recipes import TrainingConfig, build_model
from abc_hw.training.residual import DESIGNS, POOL, Design

SHAPE = (32, 32, 3)
CLASSES = 10
WARM_UP = 3

Step = Callable[[], tuple[float, float]]
"""Takes a step; the processor's seconds, and the clock's."""


class Past(nn.Module):
    """Two convolutions, and what goes past them."""

    def __init__(self, channels: int, wide: int, stride: int) -> None:
        super().__init__()
        self.inner, self.outer = convolution(channels, wide, 3, stride), convolution(wide, wide, 3)
        self.past = nn.Identity() if stride == 1 and channels == wide else convolution(channels, wide, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.outer(functional.relu(self.inner(x))) + self.past(x))


def convolution(channels: int, wide: int, kernel: int, stride: int = 1) -> nn.Module:
    """A convolution with batch norm."""
    return nn.Sequential(nn.Conv2d(channels, wide, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(wide))


def residual_in_full_precision(design: Design) -> nn.Module:
    """A residual network as anybody would write it."""
    channels = design.stages[0][0]
    parts = [convolution(SHAPE[2], channels, design.kernel, design.stride), nn.ReLU()]
    parts += [nn.MaxPool2d(*POOL)] if design.pool else []
    for stage, (wide, blocks) in enumerate(design.stages):
        for number in range(blocks):
            parts.append(Past(channels, wide, 2 if stage and not number else 1))
            channels = wide
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, CLASSES))


def full_precision(model: str) -> nn.Module:
    """The network of that name as anybody would write it."""
    if model in DESIGNS:
        return residual_in_full_precision(DESIGNS[model])
    parts: list[nn.Module] = []
    height, width, channels = SHAPE
    for block in blocks_of(model, SHAPE, CLASSES):
        if block.kind == "conv":
            parts.append(nn.Conv2d(channels, block.channels, block.kernel, block.stride, block.padding))
        else:
            parts += [nn.Flatten(), nn.Linear(height * width * channels, block.channels)]
        if block.pool > 1:
            parts.append(nn.MaxPool2d(block.pool))
        if block.norm != "none":
            norm = nn.BatchNorm2d if block.kind == "conv" else nn.BatchNorm1d
            parts += [norm(block.channels), nn.ReLU()]
        height, width, channels = block.out_shape((height, width, channels))
    return nn.Sequential(*parts)


class Pixels(nn.Module):
    """uint8 pixels in -1 to 1, then a network."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.float() / 127.5 - 1)


def stepper(model: nn.Module, forward: nn.Module, precision: str, batch: int) -> tuple[Step, Callable[[], int]]:
    """What takes a training step and tells its seconds; what counts the bytes kept for backward."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (batch, *SHAPE), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, CLASSES, (batch,), generator=generator)

    def loss() -> Tensor:
        moved = augment_images(images, "flip-crop")
        with multiplying_in(precision, moved):
            scores = forward(moved.permute(0, 3, 1, 2))
        return functional.cross_entropy(scores.float(), labels)

    def step() -> tuple[float, float]:
        start, begun = time.process_time(), time.perf_counter()
        loss().backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.process_time() - start, time.perf_counter() - begun

    def kept() -> int:
        parameters = {p.untyped_storage().data_ptr() for p in model.parameters()}
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in parameters:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            result = loss()
        assert result.requires_grad
        return sum(sizes.values())

    return step, kept


def measure(model: str, variants: list[str], precision: str, options: argparse.Namespace) -> None:
    """One table: the variants of a model beside full precision."""
    plain = Pixels(full_precision(model)).to(memory_format=torch.channels_last)
    made = {"float": stepper(plain, plain if options.plain else torch.compile(plain), precision, options.batch)}
    for variant in variants:
        kind, counts = variant.split(":")
        m, n = map(int, counts.split("/"))
        network = build_model(TrainingConfig(model=model, M=m, N=n, kind=kind), SHAPE, CLASSES)
        made[variant] = stepper(network, network, precision, options.batch)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in made}
    for _ in range(WARM_UP + options.steps):
        for name, (step, _) in made.items():
            seconds[name].append(step())
    medians = {
        name: [statistics.median(kind) for kind in zip(*taken[WARM_UP:], strict=True)]
        for name, taken in seconds.items()
    }
    for name, (_, kept) in made.items():
        cells = [model, precision, name]
        for median, base in zip(medians[name], medians["float"], strict=True):
            cells += [f"{median:.3f}", f"{median / base:.2f}"]
        print(f"| {' | '.join([*cells, f'{kept() / 1e6:.0f}'])} |", flush=True)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--models", default="cnv,vgg")
    parser.add_argument("--variants", default="abc:1/1,abc:2/2,abc:3/3,residual:2/2,residual:3/3")
    parser.add_argument("--precisions", default="float32,bfloat16")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    columns = ("model", "precision", "variant", "s a step", "of float", "s by the clock", "of float", "kept MB")
    print(f"| {' | '.join(columns)} |\n|---|---|---|{'---:|' * 5}")
    compiled = contextlib.nullcontext() if options.plain else kernels.compiling()
    with compiled:
        for model in options.models.split(","):
            for precision in options.precisions.split(","):
                measure(model, options.variants.split(","), precision, options)


if __name__ == "__main__":
    main()
