"""NumPy's functions on tensors: ``np.sin(t)`` and ``np.concatenate([t, u])`` are differentiated like our own.

A table, built once, leads from NumPy's function objects to ours. Arguments are read by NumPy's signature: in its order,
under its names. What ours do not take is refused by name, and functions without a counterpart are refused, if a tensor
requires a gradient; of constants, NumPy computes on the values. Functions that only look work on the values always.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from wengert import (
    _aliases,
    _core,
    _elementwise,
    _functions,
    _indexing,
    _padding,
    _products,
    _reductions,
    _shapes,
    _tree,
    linalg,
)
from wengert._base import Tensor, asarray, values
from wengert._tensor import Tensor as TensorClass

Function = Callable[..., Any]

_MISSING = np._NoValue


class _Unsupported(TypeError):
    """An argument that ours do not take."""


# --- the protocol -----------------------------------------------------------------------------------------------
def array_function(self: Tensor, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
    """NumPy's protocol for its functions other than ufuncs."""
    if (ours := FUNCTIONS.get(func)) is not None:
        try:
            return ours(*args, **kwargs)
        except _Unsupported as refusal:
            _refuse_gradients(str(refusal), args, kwargs)
    elif func not in LOOKS:
        _refuse_gradients(_no_counterpart(f"{func.__module__.replace('numpy', 'np', 1)}.{func.__name__}"), args, kwargs)
    return func(*_plain(args), **_plain(kwargs))


def array_ufunc(self: Tensor, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """NumPy's protocol for every ufunc with a tensor among its arguments."""
    if (ours := UFUNCS.get(ufunc)) is not None and method == "__call__" and not kwargs:
        return ours(*inputs)
    how = f"np.{ufunc.__name__}" + ("" if method == "__call__" else f".{method}")
    try:
        f = METHODS[method](ufunc) if method in METHODS else None
        if f is not None:
            return f(*inputs, **{k: v for k, v in kwargs.items() if not _is_default(k, v)})
        refusal = _no_counterpart(how)
    except _Unsupported as error:
        refusal = f"{how}: {error}"
    if ufunc not in LOOKS:
        _refuse_gradients(refusal, inputs, kwargs)
    if any(isinstance(out, Tensor) for out in kwargs.get("out", ())):
        raise TypeError(f"{how}: out= must be a NumPy array; tensors do not change in place")
    return getattr(ufunc, method)(*_plain(inputs), **_plain(kwargs))


def _is_default(name: str, value: Any) -> bool:
    return value is _MISSING or (name == "where" and value is True) or (name in ("dtype", "out") and value is None)


def _no_counterpart(how: str) -> str:
    return (
        f"{how} cannot be differentiated by wengert; use a wg function or @wg.primitive, "
        "or x.detach() where its values alone are meant"
    )


def _refuse_gradients(why: str, *arguments: Any) -> None:
    if any(isinstance(x, Tensor) and x.requires_grad for x in _tree.leaves(list(arguments))):
        raise TypeError(why) from None


def _plain(x: Any) -> Any:
    """Arguments with arrays in the place of tensors. Values that a replay would freeze are refused."""
    if isinstance(x, Tensor):
        return values(x)
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    return type(x)(_plain(v) for v in x) if type(x) in (list, tuple) else x


def _unsupported(what: str, way_out: str = "leave it out, or use x.numpy() for the values alone") -> NoReturn:
    raise _Unsupported(f"{what} is not taken for tensors that require gradients; {way_out}")


# --- functions --------------------------------------------------------------------------------------------------
class _Function:
    """A function of NumPy as ours: called with NumPy's arguments. ``names`` are theirs and ours where they differ."""

    def __init__(self, theirs: Function, ours: Function, names: dict[str, str]):
        self.theirs = theirs
        self.ours = ours
        self.names = names

    @functools.cached_property
    def parameters(self) -> Mapping[str, inspect.Parameter]:
        return inspect.signature(self.ours).parameters

    @functools.cached_property
    def signature(self) -> inspect.Signature:
        try:
            return inspect.signature(self.theirs)
        except ValueError:  # some of NumPy's in C show none: then ours must do
            return inspect.signature(self.ours)

    @functools.cached_property
    def renamed(self) -> dict[str, str]:
        """NumPy's parameters and ours. The first is the array, whatever it is called."""
        first, ours = (next(iter(p)) for p in (self.signature.parameters, self.parameters))
        return {first: ours, **{n: n for n in self.signature.parameters if n in self.parameters}, **self.names}

    @functools.cached_property
    def as_they_stand(self) -> tuple[int, frozenset[str]]:
        """How many positional arguments, and which keywords, may go to ours without a look at the signature."""
        theirs, ours, renamed = self.signature.parameters, self.parameters, self.renamed
        for name, parameter in theirs.items():
            own = ours.get(renamed.get(name, ""))
            open_ended = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
            says = parameter.default is not _MISSING and parameter.default is not parameter.empty
            if open_ended or (own is not None and says and not _same(own.default, parameter.default)):
                return 0, frozenset()  # left out, it means something else than with ours
        pairs = zip(theirs, ours, strict=False)
        alike = itertools.takewhile(lambda pair: renamed.get(pair[0]) == pair[1], pairs)
        return len(list(alike)), frozenset(n for n, m in renamed.items() if n == m)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        most, keywords = self.as_they_stand
        if len(args) <= most and kwargs.keys() <= keywords and not any(v is _MISSING for v in kwargs.values()):
            return self.ours(*args, **kwargs)
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        positional: list[Any] = []
        named: dict[str, Any] = {}
        for name, value in bound.arguments.items():
            theirs, ours = self.signature.parameters[name], self.parameters.get(self.renamed.get(name, ""))
            if theirs.kind is theirs.VAR_POSITIONAL:
                positional += value
            elif theirs.kind is theirs.VAR_KEYWORD:
                for keyword in value.keys() - self.parameters.keys():
                    _unsupported(f"np.{self.theirs.__name__}: {keyword}=")
                named.update(value)
            elif value is _MISSING or (ours is None and _same(theirs.default, value)):
                continue
            elif ours is None:
                _unsupported(f"np.{self.theirs.__name__}: {name}=")
            elif ours.kind is ours.POSITIONAL_ONLY:
                positional.append(value)
            elif not (value is theirs.default and _same(ours.default, value)):
                named[ours.name] = value
        return self.ours(*positional, **named)


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and bool(a == b))


def _reduction(ours: Function, start: float | None, combine: Function | None) -> Function:
    """One of our reductions with what NumPy's take besides. ``start`` is what adds nothing."""

    def reduction(
        x: Any, axis: Any = None, keepdims: Any = False, dtype: Any = None, initial: Any = _MISSING, where: Any = True
    ) -> Any:
        x = asarray(x) if dtype is None else _core.cast(x, dtype)
        if where is not True:
            nothing = initial if start is None else start
            if nothing is _MISSING:
                raise ValueError(f"np.{ours.__name__}: with where=, initial= must be given")
            x = _core.where(where, x, nothing)
        if initial is _MISSING or initial is None:
            return ours(x, axis, keepdims)
        if combine is None:
            _unsupported(f"np.{ours.__name__}: initial=")
        if start is None and x.size == 0:
            return asarray(
                getattr(np, ours.__name__)(values(x), _reductions._tuple(axis, ours.__name__), None, keepdims, initial)
            )
        return combine(ours(x, axis, keepdims), initial)

    return reduction


def _computed_in(x: Any, dtype: Any, name: str) -> Tensor:
    if dtype is None:
        return asarray(x)
    if name in ("mean", "var", "std") and np.dtype(dtype).kind != "f":  # it would round the result alone
        _unsupported(f"np.{name}: dtype={np.dtype(dtype)}")
    return _core.cast(x, dtype)


def _mean(x: Any, axis: Any = None, keepdims: Any = False, dtype: Any = None, where: Any = True) -> Any:
    x = _computed_in(x, dtype, "mean")
    if where is True:
        return _reductions.mean(x, axis, keepdims)
    chosen = _core.broadcast_to(_core.cast(where, "bool"), x.shape)
    total = _reductions.sum(_core.where(chosen, x, 0.0), axis, keepdims)
    return total / _core.cast(_reductions.sum(chosen, axis, keepdims), total.dtype)


class _OfCast:
    """One of ours with NumPy's ``dtype``, in which it computes."""

    def __init__(self, ours: Function):
        self.ours = ours

    @functools.cached_property
    def __signature__(self) -> inspect.Signature:
        x, *rest = inspect.signature(self.ours).parameters.values()
        named = [p.replace(kind=p.KEYWORD_ONLY) for p in rest]
        return inspect.Signature([x, inspect.Parameter("dtype", x.KEYWORD_ONLY, default=None), *named])

    def __call__(self, x: Any, *, dtype: Any = None, **named: Any) -> Any:
        return self.ours(_computed_in(x, dtype, self.ours.__name__), **named)


def _where(condition: Any, x: Any = _MISSING, y: Any = _MISSING) -> Any:
    if x is _MISSING and y is _MISSING:
        return np.where(values(condition))
    return _core.where(condition, x, y)


def _clip(
    a: Any, a_min: Any = _MISSING, a_max: Any = _MISSING, out: Any = None, *, min: Any = _MISSING, max: Any = _MISSING,
    **named: Any,
) -> Any:  # fmt: skip
    for name in [*named, *(["out"] if out is not None else [])]:
        _unsupported(f"np.clip: {name}=")
    low, high = (b if a is _MISSING else a for a, b in ((a_min, min), (a_max, max)))
    return _functions.clip(a, *(None if b is _MISSING else b for b in (low, high)))


def _round(a: Any, decimals: Any = 0, out: Any = None) -> Any:
    if out is not None:
        _unsupported("np.round: out=")
    (digits,) = _core.integers("np.round", "decimals", decimals)
    x = asarray(a)
    if digits == 0:
        return _core.round(x)
    if x.dtype.kind != "f":
        return asarray(np.round(values(x), digits))
    scale = 10.0 ** abs(digits)
    return _core.round(x * scale) / scale if digits > 0 else _core.round(x / scale) * scale


def _cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Any:
    if axis is not None:
        axisa = axisb = axisc = axis
    return _shapes.moveaxis(_products.cross(_shapes.moveaxis(a, axisa, -1), _shapes.moveaxis(b, axisb, -1)), -1, axisc)


def _size(a: Any, axis: Any = None) -> int:
    a = asarray(a)
    return a.size if axis is None else int(np.prod([a.shape[i] for i in _core.integers("np.size", "axis", axis)]))


# NumPy's names of parameters, where ours are called otherwise.
NAMES = {
    "broadcast_to": {"array": "x"},
    "full_like": {"fill_value": "value"},
    "reshape": {"newshape": "shape"},
    "tile": {"reps": "repetitions"},
    "select": {"condlist": "conditions", "choicelist": "choices"},
}

# Those of ours that NumPy gives other parameters.
WITH_MORE: dict[str, Function] = {
    "sum": _reduction(_reductions.sum, 0, _core.add),
    "prod": _reduction(_reductions.prod, 1, _core.multiply),
    "max": _reduction(_reductions.max, None, _core.maximum),
    "min": _reduction(_reductions.min, None, _core.minimum),
    "any": _reduction(_reductions.any, 0, None),
    "all": _reduction(_reductions.all, 1, None),
    "mean": _mean,
    "cumsum": _OfCast(_reductions.cumulative_sum),
    "cumprod": _OfCast(_reductions.cumulative_prod),
    "trace": _OfCast(_shapes.trace),
    "var": _OfCast(_reductions.var),
    "std": _OfCast(_reductions.std),
}
WITH_MORE |= {"amax": WITH_MORE["max"], "amin": WITH_MORE["min"]}
WITH_MORE |= {"cumulative_sum": WITH_MORE["cumsum"], "cumulative_prod": WITH_MORE["cumprod"]}


def _table() -> dict[Any, Function]:
    """NumPy's functions and ours, found under the same names."""
    table: dict[Any, Function] = {}
    modules = (_elementwise, _functions, _indexing, _padding, _products, _reductions, _shapes, _aliases)
    for ours, theirs in [*((m, np) for m in modules), (linalg, np.linalg)]:
        for name in ours.__all__:
            f, g = getattr(ours, name), getattr(theirs, name, None)
            if g is not None and not isinstance(f, type):
                more = WITH_MORE.get(name) if theirs is np else None
                table[g] = f if isinstance(g, np.ufunc) else _Function(g, more or f, NAMES.get(name, {}))
    special: dict[str, Function] = {
        "where": _where, "clip": _clip, "round": _round, "around": _round, "cross": _cross,
        "size": _size,
        "shape": lambda a: asarray(a).shape, "ndim": lambda a: asarray(a).ndim,
    }  # fmt: skip
    return table | {g: f for name, f in special.items() if (g := getattr(np, name, None)) is not None}


_TABLE = _table()
FUNCTIONS = {g: f for g, f in _TABLE.items() if not isinstance(g, np.ufunc)}
UFUNCS: dict[Any, Function] = {g: f for g, f in _TABLE.items() if isinstance(g, np.ufunc)}
UFUNCS[np.divmod] = lambda a, b: (_core.floor_divide(a, b), _core.remainder(a, b))


# --- methods of ufuncs ------------------------------------------------------------------------------------------
REDUCTIONS: dict[Any, Function] = {
    np.add: WITH_MORE["sum"], np.multiply: WITH_MORE["prod"], np.maximum: WITH_MORE["max"],
    np.minimum: WITH_MORE["min"], np.logical_and: WITH_MORE["all"], np.logical_or: WITH_MORE["any"],
}  # fmt: skip
ACCUMULATIONS: dict[Any, Function] = {np.add: WITH_MORE["cumsum"], np.multiply: WITH_MORE["cumprod"]}


def _taken(named: dict[str, Any], *names: str) -> dict[str, Any]:
    for name in named:
        if name not in names:
            _unsupported(f"{name}=")
    return named


def _call(ufunc: np.ufunc) -> Function | None:
    ours = UFUNCS.get(ufunc)

    def f(*inputs: Any, **named: Any) -> Any:
        _taken(named, "dtype", *(["axis"] if ufunc.signature and "axis" in named else []))
        dtype = named.pop("dtype", None)
        if dtype is not None and (ufunc.signature or np.dtype(dtype).kind != "f"):
            _unsupported("dtype=")
        assert ours is not None
        return ours(*(inputs if dtype is None else [_core.cast(x, dtype) for x in inputs]), **named)

    return f if ours is not None else None


def _reduce(ufunc: np.ufunc) -> Function | None:
    ours = REDUCTIONS.get(ufunc)
    if ours is None:
        return None
    return lambda x, axis=0, **named: ours(x, axis, **_taken(named, "keepdims", "dtype", "initial", "where"))


def _accumulate(ufunc: np.ufunc) -> Function | None:
    ours = ACCUMULATIONS.get(ufunc)
    return ours and (lambda x, axis=0, **named: ours(x, axis=axis, **_taken(named, "dtype")))


def _outer(ufunc: np.ufunc) -> Function | None:
    ours = UFUNCS.get(ufunc) if ufunc.nin == 2 and not ufunc.signature else None

    def f(a: Any, b: Any, **named: Any) -> Any:
        _taken(named)
        a, b = asarray(a), asarray(b)
        assert ours is not None
        return ours(_core.reshape(a, [*a.shape, *[1] * b.ndim]), b)

    return f if ours is not None else None


METHODS: dict[str, Callable[[np.ufunc], Function | None]] = {
    "__call__": _call, "reduce": _reduce, "accumulate": _accumulate, "outer": _outer,
}  # fmt: skip

# --- functions that look ----------------------------------------------------------------------------------------
# Predicates, searching, printing, saving: what they give has no useful derivative.
_LOOKS = """
    allclose array_equal array_equiv isclose isreal iscomplex isrealobj iscomplexobj signbit shares_memory
    may_share_memory argpartition argwhere bincount digitize flatnonzero histogram histogram2d histogramdd
    histogram_bin_edges in1d intersect1d isin lexsort nonzero searchsorted setdiff1d setxor1d union1d unique unique_all
    unique_counts unique_inverse unique_values nanargmax nanargmin result_type can_cast min_scalar_type common_type
    array2string array_repr array_str save savetxt savez savez_compressed
"""
LOOKS = {f for f in (getattr(np, name, None) for name in _LOOKS.split()) if f is not None}
LOOKS |= {np.linalg.matrix_rank, np.linalg.cond}

TensorClass.__array_function__ = array_function
TensorClass.__array_ufunc__ = array_ufunc
