"""Pseudo-inverses and least squares."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.linalg import LinAlgError

from wengert import _core, _reductions
from wengert._primitive import primitive
from wengert._tensor import ArrayLike, Tensor, asarray
from wengert.linalg.factors import svdvals
from wengert.linalg.matrices import T, as_matrices, each


class LstsqResult(NamedTuple):
    """A least-squares solution, its squared residuals, and the rank and singular values of the matrix."""

    x: Tensor
    residuals: Tensor
    rank: Tensor
    s: Tensor


@primitive
@each("pinv", "has singular values that do not converge")
def _pinv(x: Any, rcond: float | None) -> Any:
    return np.linalg.pinv(x, rcond=np.finfo(x.dtype).eps * max(x.shape[-2:]) if rcond is None else rcond)


def _pinv_jvp(t: Tensor, p: Tensor, x: Tensor, rcond: float | None) -> Tensor:
    tt, pt = T(t), T(p)  # products in an order that multiplies no two inverses unless the result does
    near = tt - tt @ (x @ p)
    far = tt - p @ x @ tt
    return p @ (pt @ near) + (far @ pt) @ p - p @ t @ p


_pinv.defjvp(_pinv_jvp, None, batched=True)


def pinv(x: ArrayLike, rcond: float | None = None) -> Tensor:
    """The pseudo-inverses (Moore & Penrose), singular values up to ``rcond`` times the largest counting as 0.

    The gradient holds the rank fixed (Golub & Pereyra 1973). By default rcond is eps times the longer side.

    >>> import wengert as wg
    >>> wg.linalg.pinv([[2.0, 0.0], [0.0, 0.0]])
    Tensor([[0.5, 0. ],
            [0. , 0. ]])
    """
    result: Tensor = _pinv(as_matrices("pinv", x), rcond)
    return result


def lstsq(a: ArrayLike, b: ArrayLike, rcond: float | None = None) -> LstsqResult:
    """The x of least norm that minimises ``|a @ x - b|``, for a vector or matrices b.

    ``residuals`` are the squared distances for each column of b; ``rank`` is a constant.

    >>> import wengert as wg
    >>> wg.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0]).x
    Tensor([2.])
    """
    a, b = as_matrices("lstsq", a), asarray(b)
    if b.ndim == 0 or b.shape[-min(2, b.ndim)] != a.shape[-2]:
        raise LinAlgError(f"lstsq: right-hand sides of shape {b.shape} do not fit matrices of shape {a.shape}")
    x = _core.matmul(pinv(a, rcond), b)
    s = svdvals(a)
    cut = (np.finfo(a.dtype).eps * max(a.shape[-2:]) if rcond is None else rcond) * s.max(-1, keepdims=True)
    residuals = _core.sum(_core.square(b - _core.matmul(a, x)), [-min(2, b.ndim)], False)
    return LstsqResult(x, residuals, _reductions.count_nonzero(s > cut, axis=-1), s)
