"""Functions beside the op table: activations with parameters, choices, predicates, and the making of arrays.

Elementwise functions come from the op table (:mod:`wengert._elementwise`). Everything takes tensors, NumPy arrays,
nested lists and numbers, and returns tensors; float32 and float64 are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import _core
from wengert._base import ArrayLike, Tensor, asarray, countable, is_whole
from wengert._primitive import constant

__all__ = [
    "arange",
    "celu",
    "clip",
    "elu",
    "eye",
    "fabs",
    "full",
    "full_like",
    "gelu",
    "isfinite",
    "isinf",
    "isnan",
    "leaky_relu",
    "linspace",
    "logical_not",
    "nan_to_num",
    "ones",
    "ones_like",
    "positive",
    "rint",
    "select",
    "zeros",
    "zeros_like",
]

_isnan, _isfinite, _isinf = constant(np.isnan), constant(np.isfinite), constant(np.isinf)


def leaky_relu(x: ArrayLike, negative_slope: ArrayLike = 0.01) -> Tensor:
    """x where positive, else ``negative_slope * x``; its derivative at 0 is the slope.

    >>> import wengert as wg
    >>> wg.leaky_relu([-1.0, 2.0])
    Tensor([-0.01,  2.  ])
    """
    return _core.leaky_relu(x, negative_slope)


def elu(x: ArrayLike, alpha: ArrayLike = 1.0) -> Tensor:
    """x where positive, else ``alpha * expm1(x)`` (Clevert et al. 2016).

    >>> import wengert as wg
    >>> wg.elu([0.0, 2.0])
    Tensor([0., 2.])
    """
    return _core.elu(x, alpha)


def gelu(x: ArrayLike, approximate: str = "none") -> Tensor:
    """x times the standard normal distribution function (Hendrycks & Gimpel 2016); "tanh" for the approximation.

    >>> import wengert as wg
    >>> wg.gelu([0.0, 100.0])
    Tensor([  0., 100.])
    """
    if approximate not in ("none", "tanh"):
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', got {approximate!r}")
    return _core.gelu(x) if approximate == "none" else _core.gelu_tanh(x)


def clip(x: ArrayLike, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
    """x limited to [min, max]; the derivative is 1 within and at the bounds. None is no bound.

    As NumPy's it is ``minimum(maximum(x, min), max)``: NaN if any of the three is, ``max`` where the bounds are
    crossed.

    >>> import wengert as wg
    >>> wg.clip([-2.0, 0.5, 2.0], -1, 1)
    Tensor([-1. ,  0.5,  1. ])
    """
    x = asarray(x)
    bounds = [b for b in (min, max) if b is not None]
    if is_whole(x) and len(bounds) < 2:  # infinity would make it float
        return x if not bounds else _core.minimum(x, max) if min is None else _core.maximum(x, min)
    return _core.clip(x, -np.inf if min is None else min, np.inf if max is None else max)


def isnan(x: ArrayLike) -> Tensor:
    """Where x is NaN, as a bool constant.

    >>> import wengert as wg
    >>> wg.isnan([1.0, float("nan")])
    Tensor([False,  True])
    """
    return _isnan(x)


def isfinite(x: ArrayLike) -> Tensor:
    """Where x is neither NaN nor infinite, as a bool constant.

    >>> import wengert as wg
    >>> wg.isfinite([1.0, float("inf")])
    Tensor([ True, False])
    """
    return _isfinite(x)


def isinf(x: ArrayLike) -> Tensor:
    """Where x is infinite, as a bool constant.

    >>> import wengert as wg
    >>> wg.isinf([1.0, float("inf")])
    Tensor([False,  True])
    """
    return _isinf(x)


def logical_not(x: ArrayLike) -> Tensor:
    """Where x is 0, as a bool constant.

    >>> import wengert as wg
    >>> wg.logical_not([0.0, 2.0])
    Tensor([ True, False])
    """
    return _core.equal(x, 0)


def positive(x: ArrayLike) -> Tensor:
    """x itself, as a tensor. TypeError for booleans, as NumPy's.

    >>> import wengert as wg
    >>> wg.positive([1.0, -2.0])
    Tensor([ 1., -2.])
    """
    y = asarray(x)
    if y.dtype == bool:
        raise TypeError("positive: booleans have no sign; use x.astype(int)")
    return y


def rint(x: ArrayLike) -> Tensor:
    """The nearest whole number, halves to even, as a float; derivative 0.

    >>> import wengert as wg
    >>> wg.rint([0.5, 1.5, 2])
    Tensor([0., 2., 2.])
    """
    return _core.round(_as_float(x))


def fabs(x: ArrayLike) -> Tensor:
    """The magnitude of x as a float; derivative 0 at 0.

    >>> import wengert as wg
    >>> wg.fabs([-2, 3])
    Tensor([2., 3.])
    """
    return _core.abs(_as_float(x))


def _as_float(x: ArrayLike) -> Tensor:
    x = asarray(x)
    return _core.cast(x, "float64") if is_whole(x) else x


def nan_to_num(x: ArrayLike, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None) -> Tensor:
    """x with numbers for NaN and infinities (by default the largest of the dtype); these get no gradient.

    >>> import wengert as wg
    >>> wg.nan_to_num([1.0, float("nan")])
    Tensor([1., 0.])
    """
    y = asarray(x)
    if is_whole(y):
        return y
    top = float(np.finfo(y.dtype).max)
    y = _core.where(_core.equal(y, np.inf), top if posinf is None else posinf, y)
    y = _core.where(_core.equal(y, -np.inf), -top if neginf is None else neginf, y)
    return _core.where(isnan(y), nan, y)


def select(conditions: Sequence[ArrayLike], choices: Sequence[ArrayLike], default: ArrayLike = 0.0) -> Tensor:
    """For each element, the choice that goes with the first condition that holds, else ``default``.

    >>> import wengert as wg
    >>> x = wg.tensor([-2.0, 0.5, 3.0])
    >>> wg.select([x < 0, x > 1], [-x, x * x])
    Tensor([2., 0., 9.])
    """
    if len(conditions) != len(choices) or not conditions:
        raise ValueError(f"select: {len(conditions)} conditions for {len(choices)} choices")
    result: Any = default
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        result = _core.where(condition, choice, result)
    return asarray(result)


def celu(x: ArrayLike, alpha: ArrayLike = 1.0) -> Tensor:
    """x where positive, else ``alpha * expm1(x / alpha)`` (Barron 2017).

    >>> import wengert as wg
    >>> wg.celu([0.0, 2.0])
    Tensor([0., 2.])
    """
    return _core.celu(x, alpha)


def zeros(shape: int | Sequence[int], dtype: Any = "float64") -> Tensor:
    """Zeros of the given shape.

    >>> import wengert as wg
    >>> wg.zeros(2)
    Tensor([0., 0.])
    """
    return full(shape, 0.0, dtype)


def ones(shape: int | Sequence[int], dtype: Any = "float64") -> Tensor:
    """Ones of the given shape.

    >>> import wengert as wg
    >>> wg.ones(2)
    Tensor([1., 1.])
    """
    return full(shape, 1.0, dtype)


def full(shape: int | Sequence[int], value: ArrayLike, dtype: Any = "float64") -> Tensor:
    """An array of one value, or of values that broadcast to the shape.

    >>> import wengert as wg
    >>> wg.full(2, 7.0)
    Tensor([7., 7.])
    """
    if isinstance(value, (int, float)):
        return _core.full(shape, value, dtype)
    return _core.broadcast_to(_core.cast(value, dtype), shape)


def zeros_like(x: ArrayLike, dtype: Any = None) -> Tensor:
    """Zeros of x's shape and (unless told otherwise) dtype.

    >>> import wengert as wg
    >>> wg.zeros_like([1.0, 2.0])
    Tensor([0., 0.])
    """
    return full_like(x, 0, dtype)


def ones_like(x: ArrayLike, dtype: Any = None) -> Tensor:
    """Ones of x's shape and (unless told otherwise) dtype.

    >>> import wengert as wg
    >>> wg.ones_like([1.0, 2.0])
    Tensor([1., 1.])
    """
    return full_like(x, 1, dtype)


def full_like(x: ArrayLike, value: ArrayLike, dtype: Any = None) -> Tensor:
    """An array of one value, of x's shape and (unless told otherwise) dtype.

    >>> import wengert as wg
    >>> wg.full_like([1.0, 2.0], 7.0)
    Tensor([7., 7.])
    """
    x = asarray(x)
    return full(x.shape, value, x.dtype if dtype is None else dtype)


def eye(n: int, m: int | None = None, k: int = 0, dtype: Any = "float64") -> Tensor:
    """Ones on diagonal ``k``, zeros elsewhere.

    >>> import wengert as wg
    >>> wg.eye(2)
    Tensor([[1., 0.],
            [0., 1.]])
    """
    return asarray(np.eye(n, m, k, dtype=dtype))


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Tensor:
    """Evenly spaced numbers: from start (or 0) up to, not including, stop.

    >>> import wengert as wg
    >>> wg.arange(3.0)
    Tensor([0., 1., 2.])
    """
    start, stop = (0, start) if stop is None else (start, stop)
    if step:
        countable("arange", (stop - start) / step)
    return asarray(np.arange(start, stop, step, dtype=dtype))


def linspace(start: ArrayLike, stop: ArrayLike, num: int = 50, endpoint: bool = True, dtype: Any = None) -> Tensor:
    """``num`` evenly spaced numbers from start to stop, which is included unless ``endpoint`` is false.

    Of arrays, along a new first axis; differentiable by both.

    >>> import wengert as wg
    >>> wg.linspace(0.0, 1.0, 3)
    Tensor([0. , 0.5, 1. ])
    """
    countable("linspace", num)
    (n,), endpoint = _core.integers("linspace", "num", num), _core.flag("linspace", "endpoint", endpoint)
    if not isinstance(start, Tensor) and not isinstance(stop, Tensor):
        return asarray(np.linspace(start, stop, n, endpoint, dtype=dtype))
    if n < 0:
        raise ValueError(f"linspace: num must not be negative, got {n}")
    low, high = (x if isinstance(x, (int, float)) else _as_float(x) for x in (start, stop))
    span = _core.subtract(high, low)
    positions = np.arange(n, dtype=span.dtype).reshape([n, *[1] * span.ndim])
    numbers = _core.add(low, positions * (span / float(max(n - 1 if endpoint else n, 1))))
    if endpoint and n > 1:  # without rounding
        numbers = _core.where(positions == n - 1, high, numbers)
    return numbers if dtype is None else _core.cast(numbers, dtype)
