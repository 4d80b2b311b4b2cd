"""``ops``: single operations, small programs and their derivatives, in float32 and float64, the same for everybody."""

import importlib

import numpy as np

import wengert as wg

from . import child
from .tables import Table, at_least, at_most, race
from .timing import COMPILED, OURS, alternate, bound, clock, optional


def ops(args):
    if jax := optional("jax"):
        jax.config.update("jax_enable_x64", True)  # or it would compute float64 cases in float32
    times, aims = {}, {}
    for dtype in ("float32", "float64"):
        for case, make in CASES.items():
            name = f"{case}, {dtype}"
            if args.only in name:
                times[name] = row = alternate(make(dtype), args.repeats)
                aims[name] = AIMS[case](row)
    if times:
        race("ops", "operation, µs", times, aims=aims, note="PyTorch: torch.func for Jacobians and Hessians.")
    if "tape".startswith(args.only):
        tape_size()


def tape_size():
    libraries = [n for n, m in {OURS: "wengert", "PyTorch": "torch", "autograd": "autograd", "MyGrad": "mygrad"}.items()
                 if optional(m)]  # fmt: skip
    table = Table("tape", "memory", [*libraries, "aim"])
    size = {n: child.ask("tape", n)[0] for n in libraries}
    table.add(
        "tape of tanh of one number, bytes a node", [f"{s:,.0f}" for s in size.values()], [at_most(size[OURS], 200)]
    )
    table.show()


# --- programs, written with a library's own names --------------------------------------------------------------


def chain(lib, x, n=100):
    for _ in range(n):
        x = lib.tanh(x)
    return x


def worked_example(lib, x):
    a = x * x
    c = a + lib.exp(a)
    return lib.sqrt(c) + lib.cos(c)


def rosenbrock(x):
    return (100.0 * (x[1:] - x[:-1] ** 2) ** 2 + (1.0 - x[:-1]) ** 2).sum()


def fastest(*functions):
    """The one that takes the least time, after a first call: for peers that offer several ways."""
    for f in functions:
        f()
    return min(functions, key=lambda f: min(clock(f, 20) for _ in range(5)))


# --- cases: contenders for a dtype -----------------------------------------------------------------------------


def addition(dtype):
    a, b = np.arange(8, dtype=dtype), np.ones(8, dtype)
    ours, other = wg.tensor(a), wg.tensor(b)
    case = {OURS: lambda: ours + other, "NumPy": lambda: a + b}
    if torch := optional("torch"):
        p, q = torch.tensor(a), torch.tensor(b)
        case["PyTorch"] = lambda: p + q
    if jax := optional("jax"):
        j, k = jax.numpy.asarray(a), jax.numpy.asarray(b)
        case["JAX"] = lambda: j + k
    return case


def recorded_addition(dtype):
    a, b = np.arange(8, dtype=dtype), np.ones(8, dtype)
    ours, other = wg.tensor(a, requires_grad=True), wg.tensor(b)
    case = {OURS: lambda: ours + other, "NumPy": lambda: a + b}
    if torch := optional("torch"):
        p, q = torch.tensor(a, requires_grad=True), torch.tensor(b)
        case["PyTorch"] = lambda: p + q
    if mg := optional("mygrad"):
        m, n = mg.tensor(a), mg.tensor(b, constant=True)
        case["MyGrad"] = lambda: m + n
    return case


def value_and_gradient(f, at):
    """Contenders for f(lib, x) and its derivative at a number."""

    def contenders(dtype):
        start = np.asarray(at, dtype)
        x, gradient = wg.tensor(start), wg.value_and_grad(lambda x: f(wg, x))

        def on_tape():
            x = wg.tensor(start, requires_grad=True)
            y = f(wg, x)
            y.backward()
            return y, x.grad

        case = {OURS: fastest(on_tape, bound(gradient, x)), COMPILED: bound(wg.compile(gradient), x)}
        if torch := optional("torch"):

            def in_torch():
                x = torch.tensor(start, requires_grad=True)
                y = f(torch, x)
                y.backward()
                return y, x.grad

            case["PyTorch"] = in_torch
        if jax := optional("jax"):
            jx, jitted = jax.numpy.asarray(start), jax.jit(jax.value_and_grad(lambda x: f(jax.numpy, x)))
            case["JAX jit"] = lambda: jax.block_until_ready(jitted(jx))
        if autograd := optional("autograd"):
            anp = importlib.import_module("autograd.numpy")
            case["autograd"] = bound(autograd.value_and_grad(lambda x: f(anp, x)), start[()])
        if mg := optional("mygrad"):

            def in_mygrad():
                x = mg.tensor(start)
                y = f(mg, x)
                y.backward()
                return y, x.grad

            case["MyGrad"] = in_mygrad
        return case

    return contenders


def derivative(make, kind="jacobian"):
    """Contenders for a Jacobian or Hessian to the first of the arrays that make() gives, of what its function does."""

    def contenders(dtype):
        f, *arrays = make()
        arrays = [a.astype(dtype) for a in arrays]
        transform, args = getattr(wg, kind)(f), [wg.tensor(a) for a in arrays]
        case = {OURS: bound(transform, *args), COMPILED: bound(wg.compile(transform), *args)}
        if torch := optional("torch"):
            ways = [torch.func.jacrev, torch.func.jacfwd] if kind == "jacobian" else [torch.func.hessian]
            there = [torch.tensor(a) for a in arrays]
            case["PyTorch"] = fastest(*(bound(way(f), *there) for way in ways))
        if jax := optional("jax"):
            ways = [jax.jacrev, jax.jacfwd] if kind == "jacobian" else [jax.hessian]
            devices = [jax.numpy.asarray(a) for a in arrays]
            jitted = [jax.jit(way(f)) for way in ways]
            case["JAX jit"] = fastest(*(lambda g=g: g(*devices).block_until_ready() for g in jitted))
        if (autograd := optional("autograd")) and arrays[0].ndim < 2:
            case["autograd"] = bound(getattr(autograd, kind)(f), *arrays)
        check(case)
        return case

    return contenders


def check(case):
    """The same numbers from everybody."""
    results = {name: np.asarray(f()) for name, f in case.items()}
    for name, result in results.items():
        np.testing.assert_allclose(result, results[OURS], rtol=1e-4, atol=1e-4, err_msg=name)


def product():
    rng = np.random.default_rng(0)
    return lambda A, B: A @ B, rng.standard_normal((8, 8)), rng.standard_normal((8, 6))


def gram():
    return lambda B: B.T @ B, np.random.default_rng(0).standard_normal((16, 16))


def banana():
    return rosenbrock, np.random.default_rng(0).uniform(-1, 1, 50)


CASES = {
    "a + b, 8 numbers": addition,
    "a + b, 8 numbers, recorded": recorded_addition,
    "chain of 100 tanh, value and gradient": value_and_gradient(chain, 0.5),
    "worked example, value and gradient": value_and_gradient(worked_example, 1.5),
    "d(AB)/dA, 8×8 by 8×6": derivative(product),
    "d(BᵀB)/dB, 16×16": derivative(gram),
    "Hessian of Rosenbrock's function, 50": derivative(banana, "hessian"),
}


def microseconds(eager, replayed, jax=None):
    """Aims in µs for the eager and the compiled form, and for JAX's time over the compiled one's."""

    def aims(row):
        said = [at_most(row[OURS] * 1e6, eager, " eager"), at_most(row[COMPILED] * 1e6, replayed, " compiled")]
        if jax and "JAX jit" in row:
            said.append(at_least(row["JAX jit"] / row[COMPILED], jax, " JAX"))
        return said

    return aims


AIMS = {
    "a + b, 8 numbers": lambda row: [at_most(row[OURS] / row["NumPy"], 0.5, " NumPy")],
    "a + b, 8 numbers, recorded": lambda row: [at_most(row[OURS] / row["NumPy"], 1, " NumPy")],
    "chain of 100 tanh, value and gradient": microseconds(60, 3),
    "worked example, value and gradient": microseconds(4, 1, 6),
    "d(AB)/dA, 8×8 by 8×6": microseconds(50, 6, 3),
    "d(BᵀB)/dB, 16×16": microseconds(160, 65, 3),
    "Hessian of Rosenbrock's function, 50": microseconds(200, 9, 2),
}


# --- what a recorded node takes: functions that record a chain of n and return what holds it --------------------


def tape_of_wengert():
    return lambda n: chain(wg, wg.tensor(0.5, requires_grad=True), n)


def tape_of_pytorch():
    torch = optional("torch")
    return lambda n: chain(torch, torch.tensor(0.5, requires_grad=True), n)


def tape_of_autograd():
    anp, core = importlib.import_module("autograd.numpy"), importlib.import_module("autograd.core")
    vspace = importlib.import_module("autograd.wrap_util")
    return lambda n: vspace.unary_to_nary(core.make_vjp)(lambda x: chain(anp, x, n))(0.5)


def tape_of_mygrad():
    mg = optional("mygrad")
    return lambda n: chain(mg, mg.tensor(0.5), n)


TAPES = {
    OURS: tape_of_wengert,
    "PyTorch": tape_of_pytorch,
    "autograd": tape_of_autograd,
    "MyGrad": tape_of_mygrad,
}
