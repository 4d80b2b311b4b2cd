"""NumPy's functions on tensors: ``np.sin(t)`` and ``np.concatenate([t, u])`` are differentiated like our own."""

from __future__ import annotations

from typing import Any

import numpy as np

import wengert as wg
from wengert import _tree
from wengert._tensor import Tensor


def array_ufunc(ufunc: np.ufunc, method: str, inputs: Any, kwargs: Any) -> Any:
    """NumPy's protocol: called for every ufunc with a tensor among its arguments."""
    f = getattr(wg, ufunc.__name__, None)
    reductions = {np.add: wg.sum, np.multiply: wg.prod, np.maximum: wg.max, np.minimum: wg.min}
    if method == "reduce" and ufunc in reductions:
        f = reductions[ufunc]
        return f(inputs[0], axis=kwargs.get("axis", 0), keepdims=kwargs.get("keepdims", False))
    if method != "__call__" or f is None or kwargs:
        if any(isinstance(x, Tensor) and x.requires_grad for x in inputs) or kwargs.get("out"):
            how = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
            extra = f" with {', '.join(kwargs)}" if kwargs else ""
            raise TypeError(f"np.{how}{extra} cannot be differentiated by wengert; use a wg function or @wg.primitive")
        plain = [x.numpy() if isinstance(x, Tensor) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)
    return f(*inputs)


def array_function(func: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's protocol for its other functions."""
    module = getattr(func, "__module__", "")
    f = (
        getattr(wg.linalg, func.__name__, None)
        if module.endswith("linalg") and hasattr(wg, "linalg")
        else getattr(wg, func.__name__, None)
    )
    if f is not None:
        return f(*args, **{k: v for k, v in kwargs.items() if v is not np._NoValue})
    if any(isinstance(x, Tensor) and x.requires_grad for x in _tree.leaves([args, kwargs])):
        raise TypeError(f"np.{func.__name__} cannot be differentiated by wengert; use a wg function or @wg.primitive")
    return func(*_plain(args), **_plain(kwargs))


def _plain(x: Any) -> Any:
    if isinstance(x, Tensor):
        return x.numpy()
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    return type(x)(_plain(v) for v in x) if type(x) in (list, tuple) else x
