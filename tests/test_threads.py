"""Several Python threads at once: long operations let the others run, and what they share stays right."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from side_by_side import in_threads

import wengert as wg


def leaf(values):
    return wg.tensor(values, requires_grad=True)


# --- Long operations do not hold the interpreter -----------------------------------------------------------------
def prepared(kind, n):
    """A call that takes long, without any Python inside."""
    x = wg.tensor(np.full((n, n), 0.5))
    w = leaf(np.full((n, n), 0.5))
    if kind == "matmul":
        return lambda: x @ x
    if kind == "elementwise":
        x = wg.tensor(np.full((n, 6 * n), 0.5))
        return lambda: wg.tan(x)
    if kind == "reduction":
        x = wg.tensor(np.full((n, 10 * n), 0.5))
        return lambda: wg.logsumexp(x)
    if kind == "backward":
        y = wg.sum(w @ w)
        return lambda: y.backward(retain_tape=True)
    f = wg.compile(lambda a: a @ a)
    f(x)
    return lambda: f(x)


@pytest.mark.parametrize("kind", ["matmul", "elementwise", "reduction", "backward", "compiled"])
def test_other_threads_run_during_a_long_operation(kind):
    for n in (512, 1024, 2048):  # until it takes long enough to tell, on whatever machine
        call = prepared(kind, n)
        span = []

        def work(call=call, span=span):
            with wg.threads(1):
                span.append(time.perf_counter())
                call()
                span.append(time.perf_counter())

        thread = threading.Thread(target=work)
        ticks = []
        thread.start()
        while len(span) < 2:
            time.sleep(1e-3)
            ticks.append(time.perf_counter())
        thread.join()
        if sum(span[0] + 1e-3 < t < span[1] - 1e-3 for t in ticks) >= 3:
            return
    pytest.fail("no other thread has run meanwhile")


def test_a_daemon_thread_in_a_kernel_does_not_abort_the_exit():
    code = """
import threading, time, numpy as np, wengert as wg
x = wg.tensor(np.ones((300, 300)))
def work():
    while True: x @ x
for _ in range(3): threading.Thread(target=work, daemon=True).start()
time.sleep(0.1)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# --- Shared leaves -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("watched", [False, True])
def test_gradients_from_eight_threads_add_up(watched):
    w = leaf(np.ones(300_000))  # large enough for kernels to run side by side
    held = []

    def work(k):
        for _ in range(4):
            wg.sum(w * float(k + 1)).backward()
            if watched:
                held.append(w.grad)  # then it cannot be added to in place

    in_threads(8, work)
    np.testing.assert_array_equal(w.grad, np.full(300_000, 4.0 * 36))
    assert all(g is not None for g in held)
    assert sorted(g[0].item() for g in held)[-1:] == [144.0] * watched


def test_gradients_of_compiled_functions_add_up():
    w = leaf(np.ones(200_000))
    backward = [wg.compile(lambda x: wg.sum(wg.tanh(w) * 0.0 + w * x).backward()) for _ in range(2)]

    def work(k):
        for _ in range(5):
            backward[k % 2](np.full((), k + 1.0))

    in_threads(4, work)
    np.testing.assert_array_equal(w.grad, np.full(200_000, 5.0 * 10))


def test_steps_of_one_compiled_function_do_not_overwrite_each_other():
    w = leaf(np.zeros(200_000))
    opt = wg.optim.SGD([w], lr=1.0)

    @wg.compile
    def step(x):  # w += the number of rows
        opt.zero_grad()
        (-wg.sum(wg.sum(x, axis=0) * w)).backward()
        opt.step()

    for rows in (1, 2, 3):
        step(np.ones((rows, 200_000)))
    in_threads(3, lambda k: [step(np.ones((k + 1, 200_000))) for _ in range(6)])
    np.testing.assert_array_equal(w, np.full(200_000, 7.0 * 6))


def test_sweeps_of_one_tape_take_turns():
    x = leaf(np.ones(300_000))
    h = wg.square(x) * 3.0
    outputs = [wg.sum(h * float(k + 1)) for k in range(4)]

    def work(k):
        for _ in range(3):
            outputs[k].backward(retain_tape=True)

    in_threads(4, work)
    np.testing.assert_array_equal(x.grad, np.full(300_000, 3 * 6.0 * 10))


def test_readers_see_one_assignment_or_the_next():
    w = wg.tensor(np.zeros(400_000))
    done = threading.Event()

    def work(k):
        if k == 0:
            for i in range(60):
                w.assign(np.full(400_000, float(i)))
            done.set()
        while not done.is_set():
            y = wg.exp(w * 0.01)
            assert wg.max(y).item() == wg.min(y).item()

    in_threads(3, work)


def test_a_result_of_replaced_values_is_stale():
    for n in (600, 1200, 2400, 4800):  # until the assignment comes in the middle
        w = leaf(np.zeros((n, n)))
        begun, ended = threading.Event(), threading.Event()
        errors = []

        def work(w=w, begun=begun, ended=ended, errors=errors):
            with wg.threads(1):
                begun.set()
                y = w @ w
            ended.set()
            try:
                wg.sum(y).backward()
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=work)
        thread.start()
        begun.wait()
        time.sleep(2e-3)
        w.assign(np.ones((n, n)))
        in_the_middle = not ended.is_set()
        thread.join()
        if in_the_middle:
            break
    assert in_the_middle and "changed in place" in errors[0]
