"""``elementwise`` and ``matmul``: kernels as Python calls them, on arrays that exist already."""

import statistics

import numpy as np

import wengert as wg

from .tables import COLORS, Table, at_least, at_most, bars, best, canvas, pictures, race
from .timing import COPY, OURS, alternate, bound, optional, peak

FUNCTIONS = ("exp", "tanh", "sigmoid", "gelu", "silu", "softplus", "erf", "log1p", "sin", "log", "sqrt", "relu")


def elementwise(args):
    """ns an element of 4096 float32; then arrays of 32 MB and more beside a plain copy of the same bytes."""
    torch, jax = optional("torch"), optional("jax")
    x = np.random.default_rng(0).uniform(0.1, 3, 4096).astype(np.float32)
    aim = {"avx512": 0.35, "avx2": 0.5}.get(wg._core.isa())
    times, aims = {}, {}
    for name in FUNCTIONS:
        if args.only not in name:
            continue
        case = {OURS: bound(getattr(wg, name), wg.tensor(x))}
        if hasattr(np, name):
            case["NumPy"] = bound(getattr(np, name), x)
        if torch:
            f = getattr(torch, name, None) or getattr(torch.nn.functional, name)
            case["PyTorch"] = bound(f, torch.tensor(x))
        if jax:
            jitted, jx = jax.jit(jax_function(jax, name)), jax.numpy.asarray(x)
            case["JAX jit"] = bound(lambda v, jitted=jitted: jitted(v).block_until_ready(), jx)
        times[name] = {n: t / x.size for n, t in alternate(case, args.repeats).items()}
        aims[name] = [at_most(times[name][OURS] * 1e9, aim, " ns")] if aim else []
    if times:
        race("elementwise", "function, ns an element", times, unit=1e-9, aims=aims)
        in_ns = {case: {n: t * 1e9 for n, t in row.items()} for case, row in times.items()}
        bars("elementwise.svg", "Elementwise float32, 4096 numbers", "ns an element", in_ns, log=True)
    memory_bound(args)


def jax_function(jax, name):
    if name == "gelu":
        return lambda x: jax.nn.gelu(x, approximate=False)
    return getattr(jax.numpy, name, None) or getattr(jax.nn, name, None) or getattr(jax.scipy.special, name)


def memory_bound(args):
    """Results go into arrays that exist, for everybody: otherwise the pages of new ones are what is measured."""
    n, isa = 1 << 23, wg._core.isa()
    rng = np.random.default_rng(0)
    a, b, out = rng.standard_normal(n, np.float32), rng.standard_normal(n, np.float32), np.empty(n, np.float32)
    rows, columns = rng.standard_normal((100_000, 64), np.float32), np.empty(64, np.float32)
    torch = optional("torch")
    kernel = wg._core.kernel_map
    cases = {  # ours, NumPy, PyTorch, bytes that are read and written
        "a + b, 32 MB each": (
            lambda: kernel(isa, "add", [a, b], out),
            lambda: np.add(a, b, out=out),
            lambda ta, tb, to: torch.add(ta, tb, out=to),
            12 * n,
        ),
        "relu, 32 MB": (
            lambda: kernel(isa, "relu", [a], out),
            lambda: np.maximum(a, 0, out=out),
            lambda ta, tb, to: torch.clamp(ta, min=0, out=to),
            8 * n,
        ),
        "column sums, 100000 by 64": (
            lambda: wg._core.kernel_reduce(isa, "sum", rows, 1, *rows.shape),
            lambda: np.sum(rows, axis=0, out=columns),
            lambda tr, tb, to: torch.sum(tr, 0),
            rows.nbytes,
        ),
    }
    times, aims = {}, {}
    for name, (ours, by_numpy, by_torch, nbytes) in cases.items():
        if args.only not in name:
            continue
        case = {OURS: ours, "NumPy": by_numpy}
        if torch:
            first = rows if name.startswith("column") else a
            case["PyTorch"] = bound(by_torch, *(torch.from_numpy(v) for v in (first, b, out)))
        source, target = np.ones(nbytes // 2, np.uint8), np.ones(nbytes // 2, np.uint8)
        case[COPY] = bound(np.copyto, target, source)
        row = alternate(case, args.repeats)
        limit = 1.2 if name.startswith("column") else 1.1
        aims[name] = [at_most(row[OURS] / row[COPY], limit, " copy")]
        times[name] = row
    if times:
        race("memory-bound", "memory-bound, µs", times, aims=aims)


SHAPES = [  # m, k, n
    (1, 16, 16), (1, 128, 128), (1, 784, 128), (1, 1024, 1024), (2, 64, 64), (4, 256, 256), (8, 8, 8), (8, 64, 64),
    (16, 16, 16), (16, 784, 128), (17, 33, 65), (32, 32, 32), (32, 4, 64), (32, 64, 2), (32, 64, 64), (32, 128, 10),
    (32, 784, 128), (33, 65, 17), (48, 48, 48), (64, 64, 64), (64, 128, 10), (64, 784, 128), (65, 129, 33),
    (96, 96, 96), (128, 30, 128), (128, 128, 1), (128, 128, 128), (128, 784, 256), (200, 100, 50), (256, 64, 16),
    (256, 256, 10), (256, 256, 256), (256, 784, 512), (384, 384, 384), (512, 512, 512), (512, 16, 512),
    (784, 64, 128), (1000, 10, 1000), (1024, 64, 64), (1024, 1024, 1), (1024, 1024, 1024),
]  # fmt: skip
TRANSPOSED = [
    (1, 300, 700), (31, 33, 35), (32, 784, 128), (48, 96, 7), (64, 64, 10), (128, 128, 128), (256, 64, 16),
    (256, 256, 3), (512, 512, 512), (1000, 10, 1000),
]  # fmt: skip


def matmul(args):
    """GFLOP/s of products, of both float types and of transposed operands, as people write them: A.T @ B."""
    cases = [(shape, "") for shape in SHAPES] + [(s, flag) for s in TRANSPOSED for flag in (" Aᵀ", " Bᵀ")]
    drawn = {}
    for dtype in ("float32", "float64"):
        times, aims, flops = {}, {}, {}
        for shape, flag in cases:
            case = f"{'×'.join(map(str, shape))}{flag}"
            if args.only not in f"{case} {dtype}":
                continue
            times[case] = alternate(products(shape, flag, dtype), args.repeats)
            flops[case] = 2 * shape[0] * shape[1] * shape[2]
            ours, peer = best(times[case])
            aims[case] = [at_least(peer / ours, 0.97)]
            if min(shape) >= 256:
                rate, _ = peak(args.bench_kernels, dtype)
                aims[case].append((f"≥ 0.92 peak: {flops[case] / ours / rate:.2f}", flops[case] / ours >= 0.92 * rate))
        if not times:
            continue
        rates = {case: {n: flops[case] / t / 1e9 for n, t in row.items()} for case, row in times.items()}
        summary(f"matmul-{dtype}", f"product m×k×n, {dtype}", times, rates, aims, peak(args.bench_kernels, dtype))
        drawn[dtype] = rates
    if drawn:
        draw(drawn)


def summary(key, title, times, rates, aims, measured):
    """The table in GFLOP/s, of which more is better, and the geometric mean."""
    names = list(dict.fromkeys(n for row in rates.values() for n in row))
    table = Table(key, f"{title}, GFLOP/s", [*names, "ours / fastest peer", "aim"])
    ratios = {case: peer / ours for case, (ours, peer) in ((c, best(row)) for c, row in times.items())}
    for case, row in rates.items():
        table.add(case, [*(f"{row[n]:.3g}" for n in names), f"{ratios[case]:.2f}×"], aims[case])
    mean = statistics.geometric_mean(ratios.values())
    table.add("geometric mean", [*("" for _ in names), f"{mean:.3f}×"], [at_least(mean, 1.25)])
    table.note = f"Peak {measured[0] / 1e9:.0f} GFLOP/s ({measured[1]})."
    table.show()


def products(shape, flag, dtype):
    (m, k, n), rng = shape, np.random.default_rng(0)
    ta, tb = "A" in flag, "B" in flag
    a = rng.standard_normal((k, m) if ta else (m, k)).astype(dtype)
    b = rng.standard_normal((n, k) if tb else (k, n)).astype(dtype)
    product = {
        (False, False): lambda a, b: a @ b,
        (True, False): lambda a, b: a.T @ b,
        (False, True): lambda a, b: a @ b.T,
    }[ta, tb]
    case = {OURS: bound(product, wg.tensor(a), wg.tensor(b)), "NumPy": bound(product, a, b)}
    if torch := optional("torch"):
        case["PyTorch"] = bound(product, torch.tensor(a), torch.tensor(b))
    if jax := optional("jax"):
        jax.config.update("jax_enable_x64", True)
        ja, jb = jax.numpy.asarray(a), jax.numpy.asarray(b)
        jitted = jax.jit(product)
        case["JAX jit"] = lambda: jitted(ja, jb).block_until_ready()
    return case


def draw(rates_of):
    """A dot for each product and contender, ours on top; a panel for each type."""
    figure, axes = canvas(len(rates_of))
    for ax, (dtype, rates) in zip(axes, rates_of.items(), strict=True):
        for name in dict.fromkeys(n for row in rates.values() for n in row):
            color, size, layer = ("#b8401b", 6, 3) if name == OURS else (COLORS[name], 4, 2)
            heights = [row[name] for row in rates.values()]
            ax.plot(range(len(rates)), heights, "o", ms=size, color=color, label=name, zorder=layer)
        ax.set(title=f"Products m×k×n, {dtype}", ylabel="GFLOP/s")
        ax.set_xticks(range(len(rates)), list(rates), rotation=90, fontsize=7)
        ax.grid(linewidth=0.3)
        ax.legend(fontsize=8)
    pictures["matmul.svg"] = figure
