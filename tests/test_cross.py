"""Every public function under every transform, eagerly, on a visible tape, while recording and at replays.

The functions are those that the package lists, so a new one without an example fails here; elementwise ones take their
example from the page of derivatives. Each is made a map F of one vector, whose Jacobian and Hessian are compared with
central differences; what the transforms give must then agree with these two, and be the same in every surrounding.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import wengert as wg
from wengert import _core, _tree

la, nn = wg.linalg, wg.nn
F = Callable[..., Any]


def values(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> Any:
    return np.random.default_rng(seed).uniform(low, high, shape)


# --- the functions ----------------------------------------------------------------------------------------------
V, W = values(3), values(3, seed=1)
M, SQUARE = values(2, 3), values(3, 3, seed=2)
OFF_ZERO = values(4, low=0.3, high=2.0) * [1, -1, -1, 1]
WELL = SQUARE + 4 * np.eye(3)
BATCH = np.stack([WELL, WELL.T + 0.5])

# name: (function of arrays, the arrays)
EXAMPLES: dict[str, tuple[Any, ...]] = {
    "fabs": (lambda x: wg.fabs(x) * x, OFF_ZERO),
    "rint": (lambda x: wg.rint(x) * x, OFF_ZERO),
    "stop_gradient": (lambda x: x * wg.stop_gradient(x) / wg.stop_gradient(x), OFF_ZERO),
    "asarray": (lambda x: wg.asarray(x) * 2.0, V),
    "full": (lambda x: wg.full((3,), 2.0) * x, V),
    "full_like": (lambda x: wg.full_like(x, 2.0) * x, V),
    "ones": (lambda x: wg.ones(3) * x, V),
    "ones_like": (lambda x: wg.ones_like(x) * x, V),
    "zeros": (lambda x: wg.zeros(3) + x, V),
    "zeros_like": (lambda x: wg.zeros_like(x) + x, V),
    "arange": (lambda x: wg.arange(3.0) * x, V),
    "linspace": (lambda x: wg.linspace(0.0, 1.0, 3) * x, V),
    "eye": (lambda x: wg.eye(3) @ x, V),
    "floor_divide": (lambda x: (x // 0.7) * x, OFF_ZERO),
    "isfinite": (lambda x: wg.where(wg.isfinite(x), x * x, x), V),
    "isinf": (lambda x: wg.where(wg.isinf(x), x, x * x), V),
    "isnan": (lambda x: wg.where(wg.isnan(x), x, x * x), V),
    "logical_not": (lambda x: wg.where(wg.logical_not(x > 0), x, x * x), OFF_ZERO),
    "nan_to_num": (lambda x: wg.nan_to_num(x) * x, V),
    "positive": (lambda x: wg.positive(x) * x, V),
    "select": (lambda x: wg.select([x > 1, x > 0], [x * x, x**3], wg.sin(x)), OFF_ZERO),
    "argsort": (lambda x: x[wg.argsort(x)] * x, V),
    "at_add": (lambda x, y: wg.at_add(x, [0, 0], y[:2]) * x, V, W),
    "at_set": (lambda x, y: wg.at_set(x, slice(0, 2), y[1:]) * x, V, W),
    "sort": (lambda x: wg.sort(x, axis=0, descending=True) * x, M),
    "take": (lambda x: wg.take(x, [2, 0, 2], axis=1) ** 2, M),
    "take_along_axis": (lambda x: wg.take_along_axis(x, [[1, 2], [0, 0]], axis=1) ** 2, M),
    "top_k": (lambda x: wg.top_k(x, 2)[0] ** 2, M),
    "cross": (wg.cross, V, W),
    "dot": (wg.dot, M, W),
    "einsum": (lambda x, y: wg.einsum("ij,jk->ki", x, y), M, SQUARE),
    "inner": (wg.inner, M, SQUARE),
    "kron": (wg.kron, M, W),
    "matmul": (wg.matmul, M, SQUARE),
    "outer": (wg.outer, V, W),
    "tensordot": (lambda x, y: wg.tensordot(x, y, 1), M, SQUARE),
    "vecdot": (wg.vecdot, M, W),
    "all": (lambda x: wg.where(wg.all(x > -9), x * x, x), V),
    "any": (lambda x: wg.where(wg.any(x > 9), x, x * x), V),
    "argmax": (lambda x: x[wg.argmax(x)] * x, V),
    "argmin": (lambda x: wg.take(x, wg.argmin(x)) * x, V),
    "average": (lambda x, w: wg.average(x, weights=w), V, W + 5),
    "count_nonzero": (lambda x: wg.count_nonzero(x > 0) * x, OFF_ZERO),
    "cumulative_prod": (wg.cumulative_prod, V),
    "cumulative_sum": (lambda x: wg.cumulative_sum(x * x, axis=1), M),
    "diff": (lambda x: wg.diff(x * x, 2), V),
    "log_softmax": (lambda x: wg.log_softmax(x, axis=0), M),
    "logsumexp": (lambda x: wg.logsumexp(x, axis=1), M),
    "max": (lambda x: wg.max(x, axis=0), M),
    "mean": (lambda x: wg.mean(x * x, axis=1), M),
    "min": (wg.min, M),
    "prod": (lambda x: wg.prod(x, axis=1), M),
    "softmax": (wg.softmax, M),
    "std": (lambda x: wg.std(x, axis=0), M),
    "sum": (lambda x: wg.sum(x**3, axis=0), M),
    "var": (wg.var, V),
    "broadcast_arrays": (lambda x, y: wg.broadcast_arrays(x * x, y), M, W),
    "broadcast_to": (lambda x: wg.broadcast_to(x * x, (2, 3)), V),
    "concat": (lambda x, y: wg.concat([x, y * y]), V, W),
    "diag": (lambda x: wg.diag(x * x), V),
    "diagonal": (lambda x: wg.diagonal(x * x), SQUARE),
    "expand_dims": (lambda x: wg.expand_dims(x * x, 0), V),
    "flip": (lambda x: wg.flip(x * x), V),
    "matrix_transpose": (lambda x: wg.matrix_transpose(x * x), M),
    "meshgrid": (lambda x, y: wg.meshgrid(x * x, y), V, W[:2]),
    "moveaxis": (lambda x: wg.moveaxis(x * x, 0, 1), M),
    "pad": (lambda x: wg.pad(x * x, 1), V),
    "permute_dims": (lambda x: wg.permute_dims(x * x, (1, 0)), M),
    "ravel": (lambda x: wg.ravel(x * x), M),
    "repeat": (lambda x: wg.repeat(x * x, 2), V),
    "reshape": (lambda x: wg.reshape(x * x, (3, 2)), M),
    "roll": (lambda x: wg.roll(x * x, 1), V),
    "split": (lambda x: wg.split(x * x, 3), V),
    "squeeze": (lambda x: wg.squeeze(x * x), values(3, 1)),
    "stack": (lambda x, y: wg.stack([x * x, y]), V, W),
    "swapaxes": (lambda x: wg.swapaxes(x * x, 0, 1), M),
    "tile": (lambda x: wg.tile(x * x, 2), V),
    "trace": (lambda x: wg.trace(x * x), SQUARE),
    "transpose": (lambda x: wg.transpose(x * x), M),
    "tril": (lambda x: wg.tril(x * x), SQUARE),
    "triu": (lambda x: wg.triu(x * x), SQUARE),
    "unstack": (lambda x: wg.unstack(x * x), M),
    "linalg.cholesky": (lambda x: la.cholesky(x @ x.T), WELL),
    "linalg.det": (la.det, BATCH),
    "linalg.diagonal": (lambda x: la.diagonal(x * x), SQUARE),
    "linalg.eigh": (lambda x: la.eigh(x @ x.T), WELL),
    "linalg.eigvalsh": (lambda x: la.eigvalsh(x @ x.T), WELL),
    "linalg.inv": (la.inv, WELL),
    "linalg.lstsq": (lambda a, b: la.lstsq(a, b)[:2], values(4, 2, seed=3), values(4, seed=4)),
    "linalg.matrix_norm": (la.matrix_norm, WELL),
    "linalg.matrix_norm nuc": (lambda x: la.matrix_norm(x, ord="nuc"), WELL),
    "linalg.matrix_norm 2": (lambda x: la.matrix_norm(x, ord=2), WELL),
    "linalg.matrix_power": (lambda x: la.matrix_power(x, -2), WELL),
    "linalg.norm": (la.norm, V),
    "linalg.pinv": (la.pinv, values(3, 2, seed=3)),
    "linalg.qr": (la.qr, values(3, 2, seed=3)),
    "linalg.slogdet": (la.slogdet, WELL),
    "linalg.solve": (la.solve, WELL, V),
    "linalg.solve_triangular": (la.solve_triangular, WELL, V),
    "linalg.svd": (lambda x: la.svd(x, full_matrices=False), values(3, 2, seed=3)),
    "linalg.svdvals": (la.svdvals, values(3, 2, seed=3)),
    "linalg.trace": (lambda x: la.trace(x * x), SQUARE),
    "linalg.vector_norm": (lambda x: [la.vector_norm(x, ord=p) for p in (2, 3, 1, np.inf)], OFF_ZERO),
    "nn.binary_cross_entropy_with_logits": (nn.binary_cross_entropy_with_logits, V, values(3, low=0.1, high=0.9)),
    "nn.cross_entropy": (lambda x: nn.cross_entropy(x, [2, 0], label_smoothing=0.1), M),
    "nn.huber_loss": (nn.huber_loss, OFF_ZERO, np.zeros(4) + 0.1),
    "nn.l1_loss": (nn.l1_loss, OFF_ZERO, np.zeros(4) + 0.1),
    "nn.mse_loss": (nn.mse_loss, V, W),
    "nn.nll_loss": (lambda x: nn.nll_loss(wg.log_softmax(x), [2, 0]), M),
}

# Not functions of arrays, or applied to all the others here.
OTHERS = {
    "Compiled", "Tape", "Tensor", "__version__", "check_grads", "compile", "get_num_threads", "grad", "hessian", "hvp",
    "jacobian", "jvp", "linalg", "linearize", "load", "nn", "no_grad", "optim", "primitive", "save", "set_num_threads",
    "show_config", "taylor", "tensor", "threads", "value_and_grad", "vjp", "linalg.LinAlgError", "nn.ACTIVATIONS",
    "nn.MLP", "nn.BatchNorm1d", "nn.Dropout", "nn.LayerNorm", "nn.Linear", "nn.Module", "nn.Sequential", "nn.fit",
    "nn.init",
}  # fmt: skip


def elementwise(op: dict[str, Any]) -> tuple[Any, ...]:
    """A function of the page and a point of its domain; a predicate as a condition."""
    f = getattr(wg, op["name"])
    low, high = np.reshape(op["domain"], (-1, 2)).T
    at = [values(3, seed=k, low=lo, high=hi) for k, (lo, hi) in enumerate(zip(low, high, strict=True))]
    if op["name"] == "polygamma":
        return (lambda x: f(1.0, x)), at[1]
    if not op["differentiable"]:
        return (lambda a, b: wg.where(f(a, b), a * b, wg.sin(a))), *at
    return (f, *at)


for op in _core.op_table:
    EXAMPLES.setdefault(op["name"], elementwise(op))

# --- layers, and functions with parts that have no derivative ---------------------------------------------------
LEAF = wg.tensor(W, requires_grad=True)


def in_no_grad(x: Any) -> Any:
    with wg.no_grad():
        y = wg.exp(x)
    return x * y


@wg.primitive
def cubed(x: Any) -> Any:
    return x**3


cubed.defvjp(lambda g, y, x: 3.0 * x**2 * g)


@wg.primitive
def pair(x: Any, y: Any) -> Any:
    return x * y, np.sin(x)


pair.defjvp(lambda t, r, x, y: (t * y, t * wg.cos(x)), lambda t, r, x, y: (x * t, None))

# name: (function, the same with a constant copy c of x for what does not move, x)
PARTS: dict[str, tuple[F, F, Any]] = {
    "stop_gradient": (lambda x: x * wg.stop_gradient(wg.exp(x)), lambda x, c: x * np.exp(c), V),
    "detach": (lambda x: x**2 * x.detach(), lambda x, c: x**2 * c, V),
    "no_grad": (in_no_grad, lambda x, c: x * np.exp(c), V),
    "to integers": (lambda x: x.astype("int64") * x**2, lambda x, c: c.astype("int64") * x**2, OFF_ZERO * 3),
    "to bool": (lambda x: (x > 0).astype("float64") * x**2, lambda x, c: (c > 0) * x**2, OFF_ZERO),
    "rounding": (lambda x: wg.round(x) * x**2, lambda x, c: np.round(c) * x**2, V * 3),
    "sign": (lambda x: wg.sign(x) * x**2, lambda x, c: np.sign(c) * x**2, OFF_ZERO),
    "sorted": (lambda x: wg.sort(x) * x, lambda x, c: wg.take(x, np.argsort(c)) * x, V),
    "maximum by position": (lambda x: x[wg.argmax(x)] * x, lambda x, c: x[int(np.argmax(c))] * x, V),
    "mask": (lambda x: wg.where(x > 0, x**3, 0.0), lambda x, c: (c > 0) * x**3, OFF_ZERO),
    "masked pole": (
        lambda x: wg.where(x > 0, wg.log(wg.maximum(x, 1e-3)), x),
        lambda x, c: (c > 0) * wg.log(abs(x)) + (c <= 0) * x, OFF_ZERO),
    "count": (lambda x: wg.sum(x > 0) * x**2, lambda x, c: np.sum(c > 0) * x**2, OFF_ZERO),
    "nan": (lambda x: wg.where(wg.isnan(x), 0.0, x**2), lambda x, c: x**2, V),
    "a leaf of the user": (lambda x: x**2 * LEAF, lambda x, c: x**2 * W, V),
    "a derivative inside": (lambda x: wg.grad(lambda t: (t**3).sum())(x) * x, lambda x, c: 3 * x**3, V),
    "a derivative cut off": (
        lambda x: wg.stop_gradient(wg.grad(lambda t: (t**3).sum())(x)) * x, lambda x, c: 3 * c**2 * x, V),
    "a tangent inside": (lambda x: wg.jvp(wg.sin, (x,), (x,))[1], lambda x, c: wg.cos(x) * x, V),
    "a cotangent inside": (lambda x: wg.vjp(wg.sin, x)[1](x**2)[0], lambda x, c: wg.cos(x) * x**2, V),
    "a primitive with a reverse rule": (cubed, lambda x, c: x**3, V),
    "a primitive with a forward rule": (lambda x: pair(x, x), lambda x, c: [x**2, wg.sin(x)], V),
    "constant": (lambda x: 0.0 * wg.stop_gradient(x) + 1.0, lambda x, c: np.ones(3), V),
    "partly constant": (lambda x: [x[0] ** 2, wg.ones(2)], lambda x, c: [x[0] ** 2, wg.ones(2)], V),
    "Linear": (nn.Linear(3, 2, dtype="float64"), None, M),
    "LayerNorm": (nn.LayerNorm(3, dtype="float64"), None, M),
    "BatchNorm1d": (nn.BatchNorm1d(3, dtype="float64").eval(), None, M),
    "Dropout": (nn.Dropout(0.5).eval(), None, M),
    "MLP": (nn.MLP([3, 4, 2], "tanh", dtype="float64"), None, M),
    "Sequential": (nn.Sequential(nn.Linear(3, 2, dtype="float64"), wg.gelu), None, M),
}  # fmt: skip


class Case:
    """F as a function of one vector, and s, one number made of it. `frozen` does the differences."""

    def __init__(self, f: F, frozen: F | None, *args: Any):
        self.x = np.concatenate([np.ravel(a) for a in args])
        self.shapes = [np.shape(a) for a in args]
        self.f, self.parts = f, frozen

    def unpacked(self, z: Any) -> list[Any]:
        if len(self.shapes) == 1:
            return [z.reshape(self.shapes[0])]
        sizes = np.cumsum([0, *(int(np.prod(s)) for s in self.shapes)])
        return [z[a:b].reshape(s) for a, b, s in zip(sizes, sizes[1:], self.shapes, strict=False)]

    @staticmethod
    def packed(out: Any) -> Any:
        ys = [wg.asarray(y) for y in _tree.leaves(out)]
        ys = [wg.ravel(y) for y in ys if y.dtype.kind == "f"]
        return ys[0] if len(ys) == 1 else wg.concat(ys)

    def F(self, z: Any) -> Any:
        return self.packed(self.f(*self.unpacked(z)))

    def frozen(self, c: Any) -> F:
        return (lambda z: self.packed(self.parts(*self.unpacked(z), *self.unpacked(c)))) if self.parts else self.F


def number(f: F) -> F:
    """One number made of f's results, such that no second derivative of F is lost."""

    def s(z: Any) -> Any:
        y = f(z)
        return wg.sum(y * wg.cos(wg.arange(y.size) + 0.0) + 0.25 * y * y)

    return s


CASES = {name: Case(f, None, *args) for name, (f, *args) in EXAMPLES.items()}
CASES |= {f"with {name}": Case(f, frozen, x) for name, (f, frozen, x) in PARTS.items()}


def objects(module: Any, prefix: str = "") -> dict[str, Any]:
    return {prefix + name: getattr(module, name) for name in module.__all__}


def test_every_public_function_has_an_example() -> None:
    public = objects(wg) | objects(la, "linalg.") | objects(nn, "nn.")
    tried = [public[name] for name in EXAMPLES if name in public]
    missing = [n for n, f in public.items() if n not in EXAMPLES and n not in OTHERS and not any(f is t for t in tried)]
    assert not missing, f"add examples of these to EXAMPLES: {missing}"
    assert not OTHERS - public.keys() and not OTHERS & EXAMPLES.keys()


# --- the transforms: each takes F, s, a point x, tangents v and w, cotangents u, and says what it should give ------
def second(f: F, s: F, x: Any, v: Any, w: Any, u: Any) -> Any:
    return wg.grad(lambda x: wg.sum(v * wg.grad(s)(x)))(x)


def linearized(f: F, s: F, x: Any, v: Any, w: Any, u: Any) -> Any:
    y, push = wg.linearize(f, x)
    return y, push(v), push(w)


def pulled(f: F, s: F, x: Any, v: Any, w: Any, u: Any) -> Any:
    y, pull = wg.vjp(f, x)
    return y, pull(u)[0]


# name: (the transform, what it gives by the value y, the Jacobian J, the gradient g and the Hessian H of s)
TRANSFORMS: dict[str, tuple[F, F]] = {
    "jvp": (lambda f, s, x, v, w, u: wg.jvp(f, (x,), (v,)), lambda y, J, g, H, v, w, u: (y, J @ v)),
    "linearize": (linearized, lambda y, J, g, H, v, w, u: (y, J @ v, J @ w)),
    "vjp": (pulled, lambda y, J, g, H, v, w, u: (y, J.T @ u)),
    "jacobian fwd": (lambda f, s, x, v, w, u: wg.jacobian(f, mode="fwd")(x), lambda y, J, g, H, v, w, u: J),
    "jacobian rev": (lambda f, s, x, v, w, u: wg.jacobian(f, mode="rev")(x), lambda y, J, g, H, v, w, u: J),
    "grad": (lambda f, s, x, v, w, u: wg.grad(s)(x), lambda y, J, g, H, v, w, u: g),
    "hessian": (lambda f, s, x, v, w, u: wg.hessian(s)(x), lambda y, J, g, H, v, w, u: H),
    "hvp": (lambda f, s, x, v, w, u: wg.hvp(s, x, v), lambda y, J, g, H, v, w, u: H @ v),
    "taylor": (lambda f, s, x, v, w, u: wg.taylor(s, x, 2, v)[1:], lambda y, J, g, H, v, w, u: (g @ v, v @ H @ v / 2)),
    "grad of grad": (second, lambda y, J, g, H, v, w, u: H @ v),
    "jvp of grad": (lambda f, s, x, v, w, u: wg.jvp(wg.grad(s), (x,), (v,)), lambda y, J, g, H, v, w, u: (g, H @ v)),
    "jvp of jvp": (
        lambda f, s, x, v, w, u: wg.jvp(lambda x: wg.jvp(s, (x,), (v,))[1], (x,), (w,)),
        lambda y, J, g, H, v, w, u: (g @ v, w @ H @ v),
    ),
    "grad of jvp": (
        lambda f, s, x, v, w, u: wg.grad(lambda x: wg.jvp(s, (x,), (v,))[1])(x),
        lambda y, J, g, H, v, w, u: H @ v,
    ),
    "by the cotangent": (
        lambda f, s, x, v, w, u: wg.grad(lambda u: wg.sum(wg.vjp(f, x)[1](u)[0] * v))(u),
        lambda y, J, g, H, v, w, u: J @ v,
    ),
    "forwards by the cotangent": (
        lambda f, s, x, v, w, u: wg.jvp(lambda t: wg.vjp(f, x)[1](u * t)[0], (1.0,), (2.0,)),
        lambda y, J, g, H, v, w, u: (J.T @ u, 2 * J.T @ u),
    ),
    "by the tangent": (
        lambda f, s, x, v, w, u: wg.grad(lambda v: wg.sum(wg.jvp(f, (x,), (v,))[1] * u))(v),
        lambda y, J, g, H, v, w, u: J.T @ u,
    ),
    "by the tangent of a linear map": (
        lambda f, s, x, v, w, u: wg.jacobian(wg.linearize(f, x)[1])(v),
        lambda y, J, g, H, v, w, u: J,
    ),
    "by hvp's vector": (
        lambda f, s, x, v, w, u: wg.grad(lambda v: wg.sum(wg.hvp(s, x, v) * w))(v),
        lambda y, J, g, H, v, w, u: H @ w,
    ),
}


def arrays(result: Any) -> list[Any]:
    return [np.asarray(t) for t in _tree.leaves(result)]


def differences(f: F, x: Any) -> Any:
    """The Jacobian of f by central differences."""
    h = 1e-5 * np.maximum(1.0, np.abs(x))
    columns = [(f(x + e) - f(x - e)) / (2 * step) for e, step in zip(np.diag(h), h, strict=True)]
    return np.stack(columns, -1)


def close(got: Any, want: Any, rtol: float, label: str = "") -> None:
    got, want = np.asarray(got), np.asarray(want)
    assert got.shape == want.shape, label
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol * max(1.0, np.abs(want).max(initial=0.0)), err_msg=label)


class Reference:
    """Value, Jacobian, gradient and Hessian at a point, and some directions."""

    def __init__(self, case: Case, x: Any, seed: int):
        rng = np.random.default_rng(seed)
        s, frozen = number(case.F), case.frozen(x)
        self.x = x
        self.y = case.F(wg.tensor(x)).numpy()
        self.J = wg.jacobian(case.F, mode="rev")(wg.tensor(x)).numpy()
        self.g = wg.grad(s)(wg.tensor(x)).numpy()
        self.H = wg.hessian(s)(wg.tensor(x)).numpy()
        self.v, self.w, self.u = (rng.standard_normal(n) for n in (x.size, x.size, self.y.size))
        close(self.J, differences(lambda x: frozen(wg.tensor(x)).numpy(), x), 2e-7)
        gradient = wg.grad(number(frozen))
        close(self.H, differences(lambda x: gradient(wg.tensor(x)).numpy(), x), 2e-6)

    def inputs(self) -> tuple[Any, ...]:
        return self.x, self.v, self.w, self.u

    def of(self, rule: F) -> list[Any]:
        return arrays(rule(self.y, self.J, self.g, self.H, self.v, self.w, self.u))


@pytest.mark.parametrize("name", CASES)
def test_cross(name: str) -> None:
    case = CASES[name]
    here, there = Reference(case, case.x, 0), Reference(case, case.x * (1 + 1e-3), 1)
    same = 1e-12 if name.startswith("linalg.") else 0.0  # LAPACK's last bits depend on where its arrays lie
    for label, (transform, rule) in TRANSFORMS.items():

        def run(*args: Any, transform: F = transform) -> Any:
            return transform(case.F, number(case.F), *args)

        def at(point: Reference, f: F) -> list[Any]:
            return arrays(f(*(wg.tensor(a) for a in point.inputs())))

        plain = {point: at(point, run) for point in (here, there)}
        for point, got in plain.items():
            for a, b in zip(got, point.of(rule), strict=True):
                close(a, b, 1e-9, label)
        with wg.Tape():
            found = [(here, at(here, run))]
        compiled = wg.compile(run)
        found += [(point, at(point, compiled)) for point in (here, there, here)]  # one recording and two replays
        assert len(compiled.stats()) == 1
        for point, got in found:
            for a, b in zip(got, plain[point], strict=True):
                close(a, b, same, label)
