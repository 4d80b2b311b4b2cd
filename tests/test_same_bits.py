"""The same bits for any batch, any number of threads, and any instruction set with FMA."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import wengert as wg
from wengert import _core

TRAINING = """
import hashlib, numpy as np, wengert as wg
rng = np.random.default_rng(0)
x, y = rng.standard_normal((300, 200)).astype(np.float32), rng.integers(0, 7, 300)
model = wg.nn.MLP([200, 300, 90, 7], activation="gelu", dropout=0.2, seed=0)
optimizer = wg.optim.Adam(model.parameters(), lr=1e-3)
wg.nn.fit(model, x, y, wg.nn.cross_entropy, optimizer, batch_size=128, epochs=34, seed=0)
digest = hashlib.sha256()
for _, value in sorted(model.state_dict().items()):
    digest.update(value.tobytes())
print(digest.hexdigest())
"""


def trained(isa: str, threads: int) -> str:
    env = dict(os.environ, WENGERT_ISA=isa, WENGERT_NUM_THREADS=str(threads))
    done = subprocess.run([sys.executable, "-c", TRAINING], env=env, capture_output=True, text=True, check=True)
    return done.stdout


def test_a_training_run_gives_one_hash_on_every_machine() -> None:
    with_fma = [isa for isa in _core.isas() if isa != "baseline"]
    if not with_fma:
        pytest.skip("this CPU has no FMA")
    hashes = {(isa, n): trained(isa, n) for isa in with_fma for n in (1, 2, 3, 7)}
    assert len(set(hashes.values())) == 1, hashes


def test_rows_do_not_depend_on_their_batch() -> None:
    rng = np.random.default_rng(1)
    for _ in range(200):
        m, k, n = (int(v) for v in rng.integers(1, [70, 300, 90]))
        dtype = rng.choice([np.float32, np.float64])
        x, w = rng.standard_normal((m, k)).astype(dtype), rng.standard_normal((k, n)).astype(dtype)
        whole = wg.matmul(x, w).numpy()
        for b in {1, 2, 3, 7, m // 2, m}:
            if b:
                assert wg.matmul(x[:b], w).numpy().tobytes() == whole[:b].tobytes(), (m, k, n, b)


def test_results_do_not_depend_on_threads() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((700, 300)).astype(np.float32), rng.standard_normal((300, 400)).astype(np.float32)
    stacks = [rng.standard_normal((n, 40, 50)) for n in (1, 3, 64)]
    state = rng.standard_normal((4, 100_003)).astype(np.float32)

    def trained() -> list[wg.Tensor]:
        p, q = wg.tensor(state[0], requires_grad=True), wg.tensor(state[1], requires_grad=True)
        optimizers = wg.optim.Adam([p]), wg.optim.SGD([q], lr=0.1, momentum=0.9, nesterov=True)
        for gradient in state[2:]:
            p.grad = q.grad = wg.tensor(gradient)
            for optimizer in optimizers:
                optimizer.step()
        return [p, q]

    def results() -> list[bytes]:
        c = wg.matmul(a, b)
        tall = wg.tensor(np.repeat(a, 9, axis=0)[:, :131])
        reduced = [f(x, axis=0) for f in (wg.sum, wg.max, wg.min) for x in (c, tall, tall[:, :17])]
        products = [wg.matmul(x, x.swapaxes(1, 2)) for x in stacks]
        rows = c[np.arange(1400) * 3 % 700]
        dropped = wg.nn.Dropout(0.3, seed=1)(wg.tensor(state))
        all_of_them = [c, wg.tanh(c), wg.sum(c, axis=1), wg.softmax(c), c.T, rows, c.astype("float64"), dropped]
        return [t.numpy().tobytes() for t in (*all_of_them, *reduced, *products, *trained())]

    with wg.threads(1):
        one = results()
    for n in (2, 3, 7):
        with wg.threads(n):
            assert results() == one
