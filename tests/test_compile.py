"""Compiled functions: a replay gives the plain function's bits, keeps state live, and refuses what it cannot replay."""

from __future__ import annotations

import _thread
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wengert as wg
from wengert import _core

RNG = np.random.default_rng(0)


def bits(x: Any) -> bytes:
    return np.asarray(wg.asarray(x).detach().numpy()).tobytes()


def draw(op: dict[str, Any], shape: tuple[int, ...], dtype: str) -> list[np.ndarray]:
    return [RNG.uniform(low, high, shape).astype(dtype) for low, high in op["domain"]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", _core.op_table, ids=lambda op: op["name"])
def test_every_elementwise_op_replays_its_bits(op: dict[str, Any], dtype: str) -> None:
    f = getattr(wg, op["name"])
    f = getattr(_core, op["name"]) if f is not getattr(_core, op["name"]) else f

    def program(*operands: Any) -> Any:
        if not op["differentiable"]:
            return f(*operands)
        return wg.value_and_grad(lambda *a: wg.sum(f(*a) * 0.7), argnums=tuple(range(op["arity"])))(*operands)

    compiled = wg.compile(program)
    for shape in [(3,), (2500,)]:
        compiled(*draw(op, shape, dtype))
        operands = draw(op, shape, dtype)
        replayed, eager = compiled(*operands), program(*operands)
        for a, b in zip(_leaves(replayed), _leaves(eager), strict=True):
            assert bits(a) == bits(b)
    assert [s["replays"] for s in compiled.stats()] == [1, 1]


def _leaves(tree: Any) -> list[Any]:
    return [leaf for part in tree for leaf in _leaves(part)] if isinstance(tree, (tuple, list)) else [tree]


@st.composite
def programs(draw: Any) -> tuple[list[tuple[str, int, int]], int]:
    steps = draw(
        st.lists(
            st.tuples(st.sampled_from(["add", "mul", "tanh", "matmul", "sum", "relu", "T", "row", "softmax", "exp"]),
                      st.integers(0, 9), st.integers(0, 9)),
            min_size=1, max_size=14,
        )
    )  # fmt: skip
    return steps, draw(st.integers(1, 5))


def interpret(steps: list[tuple[str, int, int]], x: Any) -> Any:
    values = [x]
    for name, i, j in steps:
        a, b = values[i % len(values)], values[j % len(values)]
        results: dict[str, Callable[[], Any]] = {
            "add": lambda a=a, b=b: a + b * 0.5,
            "mul": lambda a=a, b=b: a * b * 0.3,
            "tanh": lambda a=a: wg.tanh(a),
            "matmul": lambda a=a, b=b: a @ b * 0.2,
            "sum": lambda a=a: a + wg.sum(a, axis=0),
            "relu": lambda a=a: wg.relu(a @ x + a[0]),
            "T": lambda a=a: a.T,
            "row": lambda a=a: a * a[0, 0] + a[:, :1],
            "softmax": lambda a=a: wg.softmax(a),
            "exp": lambda a=a: wg.exp(-wg.square(a)),
        }
        values.append(results[name]())
    return wg.sum(values[-1]) + wg.mean(values[len(values) // 2])


@settings(max_examples=60, deadline=None)
@given(programs())
def test_random_programs_replay_their_bits(program: tuple[list[tuple[str, int, int]], int]) -> None:
    steps, n = program
    f = wg.value_and_grad(lambda x: interpret(steps, x))
    compiled = wg.compile(f)
    for _ in range(3):
        x = RNG.standard_normal((n, n)).astype(np.float32)
        (a, da), (b, db) = compiled(x), f(x)
        assert bits(a) == bits(b) and bits(da) == bits(db)


def trainer(optimizer: str, dropout: float = 0.0, norm: bool = False) -> tuple[Any, Any, Callable[[Any, Any], Any]]:
    model = wg.nn.MLP([5, 17, 9, 3], activation="gelu", dropout=dropout, seed=1)
    if norm:
        model = wg.nn.Sequential(wg.nn.BatchNorm1d(5), model, wg.nn.LayerNorm(3))
    kinds = {
        "sgd": lambda p: wg.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3),
        "plain": lambda p: wg.optim.SGD(p, lr=0.1),
        "adam": lambda p: wg.optim.Adam(p, lr=0.01),
        "adamw": lambda p: wg.optim.AdamW(p, lr=0.01),
        "rmsprop": lambda p: wg.optim.RMSprop(p, lr=0.01, momentum=0.5),
        "adagrad": lambda p: wg.optim.Adagrad(p, lr=0.01, lr_decay=0.1),
    }
    opt = kinds[optimizer](model.parameters())

    def step(x: Any, y: Any) -> Any:
        opt.zero_grad()
        loss = wg.nn.cross_entropy(model(x), y)
        loss.backward()
        wg.optim.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        return loss

    return model, opt, step


def batches(n: int, rows: int = 12) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(3)
    return [(rng.standard_normal((rows, 5)).astype(np.float32), rng.integers(0, 3, rows)) for _ in range(n)]


@pytest.mark.parametrize("optimizer", ["sgd", "plain", "adam", "adamw", "rmsprop", "adagrad"])
@pytest.mark.parametrize(("dropout", "norm"), [(0.0, False), (0.3, True)])
def test_training_replays_its_bits(optimizer: str, dropout: float, norm: bool) -> None:
    eager, eager_opt, eager_step = trainer(optimizer, dropout, norm)
    model, opt, plain_step = trainer(optimizer, dropout, norm)
    step = wg.compile(plain_step)
    for i, (x, y) in enumerate(batches(12)):
        if i == 6:  # a schedule
            opt.lr = eager_opt.lr = 0.003
        assert bits(step(x, y)) == bits(eager_step(x, y)), i
        for p, q in zip(model.parameters(), eager.parameters(), strict=True):
            assert bits(p.grad) == bits(q.grad)
    for name, value in eager.state_dict().items():
        assert value.tobytes() == model.state_dict()[name].tobytes(), name
    assert opt.state_dict().keys() == eager_opt.state_dict().keys()
    for name, value in eager_opt.state_dict().items():
        assert value.tobytes() == opt.state_dict()[name].tobytes(), name
    assert step.stats()[0]["replays"] == 11


def test_passes_are_visible() -> None:
    _, _, plain = trainer("adam")
    step = wg.compile(plain)
    for x, y in batches(2):
        step(x, y)
    (stats,) = step.stats()
    assert stats["epilogues"] >= 3 and stats["folded"] > 0 and stats["steps"] < stats["recorded"]
    assert "@" in str(step) and "adam(" in str(step)

    f = wg.compile(lambda x: (wg.exp(x) + wg.exp(x), wg.sin(x) * 0.0)[0])
    f(np.ones(3))
    (stats,) = f.stats()
    assert stats["merged"] == 1 and stats["dead"] >= 2 and stats["steps"] == 1


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [(50, 49), (3, 2000), (2, 3, 700), (5, 600, 7), (1200, 4), (40, 3, 8, 5)],
    ids=lambda s: "x".join(map(str, s)),
)
def test_broadcast_operands_are_read_within_strips(shape: tuple[int, ...], dtype: str) -> None:
    lead, trail = len(shape) - 1, range(1, len(shape))
    rows = [RNG.standard_normal(shape[k:]).astype(dtype) for k in trail]
    columns = [RNG.standard_normal(shape[:k] + (1,) * (lead - k + 1)).astype(dtype) for k in trail]

    def program(x: Any, rows: Any, columns: Any) -> Any:
        for r, c in zip(rows, columns, strict=True):
            x = wg.tanh(x * r - c) + c
        return x

    f = wg.compile(program)
    x = RNG.standard_normal(shape).astype(dtype)
    for threads in (1, 2, 3):
        with wg.threads(threads):
            assert bits(f(x, rows, columns)) == bits(program(wg.tensor(x), rows, columns))
    (stats,) = f.stats()
    assert stats["steps"] == 1 and stats["arena_bytes"] == 0


@pytest.mark.parametrize("rows", [2, 40, 300])
@pytest.mark.parametrize("columns", [3, 5, 70])
def test_products_apply_a_pullback_or_any_operation_with_another_array(rows: int, columns: int) -> None:
    a, b = RNG.standard_normal((rows, 150)), RNG.standard_normal((150, columns))
    y, bias = RNG.standard_normal((rows, columns)), RNG.standard_normal(columns)

    def program(a: Any, b: Any, y: Any, bias: Any) -> Any:
        back = wg.grad(lambda h: wg.sum((wg.tanh(h) @ (b * 3).T) * a))(y)
        return y - (a @ b + bias), (a @ (b * 2)) * y, back

    for threads in (1, 3):
        f = wg.compile(program)
        with wg.threads(threads):
            for _ in range(2):
                for got, want in zip(f(a, b, y, bias), program(*map(wg.tensor, (a, b, y, bias))), strict=True):
                    assert bits(got) == bits(want)
        assert f.stats()[0]["epilogues"] == 4 and "then tanh'(" in str(f)


def test_a_product_does_not_read_early_what_is_written_later() -> None:
    p, x = wg.tensor(np.ones((4, 5)), requires_grad=True), RNG.standard_normal((4, 4))

    def program(x: Any) -> Any:
        h = x @ wg.tensor(np.ones((4, 5)))
        with wg.no_grad():
            p.assign(h)
        return h + p

    f = wg.compile(program)
    for _ in range(2):
        assert np.array_equal(f(x).numpy(), 2 * p.numpy())


def test_elementwise_steps_work_in_place() -> None:
    def chain(x: Any) -> Any:
        for _ in range(6):
            x = wg.exp(wg.softmax(x @ x)) * 0.1
        return x

    f = wg.compile(chain)
    x = RNG.standard_normal((64, 64))
    for _ in range(2):
        assert bits(f(x)) == bits(chain(x))
    (stats,) = f.stats()
    assert stats["in_place"] == 5  # the sixth is the result, which has memory of its own
    assert stats["arena_bytes"] == 2 * 64 * 64 * 8


def test_profile_lists_the_steps() -> None:
    f = wg.compile(lambda a, b: wg.tanh(a @ b))
    a = np.ones((8, 8))
    f(a, a)
    profile = f.profile(a, a, repeats=3)
    assert [s.flops for s in profile.steps] == [2 * 8**3]
    assert "then tanh" in str(profile) and "in all" in str(profile)
    with pytest.raises(ValueError, match="nothing was recorded"):
        f.profile(np.ones(2))


def test_replay_allocates_nothing() -> None:
    _, _, plain = trainer("adam")
    step = wg.compile(plain)
    (x, y), *_ = batches(1)
    loss = None
    for _ in range(4):
        loss = step(x, y)
    before = _core.allocation_count()
    for _ in range(50):
        loss = step(x, y)
    assert _core.allocation_count() == before
    assert np.isfinite(loss.item())


def test_results_are_not_overwritten_by_later_replays() -> None:
    f = wg.compile(lambda x: x * 2.0)
    results = [f(np.full(3, float(i))) for i in range(8)]
    assert [r.numpy()[0] for r in results] == [2.0 * i for i in range(8)]
    views = [f(np.full(3, float(i))).numpy() for i in range(8)]
    assert [v[0] for v in views] == [2.0 * i for i in range(8)]


def test_parameters_are_live_both_ways() -> None:
    w = wg.tensor([1.0, 2.0], requires_grad=True)
    f = wg.compile(lambda x: wg.sum(w * x))
    assert f(np.ones(2)).item() == f(np.ones(2)).item() == 3.0
    w.assign([10.0, 20.0])
    assert f(np.ones(2)).item() == 30.0

    double = wg.compile(lambda: w.assign(w * 2.0))
    view = w.numpy()
    double(), double()
    assert w.tolist() == [40.0, 80.0] and view.tolist() == [10.0, 20.0]


def test_gradients_accumulate_across_replays() -> None:
    w = wg.tensor([1.0, 2.0], requires_grad=True)
    f = wg.compile(lambda x: wg.sum(w * x).backward())
    for _ in range(4):
        f(np.ones(2))
    assert w.grad.tolist() == [4.0, 4.0]
    held = w.grad
    f(np.ones(2))
    assert w.grad.tolist() == [5.0, 5.0] and held.tolist() == [4.0, 4.0]
    w.grad = None
    f(np.ones(2))
    assert w.grad.tolist() == [1.0, 1.0]


def test_new_kinds_of_arguments_record_anew() -> None:
    f = wg.compile(lambda x, k=1, flag=True: x * k if flag else -x)
    for _ in range(2):
        assert f(np.ones(2)).tolist() == [1.0, 1.0]
        assert f(np.ones(3, np.float32)).dtype == np.float32
        assert f(np.ones(2), 3).tolist() == [3.0, 3.0]
        assert f(np.ones(2), k=4).tolist() == [4.0, 4.0]
        assert f(np.ones(2), flag=False).tolist() == [-1.0, -1.0]
    assert len(f.stats()) == 5


def test_nested_structures_and_odd_arrays() -> None:
    f = wg.compile(lambda p, xs: {"sum": p["a"] + xs[0], "pair": (xs[1][0], [p["b"] * 2.0])})
    for k in (1.0, 2.0):
        out = f({"a": np.full(2, k), "b": np.float64(k)}, [np.arange(8.0)[::4], (np.ones((2, 2)).T * k,)])
        assert out["sum"].tolist() == [k, k + 4] and out["pair"][0].tolist() == [[k, k], [k, k]]
        assert out["pair"][1][0].item() == 2 * k
    assert f.stats()[0]["replays"] == 1


def test_indices_are_arguments_too() -> None:
    table = wg.tensor(np.arange(12.0).reshape(4, 3), requires_grad=True)

    def look_up(rows: Any) -> Any:
        table.grad = None
        wg.sum(table[rows] * 2.0).backward()
        return wg.take(table, rows, axis=0)

    f = wg.compile(look_up)
    for rows in ([0, 1], [3, 3], [-1, 2]):
        assert f(np.array(rows)).tolist() == table.numpy()[rows].tolist()
        assert table.grad.tolist() == [[2.0 * np.sum(np.array(rows) % 4 == i)] * 3 for i in range(4)]
    with pytest.raises(IndexError, match="index 4 is out of range for axis 0 of size 4"):
        f(np.array([0, 4]))


def test_labels_and_masks_are_arguments_too() -> None:
    scores = RNG.standard_normal((4, 3))
    loss = wg.compile(lambda x, labels: wg.nn.nll_loss(x, labels, reduction="none"))
    masked = wg.compile(lambda x, mask: wg.where(~mask & (x < 0.5), x, 0.0))
    for labels in (np.array([0, 1, 2, 0]), np.array([2, 2, 1, 0])):
        assert loss(scores, labels).tolist() == (-scores[range(4), labels]).tolist()
        mask = scores > 0.3 * labels[:, None] - 0.5
        assert masked(scores, mask).tolist() == np.where(~mask & (scores < 0.5), scores, 0.0).tolist()
    with pytest.raises(IndexError, match=r"nll_loss: label 3 at position 1 is not in \[0, 3\)"):
        loss(scores, np.array([0, 3, 0, 0]))


def test_limit_says_what_kept_changing() -> None:
    f = wg.compile(lambda x, k: x * k, limit=3)
    for k in range(3):
        f(np.ones(2), float(k))
    with pytest.raises(RuntimeError, match=r"(?s)recorded 3 times already.*float64\(2,\) 2\.0"):
        f(np.ones(2), 99.0)


def test_sums_extremes_and_products_of_whole_numbers_are_replayed() -> None:
    def f(m: Any, x: Any) -> Any:
        order, back = m.argsort(x, 0), m.argsort(x, 1)
        large = x > 0.5
        return x * m.sum(order[0]), m.sum(large), m.sum(large, 0), m.max(order, 1), order.T @ back, large @ large.T

    replay = wg.compile(lambda x: f(wg, x))
    for seed in range(3):
        x = np.random.default_rng(seed).random((4, 3))
        for got, want in zip(replay(x), f(np, x), strict=True):
            assert got.dtype == want.dtype
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(
    "count",
    [
        lambda x: wg.sum(x > 0.5),
        lambda x: wg.sum(x > 0.5, axis=0, keepdims=True) * x,
        lambda x: x * wg.sum(wg.argsort(x)[:2]),
        lambda x: x * wg.cumsum(wg.argsort(x)),
        lambda x: wg.cumprod(x > 0.2),
        lambda x: wg.prod(wg.argsort(x) + 1.0),
        lambda x: wg.max(wg.argsort(x)[:2]),
        lambda x: wg.min(x > 0.5),
        lambda x: wg.mean(x > 0.5),
        lambda x: x[wg.argmax(x)],
        lambda x: x[wg.argmin(x)] * x,
    ],
)
def test_whole_numbers_made_of_arguments_are_made_anew_by_a_replay(count: Callable[[Any], Any]) -> None:
    compiled = wg.compile(count)
    for x in np.random.default_rng(0).random((5, 4)):
        want = count(wg.tensor(x))
        assert compiled(x).tolist() == want.tolist() and compiled(x).dtype == want.dtype


@pytest.mark.parametrize(
    "escape",
    [
        lambda x: x * float(x[0]),
        lambda x: x * x[0].item(),
        lambda x: wg.tensor(x.numpy() * 2),
        lambda x: x if x[0] > 0 else -x,
        lambda x: np.asarray(x),
        lambda x: x * int(wg.argmax(x)),
        lambda x: wg.at_set(x, wg.argsort(x), 1.0),
        lambda x: wg.at_add(x, x > 0, 1.0),
        lambda x: x[x > 0],
        lambda x: x[: wg.argmax(x)],
        lambda x: x[-wg.argsort(x)],
    ],
)
def test_what_cannot_be_replayed_is_refused_with_its_line(escape: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"test_compile\.py:\d+.*inside a compiled function"):
        wg.compile(escape)(np.ones(3))
    assert wg.compile(lambda x: x + 1.0)(np.ones(3)).tolist() == [2.0] * 3  # recording goes on


@pytest.mark.parametrize(
    "arithmetic",
    [
        lambda k: k + 1,
        lambda k: 2 * k,
        lambda k: k % 2,
        lambda k: k / 2,
        lambda k: k**2,
        lambda k: np.add(k, 1),
        lambda k: wg.minimum(k, 1),
        lambda k: abs(k),
    ],
)
def test_arithmetic_on_whole_numbers_is_refused_with_its_line(arithmetic: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"test_compile\.py:\d+"):
        wg.compile(lambda x, k: x[arithmetic(k)])(np.ones(3), np.array([0, 1]))


def test_exceptions_leave_everything_as_it_was() -> None:
    model, _, plain = trainer("adam")
    step = wg.compile(plain)
    x, y = batches(1)[0]
    with pytest.raises(IndexError, match="label 7"):
        step(x, np.full(12, 7))
    before = {k: v.tobytes() for k, v in model.state_dict().items()}
    step(x, y)
    step(x, y)
    before = {k: v.tobytes() for k, v in model.state_dict().items()}
    with pytest.raises(IndexError, match="label 7"):
        step(x, np.full(12, 7))
    assert before == {k: v.tobytes() for k, v in model.state_dict().items()}
    step(x, y)
    assert before != {k: v.tobytes() for k, v in model.state_dict().items()}


def test_eight_threads_on_one_compiled_function() -> None:
    f = wg.compile(wg.value_and_grad(lambda x: wg.sum(wg.tanh(x @ x.T))))
    xs = [RNG.standard_normal((6, 6)) for _ in range(8)]
    expected = [[bits(t) for t in wg.value_and_grad(lambda x: wg.sum(wg.tanh(x @ x.T)))(x)] for x in xs]
    wrong: list[int] = []

    def run(i: int) -> None:
        for _ in range(50):
            if [bits(t) for t in f(xs[i])] != expected[i]:
                wrong.append(i)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_compiled_functions_nest_and_differentiate() -> None:
    inner = wg.compile(lambda x: wg.sin(x) * x)
    outer = wg.compile(lambda x: wg.sum(inner(x) + inner(x)))
    for _ in range(2):
        np.testing.assert_allclose(outer(np.ones(2)).item(), 4 * np.sin(1.0), rtol=1e-15)
    gradient = wg.grad(lambda x: wg.sum(inner(x)))(np.ones(2))
    np.testing.assert_allclose(gradient.numpy(), np.sin(1.0) + np.cos(1.0), rtol=1e-15)
    hessian = wg.compile(wg.hessian(lambda x: wg.sum(x**3)))
    for k in (1.0, 2.0):
        np.testing.assert_allclose(hessian(np.full(2, k)).numpy(), np.diag([6 * k, 6 * k]), rtol=1e-14)


def test_methods_and_decorators() -> None:
    class Scaler:
        def __init__(self, k: float) -> None:
            self.k = wg.tensor(k)

        @wg.compile
        def __call__(self, x: Any) -> Any:
            """Scales."""
            return x * self.k

    a, b = Scaler(2.0), Scaler(3.0)
    for _ in range(2):
        assert a(np.ones(1)).item() == 2.0 and b(np.ones(1)).item() == 3.0
    assert Scaler.__call__.__doc__ == "Scales."


def test_training_mode_is_part_of_the_key() -> None:
    model = wg.nn.Sequential(wg.nn.Dropout(0.5, seed=0))
    f = wg.compile(lambda x: model(x))
    x = np.ones(100)
    assert 0 in f(x).numpy() and 0 in f(x).numpy()
    model.eval()
    assert f(x).tolist() == f(x).tolist() == [1.0] * 100
    model.train()
    assert bits(f(x)) != bits(f(x))
    assert len(f.stats()) == 2


def test_check_compares_replay_with_the_function() -> None:
    w = wg.tensor(1.0, requires_grad=True)
    good = wg.compile(lambda x: w.assign(w + x), check=True)
    for _ in range(3):
        good(np.float64(1.0))
    assert w.item() == 4.0

    calls = [0.0]

    def impure(x: Any) -> Any:
        calls[0] += 1
        return x * calls[0]

    bad = wg.compile(impure, check=True)
    with pytest.raises(AssertionError, match="result 0 differs"):
        for _ in range(3):
            bad(np.ones(2))


def test_fit_equals_the_loop_by_hand() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.standard_normal((50, 5)).astype(np.float32), rng.integers(0, 3, 50)
    model, opt, _ = trainer("adam", dropout=0.2)
    by_hand, hand_opt, _ = trainer("adam", dropout=0.2)
    history = wg.nn.fit(model, x, y, wg.nn.cross_entropy, opt, batch_size=16, epochs=3, seed=9)
    order_rng = np.random.default_rng(9)
    for epoch in range(3):
        order, total = order_rng.permutation(50), 0.0
        for first in range(0, 50, 16):
            rows = order[first : first + 16]
            hand_opt.zero_grad()
            loss = wg.nn.cross_entropy(by_hand(x[rows]), y[rows])
            loss.backward()
            hand_opt.step()
            total += loss.item() * len(rows)
        np.testing.assert_allclose(history[epoch], total / 50, rtol=1e-12)
    for p, q in zip(model.parameters(), by_hand.parameters(), strict=True):
        assert bits(p) == bits(q)


def test_fit_reports_stops_and_refuses() -> None:
    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    model = wg.nn.MLP([1, 4, 1], seed=0)
    opt = wg.optim.SGD(model.parameters(), lr=0.1)
    seen: list[tuple[int, int, float]] = []
    history = wg.nn.fit(
        model, x, x**2, wg.nn.mse_loss, opt, batch_size=8, epochs=9,
        on_epoch=lambda number, loss: number == 2, on_progress=lambda *a: seen.append(a), interval=0.0,
    )  # fmt: skip
    assert len(history) == 2 and [b for b, _, _ in seen] == [*range(1, 9)] * 2
    for bad, message in [((x, x[:3]), "same number of rows"), ((x[:0], x[:0]), "no rows")]:
        with pytest.raises(ValueError, match=message):
            wg.nn.fit(model, *bad, wg.nn.mse_loss, opt)
    with pytest.raises(ValueError, match="batch_size"):
        wg.nn.fit(model, x, x, wg.nn.mse_loss, opt, batch_size=0)


def test_fit_stops_at_ctrl_c() -> None:
    x = np.linspace(-1, 1, 4096, dtype=np.float32)[:, None]
    model = wg.nn.MLP([1, 64, 64, 1], seed=0)
    opt = wg.optim.Adam(model.parameters())
    delays = []
    for _ in range(5):  # the machine may be busy once
        pressed: list[float] = []

        def press(pressed: list[float] = pressed) -> None:
            pressed.append(time.perf_counter())
            _thread.interrupt_main()

        timer = threading.Timer(0.2, press)
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            wg.nn.fit(model, x, x**2, wg.nn.mse_loss, opt, batch_size=32, epochs=1_000_000)
        delays.append(time.perf_counter() - pressed[0])
        timer.join()
        if delays[-1] < 0.1:
            break
    assert min(delays) < 0.1
    assert all(np.isfinite(p).all() for p in model.parameters())


def test_a_result_takes_exactly_the_place_of_an_operand_or_none() -> None:
    w, z = np.arange(1.0, 18.0), np.zeros(8)

    def f(w: Any) -> Any:
        return wg.concat([w[:9] * 2, z]) + wg.concat([w[:9] * w[8:], z])

    compiled = wg.compile(f)
    compiled(w)
    assert bits(compiled(w)) == bits(f(wg.tensor(w)))


LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "mse": wg.nn.mse_loss,
    "huber": wg.nn.huber_loss,
    "l1": wg.nn.l1_loss,
    "bce": wg.nn.binary_cross_entropy_with_logits,
    "ce": lambda z, y: wg.nn.cross_entropy(z, y, label_smoothing=0.1),
}
ACTIVATIONS = ["tanh", "relu", "gelu", "silu", "sigmoid", "leaky_relu", "softplus"]


@pytest.mark.parametrize("seed", range(10))
def test_random_networks_train_to_the_same_bits(seed: int) -> None:
    """Of sizes that are not round, nor few: one in seven of these once trained with wrong gradients."""
    rng = np.random.default_rng(seed)
    for _ in range(100):
        sizes = rng.integers(1, 131, rng.integers(2, 6)).tolist()
        loss = rng.choice(list(LOSSES))
        spec = (sizes, rng.choice(ACTIVATIONS), rng.integers(1, 129), loss, rng.choice(["SGD", "Adam", "AdamW"]))
        states = []
        for run in (lambda f: f, wg.compile):
            model = wg.nn.MLP(sizes, str(spec[1]), seed=seed)
            opt = getattr(wg.optim, spec[4])(model.parameters(), lr=0.01)

            def step(x: Any, y: Any, model: Any = model, opt: Any = opt, loss: str = loss) -> Any:
                opt.zero_grad()
                value = LOSSES[loss](model(x), y)
                value.backward()
                opt.step()
                return value

            data, run_step, state = np.random.default_rng(seed), run(step), []
            for _ in range(3):
                x = data.standard_normal((spec[2], sizes[0])).astype(np.float32)
                y = data.integers(0, sizes[-1], spec[2]) if loss == "ce" else data.random((spec[2], sizes[-1]), "f")
                state += [
                    bits(run_step(x, y)),
                    *map(bits, model.parameters()),
                    *(bits(p.grad) for p in model.parameters()),
                ]
            states.append(state)
        assert states[0] == states[1], spec
