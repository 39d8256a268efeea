"""Fewer bases for the same numbers: thermometer codes written as bit-planes wherever that is exact.

A thermometer code of n bases has n + 1 levels, ``planes`` of n bases have 2**n. Where the levels' values fall on
those of planes, the same weights or activations need ceil(log2(n + 1)) bases: 3 become 2, so 9 popcounts become 4.
That is so if all steps from level to level are equal, and for n = 3 whenever the first equals the last:
coefficients (p, q, p) in the order of the code are planes that weigh p and p + q.

The network that comes out gives the same integer scores on every image; hidden levels keep their numbers.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from ..errors import NetworkError
from . import Bases, IntArray, Layer, Network, ScaleForm

MOST_BITS, MOST_TERMS = 16, 4
"""Limits of :class:`abc_hw.network.ScaleForm`."""


def reencode(network: Network) -> Network:
    """The network with as few bases as an exact re-encoding allows; the same object if none is possible.

    Weights are re-encoded if every channel of the layer allows it, input activations by themselves. A coefficient
    that its scale form does not hold widens the form by as little as possible (:func:`wider_form`). Levels that
    only the new code has are never produced: their thresholds lie out of reach.
    """
    layers = list(network.layers)
    for index, layer in enumerate(layers):
        layers[index] = _with_weight_planes(layer)
        if index:
            layers[index - 1 : index + 1] = _with_input_planes(layers[index - 1], layers[index])
        else:
            layers[0] = _with_image_planes(layers[0])
    if all(new is old for new, old in zip(layers, network.layers, strict=True)):
        return network
    return dataclasses.replace(network, layers=tuple(layers))


# -- values and planes --------------------------------------------------------------------------------------


def planes_of(values: IntArray, *, first_code: int = 0) -> tuple[IntArray, int] | None:
    """Coefficients of bit-planes whose codes from ``first_code`` on have the given values, up to one offset.

    Parameters
    ----------
    values : [..., levels], the values of consecutive codes, all of the same parity in each row
    first_code : the planes' code of the first of them

    Returns
    -------
    Coefficients [..., P] with P = ceil(log2(levels)), and the offset: the planes' value less the given one. None
    if the values of any row are not those of planes, or the rows do not share their offset.
    """
    levels = values.shape[-1]
    planes = Bases(kind="planes", count=(levels - 1).bit_length())
    codes = range(first_code, first_code + levels)
    pairs = [next(code for code in codes if not code >> bit & 1) for bit in range(planes.count)]
    steps = [
        values[..., low + (1 << bit) - first_code] - values[..., low - first_code] for bit, low in enumerate(pairs)
    ]
    coefficients = np.stack(steps, axis=-1) // 2
    differences = planes.values(coefficients)[..., list(codes)] - values
    offset = int(differences.flat[0])
    return (coefficients, offset) if (differences == offset).all() else None


def wider_form(form: ScaleForm, values: IntArray) -> ScaleForm | None:
    """The form itself if it holds the values, else the least wider one that does; None if there is none.

    A ``fixed`` form gets more bits; ``csd`` and ``pow2`` get a term more before bits, and become ``csd``.
    """
    terms = [form.terms] if form.kind == "fixed" else range(form.terms, MOST_TERMS + 1)
    for bits, count in itertools.product(range(form.bits, MOST_BITS + 1), terms):
        kind = "csd" if form.kind == "pow2" and count > 1 else form.kind
        wider = ScaleForm(kind=kind, bits=bits, terms=count)
        if wider.allows(values).all():
            return wider
    return None


def _fewer(bases: Bases) -> Bases | None:
    """The planes that hold as many levels, if they are fewer than the thermometer's bases."""
    planes = Bases(kind="planes", count=bases.bits)
    return planes if bases.kind == "thermometer" and planes.count < bases.count else None


# -- layers -------------------------------------------------------------------------------------------------


def _with_weight_planes(layer: Layer) -> Layer:
    planes = _fewer(layer.weight_bases)
    if planes is None:
        return layer
    values = layer.weight_bases.values(layer.alpha)
    for first_code in range(planes.levels - layer.weight_bases.levels + 1):
        found = planes_of(values, first_code=first_code)
        if found is None or found[1] != 0:
            continue
        form = wider_form(layer.alpha_scale, found[0])
        if form is not None:
            return dataclasses.replace(
                layer, weight_bases=planes, weights=layer.weights + first_code, alpha=found[0], alpha_scale=form
            )
    return layer


def _input_planes(layer: Layer) -> Layer | None:
    """The layer on planes of its input, an offset of the values moved into thresholds or bias."""
    planes = _fewer(layer.input_bases)
    found = planes_of(layer.input_bases.values(layer.beta)) if planes else None
    form = wider_form(layer.beta_scale, found[0]) if found else None
    if planes is None or found is None or form is None:
        return None
    beta, offset = found
    values = layer.weight_bases.values(layer.alpha)
    codes = layer.weights.reshape(layer.out_channels, -1).astype(np.int64)
    extra = offset * np.take_along_axis(values, codes, axis=1).sum(axis=1)  # what acc gains, padding included
    moved: dict[str, Any] = {}
    if layer.thresholds is not None:
        moved["thresholds"] = layer.thresholds + extra[:, None]
    if layer.bias is not None:
        moved["bias"] = layer.bias - extra
    try:
        return dataclasses.replace(layer, input_bases=planes, beta=beta, beta_scale=form, **moved)
    except NetworkError:  # levels that do not occur would take acc beyond what a layer may hold
        return None


def _with_image_planes(layer: Layer) -> Layer:
    """Only where planes have no codes more: what images are allowed stays the same."""
    if layer.input_bases.levels != 1 << layer.input_bases.bits:
        return layer
    return _input_planes(layer) or layer


def _with_input_planes(before: Layer, layer: Layer) -> tuple[Layer, Layer]:
    new = _input_planes(layer)
    if new is None:
        return before, layer
    assert before.thresholds is not None  # only the last layer has none
    missing = new.input_bases.levels - layer.input_bases.levels
    never = np.repeat(before.acc_bounds[1][:, None] + 1, missing, axis=1)
    if missing:
        before = dataclasses.replace(before, thresholds=np.concatenate([before.thresholds, never], axis=1))
    return before, new
