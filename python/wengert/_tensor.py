"""The tensor class and the ways to make one.

The operators live in C++ (cpp/bindings/tensor_type.cpp); the methods here are the functions of
:mod:`wengert._functions` under their usual names.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from wengert import _core

ArrayLike = Any  # a Tensor, or whatever numpy.asarray takes
Axis = int | tuple[int, ...] | None


class Tensor(_core.TensorBase):
    """A dense array that remembers how it was computed. Made by :func:`wengert.tensor`.

    float32 and float64 tensors can be differentiated; int64 and bool tensors are constants.
    Values never change under you: what ``numpy()`` returned stays as it was when a parameter is updated.

    >>> import wengert as wg
    >>> x = wg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    Tensor([2., 4., 6.])
    """

    __slots__ = ()

    def backward(self, grad: ArrayLike | None = None, *, retain_tape: bool = False, create_graph: bool = False) -> None:
        """Adds d(self)/d(leaf) to the ``grad`` of every leaf behind this tensor.

        ``grad`` is the cotangent, of this tensor's shape; it may be left out if that is one number.
        The tape behind this tensor is given back unless ``retain_tape``; with ``create_graph`` the
        gradients are themselves recorded, so that they can be differentiated.
        Raises ValueError for a result of several numbers without ``grad``, RuntimeError if nothing
        behind it requires a gradient or if an earlier backward released its tape.
        """
        _core.backward(self, grad, retain_tape, create_graph)

    def assign(self, value: ArrayLike) -> None:
        """Puts other values of the same shape into this leaf. ``numpy()`` views taken before keep the old ones."""
        _core.assign(self, value)

    def astype(self, dtype: npt.DTypeLike) -> Tensor:
        """The values as another dtype; differentiable between float32 and float64."""
        return _core.cast(self, dtype)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`wengert.sum`."""
        from wengert import _reductions

        return _reductions.sum(self, axis, keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`wengert.mean`."""
        from wengert import _reductions

        return _reductions.mean(self, axis, keepdims)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`wengert.max`."""
        from wengert import _reductions

        return _reductions.max(self, axis, keepdims)

    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`wengert.min`."""
        from wengert import _reductions

        return _reductions.min(self, axis, keepdims)

    def prod(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`wengert.prod`."""
        from wengert import _reductions

        return _reductions.prod(self, axis, keepdims)

    def var(
        self, axis: Axis = None, correction: float = 0.0, keepdims: bool = False, ddof: float | None = None
    ) -> Tensor:
        """See :func:`wengert.var`."""
        from wengert import _reductions

        return _reductions.var(self, axis, correction, keepdims, ddof)

    def std(
        self, axis: Axis = None, correction: float = 0.0, keepdims: bool = False, ddof: float | None = None
    ) -> Tensor:
        """See :func:`wengert.std`."""
        from wengert import _reductions

        return _reductions.std(self, axis, correction, keepdims, ddof)

    def cumsum(self, axis: int | None = None) -> Tensor:
        """See :func:`wengert.cumulative_sum`."""
        from wengert import _reductions

        return _reductions.cumulative_sum(self, axis)

    def cumprod(self, axis: int | None = None) -> Tensor:
        """See :func:`wengert.cumulative_prod`."""
        from wengert import _reductions

        return _reductions.cumulative_prod(self, axis)

    def argmax(self, axis: int | None = None) -> Tensor:
        """See :func:`wengert.argmax`."""
        from wengert import _reductions

        return _reductions.argmax(self, axis)

    def argmin(self, axis: int | None = None) -> Tensor:
        """See :func:`wengert.argmin`."""
        from wengert import _reductions

        return _reductions.argmin(self, axis)

    def any(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`wengert.any`."""
        from wengert import _reductions

        return _reductions.any(self, axis, keepdims)

    def all(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """See :func:`wengert.all`."""
        from wengert import _reductions

        return _reductions.all(self, axis, keepdims)

    def reshape(self, *shape: Any) -> Tensor:
        """See :func:`wengert.reshape`; the shape may be given as one tuple or as several numbers."""
        from wengert import _shapes

        return _shapes.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order (default: reversed), as in NumPy."""
        order = axes[0] if len(axes) == 1 and axes[0] is not None and not isinstance(axes[0], int) else axes
        return _core.permute(self, list(order)) if order and order != (None,) else self.T

    def squeeze(self, axis: Axis = None) -> Tensor:
        """See :func:`wengert.squeeze`."""
        from wengert import _shapes

        return _shapes.squeeze(self, axis)

    def swapaxes(self, axis1: int, axis2: int) -> Tensor:
        """See :func:`wengert.swapaxes`."""
        from wengert import _shapes

        return _shapes.swapaxes(self, axis1, axis2)

    def ravel(self) -> Tensor:
        """All elements in one axis."""
        return self.flatten()

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """See :func:`wengert.diagonal`."""
        from wengert import _shapes

        return _shapes.diagonal(self, offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
        """See :func:`wengert.trace`."""
        from wengert import _shapes

        return _shapes.trace(self, offset, axis1, axis2)

    def repeat(self, repeats: Any, axis: int | None = None) -> Tensor:
        """See :func:`wengert.repeat`."""
        from wengert import _shapes

        return _shapes.repeat(self, repeats, axis)

    def dot(self, other: ArrayLike) -> Tensor:
        """See :func:`wengert.dot`."""
        from wengert import _products

        return _products.dot(self, other)

    def clip(self, min: ArrayLike | None = None, max: ArrayLike | None = None) -> Tensor:
        """See :func:`wengert.clip`."""
        from wengert import _functions

        return _functions.clip(self, min, max)

    def flatten(self) -> Tensor:
        """All elements in one axis."""
        return _core.reshape(self, [self.size])

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.numpy().tolist()

    def __getitem__(self, key: Any) -> Tensor:
        from wengert import _indexing

        return _indexing.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("tensors do not change in place; use wg.where, wg.at_set, or p.assign(array) for a parameter")

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __pos__(self) -> Tensor:
        return self

    def __floordiv__(self, other: ArrayLike) -> Tensor:
        return _core.floor(self / other)

    def __rfloordiv__(self, other: ArrayLike) -> Tensor:
        return _core.floor(other / self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from wengert import _numpy

        return _numpy.array_ufunc(ufunc, method, inputs, kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from wengert import _numpy

        return _numpy.array_function(func, args, kwargs)

    def __repr__(self) -> str:
        body = np.array2string(_core.detached_numpy(self), separator=", ", prefix="Tensor(", threshold=100)
        extra = "" if self.dtype in (np.float64, np.int64, np.bool_) else f", dtype={self.dtype}"
        if self.requires_grad:
            extra += ", requires_grad=True"
        if self.name:
            extra += f", name={self.name!r}"
        return f"Tensor({body}{extra})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec and self.size == 1 else format(repr(self), spec)

    def __reduce__(self) -> Any:
        return tensor, (np.array(self.numpy()), None, self.requires_grad and self.is_leaf)

    def __deepcopy__(self, memo: Any) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("only leaves can be copied; use x.detach()")
        copy = tensor(self, requires_grad=self.requires_grad)
        copy.name = self.name
        return copy


_core.set_tensor_type(Tensor)


def axes(axis: Axis) -> list[int] | None:
    """An axis argument as the engine takes it: a list, or None for all."""
    return None if axis is None else [axis] if isinstance(axis, int) else [int(a) for a in axis]


def tensor(data: ArrayLike, dtype: npt.DTypeLike | None = None, requires_grad: bool = False) -> Tensor:
    """A tensor with a copy of ``data``: a number, nested lists, a NumPy array or another tensor.

    float32 and float64 arrays keep their dtype, Python floats become float64, whole numbers int64.
    Raises TypeError for data that are not real numbers, and for integers that should require gradients.

    >>> import wengert as wg
    >>> wg.tensor([[1, 2], [3, 4]], dtype="float32")
    Tensor([[1., 2.],
            [3., 4.]], dtype=float32)
    """
    return _core.tensor(data, dtype, requires_grad)


def asarray(data: ArrayLike, dtype: npt.DTypeLike | None = None) -> Tensor:
    """``data`` as a tensor, without a copy where it is a NumPy array of a supported dtype.

    If such an array is changed between an operation and its backward, the backward raises RuntimeError.

    >>> import numpy as np, wengert as wg
    >>> wg.asarray(np.arange(3.0))
    Tensor([0., 1., 2.])
    """
    return _core.asarray(data, dtype)


def stop_gradient(x: ArrayLike) -> Tensor:
    """The same values as a constant: nothing flows back through them.

    >>> import wengert as wg
    >>> wg.grad(lambda x: x * wg.stop_gradient(x))(3.0)
    Tensor(3.)
    """
    return asarray(x).detach()


@contextlib.contextmanager
def no_grad() -> Iterator[None]:
    """Within it (a ``with`` block, or a decorated function), nothing is recorded for gradients.

    >>> import wengert as wg
    >>> w = wg.tensor(2.0, requires_grad=True)
    >>> with wg.no_grad():
    ...     (w * w).requires_grad
    False
    """
    before = _core.set_grad_enabled(False)
    try:
        yield
    finally:
        _core.set_grad_enabled(before)
