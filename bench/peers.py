"""Wengert beside its peers, in one run, on one pinned core.

    python bench/peers.py train | ops | elementwise | matmul | footprint [--repeats 9] [--only TEXT] [--cpu-time]
                          [--write FILE.md] [--picture FILE.svg]

Times are medians of alternating repeats: every contender runs once, then every contender again, so that a machine that
slows down slows all of them. What counts are the ratios; absolute times drift. A peer that is not installed is left
out. Training contenders start from the same weights, see the same batch, and must report the same losses.
On a machine that others use too, --cpu-time keeps their share out; but it also counts what a peer's helper threads do,
so times of JAX are fair by the clock on the wall only.
"""

import os

# Before NumPy and friends are imported: one core, one thread.
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "WENGERT_NUM_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import contextlib
import datetime
import importlib
import importlib.metadata
import itertools
import math
import platform
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np

import wengert as wg

OURS = "wengert"
OUR_COLORS = {OURS: "#e3a088", f"{OURS} compiled": "#b8401b"}


def optional(name):
    """The module, or None if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def alternate(contenders, repeats):
    """Median seconds a call of each function, by name."""
    calls = {}
    for name, f in contenders.items():
        calls[name] = 1
        while calls[name] < 1_000_000 and clock(f, calls[name]) < 5e-3:
            calls[name] *= 2
    times = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, f in contenders.items():
            times[name].append(clock(f, calls[name]) / calls[name])
    return {name: statistics.median(t) for name, t in times.items()}


now = time.perf_counter


def clock(f, calls):
    start = now()
    for _ in range(calls):
        f()
    return now() - start


def show(title, rows, unit=1e-6):
    """A table: a row of times for each case, then how many times faster ours is than the fastest peer."""
    names = list(dict.fromkeys(name for times in rows.values() for name in times))
    width = max(len(case) for case in [title, *rows])
    print(f"\n{title:{width}} " + " ".join(f"{name:>14}" for name in names) + "   fastest peer / ours")
    ratios = []
    for case, times in rows.items():
        ours = min(t for name, t in times.items() if name.startswith(OURS))
        peers = [t for name, t in times.items() if not name.startswith(OURS)]
        cells = " ".join(f"{times[n] / unit:14.4g}" if n in times else f"{'-':>14}" for n in names)
        if peers:
            ratios.append(min(peers) / ours)
        print(f"{case:{width}} {cells}   {ratios[-1]:.2f}x" if peers else f"{case:{width}} {cells}")
    if ratios:
        print(f"{'geometric mean':{width}} {statistics.geometric_mean(ratios):.3f}x, least {min(ratios):.3f}x")
    tables[title] = rows


tables = {}  # what `show` has shown: title -> case -> name -> seconds


def write(path, what, heading):
    """Puts the tables into a Markdown file, between the comments <!-- peers WHAT --> and <!-- end -->."""
    lines = [heading, ""]
    for title, rows in tables.items():
        names = list(dict.fromkeys(name for times in rows.values() for name in times))
        lines += [f"| {title} | {' | '.join(names)} | fastest peer / ours |", "| --- |" + " ---: |" * (len(names) + 1)]
        for case, times in rows.items():
            ours = min(t for name, t in times.items() if name.startswith(OURS))
            peer = min((t for name, t in times.items() if not name.startswith(OURS)), default=math.nan)
            cells = [
                f"{times[n] * 1e6:,.3g}" if times.get(n, 1) < 1e-3 else f"{times[n] * 1e6:,.0f}" if n in times else "–"
                for n in names
            ]
            lines.append(f"| {case} | {' | '.join(cells)} | **{peer / ours:.2f}×** |")
        lines.append("")
    text = Path(path).read_text(encoding="utf-8")
    begin, end = f"<!-- peers {what} -->\n", "<!-- end -->"
    before, rest = text.split(begin)
    Path(path).write_text(before + begin + "\n" + "\n".join(lines) + end + rest.split(end, 1)[1], encoding="utf-8")


def draw(path):
    """How many times slower each contender is than ours, a group of bars for each case."""
    from matplotlib.figure import Figure

    ((title, rows),) = tables.items()
    names = [n for n in dict.fromkeys(n for times in rows.values() for n in times)]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(names):
        at = [
            k + (i - len(names) / 2 + 0.5) * 0.8 / len(names) for k, times in enumerate(rows.values()) if name in times
        ]
        height = [t[name] / min(v for n, v in t.items() if n.startswith(OURS)) for t in rows.values() if name in t]
        axes.bar(at, height, 0.8 / len(names), label=name, color=OUR_COLORS.get(name, f"C{i}"), zorder=2)
    axes.axhline(1, color="#444", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylabel("time / the faster of ours")
    axes.set_xticks(range(len(rows)), [case.replace(" ", "\n", 1) for case in rows], fontsize=8)
    axes.set_title(title.split(",")[0])
    axes.legend(fontsize=8, ncols=4, loc="upper right")
    figure.savefig(path, metadata={"Date": None})


def machine():
    """The processor's name."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.machine()


# --- training: forward, loss, backward, Adam -------------------------------------------------------------------

NETS = [  # sizes, activation, loss, batch
    ([4, 64, 64, 2], "tanh", "mse", 32),
    ([30, 128, 128, 1], "relu", "mse", 128),
    ([784, 128, 10], "relu", "ce", 64),
    ([784, 512, 512, 10], "relu", "ce", 256),
    ([1024, 2048, 2048, 1000], "relu", "ce", 512),
]
LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8


class Net:
    """A case: weights and one batch, the same for everybody. Every contender is a function that returns the loss."""

    def __init__(self, sizes, activation, loss, batch):
        rng = np.random.default_rng(0)
        self.activation, self.loss, self.sizes = activation, loss, sizes
        self.name = f"{'-'.join(map(str, sizes))} {activation}, {loss}, {batch}"
        self.weights = []
        for n, m in itertools.pairwise(sizes):
            self.weights += [(rng.standard_normal((n, m)) / math.sqrt(n)).astype(np.float32), np.zeros(m, np.float32)]
        self.x = rng.standard_normal((batch, sizes[0]), dtype=np.float32)
        if loss == "ce":
            self.y = rng.integers(0, sizes[-1], batch)
        else:
            self.y = rng.standard_normal((batch, sizes[-1]), dtype=np.float32)

    def copies(self):
        return [w.copy() for w in self.weights]


def numpy_by_hand(net):
    params, t = net.copies(), 0
    mean, square = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    rows = np.arange(len(net.x))

    def step():
        nonlocal t
        inputs, f = [], net.x
        for i in range(0, len(params), 2):
            inputs.append(f)
            f = f @ params[i] + params[i + 1]
            if i + 2 < len(params):
                f = np.tanh(f) if net.activation == "tanh" else np.maximum(f, 0)
        if net.loss == "mse":
            d = f - net.y
            loss = np.mean(d * d)
            g = d * np.float32(2 / d.size)
        else:
            e = np.exp(f - f.max(axis=1, keepdims=True))
            total = e.sum(axis=1, keepdims=True)
            p = e / total
            loss = -np.mean(np.log(p[rows, net.y]))
            p[rows, net.y] -= 1
            g = p / np.float32(len(rows))
        grads = [None] * len(params)
        for i in range(len(params) - 2, -1, -2):
            grads[i], grads[i + 1] = inputs[i // 2].T @ g, g.sum(axis=0)
            if i:
                f = inputs[i // 2]
                g = g @ params[i].T
                g = g * (1 - f * f) if net.activation == "tanh" else g * (f > 0)
        t += 1
        rate, eps = LR * math.sqrt(1 - BETA2**t) / (1 - BETA1**t), EPS * math.sqrt(1 - BETA2**t)
        for p, g, m, v in zip(params, grads, mean, square, strict=True):
            m *= BETA1
            m += (1 - BETA1) * g
            v *= BETA2
            v += (1 - BETA2) * g * g
            p -= rate * m / (np.sqrt(v) + eps)
        return loss

    return step


def wengert_model(net):
    model = wg.nn.MLP(net.sizes, net.activation)
    for p, w in zip(model.parameters(), net.weights, strict=True):
        p.assign(w)
    opt = wg.optim.Adam(model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS)
    loss_of = wg.nn.mse_loss if net.loss == "mse" else wg.nn.cross_entropy

    def step(x, y):
        opt.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        opt.step()
        return loss

    return step


def wengert_eager(net):
    step, x, y = wengert_model(net), wg.tensor(net.x), wg.tensor(net.y)
    return lambda: step(x, y).item()


def wengert_compiled(net):
    step, x, y = wg.compile(wengert_model(net)), wg.tensor(net.x), wg.tensor(net.y)
    return lambda: step(x, y).item()


def pytorch(net):
    import torch

    torch.set_num_threads(1)
    layers = []
    for i, w in enumerate(net.weights[::2]):
        linear = torch.nn.Linear(*w.shape)
        linear.weight.data, linear.bias.data = torch.tensor(w.T.copy()), torch.tensor(net.weights[2 * i + 1])
        layers += [linear, torch.nn.Tanh() if net.activation == "tanh" else torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    opt = torch.optim.Adam(model.parameters(), lr=LR, betas=(BETA1, BETA2), eps=EPS, fused=True)
    loss_of = torch.nn.functional.mse_loss if net.loss == "mse" else torch.nn.functional.cross_entropy
    x, y = torch.tensor(net.x), torch.tensor(net.y)

    def step():
        opt.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        opt.step()
        return loss.item()

    return step


def loss_in(np_like, net, params, x, y, pick):
    """The loss written with NumPy's names, for libraries that differentiate NumPy code."""
    f = x
    for i in range(0, len(params), 2):
        f = np_like.matmul(f, params[i]) + params[i + 1]
        if i + 2 < len(params):
            f = np_like.tanh(f) if net.activation == "tanh" else np_like.maximum(f, 0)
    if net.loss == "mse":
        return np_like.mean((f - y) ** 2)
    shifted = f - np_like.max(f, axis=1, keepdims=True)
    return np_like.mean(np_like.log(np_like.sum(np_like.exp(shifted), axis=1)) - pick(shifted))


def jax_jit(net):
    import jax
    import jax.numpy as jnp

    rows = jnp.arange(len(net.x))
    y = jnp.asarray(net.y)

    def update(params, mean, square, t, x, y):
        loss, grads = jax.value_and_grad(lambda p: loss_in(jnp, net, p, x, y, lambda s: s[rows, y]))(params)
        rate, eps = LR * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t), EPS * jnp.sqrt(1 - BETA2**t)
        mean = [BETA1 * m + (1 - BETA1) * g for m, g in zip(mean, grads, strict=True)]
        square = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(square, grads, strict=True)]
        steps = zip(params, mean, square, strict=True)
        return loss, [p - rate * m / (jnp.sqrt(v) + eps) for p, m, v in steps], mean, square

    update = jax.jit(update, donate_argnums=(0, 1, 2))
    params, x = [jnp.array(w) for w in net.weights], jnp.asarray(net.x)
    mean, square = [jnp.zeros_like(p) for p in params], [jnp.zeros_like(p) for p in params]
    t = 0

    def step():
        nonlocal params, mean, square, t
        t += 1
        loss, params, mean, square = update(params, mean, square, np.float32(t), x, y)
        jax.block_until_ready(params)
        return float(loss)

    return step


def numpy_adam(params, mean, square, grads, t):
    """Adam in place on NumPy arrays, for libraries that have no optimizer."""
    rate, eps = LR * math.sqrt(1 - BETA2**t) / (1 - BETA1**t), EPS * math.sqrt(1 - BETA2**t)
    for p, g, m, v in zip(params, grads, mean, square, strict=True):
        m += (1 - BETA1) * (g - m)
        v += (1 - BETA2) * (g * g - v)
        p -= rate * m / (np.sqrt(v) + eps)


def autograd(net):
    import autograd.numpy as anp
    from autograd import value_and_grad

    rows, params, t = np.arange(len(net.x)), net.copies(), 0
    mean, square = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    gradient = value_and_grad(lambda p: loss_in(anp, net, p, net.x, net.y, lambda s: s[rows, net.y]))

    def step():
        nonlocal t
        t += 1
        loss, grads = gradient(params)
        numpy_adam(params, mean, square, grads, t)
        return loss

    return step


def mygrad(net):
    import mygrad as mg

    rows, params, t = np.arange(len(net.x)), [mg.tensor(w) for w in net.copies()], 0
    mean, square = [np.zeros_like(w) for w in net.weights], [np.zeros_like(w) for w in net.weights]

    def step():
        nonlocal t
        t += 1
        loss = loss_in(mg, net, params, net.x, net.y, lambda s: s[rows, net.y])
        loss.backward()
        grads = [p.grad for p in params]
        arrays = [p.data for p in params]
        numpy_adam(arrays, mean, square, grads, t)
        return loss.item()

    return step


def scikit_learn(net):
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    kind = MLPRegressor if net.loss == "mse" else MLPClassifier
    hidden = tuple(net.sizes[1:-1])
    model = kind(hidden_layer_sizes=hidden, activation=net.activation, alpha=0, batch_size=len(net.x), shuffle=False)
    y = net.y.ravel() if net.sizes[-1] == 1 else net.y
    classes = {} if net.loss == "mse" else {"classes": np.arange(net.sizes[-1])}
    model.partial_fit(net.x, y, **classes)  # makes the arrays, which then take our weights
    model.coefs_[:], model.intercepts_[:] = net.copies()[::2], net.copies()[1::2]
    model._optimizer = type(model._optimizer)(model.coefs_ + model.intercepts_, LR, BETA1, BETA2, EPS)

    def step():
        model.partial_fit(net.x, y)
        return model.loss_ * (2 if net.loss == "mse" else 1)  # it halves squares

    return step


TRAINERS = {
    OURS: (None, wengert_eager),
    f"{OURS} compiled": (None, wengert_compiled),
    "NumPy by hand": (None, numpy_by_hand),
    "PyTorch": ("torch", pytorch),
    "JAX jit": ("jax", jax_jit),
    "autograd": ("autograd", autograd),
    "MyGrad": ("mygrad", mygrad),
    "scikit-learn": ("sklearn", scikit_learn),
}


def train(args):
    rows = {}
    for spec in NETS:
        net = Net(*spec)
        if args.only not in net.name:
            continue
        contenders = {}
        for name, (needs, make) in TRAINERS.items():
            if (needs and not optional(needs)) or (make is wengert_compiled and not hasattr(wg, "compile")):
                continue
            contenders[name] = make(net)
        losses = {name: [float(step()) for _ in range(5)] for name, step in contenders.items()}
        first, *_, fifth = losses["NumPy by hand"]
        for name, (*_, loss) in losses.items():  # to a thousandth, of the first loss if this one is nearly 0
            if not math.isclose(loss, fifth, rel_tol=1e-3, abs_tol=1e-3 * first):
                sys.exit(f"{net.name}: fifth loss of {name} is {loss}, NumPy by hand has {fifth}")
        rows[net.name] = alternate(contenders, args.repeats)
    show("training step, µs", rows)


# --- single operations -----------------------------------------------------------------------------------------


def ops(args):
    torch, jax, anp = optional("torch"), optional("jax"), optional("autograd")
    rows = {}

    a, b = np.arange(8, dtype=np.float32), np.ones(8, np.float32)
    ta, tb = wg.tensor(a), wg.tensor(b)
    ra = wg.tensor(a, requires_grad=True)
    case = {OURS: lambda: ta + tb, "NumPy": lambda: a + b}
    recorded = {OURS: lambda: ra + tb, "NumPy": lambda: a + b}
    if torch:
        torch.set_num_threads(1)
        pa, pb, qa = torch.tensor(a), torch.tensor(b), torch.tensor(a, requires_grad=True)
        case["PyTorch"], recorded["PyTorch"] = lambda: pa + pb, lambda: qa + pb
    if jax:
        ja, jb = jax.numpy.asarray(a), jax.numpy.asarray(b)
        case["JAX"] = lambda: ja + jb
    rows["a + b, 8 floats"] = case
    rows["a + b, 8 floats, recorded"] = recorded

    def chain(tanh, y):
        for _ in range(100):
            y = tanh(y)
        return y

    def ours():
        x = wg.tensor(0.5, requires_grad=True)
        chain(wg.tanh, x).backward()
        return x.grad

    case = {OURS: ours}
    if hasattr(wg, "compile"):
        case[f"{OURS} compiled"] = compiled(lambda x: chain(wg.tanh, x), 0.5)
    if torch:

        def in_torch():
            x = torch.tensor(0.5, requires_grad=True)
            chain(torch.tanh, x).backward()
            return x.grad

        case["PyTorch"] = in_torch
    if jax:
        case["JAX jit"] = jax_gradient(lambda x: chain(jax.numpy.tanh, x), 0.5)
    if anp:
        gradient = importlib.import_module("autograd").grad(lambda x: chain(np_of_autograd().tanh, x))
        case["autograd"] = bound(gradient, 0.5)
    rows["chain of 100 tanh, value and gradient"] = case

    def example(np_like, x):
        a = x * x
        c = a + np_like.exp(a)
        return np_like.sqrt(c) + np_like.cos(c)

    gradient = wg.value_and_grad(lambda x: example(wg, x))
    case = {OURS: bound(gradient, 1.5)}
    if hasattr(wg, "compile"):
        case[f"{OURS} compiled"] = compiled(lambda x: example(wg, x), 1.5)
    if torch:

        def example_in_torch():
            x = torch.tensor(1.5, requires_grad=True)
            y = example(torch, x)
            y.backward()
            return y, x.grad

        case["PyTorch"] = example_in_torch
    if jax:
        case["JAX jit"] = jax_gradient(lambda x: example(jax.numpy, x), 1.5)
    if anp:
        both = importlib.import_module("autograd").value_and_grad(lambda x: example(np_of_autograd(), x))
        case["autograd"] = bound(both, 1.5)
    rows["worked example, value and gradient"] = case
    show("operation, µs", {n: alternate(c, args.repeats) for n, c in rows.items() if args.only in n})


def compiled(f, at):
    gradient, x = wg.compile(wg.value_and_grad(f)), wg.tensor(at)
    return lambda: gradient(x)


def jax_gradient(f, at):
    import jax

    gradient, x = jax.jit(jax.value_and_grad(f)), jax.numpy.asarray(at)
    return lambda: jax.block_until_ready(gradient(x))


def np_of_autograd():
    return importlib.import_module("autograd.numpy")


FUNCTIONS = ("exp", "log", "log1p", "sin", "tanh", "sigmoid", "softplus", "erf", "gelu", "silu", "relu", "sqrt")


def elementwise(args):
    """ns an element, 4096 float32."""
    torch, jax = optional("torch"), optional("jax")
    x = np.random.default_rng(0).uniform(0.1, 3, 4096).astype(np.float32)
    tx = wg.tensor(x)
    rows = {}
    for name in FUNCTIONS:
        if args.only not in name:
            continue
        case = {OURS: bound(getattr(wg, name), tx)}
        if hasattr(np, name):
            case["NumPy"] = bound(getattr(np, name), x)
        if torch:
            torch.set_num_threads(1)
            f = getattr(torch, name, None) or getattr(torch.nn.functional, name)
            case["PyTorch"] = bound(f, torch.tensor(x))
        if jax:
            f = getattr(jax.numpy, name, None) or getattr(jax.nn, name, None) or getattr(jax.scipy.special, name)
            jitted, jx = jax.jit(f), jax.numpy.asarray(x)
            case["JAX jit"] = bound(lambda v, jitted=jitted: jitted(v).block_until_ready(), jx)
        rows[name] = {n: t / x.size for n, t in alternate(case, args.repeats).items()}
    show("function, ns an element", rows, unit=1e-9)


def bound(f, *values):
    return lambda: f(*values)


SHAPES = [  # m, k, n
    (1, 16, 16), (1, 128, 128), (1, 784, 128), (1, 1024, 1024), (2, 64, 64), (4, 256, 256), (8, 8, 8), (8, 64, 64),
    (16, 16, 16), (16, 784, 128), (17, 33, 65), (32, 32, 32), (32, 4, 64), (32, 64, 2), (32, 64, 64), (32, 128, 10),
    (32, 784, 128), (33, 65, 17), (48, 48, 48), (64, 64, 64), (64, 128, 10), (64, 784, 128), (65, 129, 33),
    (96, 96, 96), (128, 30, 128), (128, 128, 1), (128, 128, 128), (128, 784, 256), (200, 100, 50), (256, 64, 16),
    (256, 256, 10), (256, 256, 256), (256, 784, 512), (384, 384, 384), (512, 512, 512), (512, 16, 512),
    (784, 64, 128), (1000, 10, 1000), (1024, 64, 64), (1024, 1024, 1), (1024, 1024, 1024),
]  # fmt: skip


def matmul(args):
    torch = optional("torch")
    if torch:
        torch.set_num_threads(1)
    rng, rows = np.random.default_rng(0), {}
    transposed = [("At", 1, 0), ("Bt", 0, 1)]
    cases = [(shape, "", 0, 0) for shape in SHAPES]
    cases += [(s, *t) for s in [(32, 784, 128), (128, 128, 128), (512, 512, 512)] for t in transposed]
    for dtype in (np.float32, np.float64):
        for (m, k, n), flag, ta, tb in cases:
            title = f"{m}x{k}x{n} {flag}".strip() + f" {np.dtype(dtype).name}"
            if args.only not in title:
                continue
            a = rng.standard_normal((k, m) if ta else (m, k)).astype(dtype)
            b = rng.standard_normal((n, k) if tb else (k, n)).astype(dtype)
            case = {
                OURS: bound(wg._core.matmul, wg.tensor(a), wg.tensor(b), bool(ta), bool(tb)),
                "NumPy": bound(np.matmul, a.T if ta else a, b.T if tb else b),
            }
            if torch:
                pa, pb = torch.tensor(a), torch.tensor(b)
                case["PyTorch"] = bound(torch.matmul, pa.T if ta else pa, pb.T if tb else pb)
            rows[title] = alternate(case, args.repeats)
    show("product (m x k x n), µs", rows)


# --- footprint -------------------------------------------------------------------------------------------------


def footprint(args):
    """Import time and threads in a fresh process, installed size; alternating, medians."""
    code = """
import importlib, os, sys, time
start = time.perf_counter()
importlib.import_module(sys.argv[1])
print(time.perf_counter() - start, len(os.listdir("/proc/self/task")) - 1)
"""
    modules = [m for m in ("numpy", "wengert", "torch", "jax", "sklearn", "autograd", "mygrad") if optional(m)]
    times, threads = {m: [] for m in modules}, {}
    for _ in range(args.repeats):
        for m in modules:
            out = subprocess.run([sys.executable, "-c", code, m], check=True, capture_output=True, text=True).stdout
            seconds, threads[m] = out.split()
            times[m].append(float(seconds))
    print(f"\n{'package':10} {'import, ms':>12} {'threads started':>16} {'installed, MB':>14}")
    for m in modules:
        folder = Path(importlib.import_module(m).__file__).parent
        size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.suffix != ".pyc") / 1e6
        print(f"{m:10} {statistics.median(times[m]) * 1e3:12.1f} {threads[m]:>16} {size:14.1f}")


def main():
    commands = {f.__name__: f for f in (train, ops, elementwise, matmul, footprint)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=commands)
    parser.add_argument("--repeats", type=int, default=9, help="alternating repeats (at least 7; default 9)")
    parser.add_argument("--only", default="", help="only cases whose name contains this")
    parser.add_argument("--cpu-time", action="store_true", help="CPU time, for a machine that others use too")
    parser.add_argument("--write", metavar="FILE.md", help="put the table between its marks in this file")
    parser.add_argument("--picture", metavar="FILE.svg", help="draw it")
    args = parser.parse_args()
    if args.cpu_time:
        global now
        now = time.process_time
    warnings.simplefilter("ignore")
    versions = []
    for m in ("numpy", "torch", "jax", "autograd", "mygrad", "scikit-learn"):
        if optional("sklearn" if m == "scikit-learn" else m):
            versions.append(f"{m} {importlib.metadata.version(m)}")
    heading = f"{wg._core.isa()} kernels; {', '.join(versions)}; Python {sys.version.split()[0]}"
    print(f"wengert {wg.__version__}, {heading}")
    commands[args.what](args)
    if args.write:
        when = f"{machine()}, one core, {datetime.date.today()}; median of {args.repeats} alternating repeats."
        write(args.write, args.what, f"{when} {heading}.")
    if args.picture:
        draw(args.picture)


if __name__ == "__main__":
    main()
