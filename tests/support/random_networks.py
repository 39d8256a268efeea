"""Random small networks and images that between them meet every option of the integer network."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import numpy.typing as npt

from abc_hw.errors import NetworkError
from abc_hw.network import IntArray, Layer, Network, ScaleForm
from abc_hw.network.description import random_layer

BASIS_COUNTS = (1, 2, 3, 5)


def random_form(rng: np.random.Generator) -> ScaleForm:
    """Any of the three scale forms, of any small width."""
    kind = rng.choice(["fixed", "csd", "pow2"])
    return ScaleForm(kind=str(kind), bits=int(rng.integers(1, 9)), terms=int(rng.integers(1, 4)))


def random_network(
    rng: np.random.Generator, *, layers: int | None = None, side: int = 9, channels: int = 5, plain: bool = False
) -> Network:
    """A network of 1 to 4 layers with random sizes, kinds, forms, strides, padding, pools and extremes.

    ``side`` and ``channels`` bound the image's sides and every layer's channels.
    """
    count = layers or int(rng.integers(1, 5))
    shape = (int(rng.integers(1, side + 1)), int(rng.integers(1, side + 1)), int(rng.integers(1, channels + 1)))
    kinds = [str(kind) for kind in rng.choice(["thermometer", "planes"], count, p=[0.7, 0.3])]
    numbers = [int(rng.choice(BASIS_COUNTS)) for _ in range(count)]
    made: list[Layer] = []
    for index in range(count):
        last = index == count - 1
        made.append(
            random_layer(
                rng,
                name=f"layer{index}",
                in_shape=shape,
                out_channels=int(rng.integers(1, channels + 1)),
                **({"kernel": shape[:2]} if last else _geometry(rng, shape)),
                M=int(rng.choice(BASIS_COUNTS)),
                N=numbers[index],
                weight_kind=str(rng.choice(["thermometer", "planes"], p=[0.7, 0.3])),
                input_kind=kinds[index],
                alpha_scale=random_form(rng),
                beta_scale=random_form(rng),
                levels=None if last else _levels(kinds[index + 1], numbers[index + 1]),
                plain=plain,
                extremes=bool(rng.random() < 0.5),
            )
        )
        shape = made[-1].out_shape
    classes = tuple(f"class {index}" for index in range(shape[2]))
    return Network(name="random", layers=tuple(made), classes=classes, training={"note": "random"})


def random_images(rng: np.random.Generator, network: Network, count: int = 3) -> npt.NDArray[np.uint8]:
    """Images of random codes; the first is all code 0, the second all the highest code."""
    levels = network.layers[0].input_bases.levels
    images = rng.integers(levels, size=(count, *network.input_shape), dtype=np.uint8)
    images[0] = 0
    if count > 1:
        images[1] = levels - 1
    return images


def other_weights(network: Network, rng: np.random.Generator) -> Network:
    """The network with other weights: the first layer's all of the highest code, where its thresholds are within
    the bounds of those; else those that it has, elsewhere in the kernel, which leaves the bounds as they are."""
    layers = list(network.layers)
    for index, layer in enumerate(layers):
        flat = layer.weights.reshape(layer.out_channels, -1)
        moved = rng.permuted(flat, axis=1).reshape(layer.weights.shape)
        layers[index] = dataclasses.replace(layer, weights=moved)
        if index == 0:
            highest = np.full_like(layer.weights, layer.weight_bases.levels - 1)
            with contextlib.suppress(NetworkError):
                layers[index] = dataclasses.replace(layer, weights=highest)
    return dataclasses.replace(network, name="other", layers=tuple(layers))


def retrained(network: Network, rng: np.random.Generator) -> Network:
    """The network with other values of all that another training may change, extremes among them."""
    layers = list(network.layers)
    for index, layer in enumerate(layers):
        learned = network.learned(layer)
        weights = rng.integers(layer.weight_bases.levels, size=layer.weights.shape, dtype=np.uint8)
        alpha = layer.alpha * rng.choice([-1, 1], (layer.out_channels, 1))  # of a single basis of +-1
        if "alpha" in learned:
            alpha = rng.choice(layer.alpha_scale.allowed, layer.alpha.shape)
            alpha[0] = layer.alpha_scale.allowed[0]
        beta = rng.choice(layer.beta_scale.allowed, layer.beta.shape) if "beta" in learned else layer.beta
        changed = dataclasses.replace(layer.conv, weights=weights, alpha=alpha, beta=beta)
        least, greatest = changed.acc_bounds
        others: dict[str, IntArray] = {}
        if layer.thresholds is None:
            most = int(max(-least.min(), greatest.max()))
            others["bias"] = rng.integers(-most, most, layer.out_channels, endpoint=True)
        else:
            levels = layer.thresholds.shape[1]
            drawn = rng.integers(least, greatest + 2, size=(levels, layer.out_channels)).T
            drawn[0, 0] = greatest[0] + 1
            others["thresholds"] = np.sort(drawn, axis=1)
        layers[index] = dataclasses.replace(layer, weights=weights, alpha=alpha, beta=beta, **others)
    return dataclasses.replace(network, name="retrained", layers=tuple(layers))


def _levels(kind: str, count: int) -> int:
    return count + 1 if kind == "thermometer" else 1 << count


def _geometry(rng: np.random.Generator, shape: tuple[int, int, int]) -> dict[str, object]:
    kernel, padding, stride = (1, 1), 0, int(rng.integers(1, 4))
    for _ in range(20):
        sides = tuple(int(side) for side in rng.integers(1, 6, size=2))
        pad = int(rng.integers(0, min(sides)))
        if all(size + 2 * pad >= side for size, side in zip(shape, sides, strict=False)):
            kernel, padding = sides, pad
            break
    height, width = (
        (size + 2 * padding - side) // stride + 1 for size, side in zip(shape[:2], kernel, strict=True)
    )
    pool = int(rng.integers(1, min(height, width, 3) + 1))
    return {"kernel": kernel, "padding": padding, "stride": stride, "pool": pool}
