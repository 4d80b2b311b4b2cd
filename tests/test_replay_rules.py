"""What a compiled function is keyed by, what it holds on to, and what it refuses."""

from __future__ import annotations

import copy
import gc
import itertools
import math
import struct
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from side_by_side import in_threads

import wengert as wg

ONES = np.ones(2)


# --- Keys ----------------------------------------------------------------------------------------------------------
def nan(payload: int) -> float:
    return float(struct.unpack("d", struct.pack("Q", 0x7FF8000000000000 | payload))[0])


DIFFERENT = [0.0, -0.0, 0, False, True, 1, 1.0, nan(0), nan(7), -math.nan, math.inf, 0j, -0j, complex(0.0, -0.0), "1",
             b"1", None, ..., 2**70, -(2**70), 1e-320, (0.0,), (-0.0,), (0,), [0], {"a": 0.0}, {"a": -0.0}, {"a": 0},
             slice(0, 1), slice(0.0, 1), slice(0, 2), np.float32(1), np.float64(1), np.int64(1),
             np.bool_(True)]  # fmt: skip


def again(x: Any) -> Any:
    """The same value in new objects."""
    if isinstance(x, np.generic):
        return x
    if isinstance(x, float):
        return struct.unpack("d", struct.pack("d", x))[0]
    if isinstance(x, complex):
        return complex(again(x.real), again(x.imag))
    if isinstance(x, (tuple, list)):
        return type(x)(map(again, x))
    if isinstance(x, dict):
        return {str(k): again(v) for k, v in x.items()}
    if isinstance(x, slice):
        return slice(again(x.start), again(x.stop), x.step)
    return x


@pytest.mark.parametrize("nested", [lambda k: k, lambda k: [k], lambda k: {"a": (k, 1)}])
def test_arguments_are_told_apart_by_their_bits_and_types(nested: Callable[[Any], Any]) -> None:
    seen: list[Any] = []
    f = wg.compile(lambda x, k: (seen.append(k), x * float(len(seen)))[1], limit=len(DIFFERENT))
    for _ in range(3):
        for number, k in enumerate(DIFFERENT, 1):
            assert f(ONES, nested(again(k))).tolist() == [float(number)] * 2, k
    assert len(f.stats()) == len(seen) == len(DIFFERENT)


def test_a_signed_zero_is_frozen_with_its_sign() -> None:
    f = wg.compile(lambda x, k: x / k)
    assert [f(ONES, k).numpy()[0] for k in (0.0, -0.0, 0.0, -0.0)] == [math.inf, -math.inf] * 2


def test_arguments_that_need_conversion_keep_to_their_thread() -> None:
    f = wg.compile(lambda x, i, s: wg.sum(x) + wg.sum(i.astype("float64")) + s)

    def work(k: int) -> None:
        for j in range(60):
            n = 2 + (j + 3 * k) % 9
            x, i = np.full((2 * n,), float(k))[::2], np.full((n, 2), k, [np.int32, np.uint8][k % 2]).T
            assert f(x, i, np.float64(k)).item() == n * k + 2 * n * k + k

    in_threads(8, work)


def asked(module: wg.nn.Module) -> list[wg.nn.Module]:
    return [m for _, m in module.named_modules()]


@pytest.mark.parametrize("switch", ["assigned", "eval", "in __dict__"])
def test_a_mode_is_seen_however_it_was_switched(switch: str) -> None:
    for which in range(3):
        model = wg.nn.Sequential(wg.nn.Dropout(0.5, seed=0), wg.nn.Sequential(wg.nn.Dropout(0.5, seed=1)))
        module = [model[0], model[1][0], model[1]][which]
        f = wg.compile(lambda x, model=model: model(x))
        x = np.ones(200)
        for on in (True, False, True, False):
            if switch == "eval":
                module.train(on)
            elif switch == "assigned":
                module.training = on
            else:
                vars(module)["training"] = on
            first_mode = model[0].training
            for _ in range(2):
                values = set(f(x).tolist())
                modes = (first_mode, model[1][0].training)
                assert values == {(False, False): {1.0}, (True, True): {0.0, 4.0}}.get(modes, {0.0, 2.0})


def test_a_function_that_asks_no_module_is_not_recorded_again() -> None:
    model = wg.nn.MLP([2, 3, 1], seed=0)
    f = wg.compile(lambda x: model(x))
    for on in (True, False, True):
        model.train(on)
        f(np.ones((1, 2), np.float32))
    assert len(f.stats()) == 1


@pytest.mark.parametrize("dead", [False, True])  # whether the forward value is needed for anything
def test_requires_grad_is_seen_both_ways(dead: bool) -> None:
    p, q = (wg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))

    def step(x: Any) -> Any:
        p.grad = q.grad = None
        total = wg.sum(p * x) + (wg.sum(q) if dead else wg.sum(q * q * x))
        total.backward()
        return None if dead else total

    f = wg.compile(step)
    for wanted in ((True, True), (True, False), (False, True), (True, True), (True, False)):
        p.requires_grad, q.requires_grad = wanted
        for _ in range(2):
            f(ONES)
            assert (p.grad is not None, q.grad is not None) == wanted


def test_fit_sees_what_a_callback_freezes() -> None:
    x = np.random.default_rng(0).standard_normal((32, 3)).astype(np.float32)
    model = wg.nn.Sequential(wg.nn.MLP([3, 8, 8], seed=0), wg.nn.BatchNorm1d(8), wg.nn.Linear(8, 1, seed=1))
    norm, last = model[1], model[2]
    states: list[dict[str, bytes]] = []

    def on_epoch(number: int, loss: float) -> None:
        states.append({name: value.tobytes() for name, value in model.state_dict().items()})
        if number == 1:
            norm.training = False
            last.weight.requires_grad = False
        if number == 2:
            model.eval()  # to evaluate; fit goes on in the modes of before
        if number == 3:
            norm.training = True

    optimizer = wg.optim.SGD(model.parameters(), lr=0.01)
    wg.nn.fit(model, x, x[:, :1], wg.nn.mse_loss, optimizer, batch_size=8, epochs=4, on_epoch=on_epoch)
    moved = [{n for n in a if a[n] != b[n]} for a, b in itertools.pairwise(states)]
    statistics = {n for n in states[0] if "running" in n}
    assert statistics and not (moved[0] | moved[1]) & (statistics | {"2.weight"})
    assert statistics < moved[2] and "2.weight" not in moved[2] and "2.bias" in moved[0]


def test_fit_leaves_every_mode_as_it_was() -> None:
    x = np.ones((4, 2), np.float32)
    model = wg.nn.Sequential(wg.nn.Dropout(0.5), wg.nn.Linear(2, 1), wg.nn.Dropout(0.5))
    optimizer = wg.optim.SGD(model.parameters(), lr=0.1)
    for model_mode in (True, False):
        model.train(model_mode)
        model[0].training = not model_mode
        before = [m.training for m in asked(model)]
        wg.nn.fit(model, x, x[:, :1], wg.nn.mse_loss, optimizer, epochs=2)
        assert [m.training for m in asked(model)] == before


# --- What is live and what is frozen -------------------------------------------------------------------------------
def test_numpy_arrays_from_outside_are_frozen_whatever_is_done_with_them() -> None:
    a = np.ones(2)
    uses: list[Callable[[Any], Any]] = [
        lambda x: x * a,
        lambda x: x * wg.asarray(a),
        lambda x: x * wg.tensor(a),
        lambda x: x * wg.grad(lambda z: wg.sum(z * z / 2))(a),
        lambda x: wg.where(x > 0, a, 0.0),
        lambda x: x * np.float64(a[0]),
        lambda x: x * wg.stack([a[0], a[1]]),
    ]
    live = wg.asarray(a)  # a tensor, whose memory is that of the array
    compiled = [wg.compile(use) for use in uses]
    reads_live = wg.compile(lambda x: x * live)
    for f in (*compiled, reads_live):
        f(ONES)
    a[:] = 5.0
    assert [f(ONES).tolist() for f in compiled] == [[1.0, 1.0]] * len(uses)
    assert reads_live(ONES).tolist() == [5.0, 5.0]


@pytest.mark.parametrize("nested", [False, True])
def test_an_argument_that_is_a_leaf_which_the_function_changes(nested: bool) -> None:
    def make(p: wg.Tensor) -> Callable[[Any], Any]:
        def f(argument: Any) -> Any:
            x = argument["x"] if nested else argument
            before = x * 1.0
            p.assign(p + 1.0)
            middle = x * 1.0
            p.assign(p * 2.0)
            return before, middle, x * 1.0

        return f

    plain_leaf, leaf = (wg.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    plain, compiled = make(plain_leaf), wg.compile(make(leaf))
    for use_leaf in (True, True, False, True, False, True):
        a, b = (plain_leaf, leaf) if use_leaf else (ONES, ONES)
        wanted, got = plain({"x": a} if nested else a), compiled({"x": b} if nested else b)
        assert [t.tolist() for t in got] == [np.asarray(wg.asarray(t).detach()).tolist() for t in wanted]
        assert leaf.tolist() == plain_leaf.tolist() and not any(t.requires_grad for t in got)


def test_a_recorded_result_inside_of_an_argument_keeps_its_gradient() -> None:
    f = wg.compile(lambda tree: wg.sum(tree["w"][0] * tree["w"][0]))
    for _ in range(2):
        f({"w": [ONES]})
        assert wg.grad(lambda w: f({"w": [w]}))(np.array([3.0, 4.0])).tolist() == [6.0, 8.0]


# --- What is held --------------------------------------------------------------------------------------------------
class Model:
    def __init__(self, k: float) -> None:
        self.w = wg.tensor([k], requires_grad=True)
        self.twice = wg.primitive(lambda x, of: x * 2.0)
        self.step = wg.compile(self._step)

    def _step(self, x: Any) -> Any:
        return self.twice(self.w * x, self)

    @wg.compile
    def method(self, x: Any, k: float = 1.0) -> Any:
        """Scales."""
        return self.w * x * k

    @wg.compile(check=True)
    def checked(self, x: Any) -> Any:
        self.w.assign(self.w + x)
        return self.w * x

    @wg.compile(limit=3)
    def limited(self, x: Any, k: float) -> Any:
        return x * k

    @classmethod
    @wg.compile
    def of_class(cls, x: Any) -> Any:
        return x * 3.0


@pytest.mark.parametrize("use", ["step", "method", "checked"])
def test_an_object_with_a_compiled_method_is_freed(use: str) -> None:
    model = Model(2.0)
    for _ in range(3):
        getattr(model, use)(np.ones(1))
    life = weakref.ref(model)
    del model
    gc.collect()
    assert life() is None


def test_a_method_has_its_recordings_per_object() -> None:
    models = [Model(float(k)) for k in range(50)]
    for _ in range(2):
        for k, model in enumerate(models):
            assert model.method(np.ones(1)).item() == k and model.method(np.ones(1), k=2.0).item() == 2.0 * k
            assert Model.method(model, np.ones(1)).item() == k if k < 9 else True
            assert model.checked(np.zeros(1)).item() == 0.0
    assert [len(m.method.stats()) for m in models] == [2] * 50
    assert models[0].method.stats()[0]["replays"] == 1 and "float64(1,)" in str(models[0].method.__func__)
    for k in range(3):
        models[0].limited(ONES, float(k)), models[1].limited(ONES, float(k))
    with pytest.raises(RuntimeError, match="recorded 3 times"):
        models[0].limited(ONES, 9.0)
    assert Model.of_class(ONES).tolist() == models[0].of_class(ONES).tolist() == [3.0, 3.0]
    assert Model.method.__doc__ == "Scales."


def test_a_copy_of_an_object_does_not_share_its_recordings() -> None:

    model = Model(2.0)
    model.method(np.ones(1)), model.method(np.ones(1))
    other = copy.copy(model)
    other.w = wg.tensor([5.0])
    assert other.method(np.ones(1)).item() == 5.0 and model.method(np.ones(1)).item() == 2.0


def test_methods_of_objects_without_weak_references() -> None:
    class Slots:
        __slots__ = ("k",)

        @wg.compile
        def f(self, x: Any) -> Any:
            return x * self.k

    one, two = Slots(), Slots()
    one.k, two.k = 2.0, 3.0
    for _ in range(2):
        assert one.f(ONES).tolist() == [2.0] * 2 and two.f(ONES).tolist() == [3.0] * 2


def test_methods_of_modules_see_their_own_mode() -> None:
    class Net(wg.nn.Module):
        def __init__(self) -> None:
            self.drop = wg.nn.Dropout(0.5, seed=0)

        @wg.compile
        def predict(self, x: Any) -> Any:
            return self.drop(x) if self.training else x

    net = Net()
    assert 0.0 in net.predict(np.ones(99)).tolist() and 0.0 in net.predict(np.ones(99)).tolist()
    net.training = False
    assert net.predict(np.ones(99)).tolist() == [1.0] * 99
    life = weakref.ref(net)
    del net
    gc.collect()
    assert life() is None


# --- What is refused -----------------------------------------------------------------------------------------------
def generator(x: Any) -> Any:
    yield x


async def coroutine(x: Any) -> Any:
    return x


async def asynchronous(x: Any) -> Any:
    yield x


@pytest.mark.parametrize("function", [generator, coroutine, asynchronous])
def test_what_cannot_be_run_again_is_refused_at_once(function: Any) -> None:
    with pytest.raises(TypeError, match=f"{function.__name__} is an? .*function"):
        wg.compile(function)


class Holder:
    def __init__(self, x: Any) -> None:
        self.x = x


@pytest.mark.parametrize(
    "result",
    [
        lambda x: (y for y in (x, x)),
        lambda x: iter([x * 2.0]),
        lambda x: map(abs, [x]),
        lambda x: [zip([x], [x], strict=True)],
        lambda x: {"a": (enumerate([1]), x)},
        lambda x: Holder(x * 2.0),
        lambda x: Holder({"deep": [x * 2.0]}),
        lambda x: [1.0, Holder(x)],
        lambda x: {x * 2.0},
    ],
)
def test_results_that_a_replay_could_not_renew_are_refused(result: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match=r"compile: the function returned an? "):
        wg.compile(result)(ONES)


@pytest.mark.parametrize("result", [None, 1, -0.0, "a", b"a", (1, [2]), {"a": None}, len, int, Holder(1.0), ...])
def test_other_results_come_back_as_they_are(result: Any) -> None:
    f = wg.compile(lambda x: (result, x * 1.0))
    for _ in range(2):
        got = f(ONES)[0]
        assert got == result and type(got) is type(result)


def too_deep(kind: str) -> Any:
    if kind == "itself":
        nest: list[Any] = []
        nest.append(nest)
        return nest
    if kind == "a dict of itself":
        tree: dict[str, Any] = {}
        tree["a"] = [tree]
        return tree
    deep: Any = [ONES]
    for _ in range(200_000):
        deep = (deep,) if kind == "tuples" else [deep]
    return deep


def let_go(deep: Any) -> None:
    while isinstance(deep, (list, tuple)) and len(deep) == 1:
        inner = deep[0]
        if isinstance(deep, list):
            deep.clear()
        deep = inner


@pytest.mark.parametrize("kind", ["itself", "a dict of itself", "lists", "tuples"])
def test_structures_without_end_are_refused(kind: str) -> None:
    nest = too_deep(kind)
    with pytest.raises(ValueError, match="the arguments are nested more than 100 deep, or contain themselves"):
        wg.compile(lambda x: 1.0)(nest)
    with pytest.raises(ValueError, match="the results are nested more than 100 deep, or contain themselves"):
        wg.compile(lambda x: nest)(ONES)
    let_go(nest)


# --- profile and check ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
@pytest.mark.parametrize("clears", [True, False])
def test_profile_leaves_everything_as_it_was(optimizer: str, clears: bool) -> None:
    model = wg.nn.MLP([3, 40, 1], dropout=0.3, seed=0)
    opt = getattr(wg.optim, optimizer)(model.parameters(), lr=0.1)
    stamp = wg.primitive(lambda x: np.asarray(x) * 1.0)

    def step(x: Any) -> Any:
        if clears:
            opt.zero_grad()
        loss = wg.sum(model(x))
        loss.backward()
        opt.step()
        return stamp(loss.detach())

    f = wg.compile(step)
    x = np.ones((5, 3), np.float32)
    for _ in range(3):
        f(x)
    held = [p.grad for p in model.parameters()]

    def state() -> Any:
        grads = [p.grad.numpy().tobytes() for p in model.parameters()]
        values = {**model.state_dict(), **{f"opt.{k}": v for k, v in opt.state_dict().items()}}
        return grads, {k: v.tobytes() for k, v in values.items()}

    before, views = state(), [p.numpy() for p in model.parameters()]
    copies = [v.copy() for v in views]
    assert len(f.profile(x, repeats=3).steps) == f.stats()[0]["steps"]
    assert state() == before and all(
        p.grad.tolist() == g.tolist() for p, g in zip(model.parameters(), held, strict=True)
    )
    assert all(np.array_equal(v, c) for v, c in zip(views, copies, strict=True))


def test_profile_puts_back_after_an_exception() -> None:
    w = wg.tensor(np.zeros(3))
    f = wg.compile(lambda i: (w.assign(w + 1.0), w[i])[1])
    f(np.array([0])), f(np.array([0]))
    with pytest.raises(IndexError):
        f.profile(np.array([9]))
    assert w.tolist() == [2.0] * 3


def test_profile_refuses_what_it_has_no_recording_for() -> None:
    p = wg.tensor(ONES, requires_grad=True)
    f = wg.compile(lambda x: wg.sum(p * x).backward())
    for _ in range(3):
        f(ONES)
    for bad in (0, -1):
        with pytest.raises(ValueError, match="repeats must be at least 1"):
            f.profile(ONES, repeats=bad)
    with pytest.raises(ValueError, match="nothing was recorded yet"):
        f.profile(np.ones(3))
    p.grad = None
    assert f.profile(ONES).steps and p.grad is None  # the first recording is for this
    g = wg.compile(lambda x: wg.sum(p * x).backward())
    p.grad = ONES
    g(ONES)
    p.grad = None
    with pytest.raises(ValueError, match="nothing was recorded yet"):
        g.profile(ONES)


def test_check_compares_gradients() -> None:
    p = wg.tensor(ONES, requires_grad=True)
    scale = [1.0]

    def step(x: Any) -> Any:
        p.grad = None
        scale[0] += 1.0
        wg.sum(p * x * scale[0]).backward()

    f = wg.compile(step, check=True)
    p.name = "p"
    with pytest.raises(AssertionError, match=r"\.grad of p differs"):
        for _ in range(3):
            f(ONES)
    adding = wg.compile(lambda x: wg.sum(p * x).backward(), check=True)
    p.grad = None
    for k in range(1, 5):
        adding(ONES)
        assert p.grad.tolist() == [float(k)] * 2


def test_threads_share_the_recordings_of_a_method() -> None:
    class Counter:
        def __init__(self) -> None:
            self.n = wg.tensor(np.zeros(2))

        @wg.compile
        def count(self, x: Any) -> None:
            self.n.assign(self.n + x)

    counter, lock = Counter(), threading.Lock()
    with lock:
        in_threads(8, lambda k: [counter.count(np.float64(1.0)) for _ in range(20)])
    assert counter.n.tolist() == [160.0] * 2


@pytest.mark.parametrize("requires_grad", [False, True])
def test_an_argument_that_the_function_changes_is_changed_as_by_the_plain_function(requires_grad):
    def f(q, x):
        before = q * 1.0
        q.assign(q + x)
        return before, q * 2.0

    compiled = wg.compile(f)
    p, q = (wg.tensor([1.0, 2.0], requires_grad=requires_grad) for _ in range(2))
    for x in (1.0, 2.0, 3.0):
        with wg.no_grad():
            want, got = f(p, np.float64(x)), compiled(q, np.float64(x))
        assert [a.tolist() for a in got] == [a.tolist() for a in want] and q.tolist() == p.tolist()


OPTIMIZERS = [wg.optim.SGD, wg.optim.Adam, wg.optim.AdamW, wg.optim.RMSprop, wg.optim.Adagrad]


def in_a_closure_cycle(x: Any) -> Any:
    total = wg.zeros(3)

    def add(n: int) -> None:
        if n:
            total.assign(total + x)
            add(n - 1)

    add(3)
    return total


def in_a_cycle_of_objects(x: Any) -> Any:
    class Holder:
        pass

    holder = Holder()
    holder.itself, holder.total = holder, wg.zeros(3)
    holder.total.assign(holder.total + x)
    return holder.total


def in_a_traceback(x: Any) -> Any:
    total = wg.zeros(3)
    try:
        total.assign(total + x)
        raise ValueError
    except ValueError as error:
        kept = error  # whose traceback holds this frame, which holds it
    assert kept
    return total


def trained(optimizer: Any) -> Any:
    def inner(x: Any) -> Any:
        p = wg.tensor(x * 0.5, requires_grad=True)
        opt = optimizer([p], lr=0.1)
        schedule = wg.optim.CosineLR(opt, total=5)
        for _ in range(3):
            opt.zero_grad()
            ((p - x) ** 2).sum().backward()
            opt.step()
            schedule.step()
        return p

    return inner


def layers(x: Any) -> Any:
    norm = wg.nn.BatchNorm1d(3, dtype="float64")
    norm(wg.stack([x, x * 2.0]))
    return wg.nn.Dropout(0.5, seed=0)(norm(wg.stack([x, 1.0 - x]))), norm.running_mean


@pytest.mark.parametrize("given", [lambda t: t, lambda t: t * 1.0, lambda t: t.detach(), lambda t: t.reshape(3, 1)])
@pytest.mark.parametrize(
    "f", [in_a_closure_cycle, in_a_cycle_of_objects, in_a_traceback, *map(trained, OPTIMIZERS), layers]
)
def test_what_a_call_makes_is_made_anew_by_each_replay(f: Any, given: Any) -> None:
    def whole(x: Any) -> Any:
        out = f(x)
        return [given(t) for t in out[1:]] + [out[0]] if isinstance(out, tuple) else given(out)

    compiled = wg.compile(whole)
    for k in range(4):
        x = np.arange(3.0) + k
        plain, replayed = whole(wg.tensor(x)), compiled(x)
        for a, b in zip(*([t] if isinstance(t, wg.Tensor) else t for t in (plain, replayed)), strict=True):
            np.testing.assert_array_equal(a.detach().numpy(), b.numpy())
    assert len(compiled.stats()) == 1


@pytest.mark.parametrize("surrounding", ["plain", "tape", "compiled"])
@pytest.mark.parametrize("made", [lambda x: x, lambda x: x * 2.0, lambda x: x.T, lambda x: x.astype("float32")])
def test_a_tensor_that_shall_require_grad_is_a_leaf_everywhere(surrounding: str, made: Any) -> None:
    def f(x: Any) -> Any:
        p = wg.tensor(made(x), requires_grad=True)
        (p**3).sum().backward()
        return p.grad

    def taped(x: Any) -> Any:
        with wg.Tape():
            return f(x)

    run = {"plain": f, "tape": taped, "compiled": wg.compile(f)}[surrounding]
    for k in range(3):
        x = wg.tensor(np.arange(6.0).reshape(2, 3) + k)
        np.testing.assert_array_equal(run(x).numpy(), 3 * made(x).numpy() ** 2)


ALIASES = [
    lambda t: t.detach(),
    lambda t: t.reshape(-1),
    lambda t: t.reshape(2, 1, 3),
    lambda t: t.T,
    lambda t: t[None],
    lambda t: t[0],
]


@pytest.mark.parametrize("of_an_alias", [False, True])
@pytest.mark.parametrize("writes", [(1, 0), (1, 1), (2, 1), (1, 2), (0, 2)])
@pytest.mark.parametrize("alias", range(len(ALIASES)))
@pytest.mark.parametrize("local", [True, False])
def test_an_alias_shows_the_values_of_when_it_was_made(
    local: bool, alias: int, writes: tuple[int, int], of_an_alias: bool
) -> None:
    def program(outer: Any) -> Any:
        def f(x: Any) -> Any:
            t = wg.ones((2, 3)) if local else outer
            seen = ALIASES[alias](t)
            for _ in range(writes[0]):
                t.assign(t + x)
            if of_an_alias:
                seen = seen.reshape(-1)
            read = seen * 2.0
            for _ in range(writes[1]):
                t.assign(t * x)
            return read, t, seen

        return f

    plain, compiled = program(wg.ones((2, 3))), wg.compile(program(wg.ones((2, 3))))
    for k in range(3):
        x = np.arange(6.0).reshape(2, 3) + k
        for a, b in zip(plain(wg.tensor(x)), compiled(x), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("backward_first", [True, False])
@pytest.mark.parametrize("backward_inside", [True, False])
def test_a_gradient_that_is_only_looked_at_is_the_one_of_now(
    optimizer: Any, backward_first: bool, backward_inside: bool
) -> None:
    def training(compiled: bool) -> Any:
        p = wg.tensor([1.0, 2.0], requires_grad=True)
        opt = optimizer([p], lr=0.1)

        def backward(x: Any) -> None:
            opt.zero_grad()
            (p * p * x).sum().backward()

        def step(x: Any) -> Any:
            if backward_inside and backward_first:
                backward(x)
            seen = None if p.grad is None else p.grad * 2.0
            if seen is not None:
                opt.step()
            if backward_inside and not backward_first:
                backward(x)
            return [p * 1.0] if seen is None else [p * 1.0, seen]

        run = wg.compile(step) if compiled else step
        history = []
        for k in range(5):
            x = wg.tensor([1.0, k + 1.0])
            if not backward_inside and (k or backward_first):
                backward(x)
            history += [t.detach().tolist() for t in run(x)]
            if k == 3:
                p.grad = None
        return history

    assert training(compiled=True) == training(compiled=False)


def test_aliases_of_aliases_are_copied_in_the_order_of_what_they_show() -> None:
    def program(t: Any) -> Any:
        def f(x: Any) -> Any:
            first = t.detach()
            t.assign(t + x)
            second = t.detach()
            t.assign(t * 2.0)
            later = first.reshape(3, 1)  # made last, and shows the first values
            return second * 1.0, later * 1.0, t

        return f

    plain, compiled = program(wg.ones(3)), wg.compile(program(wg.ones(3)))
    for k in range(3):
        x = np.arange(3.0) + k
        for a, b in zip(plain(wg.tensor(x)), compiled(x), strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
