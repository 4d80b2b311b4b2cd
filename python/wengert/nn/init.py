"""Initial weights. For a weight of shape (in, out): Glorot keeps the variance of signals both ways, He through relu.

All draw in float64 and round once, so that a seed gives the same network in float32 and float64.
Glorot & Bengio 2010; He, Zhang, Ren & Sun 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Seed: TypeAlias = "int | np.random.Generator | None"  # in quotes, for NumPy loads its generators when first named
Array = npt.NDArray[Any]


def _fans(op: str, shape: Sequence[int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"{op}: needs a weight of shape (in, out) with at least one of each, got {tuple(shape)}")
    return shape[0], shape[1]


def _uniform(shape: Sequence[int], variance: float, seed: Seed, dtype: npt.DTypeLike) -> Array:
    limit = np.sqrt(3 * variance)
    values: Array = np.random.default_rng(seed).uniform(-limit, limit, tuple(shape))
    return values.astype(dtype)


def _normal(shape: Sequence[int], variance: float, seed: Seed, dtype: npt.DTypeLike) -> Array:
    values: Array = np.sqrt(variance) * np.random.default_rng(seed).standard_normal(tuple(shape))
    return values.astype(dtype)


def glorot_uniform(shape: Sequence[int], seed: Seed = None, dtype: npt.DTypeLike = "float32") -> Array:
    """Uniform with variance 2 / (in + out).

    >>> import wengert as wg
    >>> bool(abs(wg.nn.init.glorot_uniform((30, 20), seed=0)).max() <= (6 / 50) ** 0.5)
    True
    """
    return _uniform(shape, 2 / sum(_fans("glorot_uniform", shape)), seed, dtype)


def glorot_normal(shape: Sequence[int], seed: Seed = None, dtype: npt.DTypeLike = "float32") -> Array:
    """Normal with variance 2 / (in + out).

    >>> import wengert as wg
    >>> wg.nn.init.glorot_normal((3, 2), seed=0).shape
    (3, 2)
    """
    return _normal(shape, 2 / sum(_fans("glorot_normal", shape)), seed, dtype)


def he_uniform(shape: Sequence[int], seed: Seed = None, dtype: npt.DTypeLike = "float32") -> Array:
    """Uniform with variance 2 / in.

    >>> import wengert as wg
    >>> bool(abs(wg.nn.init.he_uniform((24, 20), seed=0)).max() <= 0.5)
    True
    """
    return _uniform(shape, 2 / _fans("he_uniform", shape)[0], seed, dtype)


def he_normal(shape: Sequence[int], seed: Seed = None, dtype: npt.DTypeLike = "float32") -> Array:
    """Normal with variance 2 / in.

    >>> import wengert as wg
    >>> wg.nn.init.he_normal((3, 2), seed=0).dtype
    dtype('float32')
    """
    return _normal(shape, 2 / _fans("he_normal", shape)[0], seed, dtype)


INITIALISERS = {f.__name__: f for f in (glorot_uniform, glorot_normal, he_uniform, he_normal)}
