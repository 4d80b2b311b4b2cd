"""Functions that run along axes: sums, products, extremes, spread, the softmax family, cumulative sums.

Each takes tensors, NumPy arrays, nested lists and numbers. ``axis`` is an int, a tuple, or None for all.
"""

from __future__ import annotations

import builtins
import math
import warnings
from typing import Any

import numpy as np

from wengert import _core
from wengert._base import ArrayLike, Axis, Tensor, asarray, is_whole, normalized, normalized_axes, values
from wengert._primitive import constant, primitive
from wengert._shapes import along

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "average",
    "count_nonzero",
    "cumulative_prod",
    "cumulative_sum",
    "diff",
    "log_softmax",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "softmax",
    "std",
    "sum",
    "var",
]

_argmax, _argmin, _any, _all = constant(np.argmax), constant(np.argmin), constant(np.any), constant(np.all)
_count_nonzero = constant(np.count_nonzero)
_whole = {name: constant(getattr(np, name)) for name in ("prod", "cumsum", "cumprod")}  # of integers


def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over ``axis`` (an int, a tuple, or None for all).

    >>> import wengert as wg
    >>> wg.sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Tensor([4., 6.])
    """
    return _core.sum(x, axis, keepdims)


def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over ``axis``; NaN with a warning over nothing.

    >>> import wengert as wg
    >>> wg.mean([1.0, 2.0, 6.0])
    Tensor(3.)
    """
    x = asarray(x)
    if x.size == 0:
        warnings.warn("mean of an empty slice", RuntimeWarning, stacklevel=2)
    return _core.mean(x, axis, keepdims)


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element over ``axis``; NaN if any is. Ties share the gradient evenly. ValueError over nothing.

    >>> import wengert as wg
    >>> wg.max([1.0, 3.0, 2.0])
    Tensor(3.)
    """
    return _core.max(x, axis, keepdims)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element over ``axis``; see :func:`wengert.max`.

    >>> import wengert as wg
    >>> wg.min([1.0, 3.0, 2.0])
    Tensor(1.)
    """
    return _core.min(x, axis, keepdims)


def logsumexp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) without overflow; -inf where all of x is -inf.

    >>> import wengert as wg
    >>> wg.logsumexp([1000.0, 1000.0])
    Tensor(1000.69314718)
    """
    return _core.logsumexp(x, axis, keepdims)


def softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """exp(x) / sum(exp(x)) along ``axis``, without overflow.

    >>> import wengert as wg
    >>> wg.softmax([1000.0, 1000.0])
    Tensor([0.5, 0.5])
    """
    return _core.softmax(x, axis)


def log_softmax(x: ArrayLike, axis: int = -1) -> Tensor:
    """log(softmax(x)) along ``axis``, exact where softmax underflows.

    >>> import wengert as wg
    >>> wg.log_softmax([0.0, -1000.0])
    Tensor([    0., -1000.])
    """
    return _core.log_softmax(x, axis)


def argmax(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the largest element, as an int64 constant.

    >>> import wengert as wg
    >>> wg.argmax([1.0, 3.0, 2.0])
    Tensor(1)
    """
    x = asarray(x)
    axis = None if axis is None else normalized(axis, builtins.max(x.ndim, 1), "argmax")
    return _argmax(x, axis=axis, keepdims=_core.flag("argmax", "keepdims", keepdims))


def argmin(x: ArrayLike, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """The position of the smallest element, as an int64 constant.

    >>> import wengert as wg
    >>> wg.argmin([1.0, 3.0, 2.0])
    Tensor(0)
    """
    x = asarray(x)
    axis = None if axis is None else normalized(axis, builtins.max(x.ndim, 1), "argmin")
    return _argmin(x, axis=axis, keepdims=_core.flag("argmin", "keepdims", keepdims))


def any(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any element is not 0, as a bool constant.

    >>> import wengert as wg
    >>> wg.any([0.0, 2.0])
    Tensor(True)
    """
    return _any(x, axis=_tuple(axis, "any"), keepdims=_core.flag("any", "keepdims", keepdims))


def all(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements are not 0, as a bool constant.

    >>> import wengert as wg
    >>> wg.all([0.0, 2.0])
    Tensor(False)
    """
    return _all(x, axis=_tuple(axis, "all"), keepdims=_core.flag("all", "keepdims", keepdims))


def prod(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The product over ``axis``; 1 over nothing. Its derivatives are exact also where elements are 0.

    >>> import wengert as wg
    >>> wg.grad(wg.prod)(wg.tensor([2.0, 0.0, 3.0]))
    Tensor([0., 6., 0.])
    """
    x = asarray(x)
    gone, keepdims = sorted(normalized_axes(axis, x.ndim, "prod")), _core.flag("prod", "keepdims", keepdims)
    if is_whole(x):
        return asarray(np.prod(values(x), axis=tuple(gone), keepdims=keepdims))
    kept = [i for i in range(x.ndim) if i not in gone]
    sizes = [x.shape[i] for i in kept]
    n = math.prod(x.shape[i] for i in gone)
    y = _core.reshape(_core.permute(x, [*gone, *kept]), [n, *sizes])
    if n == 0:
        y = _core.full([1, *sizes], 1.0, x.dtype)
    odd = None
    while (n := y.shape[0]) > 1:  # pairs: a product knows what to do with a zero
        half = n // 2
        if n % 2:
            odd = _rows(y, n - 1, n) if odd is None else odd * _rows(y, n - 1, n)
        y = _rows(y, 0, half) * _rows(y, half, 2 * half)
    if odd is not None:
        y = y * odd
    return _core.reshape(y, [1 if i in gone else s for i, s in enumerate(x.shape)] if keepdims else sizes)


def var(
    x: ArrayLike, axis: Axis = None, correction: float = 0.0, keepdims: bool = False, ddof: float | None = None
) -> Tensor:
    """The variance over ``axis``: squared deviations from the mean, summed and divided by n - correction.

    ``ddof`` is NumPy's name of ``correction``. NaN with a warning over too few elements.

    >>> import wengert as wg
    >>> wg.var([1.0, 2.0, 6.0], correction=1)
    Tensor(7.)
    """
    y = asarray(x)
    y = _core.cast(y, "float64") if is_whole(y) else y
    gone = normalized_axes(axis, y.ndim, "var")
    n = math.prod(y.shape[i] for i in gone) - (correction if ddof is None else ddof)
    if n <= 0:
        warnings.warn("var: no more elements than degrees of freedom", RuntimeWarning, stacklevel=2)
        n = np.nan
    if y.size:  # from the first element on, so that what is constant has no spread at all
        first = [1 if i in gone else s for i, s in enumerate(y.shape)]
        y = y - _core.slice(y, [0] * y.ndim, [1] * y.ndim, first)
        y = y - _core.mean(y, gone, True)
    return _core.sum(_core.square(y), gone, keepdims) / n


def std(
    x: ArrayLike, axis: Axis = None, correction: float = 0.0, keepdims: bool = False, ddof: float | None = None
) -> Tensor:
    """The standard deviation, the root of :func:`wengert.var`, at any scale; the derivative is 0 where it is 0.

    >>> import wengert as wg
    >>> wg.std([1.0, 3.0])
    Tensor(1.)
    """
    y, gone, n = _deviations("std", x, axis, correction if ddof is None else ddof)
    return _core.norm(y, gone, keepdims) / math.sqrt(n)


def _deviations(op: str, x: ArrayLike, axis: Axis, correction: float) -> tuple[Tensor, list[int], float]:
    """x less its mean over ``axis``, these axes, and the degrees of freedom."""
    y = asarray(x)
    y = _core.cast(y, "float64") if is_whole(y) else y
    gone = normalized_axes(axis, y.ndim, op)
    n = math.prod(y.shape[i] for i in gone) - correction
    if n <= 0:
        warnings.warn(f"{op}: no more elements than degrees of freedom", RuntimeWarning, stacklevel=3)
        n = np.nan
    if y.size:  # from the first element on, so that what is constant has no spread at all
        first = [1 if i in gone else s for i, s in enumerate(y.shape)]
        y = y - _core.slice(y, [0] * y.ndim, [1] * y.ndim, first)
        y = y - _core.mean(y, gone, True)
    return y, gone, n


def average(x: ArrayLike, axis: Axis = None, weights: ArrayLike | None = None, keepdims: bool = False) -> Tensor:
    """The mean with weights, of x's shape or of that of the axes which ``axis`` names.

    >>> import wengert as wg
    >>> wg.average([1.0, 3.0], weights=[3.0, 1.0])
    Tensor(1.5)
    """
    x = asarray(x)
    if weights is None:
        return mean(x, axis, keepdims)
    w = asarray(weights)
    if w.shape != x.shape:
        along_axes = normalized_axes(axis, x.ndim, "average")
        if axis is None or w.shape != tuple(x.shape[a] for a in along_axes):
            raise ValueError(f"average: weights of shape {w.shape} for an array of shape {x.shape} and axis {axis}")
        w = _core.permute(w, [int(i) for i in np.argsort(along_axes)])
        w = _core.broadcast_to(_core.reshape(w, [n if a in along_axes else 1 for a, n in enumerate(x.shape)]), x.shape)
    return sum(x * w, axis, keepdims) / sum(w, axis, keepdims)


def cumulative_sum(x: ArrayLike, axis: int | None = None) -> Tensor:
    """The sums of the elements up to each along ``axis`` (None: of the flattened array).

    >>> import wengert as wg
    >>> wg.cumulative_sum([1.0, 2.0, 3.0])
    Tensor([1., 3., 6.])
    """
    x, axis = _along(x, axis, "cumulative_sum")
    if is_whole(x):
        return _whole["cumsum"](x, axis=axis)
    result: Tensor = _cumulative_sum(x, axis=axis - x.ndim)
    return result


@primitive
def _cumulative_sum(x: Any, axis: int, backwards: bool = False) -> Any:
    return np.flip(np.cumsum(np.flip(x, axis), axis), axis) if backwards else np.cumsum(x, axis)


_cumulative_sum.defvjp(
    lambda g, y, x, axis, backwards=False: _cumulative_sum(g, axis=axis, backwards=not backwards), batched=True
)
_cumulative_sum.defjvp(
    lambda t, y, x, axis, backwards=False: _cumulative_sum(t, axis=axis, backwards=backwards), batched=True
)


def cumulative_prod(x: ArrayLike, axis: int | None = None) -> Tensor:
    """The products of the elements up to each along ``axis`` (None: of the flattened array); exact with zeros.

    >>> import wengert as wg
    >>> wg.cumulative_prod([1.0, 2.0, 3.0])
    Tensor([1., 2., 6.])
    """
    x, axis = _along(x, axis, "cumulative_prod")
    if is_whole(x):
        return _whole["cumprod"](x, axis=axis)
    return _core.cumulative_prod(x, axis)


def diff(
    x: ArrayLike, n: int = 1, axis: int = -1, prepend: ArrayLike | None = None, append: ArrayLike | None = None
) -> Tensor:
    """Each element less the one before it along ``axis``, ``n`` times over; of booleans, whether it is another.

    ``prepend`` and ``append`` stand before and after x, one number or an array that fits.

    >>> import wengert as wg
    >>> wg.diff([1.0, 4.0, 9.0])
    Tensor([3., 5.])
    """
    y = asarray(x)
    axis = normalized(axis, y.ndim, "diff")
    (n,) = _core.integers("diff", "n", n)
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    ends = [None if e is None else asarray(e) for e in (prepend, append)] if n else [None, None]
    row = [*y.shape[:axis], 1, *y.shape[axis + 1 :]]
    before, after = ([] if e is None else [_core.broadcast_to(e, row) if e.ndim == 0 else e] for e in ends)
    y = _core.concat([*before, y, *after], axis) if before or after else y
    change = _core.not_equal if y.dtype == bool else _core.subtract
    for _ in range(builtins.min(n, y.shape[axis])):  # after that nothing is left
        y = change(along(y, axis, slice(1, None)), along(y, axis, slice(None, -1)))
    return y


def count_nonzero(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """How many elements are not 0, as an int64 constant.

    >>> import wengert as wg
    >>> wg.count_nonzero([0.0, 2.0, 3.0])
    Tensor(2)
    """
    keepdims = _core.flag("count_nonzero", "keepdims", keepdims)
    return _count_nonzero(x, axis=_tuple(axis, "count_nonzero"), keepdims=keepdims)


def _tuple(axis: Axis, op: str) -> tuple[int, ...] | None:
    """As NumPy takes it: not a list."""
    return None if axis is None else tuple(_core.integers(op, "axis", axis))


def _rows(x: Tensor, start: int, stop: int) -> Tensor:
    return _core.slice(x, [start, *[0] * (x.ndim - 1)], [1] * x.ndim, [stop - start, *x.shape[1:]])


def _along(x: ArrayLike, axis: int | None, op: str) -> tuple[Tensor, int]:
    x = asarray(x)
    return (_core.reshape(x, -1), 0) if axis is None else (x, normalized(axis, x.ndim, op))
