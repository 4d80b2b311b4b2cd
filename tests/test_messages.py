"""Refusals in words: every public function with every kind of wrong argument in every place.

What Python or NumPy say for themselves is in words already; what must never reach a user is the binding: its lists of
C++ signatures, and its names of things.
"""

import inspect
import re

import numpy as np
import pytest

import wengert as wg

WRONG = {
    "None": None,
    "text": "abc",
    "object": object(),
    "dict": {"a": 1},
    "function": len,
    "float": 1.5,
    "complex": 1j,
    "list of texts": ["a", "b"],
    "list of None": [None],
    "nested": [[1, 2], [3]],
    "nan": float("nan"),
    "class": int,
    "empty": [],
    "large": 10**30,
    "a size": 2**62,
    "least": -(2**63),
    "tensor": wg.tensor([0.5, 2.0], requires_grad=True),
    "array": np.array([[1.0, 2.0], [3.0, 4.0]]),
}
NOT_CALLED = {"show_config", "save", "load", "set_num_threads", "threads"}  # they write, or change the process
BINDING = re.compile(r"incompatible function arguments|PyCapsule|pybind|std::|_core\b|SupportsI|arg\d|0x[0-9a-f]{6}")


def public_functions():
    found = {}
    for space in (wg, wg.nn, wg.linalg, wg.optim, wg.nn.init):
        for name in getattr(space, "__all__", [n for n in vars(space) if not n.startswith("_")]):
            f = getattr(space, name)
            if callable(f) and getattr(f, "__module__", "").startswith("wengert") and name not in NOT_CALLED:
                found[f"{space.__name__}.{name}"] = f
    for name, f in vars(wg.Tensor).items():
        if inspect.isfunction(f) and (not name.startswith("_") or name == "__getitem__"):
            found[f"wengert.Tensor.{name}"] = f
    return found


FUNCTIONS = public_functions()


def arguments_of(f):
    """Good arguments for the required parameters, and how many positions there are."""
    parameters = list(inspect.signature(f).parameters.values())
    required = [
        p for p in parameters if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    values = {"self": wg.tensor([[1.0, 2.0], [3.0, 4.0]]), "shape": (2, 2), "axis": 0, "axes": (1, 0), "sizes": [2, 2],
              "f": wg.sin, "function": wg.sin, "fun": np.sin, "params": wg.nn.Linear(2, 2).parameters(), "n": 2,
              "num": 2, "in_features": 2, "out_features": 2, "num_features": 2, "indices": [0, 1]}  # fmt: skip
    good = [values.get(p.name, np.array([[1.0, 2.0], [3.0, 4.0]])) for p in required]
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return good, places


def refusals(f, wrong):
    """The messages for that value in each place, one at a time, and in all at once."""
    good, places = arguments_of(f)
    calls = [([*good[:i], wrong, *good[i + 1 :]], {}) for i in range(len(good))]
    calls += [(good, {p.name: wrong}) for p in places[len(good) :]]
    calls += [([wrong] * len(good), {}), ([], {p.name: wrong for p in places}), ([wrong] * (len(places) + 2), {})]
    for args, kwargs in calls:
        try:
            f(*args, **kwargs)
        except Exception as error:
            yield f"{type(error).__name__}: {error}"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("wrong", WRONG)
def test_no_message_speaks_of_the_binding(wrong):
    shown = [
        f"{name}: {message}"
        for name, f in FUNCTIONS.items()
        for message in refusals(f, WRONG[wrong])
        if BINDING.search(message.replace(repr(WRONG["object"]), ""))
    ]
    assert not shown, "\n".join(shown)


def test_enough_is_tried():
    assert len(FUNCTIONS) > 250
    assert sum(1 for f in FUNCTIONS.values() for _ in refusals(f, WRONG["object"])) > 600


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wg.softmax(np.ones(2), None), "softmax: axis must be a whole number, got None"),
        (lambda: wg.softmax("abc"), "softmax: x has dtype <U3"),
        (lambda: wg.softmax({}), "softmax: x is a dict, not an array of numbers"),
        (
            lambda: wg.full(2, "a"),
            "full: value has dtype <U1, which tensors do not have: make numbers of the text first",
        ),
        (
            lambda: wg.broadcast_to(1.0, [1.5]),
            "broadcast_to: sizes must be integers, got [1.5]",
        ),
        (
            lambda: wg.permute_dims(np.ones((2, 2)), ["a", 0]),
            "permute_dims: axes must be integers, got ['a', 0]",
        ),
        (lambda: wg.exp([1j]), "exp: operand 0 has dtype complex128"),
        (lambda: wg.exp(None), "exp: operand 0 is a NoneType, not an array of numbers"),
        (lambda: wg.add(1.0, {}), "add: operand 1 is a dict"),
        (lambda: wg.exp(1.0, 2.0), "exp() takes 1 arguments, got 2"),
        (lambda: wg.where(a=1), "wengert.where() takes no keyword arguments"),
        (lambda: wg.tensor([1.0]) + 1j, "add: operand 1 has dtype complex128"),
        (lambda: wg.nn.mse_loss([1.0], "a"), "mse_loss: target has dtype <U1"),
        (lambda: wg.linalg.det({}), "det: x is a dict"),
    ],
)
def test_a_refusal_names_function_argument_what_came_and_what_would_do(call, message):
    with pytest.raises(TypeError) as refused:
        call()
    assert message in str(refused.value)


def test_where_the_refusal_of_a_number_is_explained():
    with pytest.raises(TypeError, match="would cut the gradient"):
        wg.grad(lambda x: _number_of(x))(1.0)


def _number_of(x):
    return wg._core.full([2], x, "float64").sum()


@pytest.mark.parametrize(
    ("name", "value"), [("batch_size", 32.0), ("epochs", "3"), ("interval", "x"), ("batch_size", None)]
)
def test_fit_names_what_it_cannot_use(name, value):
    model = wg.nn.Linear(1, 1, seed=0)
    before = model.state_dict()
    with pytest.raises(TypeError) as refused:
        wg.nn.fit(
            model, np.ones((4, 1)), np.ones((4, 1)), wg.nn.mse_loss, wg.optim.SGD(model.parameters()), **{name: value}
        )
    assert f"fit: {name} must be a" in str(refused.value)
    assert all(np.array_equal(a, before[k]) for k, a in model.state_dict().items())


def test_a_function_of_the_binding_still_takes_what_it_took():
    assert wg._core.softmax(np.ones(2), np.int64(0)).tolist() == [0.5, 0.5]
    assert wg._core.matmul(a=np.ones((1, 2)), b=np.ones((2, 1))).tolist() == [[2.0]]
