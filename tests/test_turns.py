"""Who may change a leaf, and when: whatever threads mix, no update is lost, no array is torn, and no view changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from side_by_side import in_threads

import wengert as wg

LARGE = 200_000  # elements from which a replay gives up the interpreter's lock
ROUNDS = 25


def leaf(n: int) -> wg.Tensor:
    return wg.tensor(np.zeros(n), requires_grad=True)


class Shared:
    """Leaves that all threads change, and the ways to do so. Each adds one to `w`, `g` or both, if it comes whole."""

    def __init__(self, n: int):
        self.w, self.other, self.g = leaf(n), leaf(n), leaf(n)
        self.one = np.float64(1.0)
        self.optimizer = wg.optim.SGD([self.w], lr=1.0)
        self.w.grad = np.full(n, -1.0)
        same = wg.primitive(lambda x: np.asarray(x))
        ways: dict[str, Callable[[Any], Any]] = {
            "assign": lambda x: self.w.assign(self.w + x),
            "two leaves": lambda x: (self.other.assign(self.other + x), self.w.assign(self.w + x)),
            "a longer way": lambda x: self.w.assign(wg.log(wg.exp(self.w * 0.0)) + self.w + x),
            "through a primitive": lambda x: self.w.assign(self.w + same(x)),
            "adding to .grad": lambda x: wg.sum(self.g * x).backward(),
        }
        self.compiled = {name: wg.compile(way) for name, way in ways.items()}
        for f in self.compiled.values():
            f(np.float64(0.0))
            f(np.float64(0.0))  # now there is a .grad to add to

    def eager_step(self, _: Any) -> None:
        self.optimizer.step()

    def eager_backward(self, x: Any) -> None:
        wg.sum(self.g * x).backward()


COUNTED = {"eager backward": "g", "adding to .grad": "g"}


@pytest.mark.parametrize("n", [3, LARGE])
@pytest.mark.parametrize("seed", range(4))
def test_no_update_is_lost_and_no_view_changes(n: int, seed: int) -> None:
    shared = Shared(n)
    ways = {"eager step": shared.eager_step, "eager backward": shared.eager_backward, **shared.compiled}
    rng = np.random.default_rng(seed)
    chosen = [str(rng.choice(list(ways))) for _ in range(6)]

    def look(tensor: wg.Tensor) -> tuple[np.ndarray, np.ndarray]:
        view = tensor.numpy()
        return view, view.copy()

    def work(k: int) -> Any:
        if k < 6:
            for _ in range(ROUNDS):
                ways[chosen[k]](shared.one)
            return []
        readers: list[Callable[[], wg.Tensor]] = [
            lambda: shared.w,
            lambda: shared.w + 0.0,
            lambda: shared.w.detach(),
            lambda: shared.other.reshape(-1),
            lambda: shared.g.grad if shared.g.grad is not None else shared.w,
        ]
        return [look(readers[i % len(readers)]()) for i in range(ROUNDS)]

    seen = [pair for part in in_threads(8, work) for pair in part]
    for view, copy in seen:
        assert copy.min() == copy.max() and np.array_equal(view, copy)
    for name, tensor in (("w", shared.w.numpy()), ("g", shared.g.grad.numpy())):
        expected = ROUNDS * sum(COUNTED.get(way, "w") == name for way in chosen)
        np.testing.assert_array_equal(tensor, np.full(n, float(expected)), err_msg=str(chosen))


@pytest.mark.parametrize("n", [3, LARGE])
def test_recordings_are_whole_too(n: int) -> None:
    w = leaf(n)
    f = wg.compile(lambda x: w.assign(w + x))
    in_threads(
        8, lambda k: [(f if k % 2 else wg.compile(lambda x: w.assign(w + x)))(np.float64(1.0)) for _ in range(5)]
    )
    np.testing.assert_array_equal(w, np.full(n, 40.0))


def test_a_recording_keeps_its_gradients_to_itself() -> None:
    """Another thread's backward comes before it or after it, and is never taken for its own."""
    w = leaf(4)
    go, recorded = threading.Event(), threading.Event()

    @wg.primitive
    def slow(x: np.ndarray) -> np.ndarray:
        go.set()
        time.sleep(0.05)
        return x

    slow.defvjp(lambda g, y, x: g)

    def step(x: Any) -> None:
        w.grad = None
        wg.sum(slow(w * 0.0) + w * x).backward()

    def work(k: int) -> None:
        if k == 0:
            compiled(np.float64(1.0))
            recorded.set()
        else:
            go.wait()
            wg.sum(w * 10.0).backward()

    compiled = wg.compile(step)
    in_threads(2, work)
    assert w.grad.tolist() == [11.0] * 4
    for _ in range(3):
        compiled(np.float64(3.0))
        assert w.grad.tolist() == [3.0] * 4


def test_a_reader_is_not_starved_by_a_thread_that_replays_all_the_time() -> None:
    w = leaf(LARGE)
    f = wg.compile(lambda x: w.assign(wg.tanh(wg.tanh(w)) + x))
    f(np.float64(1.0))
    done = threading.Event()

    def work(k: int) -> None:
        if k == 0:
            while not done.is_set():
                f(np.float64(1.0))
        else:
            for _ in range(20):
                w.numpy(), w.assign(w.numpy())
            done.set()

    in_threads(2, work)


def test_independent_programs_run_side_by_side() -> None:
    """One is in a primitive, which waits for the other to end."""
    a, b = leaf(3), leaf(3)
    ended = threading.Event()
    waits = wg.primitive(lambda x: (ended.wait(20), x)[1])
    first = wg.compile(lambda x: a.assign(a + waits(x)))
    second = wg.compile(lambda x: b.assign(b + x))
    ended.set()
    first(np.float64(0.0)), second(np.float64(0.0))
    ended.clear()

    def work(k: int) -> None:
        if k == 0:
            first(np.float64(1.0))
        else:
            second(np.float64(1.0))
            ended.set()

    start = time.perf_counter()
    in_threads(2, work)
    assert time.perf_counter() - start < 10 and a.tolist() == b.tolist() == [1.0] * 3


# --- Compiled functions within compiled functions, through primitives ---------------------------------------------
def chain(depth: int, work: Callable[[int], None] = lambda k: None) -> list[Any]:
    """Compiled functions, of which each calls the next from a primitive, and the last the first, `x` times in all."""
    functions: list[Any] = []

    def make(k: int) -> Any:
        @wg.primitive
        def onwards(x: np.ndarray) -> np.ndarray:
            return np.asarray(functions[(k + 1) % depth](x - 1.0)) if x.flat[0] > 0 else x

        def f(x: Any) -> Any:
            work(k)
            return onwards(x) + 1.0

        return wg.compile(f)

    functions += [make(k) for k in range(depth)]
    return functions


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_compiled_functions_may_call_each_other_from_primitives(depth: int) -> None:
    for order in ([0.0, 5.0, 5.0, 2.0], [5.0, 0.0, 7.0]):  # recorded at the bottom first, or on the way down
        functions = chain(depth)
        for x in order:
            for f in functions:
                assert f(np.full(2, x)).tolist() == [x + 1.0] * 2


@pytest.mark.parametrize("depth", [1, 2])
def test_threads_that_go_round_in_opposite_directions_do_not_wait_for_ever(depth: int) -> None:
    leaves = [leaf(3) for _ in range(depth)]
    functions = chain(depth, lambda k: leaves[k].assign(leaves[k] + 1.0))
    for f in functions:
        f(np.full(2, 0.0))
    for w in leaves:
        w.assign(np.zeros(3))
    results = in_threads(6, lambda k: [functions[k % depth](np.full(2, 3.0)).tolist() for _ in range(20)])
    assert all(r == [4.0, 4.0] for part in results for r in part)
    assert sum(w.numpy()[0] for w in leaves) == 6 * 20 * 4


def test_ctrl_c_ends_waiting_for_a_turn() -> None:
    code = """
import threading, time, _thread, numpy as np, wengert as wg
w = wg.tensor(np.zeros(3))
def slow(x):
    threading.Thread(target=lambda: (time.sleep(0.3), _thread.interrupt_main()), daemon=True).start()
    started.set()
    time.sleep(60)
started = threading.Event()
f = wg.compile(lambda x: (slow(x), w.assign(x))[0])
threading.Thread(target=lambda: f(np.zeros(3)), daemon=True).start()
started.wait()
try:
    w.assign(np.ones(3))
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", code], env=os.environ, capture_output=True, text=True, timeout=50)
    assert done.stdout == "stopped\n", done.stderr


# --- Forks ---------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("busy", ["replaying", "recording", "in a primitive", "adding to .grad"])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_forked_meanwhile_works(busy: str) -> None:
    w = leaf(LARGE)
    sleep = wg.primitive(lambda x: (time.sleep(0.002), x)[1])
    ways: dict[str, Callable[[Any], Any]] = {
        "replaying": lambda x: w.assign(wg.tanh(w * 0.0) + w + x),
        "recording": lambda x: w.assign(w + x),
        "in a primitive": lambda x: w.assign(w + sleep(x)),
        "adding to .grad": lambda x: wg.sum(w * x).backward(),
    }
    f = wg.compile(ways[busy])
    f(np.float64(1.0))
    done = threading.Event()

    def keep_busy() -> None:
        while not done.is_set():
            (wg.compile(ways[busy]) if busy == "recording" else f)(np.float64(1.0))

    def child() -> bool:
        whole = np.ptp(w.numpy()) == 0
        f(np.float64(1.0))
        wg.compile(lambda x: w.assign(w * 0.0 + x))(np.float64(7.0))
        wg.sum(w * 2.0).backward()
        return whole and w.numpy().min() == 7.0

    thread = threading.Thread(target=keep_busy)
    thread.start()
    try:
        for _ in range(8):
            time.sleep(0.005)
            pid = os.fork()
            if pid == 0:
                os._exit(0 if child() else 1)
            deadline = time.monotonic() + 20
            while not (ended := os.waitpid(pid, os.WNOHANG))[0] and time.monotonic() < deadline:
                time.sleep(0.002)
            if not ended[0]:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            assert ended[0] and os.waitstatus_to_exitcode(ended[1]) == 0
    finally:
        done.set()
        thread.join()
