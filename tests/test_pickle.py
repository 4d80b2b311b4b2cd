"""Pickle and copy of every public object that holds no running state: pickle, copy, cloudpickle, a new process."""

import copy
import inspect
import multiprocessing
import pickle

import cloudpickle
import joblib
import numpy as np
import pytest

import wengert as wg

X = np.array([[1.0, 2.0], [3.0, 4.0]])


@wg.compile
def doubled(x):
    return x * 2.0


@wg.compile(check=True)
def checked(x):
    return x * 3.0


@wg.primitive
def cube(x):
    return x**3


cube.defvjp(lambda g, y, x: 3 * x**2 * g)


class Net(wg.nn.Module):
    def __init__(self):
        self.layers = [wg.nn.Linear(2, 3, seed=0), wg.nn.BatchNorm1d(3), wg.nn.Dropout(0.5, seed=1)]
        self.act = wg.silu
        self.again = self.layers[0]  # in two places
        self.step = wg.compile(self.forward)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.act(x)


def by_pickle(item, protocol=None):
    return pickle.loads(pickle.dumps(item, protocol))


WAYS = {
    "pickle": by_pickle,
    "oldest pickle": lambda item: by_pickle(item, 2),
    "cloudpickle": lambda item: pickle.loads(cloudpickle.dumps(item)),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
}


def public_names():
    for space in (wg, wg.nn, wg.optim, wg.linalg, wg.nn.init):
        for name in getattr(space, "__all__", [n for n in vars(space) if not n.startswith("_")]):
            if inspect.isroutine(f := getattr(space, name)) or inspect.isclass(f):
                yield pytest.param(f, id=f"{space.__name__}.{name}")


@pytest.mark.parametrize("item", list(public_names()))
def test_functions_and_classes_are_found_by_name(item):
    for way in WAYS.values():
        assert way(item) is item


@pytest.mark.parametrize("name", wg.nn.ACTIVATIONS)
def test_activations_are_found_by_name(name):
    assert by_pickle(wg.nn.ACTIVATIONS)[name] is wg.nn.ACTIVATIONS[name]


@pytest.mark.parametrize("item", [doubled, checked, cube], ids=["compiled", "checked", "primitive"])
@pytest.mark.parametrize("way", ["pickle", "copy", "deepcopy"])
def test_decorated_functions_are_found_by_name(item, way):
    assert WAYS[way](item) is item


MODULES = {
    "Linear": lambda: wg.nn.Linear(2, 2, seed=0),
    "MLP": lambda: wg.nn.MLP([2, 4, 1], seed=0),
    "MLP of a function": lambda: wg.nn.MLP([2, 4, 1], wg.softplus, dropout=0.3, seed=0),
    "Sequential": lambda: wg.nn.Sequential(
        wg.nn.Linear(2, 3, seed=0), wg.relu, wg.nn.LayerNorm(3), wg.nn.Dropout(0.2, seed=3)
    ),
    "Net": Net,
    **{f"activation {name}": lambda name=name: wg.nn.MLP([2, 2, 2], name, seed=0) for name in wg.nn.ACTIVATIONS},
}


@pytest.mark.parametrize("way", ["pickle", "oldest pickle", "cloudpickle", "deepcopy"])
@pytest.mark.parametrize("name", MODULES)
def test_modules_come_back_whole_and_apart(name, way):
    model = MODULES[name]()
    model(X)  # running statistics and random states have moved
    other = WAYS[way](model)
    state, others = model.state_dict(), other.state_dict()
    assert state.keys() == others.keys() and all(np.array_equal(state[k], others[k]) for k in state)
    assert [p.name for p in model.parameters()] == [p.name for p in other.parameters()]
    assert repr(model) == repr(other)
    assert np.array_equal(model(X).numpy(), other(X).numpy())
    assert np.array_equal(model.eval()(X).numpy(), other.eval()(X).numpy())
    for p in other.parameters():
        p.assign(p + 1.0)
    assert all(np.array_equal(p.numpy(), state[k]) for k, p in model.named_parameters())


def test_the_mode_of_a_module_is_kept_and_compiled_functions_see_it():
    model = by_pickle(wg.nn.Dropout(0.5, seed=0).eval())
    step = wg.compile(lambda x: model(x))
    assert not model.training and step(np.ones(50)).tolist() == [1.0] * 50
    model.train()
    assert 0.0 in step(np.ones(50)).tolist()


@pytest.mark.parametrize("way", ["pickle", "oldest pickle", "cloudpickle", "deepcopy"])
def test_tensors(way):
    for t in (wg.tensor(X, requires_grad=True), wg.tensor([1, 2]), wg.tensor([True]), wg.tensor(X.astype("float32")),
              wg.zeros((0, 3))):  # fmt: skip
        t.name = "w"
        other = WAYS[way](t)
        assert type(other) is wg.Tensor and other is not t and other.is_leaf
        assert (other.dtype, other.requires_grad, other.name) == (t.dtype, t.requires_grad, "w")
        assert np.array_equal(other.numpy(), t.numpy()) and not np.shares_memory(other.numpy(), t.numpy())


def test_a_recorded_tensor_is_pickled_by_its_value_and_never_from_within_a_transform():
    y = wg.tensor([1.0, 2.0], requires_grad=True) * 2
    other = by_pickle(y)
    assert other.tolist() == [2.0, 4.0] and other.is_leaf and not other.requires_grad
    with pytest.raises(TypeError, match="would cut the gradient"):
        wg.grad(lambda x: by_pickle(x * x))(2.0)
    with pytest.raises(RuntimeError, match="only leaves can be copied"):
        copy.deepcopy(y)


def trained(model, optimizer, schedule, steps):
    for _ in range(steps):
        optimizer.zero_grad()
        wg.nn.mse_loss(model(X.astype("float32")), np.ones((2, 1))).backward()
        optimizer.step()
        schedule.step()
    return [p.tolist() for p in model.parameters()]


OPTIMIZERS = {
    "SGD": lambda p: wg.optim.SGD(p, momentum=0.9, nesterov=True),
    "Adam": wg.optim.Adam,
    "AdamW": wg.optim.AdamW,
    "RMSprop": lambda p: wg.optim.RMSprop(p, momentum=0.5),
    "Adagrad": wg.optim.Adagrad,
}
SCHEDULES = {
    "StepLR": lambda o: wg.optim.StepLR(o, every=2),
    "CosineLR": lambda o: wg.optim.CosineLR(o, total=9),
    "WarmupLR": lambda o: wg.optim.WarmupLR(o, total=5, start=0.1),
    "ChainLR": lambda o: wg.optim.ChainLR([wg.optim.WarmupLR(o, 3, 0.1), wg.optim.StepLR(o, 1, 0.5)], [3]),
    "Schedule": lambda o: wg.optim.Schedule(o, lambda t: 1 / (1 + t)),
}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on_from_a_pickle_to_the_bit(optimizer, schedule):
    model = wg.nn.MLP([2, 4, 1], seed=0)
    opt = OPTIMIZERS[optimizer](model.parameters())
    everything = (model, opt, SCHEDULES[schedule](opt))
    trained(*everything, 4)
    ways = ["cloudpickle", "deepcopy"] + (["pickle"] if schedule != "Schedule" else [])
    others = [WAYS[way](everything) for way in ways]
    expected = trained(*everything, 4)
    for other in others:
        assert other[1].parameters[0] is other[0].parameters()[0] and other[2].optimizer is other[1]
        assert trained(*other, 4) == expected
        assert other[1].lr == opt.lr


def test_an_optimizer_leaves_its_schedules_behind():
    opt = wg.optim.SGD(wg.nn.Linear(1, 1).parameters(), lr=0.5)
    wg.optim.Schedule(opt, lambda t: 0.5)
    assert by_pickle(opt).lr == 0.25  # though a lambda could not be pickled
    assert by_pickle(opt).schedules == []


def test_compiled_functions_record_anew():
    f = wg.compile(wg.relu, limit=3)
    f(X)
    for way in ("pickle", "cloudpickle", "deepcopy"):
        g = WAYS[way](f)
        assert len(f.stats()) == 1 and g.stats() == [] and g.limit == 3
        assert np.array_equal(g(X).numpy(), f(X).numpy())
    h = pickle.loads(cloudpickle.dumps(wg.compile(lambda x: x + 1.0, check=True)))
    assert [h(X).tolist(), h(X + 1).tolist()] == [(X + 1).tolist(), (X + 2).tolist()]


def test_primitives_keep_their_rules():
    p = wg.primitive(lambda x: x**2)
    p.defjvp(lambda t, y, x: 2 * x * t)
    assert wg.grad(pickle.loads(cloudpickle.dumps(p)))(3.0).item() == 6.0


def test_a_tape_says_why_it_is_not_pickled():
    with wg.Tape() as tape:
        wg.exp(1.0)
    for way in WAYS.values():
        with pytest.raises(TypeError, match="a Tape holds what a thread is recording"):
            way(tape)


def in_a_new_process(item):
    function, model, x = item
    return function(model(x)).numpy()


def test_new_processes():
    model = wg.nn.MLP([2, 3, 1], seed=0)
    work = [(f, model, X) for f in (wg.relu, wg.softmax, doubled, cube, wg.compile(wg.tanh))]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        spawned = pool.map(in_a_new_process, work)
    by_loky = joblib.Parallel(n_jobs=2)(joblib.delayed(in_a_new_process)(item) for item in work)
    for item, *results in zip(work, spawned, by_loky, strict=True):
        assert all(np.array_equal(result, in_a_new_process(item)) for result in results)


def test_repr_names_the_functions_of_a_sequential():
    model = wg.nn.Sequential(wg.nn.Linear(2, 2), wg.relu, wg.nn.Sequential(wg.nn.Linear(2, 2), wg.leaky_relu))
    assert repr(model).split() == ["Sequential(", "0:", "Linear(2,", "2)", "1:", "relu", "2:", "Sequential(", "0:",
                                   "Linear(2,", "2)", "1:", "leaky_relu", ")", ")"]  # fmt: skip


def test_builtins_look_like_functions_of_the_package():
    for name in wg._elementwise.__all__:
        f = getattr(wg._core, name)
        assert (f.__module__, f.__qualname__) == ("wengert", name)
        assert inspect.isbuiltin(f) and str(inspect.signature(f)).endswith("/)")
