"""Against PyTorch and JAX, over random shapes: values, vjp, jvp and second order of the operations all of us have.

Skipped where they are not installed. Samples stay off kinks, where each library has its own rule.
"""

import numpy as np
import pytest

import wengert as wg

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
jax.config.update("jax_enable_x64", True)
jnp = jax.numpy

ELEMENTWISE = {op["name"]: op for op in wg._core.op_table if op["differentiable"]}
NAMES_IN_JAX = {"sigmoid": jax.nn.sigmoid, "softplus": jax.nn.softplus, "silu": jax.nn.silu, "relu": jax.nn.relu,
                "relu6": jax.nn.relu6, "erf": jax.scipy.special.erf, "erfc": jax.scipy.special.erfc,
                "erfinv": jax.scipy.special.erfinv, "xlogy": jax.scipy.special.xlogy, "rsqrt": jax.lax.rsqrt,
                "log_sigmoid": jax.nn.log_sigmoid, "softsign": jax.nn.soft_sign, "selu": jax.nn.selu,
                "mish": jax.nn.mish, "lgamma": jax.scipy.special.gammaln,
                "digamma": jax.scipy.special.digamma}  # fmt: skip
SHAPES = [(3,), (2, 4), (2, 1, 3)]


def draw(domain, shape, seed):
    return np.random.default_rng(seed).uniform(*domain, shape)


def structural():
    """Name -> (ours, PyTorch's, JAX's, shapes of the operands)."""
    index = np.array([2, 0, 2, 1])
    labels = np.array([0, 2, 1, 2])
    return {
        "matmul": (wg.matmul, torch.matmul, jnp.matmul, [(3, 4), (4, 2)]),
        "batched matmul": (wg.matmul, torch.matmul, jnp.matmul, [(2, 1, 3, 4), (5, 4, 2)]),
        "matrix times vector": (wg.matmul, torch.matmul, jnp.matmul, [(2, 3, 4), (4,)]),
        "gram": (lambda b: b.T @ b, lambda b: b.T @ b, lambda b: b.T @ b, [(4, 3)]),
        "sum": (lambda x: wg.sum(x, (0, 2)), lambda x: x.sum((0, 2)), lambda x: x.sum((0, 2)), [(2, 3, 4)]),
        "mean": (lambda x: wg.mean(x, -1), lambda x: x.mean(-1), lambda x: x.mean(-1), [(2, 3, 4)]),
        "max": (lambda x: wg.max(x, 1), lambda x: x.amax(1), lambda x: x.max(1), [(2, 3, 4)]),
        "min": (lambda x: wg.min(x, 0), lambda x: x.amin(0), lambda x: x.min(0), [(2, 3, 4)]),
        "logsumexp": (lambda x: wg.logsumexp(x, (0, 2)), lambda x: x.logsumexp((0, 2)),
                      lambda x: jax.nn.logsumexp(x, (0, 2)), [(2, 3, 4)]),
        "softmax": (lambda x: wg.softmax(x, 1), lambda x: x.softmax(1), lambda x: jax.nn.softmax(x, 1), [(2, 3, 4)]),
        "log_softmax": (wg.log_softmax, lambda x: x.log_softmax(-1), jax.nn.log_softmax, [(2, 3, 4)]),
        "cross-entropy": (lambda x: wg._core.softmax_cross_entropy(x, wg.tensor(labels)),
                          lambda x: torch.nn.functional.cross_entropy(x, torch.tensor(labels), reduction="none"),
                          lambda x: -jax.nn.log_softmax(x)[jnp.arange(4), labels], [(4, 3)]),
        "gather": (lambda x: x[index], lambda x: x[index], lambda x: x[index], [(3, 2)]),
        "slices": (lambda x: x[1:, ::2] * x[:-1, 1::2], lambda x: x[1:, ::2] * x[:-1, 1::2],
                   lambda x: x[1:, ::2] * x[:-1, 1::2], [(3, 4)]),
        "concat": (lambda x, y: wg.concat([x, y * y], 1), lambda x, y: torch.cat([x, y * y], 1),
                   lambda x, y: jnp.concatenate([x, y * y], 1), [(2, 3), (2, 1)]),
        "permute": (lambda x: wg.permute_dims(x, (2, 0, 1)) ** 3, lambda x: x.permute(2, 0, 1) ** 3,
                    lambda x: x.transpose(2, 0, 1) ** 3, [(2, 3, 4)]),
        "where": (lambda x, y: wg.where(x > 0, x * y, y**3), lambda x, y: torch.where(x > 0, x * y, y**3),
                  lambda x, y: jnp.where(x > 0, x * y, y**3), [(3, 4), (4,)]),
        "network": (lambda x, w, v: wg.tanh(wg.sigmoid(x @ w) @ v),
                    lambda x, w, v: torch.tanh(torch.sigmoid(x @ w) @ v),
                    lambda x, w, v: jnp.tanh(jax.nn.sigmoid(x @ w) @ v), [(5, 3), (3, 4), (4, 2)]),
    }  # fmt: skip


STRUCTURAL = structural()


def all_of_wengert(f, args, tangents, u):
    value, tangent = wg.jvp(f, args, tangents)
    cotangents = wg.vjp(f, *args)[1](u)
    scalar = lambda *a: wg.sum(f(*a) * u)  # noqa: E731
    second = wg.jvp(wg.grad(scalar, tuple(range(len(args)))), args, tangents)[1]
    return [value, tangent, *cotangents, *second]


def all_of_torch(f, args, tangents, u):
    args, tangents, u = [torch.tensor(a) for a in args], tuple(torch.tensor(t) for t in tangents), torch.tensor(u)
    value, pullback = torch.func.vjp(f, *args)
    _, tangent = torch.autograd.functional.jvp(f, tuple(args), tangents)
    scalar = lambda *a: (f(*a) * u).sum()  # noqa: E731
    _, second = torch.autograd.functional.vhp(scalar, tuple(args), tangents)  # the Hessian is symmetric
    return [t.numpy(force=True) for t in (value, tangent, *pullback(u), *second)]


def all_of_jax(f, args, tangents, u):
    value, tangent = jax.jvp(f, tuple(args), tuple(tangents))
    cotangents = jax.vjp(f, *args)[1](jnp.asarray(u))
    scalar = lambda *a: (f(*a) * u).sum()  # noqa: E731
    second = jax.jvp(jax.grad(scalar, tuple(range(len(args)))), tuple(args), tuple(tangents))[1]
    return [value, tangent, *cotangents, *second]


def compare(ours, theirs, evaluate, args, rtol):
    rng = np.random.default_rng(5)
    tangents = [rng.standard_normal(a.shape) for a in args]
    u = rng.standard_normal(wg.asarray(ours(*args)).shape)
    for got, want in zip(all_of_wengert(ours, args, tangents, u), evaluate(theirs, args, tangents, u), strict=True):
        want = np.asarray(want)
        assert got.shape == want.shape
        np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_against_torch(name):
    theirs = getattr(torch, name, None) or getattr(torch.nn.functional, name, None)
    if name in ("gelu_tanh", "where", "polygamma", "hardsigmoid", "floor_divide") or theirs is None:
        pytest.skip(f"PyTorch has no {name}, or no derivatives of it")
    op = ELEMENTWISE[name]
    for seed, shape in enumerate(SHAPES):
        args = [draw(d, shape, 10 * seed + k) for k, d in enumerate(op["domain"])]
        if name in ("leaky_relu", "elu", "celu"):  # their parameter is a number, which PyTorch rounds to float32
            p, args = 0.5, args[:1]
            compare(lambda x, p=p: getattr(wg._core, name)(x, p), lambda x, p=p: theirs(x, p), all_of_torch, args, 1e-9)
        else:
            compare(getattr(wg._core, name), theirs, all_of_torch, args, 1e-9)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_against_jax(name):
    theirs = NAMES_IN_JAX.get(name) or getattr(jnp, {"pow": "power"}.get(name, name), None)
    if name == "where" or theirs is None:
        pytest.skip(f"JAX has no {name}")
    op = ELEMENTWISE[name]
    for seed, shape in enumerate(SHAPES[1:2]):
        args = [draw(d, shape, 10 * seed + k) for k, d in enumerate(op["domain"])]
        compare(getattr(wg._core, name), theirs, all_of_jax, args, 1e-9)


@pytest.mark.parametrize("name", STRUCTURAL)
@pytest.mark.parametrize("peer", ["torch", "jax"])
def test_structural(name, peer):
    ours, theirs_in_torch, theirs_in_jax, shapes = STRUCTURAL[name]
    args = [np.random.default_rng(k).standard_normal(s) for k, s in enumerate(shapes)]
    if peer == "torch":
        compare(ours, theirs_in_torch, all_of_torch, args, 1e-10)
    else:
        compare(ours, theirs_in_jax, all_of_jax, args, 1e-10)
