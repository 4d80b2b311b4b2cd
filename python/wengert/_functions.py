"""Functions on tensors by their array-API names: activations with parameters, reductions, shapes, products.

Elementwise functions come from the op table (:mod:`wengert._elementwise`). Everything takes tensors, NumPy arrays,
nested lists and numbers, and returns tensors; float32 and float64 are kept.
"""

from __future__ import annotations

import builtins
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from wengert import _core
from wengert._tensor import ArrayLike, Axis, Tensor, asarray, axes

__all__ = [
    "all",
    "any",
    "arange",
    "argmax",
    "argmin",
    "broadcast_to",
    "clip",
    "concat",
    "concatenate",
    "dot",
    "elu",
    "expand_dims",
    "eye",
    "full",
    "gelu",
    "isfinite",
    "isnan",
    "leaky_relu",
    "linspace",
    "log_softmax",
    "logsumexp",
    "matmul",
    "matrix_transpose",
    "max",
    "mean",
    "min",
    "ones",
    "ones_like",
    "permute_dims",
    "reshape",
    "softmax",
    "squeeze",
    "stack",
    "sum",
    "transpose",
    "zeros",
    "zeros_like",
]


def _constant(x: Tensor) -> bool:
    return x.dtype.kind != "f"


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
    """x limited to [min, max]; the derivative is 1 within and at the bounds.

    >>> import wengert as wg
    >>> wg.clip([-2.0, 0.5, 2.0], -1, 1)
    Tensor([-1. ,  0.5,  1. ])
    """
    return _core.clip(x, -np.inf if min is None else min, np.inf if max is None else max)


def sum(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The sum over ``axis`` (an int, a tuple, or None for all).

    >>> import wengert as wg
    >>> wg.sum([[1.0, 2.0], [3.0, 4.0]], axis=0)
    Tensor([4., 6.])
    """
    x = asarray(x)
    if _constant(x):
        return asarray(np.sum(x.numpy(), axis=axis, keepdims=keepdims))
    return _core.sum(x, axes(axis), keepdims)


def mean(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The mean over ``axis``; NaN with a warning over nothing.

    >>> import wengert as wg
    >>> wg.mean([1.0, 2.0, 6.0])
    Tensor(3.)
    """
    x = asarray(x)
    if x.size == 0:
        warnings.warn("mean of an empty slice", RuntimeWarning, stacklevel=2)
    return _core.mean(x, axes(axis), keepdims)


def max(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The largest element over ``axis``; NaN if any is. Ties share the gradient evenly. ValueError over nothing.

    >>> import wengert as wg
    >>> wg.max([1.0, 3.0, 2.0])
    Tensor(3.)
    """
    x = asarray(x)
    if _constant(x):
        return asarray(np.max(x.numpy(), axis=axis, keepdims=keepdims))
    return _core.max(x, axes(axis), keepdims)


def min(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """The smallest element over ``axis``; see :func:`wengert.max`.

    >>> import wengert as wg
    >>> wg.min([1.0, 3.0, 2.0])
    Tensor(1.)
    """
    x = asarray(x)
    if _constant(x):
        return asarray(np.min(x.numpy(), axis=axis, keepdims=keepdims))
    return _core.min(x, axes(axis), keepdims)


def logsumexp(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """log(sum(exp(x))) without overflow; -inf where all of x is -inf.

    >>> import wengert as wg
    >>> wg.logsumexp([1000.0, 1000.0])
    Tensor(1000.69314718)
    """
    return _core.logsumexp(x, axes(axis), keepdims)


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


def argmax(x: ArrayLike, axis: int | None = None) -> Tensor:
    """The position of the largest element, as an int64 constant.

    >>> import wengert as wg
    >>> wg.argmax([1.0, 3.0, 2.0])
    Tensor(1)
    """
    return asarray(np.argmax(_values(x), axis=axis))


def argmin(x: ArrayLike, axis: int | None = None) -> Tensor:
    """The position of the smallest element, as an int64 constant.

    >>> import wengert as wg
    >>> wg.argmin([1.0, 3.0, 2.0])
    Tensor(0)
    """
    return asarray(np.argmin(_values(x), axis=axis))


def any(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether any element is not 0, as a bool constant.

    >>> import wengert as wg
    >>> wg.any([0.0, 2.0])
    Tensor(True)
    """
    return asarray(np.any(_values(x), axis=axis, keepdims=keepdims))


def all(x: ArrayLike, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """Whether all elements are not 0, as a bool constant.

    >>> import wengert as wg
    >>> wg.all([0.0, 2.0])
    Tensor(False)
    """
    return asarray(np.all(_values(x), axis=axis, keepdims=keepdims))


def isnan(x: ArrayLike) -> Tensor:
    """Where x is NaN, as a bool constant.

    >>> import wengert as wg
    >>> wg.isnan([1.0, float("nan")])
    Tensor([False,  True])
    """
    return asarray(np.isnan(_values(x)))


def isfinite(x: ArrayLike) -> Tensor:
    """Where x is neither NaN nor infinite, as a bool constant.

    >>> import wengert as wg
    >>> wg.isfinite([1.0, float("inf")])
    Tensor([ True, False])
    """
    return asarray(np.isfinite(_values(x)))


def _values(x: ArrayLike) -> Any:
    """The plain values, for results that have no derivative."""
    return asarray(x).detach().numpy()


def matmul(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The matrix product, as NumPy's: vectors count as rows on the left and columns on the right, batches broadcast.

    Raises ValueError naming both shapes if the inner sizes differ.

    >>> import wengert as wg
    >>> wg.matmul([[1.0, 2.0]], [[3.0], [4.0]])
    Tensor([[11.]])
    """
    return _core.matmul(a, b)


def dot(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The product of matrices or vectors; of a number with anything, the scaled array.

    >>> import wengert as wg
    >>> wg.dot([1.0, 2.0], [3.0, 4.0])
    Tensor(11.)
    """
    a, b = asarray(a), asarray(b)
    return a * b if a.ndim == 0 or b.ndim == 0 else _core.matmul(a, b)


def reshape(x: ArrayLike, shape: int | Sequence[int]) -> Tensor:
    """The same elements, row by row, in another shape; one size may be -1. Copies nothing.

    >>> import wengert as wg
    >>> wg.reshape([1.0, 2.0, 3.0, 4.0], (2, -1))
    Tensor([[1., 2.],
            [3., 4.]])
    """
    x = asarray(x)
    sizes = [int(shape)] if isinstance(shape, (int, np.integer)) else [int(s) for s in shape]
    if sizes.count(-1) > 1 or builtins.min(sizes, default=0) < -1:
        raise ValueError(f"reshape: {tuple(sizes)} may hold one -1 and no other negative size")
    if -1 in sizes:
        rest = int(np.prod([s for s in sizes if s != -1], dtype=np.int64))
        if rest == 0 or x.size % rest:
            raise ValueError(f"reshape: {x.shape} has {x.size} elements, which {tuple(sizes)} does not divide")
        sizes[sizes.index(-1)] = x.size // rest
    return _core.reshape(x, sizes)


def permute_dims(x: ArrayLike, axes: Sequence[int]) -> Tensor:
    """The axes in the given order.

    >>> import wengert as wg
    >>> wg.permute_dims(wg.zeros((2, 3, 4)), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return _core.permute(x, list(axes))


def transpose(x: ArrayLike, axes: Sequence[int] | None = None) -> Tensor:
    """NumPy's transpose: the axes in the given order, by default reversed.

    >>> import wengert as wg
    >>> wg.transpose([[1.0, 2.0]])
    Tensor([[1.],
            [2.]])
    """
    x = asarray(x)
    return x.T if axes is None else _core.permute(x, list(axes))


def matrix_transpose(x: ArrayLike) -> Tensor:
    """The last two axes swapped.

    >>> import wengert as wg
    >>> wg.matrix_transpose(wg.zeros((5, 2, 3))).shape
    (5, 3, 2)
    """
    x = asarray(x)
    if x.ndim < 2:
        raise ValueError(f"matrix_transpose: needs two axes, got shape {x.shape}")
    return _core.permute(x, [*range(x.ndim - 2), x.ndim - 1, x.ndim - 2])


def broadcast_to(x: ArrayLike, shape: Sequence[int]) -> Tensor:
    """x repeated along new axes and axes of size 1.

    >>> import wengert as wg
    >>> wg.broadcast_to([1.0, 2.0], (2, 2))
    Tensor([[1., 2.],
            [1., 2.]])
    """
    return _core.broadcast_to(x, list(shape))


def expand_dims(x: ArrayLike, axis: int | tuple[int, ...] = 0) -> Tensor:
    """With new axes of size 1 at the given places.

    >>> import wengert as wg
    >>> wg.expand_dims([1.0, 2.0], 0).shape
    (1, 2)
    """
    x = asarray(x)
    places = [axis] if isinstance(axis, int) else list(axis)
    ndim = x.ndim + len(places)
    new = {normalized(a, ndim, "expand_dims") for a in places}
    if len(new) != len(places):
        raise ValueError(f"expand_dims: axes {tuple(places)} name one twice")
    sizes = iter(x.shape)
    return _core.reshape(x, [1 if i in new else next(sizes) for i in range(ndim)])


def squeeze(x: ArrayLike, axis: Axis = None) -> Tensor:
    """Without the axes of size 1 (all, or those named).

    >>> import wengert as wg
    >>> wg.squeeze([[1.0, 2.0]]).shape
    (2,)
    """
    x = asarray(x)
    if axis is None:
        gone = {i for i, n in enumerate(x.shape) if n == 1}
    else:
        gone = {normalized(a, x.ndim, "squeeze") for a in axes(axis) or []}
        for i in gone:
            if x.shape[i] != 1:
                raise ValueError(f"squeeze: axis {i} of shape {x.shape} has size {x.shape[i]}, not 1")
    return _core.reshape(x, [n for i, n in enumerate(x.shape) if i not in gone])


def concat(arrays: Sequence[ArrayLike], axis: int | None = 0) -> Tensor:
    """The arrays joined along an existing axis (None: flattened first).

    >>> import wengert as wg
    >>> wg.concat([[1.0], [2.0, 3.0]])
    Tensor([1., 2., 3.])
    """
    items = [asarray(a) for a in arrays]
    return _core.concat([a.flatten() for a in items], 0) if axis is None else _core.concat(items, axis)


def stack(arrays: Sequence[ArrayLike], axis: int = 0) -> Tensor:
    """The arrays, all of one shape, joined along a new axis.

    >>> import wengert as wg
    >>> wg.stack([1.0, 2.0])
    Tensor([1., 2.])
    """
    items = [asarray(a) for a in arrays]
    if not items:
        raise ValueError("stack: needs at least one array")
    for a in items:
        if a.shape != items[0].shape:
            raise ValueError(f"stack: shapes {items[0].shape} and {a.shape} differ")
    return _core.concat([expand_dims(a, axis) for a in items], normalized(axis, items[0].ndim + 1, "stack"))


def normalized(axis: int, ndim: int, op: str) -> int:
    """A non-negative axis; IndexError if there is none such."""
    if not -ndim <= axis < ndim:
        raise IndexError(f"{op}: axis {axis} is out of range for {ndim} dimensions")
    return axis % ndim


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


def full(shape: int | Sequence[int], value: float, dtype: Any = "float64") -> Tensor:
    """An array of one value.

    >>> import wengert as wg
    >>> wg.full(2, 7.0)
    Tensor([7., 7.])
    """
    return _core.full([shape] if isinstance(shape, int) else list(shape), value, dtype)


def zeros_like(x: ArrayLike) -> Tensor:
    """Zeros of x's shape and dtype.

    >>> import wengert as wg
    >>> wg.zeros_like([1.0, 2.0])
    Tensor([0., 0.])
    """
    x = asarray(x)
    return full(x.shape, 0.0, x.dtype)


def ones_like(x: ArrayLike) -> Tensor:
    """Ones of x's shape and dtype.

    >>> import wengert as wg
    >>> wg.ones_like([1.0, 2.0])
    Tensor([1., 1.])
    """
    x = asarray(x)
    return full(x.shape, 1.0, x.dtype)


def eye(n: int, m: int | None = None, dtype: Any = "float64") -> Tensor:
    """Ones on the diagonal, zeros elsewhere.

    >>> import wengert as wg
    >>> wg.eye(2)
    Tensor([[1., 0.],
            [0., 1.]])
    """
    return asarray(np.eye(n, m, dtype=dtype))


def arange(start: float, stop: float | None = None, step: float = 1, dtype: Any = None) -> Tensor:
    """Evenly spaced numbers: from start (or 0) up to, not including, stop.

    >>> import wengert as wg
    >>> wg.arange(3.0)
    Tensor([0., 1., 2.])
    """
    return asarray(np.arange(start, stop, step, dtype=dtype) if stop is not None else np.arange(start, dtype=dtype))


def linspace(start: float, stop: float, num: int = 50, dtype: Any = None) -> Tensor:
    """``num`` evenly spaced numbers from start to stop, both included.

    >>> import wengert as wg
    >>> wg.linspace(0.0, 1.0, 3)
    Tensor([0. , 0.5, 1. ])
    """
    return asarray(np.linspace(start, stop, num, dtype=dtype))


concatenate = concat
