"""Inverses, powers and solutions of square systems."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.linalg import LinAlgError

from wengert import _core, _shapes
from wengert._primitive import primitive
from wengert._tensor import ArrayLike, Tensor, asarray
from wengert.linalg.matrices import T, as_matrices, each, eye_like


@primitive
@each("inv", "is singular")
def _inv(x: Any) -> Any:
    return np.linalg.inv(x)


_inv.defvjp(lambda g, y, x: -_core.matmul(_core.matmul(y, g, trans_a=True), y, trans_b=True), batched=True)
_inv.defjvp(lambda t, y, x: -(y @ t @ y), batched=True)


def inv(x: ArrayLike) -> Tensor:
    """The inverses of square matrices. LinAlgError names a singular one.

    >>> import wengert as wg
    >>> wg.linalg.inv([[2.0, 0.0], [0.0, 4.0]])
    Tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    result: Tensor = _inv(as_matrices("inv", x, square=True))
    return result


def matrix_power(x: ArrayLike, n: int) -> Tensor:
    """The product of n equal square matrices, by repeated squaring; of inverses for a negative n.

    >>> import wengert as wg
    >>> wg.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5)
    Tensor([[1., 5.],
            [0., 1.]])
    """
    n, whole = operator.index(n), asarray(x)
    x = as_matrices("matrix_power", x, square=True)
    if n >= 0 and whole.dtype.kind != "f":  # whole numbers stay what they are
        x = whole
    if n < 0:
        x, n = inv(x), -n
    result = None
    while n:
        if n & 1:
            result = x if result is None else result @ x
        n >>= 1
        if n:
            x = x @ x
    return _core.broadcast_to(eye_like(x), x.shape) if result is None else result


@primitive
@each("solve", "is singular")
def _solve(a: Any, b: Any) -> Any:
    return np.linalg.solve(a, b)


_solve.defvjp(
    lambda g, x, a, b: -(solve_batched(T(a), g) @ T(x)), lambda g, x, a, b: solve_batched(T(a), g), batched=True
)
_solve.defjvp(lambda t, x, a, b: -solve_batched(a, t @ x), lambda t, x, a, b: solve_batched(a, t), batched=True)


def solve_batched(a: Tensor, b: Tensor) -> Tensor:
    """solve, with the batch axes of either broadcast."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (_core.broadcast_to(x, [*batch, *x.shape[-2:]]) for x in (a, b))
    result: Tensor = _solve(a, b)
    return result


def solve(a: ArrayLike, b: ArrayLike) -> Tensor:
    """x with ``a @ x == b``, for square matrices a; b is one vector, or matrices. LinAlgError names a singular one.

    >>> import wengert as wg
    >>> wg.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [1.0, 1.0])
    Tensor([0.5 , 0.25])
    """
    a, b = as_matrices("solve", a, square=True), asarray(b)
    if b.ndim == 0 or b.shape[-min(2, b.ndim)] != a.shape[-1]:
        raise LinAlgError(f"solve: right-hand sides of shape {b.shape} do not fit matrices of shape {a.shape}")
    if b.ndim == 1:
        return solve(a, _core.reshape(b, [b.size, 1]))[..., 0]
    dtype = np.result_type(a.dtype, b.dtype if b.dtype.kind == "f" else np.float64)
    return solve_batched(_core.cast(a, dtype), _core.cast(b, dtype))


def solve_triangular(a: ArrayLike, b: ArrayLike, lower: bool = False, unit_diagonal: bool = False) -> Tensor:
    """:func:`wengert.linalg.solve`, reading the upper (or ``lower``) triangle of a alone, its diagonal as ones or not.

    >>> import wengert as wg
    >>> wg.linalg.solve_triangular([[2.0, 9.0], [2.0, 2.0]], [2.0, 4.0], lower=True)
    Tensor([1., 1.])
    """
    a = as_matrices("solve_triangular", a, square=True)
    triangle = _shapes.tril(a) if lower else _shapes.triu(a)
    if unit_diagonal:
        triangle = _core.where(np.eye(a.shape[-1], dtype=bool), 1.0, triangle)
    return solve(triangle, b)
