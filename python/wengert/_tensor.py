"""The tensor class. It stands above the functions, which are its methods.

The operators and indexing live in C++ (cpp/bindings/tensor_type.cpp); NumPy's protocol is added by
:mod:`wengert._numpy`, which knows all functions.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from wengert import _core, _functions, _indexing, _products, _reductions, _shapes
from wengert._base import ArrayLike, Axis, asarray, axes, stop_gradient, tensor

__all__ = ["ArrayLike", "Axis", "Tensor", "asarray", "axes", "no_grad", "stop_gradient", "tensor"]


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
    __array_ufunc__: ClassVar[Any]
    __array_function__: ClassVar[Any]
    __pandas_priority__ = 5000  # above DataFrame's: `df * tensor` is the tensor's to compute

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

    sum = _reductions.sum
    mean = _reductions.mean
    max = _reductions.max
    min = _reductions.min
    prod = _reductions.prod
    var = _reductions.var
    std = _reductions.std
    cumsum = _reductions.cumulative_sum
    cumprod = _reductions.cumulative_prod
    argmax = _reductions.argmax
    argmin = _reductions.argmin
    any = _reductions.any
    all = _reductions.all
    squeeze = _shapes.squeeze
    swapaxes = _shapes.swapaxes
    ravel = flatten = _shapes.ravel
    diagonal = _shapes.diagonal
    trace = _shapes.trace
    repeat = _shapes.repeat
    dot = _products.dot
    clip = _functions.clip

    def reshape(self, *shape: Any) -> Tensor:
        """See :func:`wengert.reshape`; the shape may be given as one tuple or as several numbers."""
        return _core.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Tensor:
        """The axes in another order (default: reversed), as in NumPy."""
        order = axes[0] if len(axes) == 1 else axes
        return _core.permute(self, order) if order is not None and len(axes) else self.T

    def tolist(self) -> Any:
        """The values as nested Python lists."""
        return self.numpy().tolist()

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TypeError("tensors do not change in place; use wg.where, wg.at_set, or p.assign(array) for a parameter")

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d tensor")
        return (self[i] for i in range(len(self)))

    def __pos__(self) -> Tensor:
        return self

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        if copy is None:  # which NumPy 1 does not know
            return np.asarray(self.numpy(), dtype=dtype)
        return np.array(self.numpy(), dtype=dtype, copy=copy)

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
        return _restored, (np.array(self.numpy()), self.requires_grad and self.is_leaf, self.name)

    def __deepcopy__(self, memo: Any) -> Tensor:
        if not self.is_leaf:
            raise RuntimeError("only leaves can be copied; use x.detach()")
        copy = tensor(self, requires_grad=self.requires_grad)
        copy.name = self.name
        return copy


_core.set_tensor_type(Tensor)
_core.set_getitem(_indexing.getitem)


def _restored(values: npt.NDArray[Any], requires_grad: bool, name: str | None) -> Tensor:
    """A tensor from its pickle: a leaf, whatever it was. Its gradient and its place on a tape stay behind."""
    restored = tensor(values, requires_grad=requires_grad)
    restored.name = name
    return restored


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
