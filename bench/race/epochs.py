"""``fit``: whole epochs over shuffled rows, ours in ``nn.fit``, JAX in one ``lax.scan``, its strongest form."""

import sys

import numpy as np

import wengert as wg

from . import nets
from .tables import at_least, best, race
from .timing import OURS, alternate, optional

SEED = 1
EPOCHS = [  # net, batches an epoch, epochs a call
    (nets.Net([4, 64, 64, 2], "tanh", "mse", 32, aim=2.5), 128, 20),
    (nets.Net([13, 64, 1], "relu", "mse", 16, aim=2.5), 256, 20),
    (nets.Net([30, 128, 128, 1], "relu", "mse", 128, aim=1.5), 64, 10),
    (nets.Net([784, 128, 10], "relu", "ce", 64, aim=1.4), 64, 10),
    (nets.Net([784, 512, 512, 10], "relu", "ce", 256, aim=1.15), 16, 4),
]


def fit(args):
    """Seconds an epoch. Ours includes the recording of each call of ``fit``; what JAX compiles is compiled before."""
    times, aims = {}, {}
    for net, batches, epochs in EPOCHS:
        if args.only not in net.name:
            continue
        x, y = data(net.fill(), batches)
        contenders = {OURS: wengert_fit(net, x, y, epochs)}
        if optional("jax"):
            contenders["JAX scan"] = jax_scan(net, x, y, epochs, gather_first=False)
            contenders["JAX scan, rows gathered before"] = jax_scan(net, x, y, epochs, gather_first=True)
        compare(net, contenders)
        times[net.name] = row = {n: t / epochs for n, t in alternate(contenders, args.repeats).items()}
        ours, peer = best(row)
        aims[net.name] = [at_least(peer / ours, net.aim)] if peer else []
        print(f"{net.name}: {ours * 1e3:.4g} ms", file=sys.stderr)
    if times:
        race("fit", "whole epoch, ms", times, unit=1e-3, aims=aims)


def data(net, batches):
    """Rows for so many batches."""
    rng, rows = np.random.default_rng(0), net.batch * batches
    x = rng.standard_normal((rows, net.sizes[0]), dtype=np.float32)
    if net.loss == "ce":
        return x, rng.integers(0, net.sizes[-1], rows)
    return x, rng.standard_normal((rows, net.sizes[-1]), dtype=np.float32)


def compare(net, contenders):
    """The first losses, of the same weights and the same batches, must agree."""
    losses = {name: np.asarray(run()) for name, run in contenders.items()}
    for name, got in losses.items():
        if not np.allclose(got, losses[OURS], rtol=1e-3, atol=1e-5):
            sys.exit(f"{net.name}: losses of {name} {got}, of {OURS} {losses[OURS]}")


def wengert_fit(net, x, y, epochs):
    model = nets.wengert_model(net)
    optimizer = wg.optim.Adam(model.parameters(), lr=nets.LR, betas=(nets.BETA1, nets.BETA2), eps=nets.EPS)
    loss = wg.nn.mse_loss if net.loss == "mse" else wg.nn.cross_entropy
    return lambda: wg.nn.fit(model, x, y, loss, optimizer, batch_size=net.batch, epochs=epochs, seed=SEED)


def jax_scan(net, x, y, epochs, gather_first):
    """Rows are gathered batch by batch inside of the scan, or all of them before it: sometimes one wins."""
    import jax

    update = nets.jax_update(net)

    def step(state, batch):
        params, mean, square, t = state
        x, y = batch
        loss, params, mean, square = update(params, mean, square, t + 1, x, y)
        return (params, mean, square, t + 1), loss

    @jax.jit
    def epoch(state, order, x, y):
        if gather_first:
            return jax.lax.scan(step, state, (x[order], y[order]))
        return jax.lax.scan(lambda s, rows: step(s, (x[rows], y[rows])), state, order)

    state, jx, jy = (*nets.jax_state(net), np.float32(0)), jax.numpy.asarray(x), jax.numpy.asarray(y)

    def run():
        nonlocal state
        rng, means = np.random.default_rng(SEED), []
        for _ in range(epochs):
            order = rng.permutation(len(x)).reshape(-1, net.batch).astype(np.int32)
            state, losses = epoch(state, order, jx, jy)
            means.append(float(losses.mean()))
        return means

    return run
