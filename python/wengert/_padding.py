"""``pad``: elements added before and after along every axis, in NumPy's modes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import _core
from wengert._base import ArrayLike, Tensor, asarray, is_whole, normalized, values
from wengert._indexing import sort, take
from wengert._shapes import along

__all__ = ["pad"]

Pairs = list[tuple[Any, Any]]


def pad(
    x: ArrayLike,
    pad_width: Any,
    mode: str = "constant",
    constant_values: Any = 0.0,
    *,
    end_values: Any = 0.0,
    stat_length: Any = None,
    reflect_type: str = "even",
) -> Tensor:
    """x with elements added before and after: ``pad_width`` is a number, a pair, or one pair for each axis.

    ``mode`` says which, as in NumPy: "constant" (``constant_values``), "edge", "reflect", "symmetric", "wrap", "empty"
    (zeros), "linear_ramp" (to ``end_values``), or the "maximum", "minimum", "mean" or "median" of the ``stat_length``
    elements at that end (None: of all). What is said once holds for both ends of all axes.

    >>> import wengert as wg
    >>> wg.pad([1.0, 2.0], (1, 2))
    Tensor([0., 1., 2., 0., 0.])
    >>> wg.pad([5.0, 1.0, 3.0], 1, mode="mean")
    Tensor([3., 5., 1., 3., 3.])
    """
    y = asarray(x)
    widths = _widths(pad_width, y.ndim)
    if not isinstance(mode, str) or mode not in _SIDES | dict.fromkeys(_POSITIONS):
        raise ValueError(f"pad: mode must be one of {', '.join([*_SIDES, *_POSITIONS])}, got {mode!r}")
    if reflect_type != "even":
        raise ValueError(f"pad: reflect_type must be 'even', got {reflect_type!r}; compute 2 * edge - wg.pad(...)")
    if is_whole(y) and mode in ("linear_ramp", "mean", "median"):  # NumPy rounds these to whole numbers
        options: Any = {"end_values": end_values} if mode == "linear_ramp" else {"stat_length": stat_length}
        return asarray(np.pad(values(y), widths, mode, **options))  # type: ignore[call-overload]
    arguments = {"constant": constant_values, "linear_ramp": end_values, "empty": 0}.get(mode, stat_length)
    for axis, (width, argument) in enumerate(zip(widths, _pairs(arguments, y.ndim), strict=True)):
        if width == (0, 0):
            continue
        if mode in _POSITIONS:
            y = take(y, np.pad(np.arange(y.shape[axis]), width, mode), axis)  # type: ignore[call-overload]
            continue
        before, after = (_SIDES[mode](y, axis, end, n, a) for end, n, a in zip((0, 1), width, argument, strict=True))
        y = _core.concat([_core.cast(before, y.dtype), y, _core.cast(after, y.dtype)], axis)
    return y


def _widths(pad_width: Any, ndim: int) -> Pairs:
    if isinstance(pad_width, dict):
        named = {normalized(a, ndim, "pad"): w for a, w in pad_width.items()}
        pad_width = [_widths(named.get(a, 0), 1)[0] for a in range(ndim)]
    given = values(pad_width) if isinstance(pad_width, Tensor) else np.asarray(pad_width, object)
    found = np.array(_core.integers("pad", "pad_width", given.ravel().tolist()), np.int64).reshape(given.shape)
    if (found < 0).any():
        raise ValueError(f"pad: widths must not be negative, got {pad_width!r}")
    try:
        return [(int(before), int(after)) for before, after in np.broadcast_to(found, (ndim, 2))]
    except ValueError:
        raise ValueError(f"pad: {pad_width!r} is no number, pair or list of a pair for each of {ndim} axes") from None


def _pairs(argument: Any, ndim: int) -> Pairs:
    """The argument of each end of each axis; a tensor is one for all."""
    if argument is None or isinstance(argument, Tensor):
        return [(argument, argument)] * ndim
    return [(before, after) for before, after in np.broadcast_to(np.asarray(argument), (ndim, 2))]


def _shape(y: Tensor, axis: int, n: int) -> Sequence[int]:
    return [*y.shape[:axis], n, *y.shape[axis + 1 :]]


def _constant(y: Tensor, axis: int, end: int, n: int, value: Any) -> Tensor:
    return _core.broadcast_to(_core.cast(asarray(value), y.dtype), _shape(y, axis, n))


def _ramp(y: Tensor, axis: int, end: int, n: int, value: Any) -> Tensor:
    edge = along(y, axis, slice(-1, None) if end else slice(1))
    steps = np.arange(n, dtype=y.dtype).reshape([n if a == axis else 1 for a in range(y.ndim)])
    far = _core.cast(asarray(value), y.dtype)
    return far + (np.flip(steps, axis) if end else steps) * ((edge - far) / float(max(n, 1)))


def _of_end(statistic: Callable[[Tensor, int], Tensor]) -> Callable[..., Tensor]:
    def side(y: Tensor, axis: int, end: int, n: int, length: Any) -> Tensor:
        size = y.shape[axis]
        count = size if length is None else min(int(length), size)
        if count <= 0:
            raise ValueError(f"pad: no elements to take a statistic of, with stat_length {length} on shape {y.shape}")
        part = along(y, axis, slice(size - count, None) if end else slice(count))
        return _core.broadcast_to(statistic(part, axis), _shape(y, axis, n))

    return side


def _median(x: Tensor, axis: int) -> Tensor:
    ordered, n = sort(x, axis), x.shape[axis]
    middle = along(ordered, axis, slice((n - 1) // 2, n // 2 + 1))
    last = along(ordered, axis, slice(n - 1, n))
    return _core.where(_core.not_equal(last, last), last, _core.mean(middle, axis, True))


# What stands at one end, of NumPy's modes that compute it; the others repeat elements from certain positions.
_SIDES: dict[str, Callable[..., Tensor]] = {
    "constant": _constant,
    "empty": _constant,
    "linear_ramp": _ramp,
    "maximum": _of_end(lambda x, axis: _core.max(x, axis, True)),
    "minimum": _of_end(lambda x, axis: _core.min(x, axis, True)),
    "mean": _of_end(lambda x, axis: _core.mean(x, axis, True)),
    "median": _of_end(_median),
}
_POSITIONS = ("edge", "reflect", "symmetric", "wrap")
