"""Functions of functions: grad, vjp, jvp, linearize, jacobian, hessian, hvp, taylor, check_grads.

All of them record the function once on the tape and then sweep: backwards with cotangents, or forwards with tangents.
What they return is recorded in turn, so they nest to any order.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from wengert import _core, _tree
from wengert._base import Tensor, asarray, tensor

Argnums = int | Sequence[int]


class _Recorded:
    """f's result on the tape, its inputs, and the structure of both. Single arrays and numbers are spared the walk."""

    __slots__ = ("aux", "differentiable", "inputs", "op", "out_tree", "outputs", "single", "wrt_trees")

    def __init__(
        self,
        op: str,
        f: Callable[..., Any],
        args: tuple[Any, ...],
        argnums: Argnums,
        has_aux: bool,
        kwargs: dict[str, Any],
    ):
        self.op = op
        self.single = not isinstance(argnums, (tuple, list))
        numbers = _core.integers(op, "argnums", argnums)
        replaced = list(args)
        self.wrt_trees: list[Any] = []
        self.inputs: list[Tensor] = []
        for k in numbers:
            if not -len(args) <= k < len(args):
                raise ValueError(f"{op}: argnums {k} is out of range for {len(args)} positional arguments")
            self.wrt_trees.append(args[k])
        before = _core.begin_transform()  # gradients on; taking numbers out of recorded tensors is refused
        try:
            for k in numbers:
                if _tree.is_leaf(args[k]):
                    replaced[k] = _core.input_node(op, args[k])
                    self.inputs.append(replaced[k])
                    continue
                stand_ins = [_core.input_node(op, leaf) for leaf in _tree.leaves(args[k])]
                replaced[k] = _tree.rebuild(args[k], stand_ins)
                self.inputs += stand_ins
            out = f(*replaced, **kwargs)
        finally:
            _core.end_transform(before)
        aux = None
        if has_aux:
            if not isinstance(out, tuple) or len(out) != 2:
                raise TypeError(f"{op}: with has_aux=True the function must return (output, aux)")
            out, aux = out
        self.out_tree = out
        self.outputs: list[Tensor] = (
            [asarray(out)] if _tree.is_leaf(out) else [asarray(leaf) for leaf in _tree.leaves(out)]
        )
        results = self.outputs
        if has_aux:
            results = [*results, *(t for t in _tree.leaves(aux) if isinstance(t, Tensor))]
        # Nothing outside (an outer transform, a leaf that requires gradients) takes part: results are constants.
        self.differentiable: bool = _core.reaches_outside(self.inputs, results)
        self.aux: Any = _tree.map(lambda t: self.value(t) if isinstance(t, Tensor) else t, aux) if has_aux else None
        for t in self.outputs:
            if not t.requires_grad and t.dtype.kind != "f":
                raise TypeError(f"{op}: the function returned dtype {t.dtype}, which has no gradient")

    def value(self, t: Tensor) -> Tensor:
        return t if self.differentiable else t.detach()

    def values(self) -> Any:
        return _tree.rebuild(self.out_tree, [self.value(y) for y in self.outputs])

    def scalar(self) -> Tensor:
        if not _tree.is_leaf(self.out_tree):
            raise TypeError(
                f"{self.op}: the function must return one number, got {type(self.out_tree).__name__}; see has_aux"
            )
        (y,) = self.outputs
        if y.size != 1:
            raise ValueError(
                f"{self.op}: the function must return one number, got shape {y.shape}; use wg.jacobian, or reduce it"
            )
        return y

    def derivative_is_differentiable(self, given: Sequence[Tensor | None]) -> bool:
        """Whether what comes of these cotangents or tangents is to be recorded: it is linear in them."""
        return _core.grad_enabled() and (self.differentiable or any(t is not None and t.requires_grad for t in given))

    def pull(self, seeds: list[Tensor | None], batch: int = -1) -> list[Tensor]:
        recorded = self.derivative_is_differentiable(seeds)
        return _core.gradients(self.outputs, seeds, self.inputs, recorded, batch, linear=not self.differentiable)

    def push(self, tangents: list[Tensor], batch: int = -1) -> list[Tensor]:
        before = _core.set_grad_enabled(self.derivative_is_differentiable(tangents))
        try:
            return _core.push(self.inputs, tangents, self.outputs, batch, linear=not self.differentiable)
        finally:
            _core.set_grad_enabled(before)

    def pack(self, grads: list[Any]) -> Any:
        """Results per input, in the structure of the arguments."""
        if self.single and _tree.is_leaf(self.wrt_trees[0]):
            return grads[0]
        it = iter(grads)
        trees = [_tree.rebuild(tree, [next(it) for _ in _tree.leaves(tree)]) for tree in self.wrt_trees]
        return trees[0] if self.single else tuple(trees)


def value_and_grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """A function that returns f's value and its gradient.

    The gradient has the structure of argument ``argnums`` (a tuple of them for several). f must return one number,
    or (number, aux) with ``has_aux``; then the value is (number, aux).

    >>> import wengert as wg
    >>> wg.value_and_grad(lambda x: x**3)(2.0)
    (Tensor(8.), Tensor(12.))
    """

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        r = _Recorded("grad", f, args, argnums, has_aux, kwargs)
        y = r.scalar()
        gradient = r.pack(r.pull([_core.ones_like(y)]))
        value = r.value(y)
        return ((value, r.aux), gradient) if has_aux else (value, gradient)

    return wrapped


def grad(f: Callable[..., Any], argnums: Argnums = 0, has_aux: bool = False) -> Callable[..., Any]:
    """The gradient of a function that returns one number, as a function.

    >>> import wengert as wg
    >>> wg.grad(lambda p: p["w"] * p["x"] + p["b"])({"w": 2.0, "x": 3.0, "b": 1.0})
    {'w': Tensor(3.), 'x': Tensor(2.), 'b': Tensor(1.)}
    """
    both = value_and_grad(f, argnums, has_aux)

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return wrapped


def vjp(f: Callable[..., Any], *args: Any, has_aux: bool = False) -> Any:
    """(f(*args), pullback): the pullback takes a cotangent shaped like the output to one per argument, as a tuple.

    >>> import wengert as wg
    >>> y, pullback = wg.vjp(lambda x: x * x, wg.tensor([1.0, 2.0]))
    >>> pullback([1.0, 10.0])
    (Tensor([ 2., 40.]),)
    """
    r = _Recorded("vjp", f, args, tuple(range(len(args))), has_aux, {})

    def pullback(cotangent: Any) -> Any:
        seeds = [
            _matching("vjp", "cotangent", c, y) for c, y in _pairs("vjp", "cotangent", cotangent, r.out_tree, r.outputs)
        ]
        return r.pack(r.pull(list(seeds)))

    return (r.values(), pullback, r.aux) if has_aux else (r.values(), pullback)


def _pairs(op: str, what: str, given: Any, tree: Any, like: list[Tensor]) -> list[tuple[Any, Tensor]]:
    items = [given] if _tree.is_leaf(tree) else _tree.leaves(given)
    if len(items) != len(like):
        raise ValueError(f"{op}: {len(items)} {what}s for {len(like)} arrays")
    return list(zip(items, like, strict=True))


def _matching(op: str, what: str, given: Any, like: Tensor) -> Tensor:
    t = asarray(given)
    if t.shape != like.shape:
        raise ValueError(f"{op}: the {what} has shape {t.shape}, expected {like.shape}")
    return t.astype(like.dtype)


def jvp(f: Callable[..., Any], args: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """(f(*args), the derivative of f along the tangents): forward mode.

    >>> import wengert as wg
    >>> wg.jvp(lambda x: x * x, (3.0,), (1.0,))
    (Tensor(9.), Tensor(6.))
    """
    out, push = _linearized("jvp", f, tuple(args))
    return out, push(*tangents)


def linearize(f: Callable[..., Any], *args: Any) -> tuple[Any, Callable[..., Any]]:
    """(f(*args), its derivative there as a linear function of one tangent per argument): f runs once.

    >>> import wengert as wg
    >>> y, push = wg.linearize(wg.sin, 0.0)
    >>> push(1.0), push(10.0)
    (Tensor(1.), Tensor(10.))
    """
    return _linearized("linearize", f, args)


def _linearized(op: str, f: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Any, Callable[..., Any]]:
    r = _Recorded(op, f, args, tuple(range(len(args))), False, {})

    def push(*tangents: Any) -> Any:
        if len(args) != len(tangents):
            raise ValueError(f"{op}: {len(tangents)} tangents for {len(args)} arguments")
        given = [
            leaf
            for tree, t in zip(args, tangents, strict=True)
            for leaf in ([t] if _tree.is_leaf(tree) else _tree.leaves(t))
        ]
        if len(given) != len(r.inputs):
            raise ValueError(f"{op}: {len(given)} tangents for {len(r.inputs)} arrays")
        matched = [_matching(op, "tangent", t, x) for t, x in zip(given, r.inputs, strict=True)]
        return _tree.rebuild(r.out_tree, list(r.push(matched)))

    return r.values(), push


def _basis(shape: tuple[int, ...], dtype: Any) -> Tensor:
    """The unit arrays of this shape, along a leading axis."""
    keep = math.prod(shape) <= 512 and not _core.recording()  # a recording folds what only it holds
    return _kept_basis(shape, dtype) if keep else _core.basis(shape, dtype)


@functools.lru_cache(maxsize=8)  # for Jacobians in a loop; at most 2 MiB each
def _kept_basis(shape: tuple[int, ...], dtype: Any) -> Tensor:
    return _core.basis(shape, dtype)


def jacobian(
    f: Callable[..., Any], argnums: Argnums = 0, mode: str | None = None, has_aux: bool = False, flatten: bool = False
) -> Callable[..., Any]:
    """All first derivatives of f: ``J[i, j, ..., k, l, ...] = d out[i, j, ...] / d in[k, l, ...]``.

    The shape is ``out.shape + in.shape``: () for numbers, (n,) for R^n -> R and for R -> R^n, (m, n) for R^n -> R^m,
    and four axes for a matrix function of a matrix. ``mode`` is "rev" or "fwd"; by default the one with fewer sweeps
    (all of them run at once). With ``flatten`` both sides are flattened, row by row: a matrix of shape
    ``(out.size, in.size)``. With ``has_aux`` f returns (output, aux), and the result is (jacobian, aux).

    Of a function that returns one loss for each sample, this is the gradient of each sample.

    >>> import wengert as wg
    >>> wg.jacobian(lambda x: x * x)(wg.tensor([1.0, 2.0]))
    Tensor([[2., 0.],
            [0., 4.]])
    """
    if mode not in (None, "rev", "fwd"):
        raise ValueError(f"jacobian: mode must be 'rev', 'fwd' or None, got {mode!r}")

    @functools.wraps(f)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        r = _Recorded("jacobian", f, args, argnums, has_aux, kwargs)

        def shape(y: Tensor, x: Tensor) -> list[int]:
            return [y.size, x.size] if flatten else [*y.shape, *x.shape]

        n_in, n_out = (sum(t.size for t in ts) for ts in (r.inputs, r.outputs))
        forward = mode == "fwd" or (mode is None and n_in < n_out)
        per_output = [[None] * len(r.inputs) for _ in r.outputs]  # type: list[list[Any]]
        if forward:
            for j, x in enumerate(r.inputs):
                tangents = [
                    _basis(x.shape, x.dtype) if t is x else _core.full([x.size, *t.shape], 0.0, t.dtype)
                    for t in r.inputs
                ]
                for i, (y, pushed) in enumerate(zip(r.outputs, r.push(tangents, x.size), strict=True)):
                    order = [*range(1, 1 + y.ndim), 0]
                    per_output[i][j] = _core.reshape(_core.permute(pushed, order), shape(y, x))
        else:
            for i, y in enumerate(r.outputs):
                seeds = [_basis(y.shape, y.dtype) if t is y else None for t in r.outputs]
                for j, (x, g) in enumerate(zip(r.inputs, r.pull(seeds, y.size), strict=True)):
                    per_output[i][j] = _core.reshape(g, shape(y, x))
        result = _tree.rebuild(r.out_tree, [r.pack(row) for row in per_output])
        return (result, r.aux) if has_aux else result

    return wrapped


def hessian(f: Callable[..., Any], argnums: Argnums = 0, flatten: bool = False) -> Callable[..., Any]:
    """All second derivatives of a function that returns one number, of shape ``in.shape + in.shape``.

    With ``flatten``, a matrix of shape ``(in.size, in.size)``. For several arguments, or nested ones, the result has
    the structure of the gradient, and each of its places that structure again: ``h[i][j]`` is d²f / dxᵢ dxⱼ.

    >>> import wengert as wg
    >>> wg.hessian(lambda x: x[0] ** 2 * x[1])(wg.tensor([3.0, 5.0]))
    Tensor([[10.,  6.],
            [ 6.,  0.]])
    """
    return jacobian(grad(f, argnums), argnums, flatten=flatten)


def hvp(f: Callable[..., Any], x: Any, v: Any) -> Any:
    """The Hessian of f at x times v, without the Hessian: forward mode over reverse.

    >>> import wengert as wg
    >>> wg.hvp(lambda x: (x**3).sum(), wg.tensor([1.0, 2.0]), [1.0, 1.0])
    Tensor([ 6., 12.])
    """
    return jvp(grad(f), (x,), (v,))[1]


def taylor(f: Callable[..., Any], x: Any, order: int, direction: Any = None) -> list[Any]:
    """The coefficients c of f(x + h v) = c[0] + c[1] h + c[2] h² + ... up to ``order``, each shaped as f's output.

    v is ``direction``, by default ones: for a number or an elementwise function, c[k] is the k-th derivative over k!.
    Each is the forward derivative of the one before, on one tape, so the cost grows severalfold with each order: five
    or ten are fine, fifty are not.

    >>> import wengert as wg
    >>> wg.taylor(lambda x: (x - 2) ** 2 + 3, 1.0, 2)
    [Tensor(4.), Tensor(-2.), Tensor(1.)]
    """
    (order,) = _core.integers("taylor", "order", order)
    if not 0 <= order <= 170:
        raise ValueError(f"taylor: order must be between 0 and 170, whose factorials are float64, got {order}")
    r = _Recorded("taylor", f, (x,), (0,), False, {})
    v = [np.ones(t.shape) for t in r.inputs] if direction is None else _tree.leaves(direction)
    if len(v) != len(r.inputs):
        raise ValueError(f"taylor: {len(v)} directions for {len(r.inputs)} arrays")
    tangents = [_matching("taylor", "direction", t, like) for t, like in zip(v, r.inputs, strict=True)]
    derivative, coefficients = r.outputs, [r.values()]
    recorded = r.derivative_is_differentiable(tangents)
    before = _core.set_grad_enabled(True)
    try:
        for k in range(1, order + 1):
            derivative = _core.push(r.inputs, tangents, derivative)
            scaled = [t / math.factorial(k) for t in derivative]
            coefficients.append(_tree.rebuild(r.out_tree, scaled if recorded else [t.detach() for t in scaled]))
    finally:
        _core.set_grad_enabled(before)
    return coefficients


def check_grads(
    f: Callable[..., Any],
    args: Sequence[Any],
    order: int = 2,
    modes: Sequence[str] = ("fwd", "rev"),
    rtol: float = 1e-6,
    atol: float = 1e-6,
    eps: float = 1e-5,
    seed: int = 0,
) -> None:
    """Raises AssertionError unless f's derivatives agree with central differences, up to ``order``.

    One number decides each mode: <u, J v> with random u and v, against a difference quotient along v. Arguments are
    taken as float64; higher orders check the derivative in the same way, as a function of the arguments and of the
    cotangent or tangent.

    >>> import wengert as wg
    >>> wg.check_grads(wg.tanh, (wg.tensor([0.5, -1.0]),))
    """
    rng = np.random.default_rng(seed)
    args = tuple(_tree.map(lambda x: tensor(x, "float64"), a) for a in args)

    def draw(tree: Any) -> Any:
        return _tree.map(lambda x: tensor(rng.standard_normal(x.shape)), tree)

    def dot(a: Any, b: Any) -> float:
        return float(
            sum(np.vdot(np.asarray(x), np.asarray(y)) for x, y in zip(_tree.leaves(a), _tree.leaves(b), strict=True))
        )

    tangents = tuple(draw(a) for a in args)
    out = f(*args)
    out = _tree.map(lambda y: y.detach(), out)
    u = draw(out)

    def along(step: float) -> Any:
        moved = tuple(
            _tree.rebuild(a, [x + step * t for x, t in zip(_tree.leaves(a), _tree.leaves(v), strict=True)])
            for a, v in zip(args, tangents, strict=True)
        )
        return f(*moved)

    numeric = (dot(u, along(eps)) - dot(u, along(-eps))) / (2 * eps)
    results = {}
    if "fwd" in modes:
        results["forward mode"] = dot(u, jvp(f, args, tangents)[1])
    if "rev" in modes:
        _, pullback = vjp(f, *args)
        results["reverse mode"] = dot(pullback(u), tangents)
    for mode, got in results.items():
        if not np.isclose(got, numeric, rtol=rtol, atol=atol * max(1.0, abs(numeric))):
            raise AssertionError(f"{mode}: <u, J v> is {got:.12g}, central differences give {numeric:.12g}")
    if order > 1:
        if "rev" in modes:
            pulled = lambda u, *a: vjp(f, *a)[1](u)  # noqa: E731
            check_grads(pulled, (u, *args), order - 1, modes, rtol, atol, eps, seed + 1)
        if "fwd" in modes:
            pushed = lambda v, *a: jvp(f, a, v)[1]  # noqa: E731
            check_grads(pushed, (tangents, *args), order - 1, modes, rtol, atol, eps, seed + 1)
