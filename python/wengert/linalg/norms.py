"""Norms of vectors and matrices."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from wengert import _core, _shapes
from wengert._tensor import ArrayLike, Axis, Tensor, asarray, axes
from wengert.linalg.factors import svdvals
from wengert.linalg.matrices import as_matrices


def vector_norm(x: ArrayLike, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """(sum |x|^ord)^(1/ord) over ``axis``.

    For ``ord`` inf or -inf the largest or smallest |x|, for 0 the count of x != 0. The
    gradient at 0 is 0, and ties of the largest share it.

    >>> import wengert as wg
    >>> wg.grad(wg.linalg.vector_norm)(wg.tensor([3.0, 4.0]))
    Tensor([0.6, 0.8])
    """
    x = asarray(x)
    x = _core.cast(x, "float64") if x.dtype.kind != "f" else x
    gone = axes(axis, "vector_norm")
    if ord == 2:
        return _core.norm(x, gone, keepdims)
    if ord == 0:
        return _core.sum(_core.cast(x != 0, x.dtype), gone, keepdims)
    size: Tensor = _core.abs(x)
    if ord == 1:
        return _core.sum(size, gone, keepdims)
    if math.isinf(ord):
        return (_core.max if ord > 0 else _core.min)(size, gone, keepdims)
    # In units of the element that decides, as powers leave the range; the unit cancels, so it is a constant.
    unit: Any = 1.0
    if x.size:
        most = (_core.max if ord > 0 else _core.min)(size.detach(), gone, True)
        unit = _core.where(_core.logical_and(most > 0.0, most < np.inf), most, 1.0)
    total = _core.sum(_core.pow(size / unit, float(ord)), gone, True)
    at_zero = total == 0.0
    y = _core.where(at_zero, 0.0, _core.pow(_core.where(at_zero, 1.0, total), 1.0 / ord)) * unit
    return y if keepdims else _core.sum(y, gone, False)


def matrix_norm(x: ArrayLike, keepdims: bool = False, ord: float | str = "fro") -> Tensor:
    """Norms of matrices: "fro", "nuc", 2 and -2 (singular values), 1 and -1 (columns), inf and -inf (rows).

    >>> import wengert as wg
    >>> wg.linalg.matrix_norm([[3.0, 4.0], [0.0, 0.0]])
    Tensor(5.)
    """
    x = as_matrices("matrix_norm", x)
    if ord == "fro":
        return vector_norm(x, (-2, -1), keepdims)
    if ord in ("nuc", 2, -2):
        s = svdvals(x)
        y = s.sum(-1) if ord == "nuc" else s[..., 0] if ord == 2 else s[..., -1]
    elif isinstance(ord, (int, float)) and abs(ord) in (1, np.inf):
        sums = _core.abs(x).sum(-1 if math.isinf(ord) else -2)
        y = sums.max(-1) if ord > 0 else sums.min(-1)
    else:
        raise ValueError(f"matrix_norm: ord must be 'fro', 'nuc', 2, -2, 1, -1, inf or -inf, got {ord!r}")
    return _shapes.expand_dims(y, (-2, -1)) if keepdims else y


def norm(x: ArrayLike, ord: float | str | None = None, axis: Axis = None, keepdims: bool = False) -> Tensor:
    """NumPy's norm: of vectors along one axis, of matrices in two, of all elements by default.

    >>> import wengert as wg
    >>> wg.linalg.norm([3.0, 4.0])
    Tensor(5.)
    """
    x = asarray(x)
    if axis is None and (ord is None or x.ndim not in (1, 2)):
        if ord is not None:
            raise ValueError(f"norm: with ord, name the axis or the two axes of an array of shape {x.shape}")
        return vector_norm(x, None, keepdims)
    pair = list(range(x.ndim)) if axis is None else axes(axis, "norm") or []
    if len(pair) == 1:
        if isinstance(ord, str):
            raise ValueError(f"norm: ord {ord!r} is a norm of matrices, and one axis was named")
        return vector_norm(x, pair[0], keepdims, 2 if ord is None else ord)
    if len(pair) != 2:
        raise ValueError(f"norm: axis must name one or two axes, got {axis}")
    y = matrix_norm(_shapes.moveaxis(x, pair, (-2, -1)), False, "fro" if ord is None else ord)
    return _shapes.expand_dims(y, tuple(sorted(a % x.ndim for a in pair))) if keepdims else y
