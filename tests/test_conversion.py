"""What counts as an array, and what becomes of it: everything that NumPy could be asked for, into everything that takes
arrays. Either the numbers arrive, or the message says why not and what to do."""

import array
import collections
import time

import numpy as np
import pandas as pd
import pytest

import wengert as wg

VALUES = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


class Duck:
    """As h5py's and others' arrays: they look like sequences but say how to become arrays."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)

    def __len__(self):
        raise AssertionError("read item by item")

    def __getitem__(self, i):
        raise AssertionError("read item by item")


class Interface:
    def __init__(self, values):
        self.values, self.__array_interface__ = values, values.__array_interface__


class ByDlpack:
    def __init__(self, values):
        self.values = values

    def __dlpack__(self, **kwargs):
        return self.values.__dlpack__(**kwargs)

    def __dlpack_device__(self):
        return self.values.__dlpack_device__()


def strided(values):
    wide = np.zeros((values.shape[0] * 2, values.shape[1]))
    wide[::2] = values
    return wide[::2]


def read_only(values):
    values = values.copy()
    values.flags.writeable = False
    return values


SOURCES = {
    "array": np.array,
    "list": lambda a: a.tolist(),
    "tuple": lambda a: tuple(map(tuple, a.tolist())),
    "list of arrays": list,
    "list of Series": lambda a: [pd.Series(row, index=[7, 9]) for row in a],
    "deque": lambda a: collections.deque(a.tolist()),
    "DataFrame": pd.DataFrame,
    "DataFrame after a split": lambda a: pd.DataFrame(np.vstack([a + 9, a])).iloc[len(a) :],
    "DataFrame with names": lambda a: pd.DataFrame(a, columns=["x", "y"], index=["a", "b", "c"]),
    "nullable columns": lambda a: [pd.Series(row, dtype="Float64") for row in a],
    "Fortran order": np.asfortranarray,
    "strided": strided,
    "reversed": lambda a: a[::-1].copy()[::-1],
    "read-only": read_only,
    "big-endian": lambda a: a.astype(">f8"),
    "unaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), offset=1).reshape(a.shape),
    "matrix": lambda a: a.view(np.matrix),
    "nothing masked": np.ma.array,
    "memoryview": lambda a: memoryview(a.copy()),
    "duck": Duck,
    "array interface": Interface,
    "DLPack": ByDlpack,
    "tensor": wg.tensor,
}

MODEL = wg.nn.Linear(2, 2, dtype="float64", seed=0)
CONSUMERS = {
    "asarray": wg.asarray,
    "tensor": wg.tensor,
    "operator": lambda a: wg.ones((3, 2)) * a,
    "operator on the other side": lambda a: a * wg.ones((3, 2)),
    "elementwise": wg.exp,
    "function": lambda a: wg.softmax(a, -1),
    "shape": lambda a: wg.reshape(a, (2, 3)),
    "product": lambda a: wg.ones((1, 3)) @ a,
    "model": MODEL,
    "loss": lambda a: wg.nn.mse_loss(a, a),
    "transform": lambda a: wg.value_and_grad(lambda x: (x * x).sum())(a)[1],
    "stack": lambda a: wg.concat([a, a]),
}
WITHOUT = {
    "operator": ["deque"],
    "product": ["deque"],
    "operator on the other side": ["list", "tuple", "list of arrays", "list of Series", "nullable columns",
                                   "deque", "nothing masked", "matrix"],
    "transform": ["list", "tuple", "list of arrays", "list of Series", "nullable columns"],
}  # fmt: skip


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("source", SOURCES)
def test_every_kind_of_array_arrives_everywhere(source, consumer):
    if source in WITHOUT.get(consumer, ()):
        pytest.skip("no operand of Python's, or a structure of several arrays")
    got = CONSUMERS[consumer](SOURCES[source](VALUES))
    want = CONSUMERS[consumer](wg.tensor(VALUES))
    assert isinstance(got, wg.Tensor)
    np.testing.assert_array_equal(got.numpy(), want.numpy())
    assert got.dtype == want.dtype


@pytest.mark.parametrize("symbol", ["+", "-", "*", "/", "**", "@", "<", "==", "%"])
@pytest.mark.parametrize("table", [pd.DataFrame, lambda a: pd.DataFrame(a)[0], lambda a: pd.DataFrame(a)[1:][1]])
def test_operators_with_tables_on_either_side(symbol, table):
    a = table(np.array([[1.0, 2.0], [3.0, 4.0]]))
    values = a.to_numpy()
    t = wg.tensor(values + 1, requires_grad=True)
    for x, y in ((a, t), (t, a))[symbol == "@" :]:  # pandas computes its own `@`
        got = eval(f"x {symbol} y")
        assert isinstance(got, wg.Tensor)
        plain = [np.asarray(v.detach()) if isinstance(v, wg.Tensor) else v.to_numpy() for v in (x, y)]
        np.testing.assert_allclose(got.numpy(), eval(f"x {symbol} y", {"x": plain[0], "y": plain[1]}))
        assert got.requires_grad == (symbol not in ("<", "=="))


def test_a_table_trains_a_model():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.standard_normal(60), "b": rng.standard_normal(60)})[20:]
    y = (table["a"] - table["b"]).rename("y")
    model = wg.nn.Linear(2, 1, seed=0)
    losses = wg.nn.fit(model, table, y.to_frame(), wg.nn.mse_loss, wg.optim.Adam(model.parameters(), lr=0.1), epochs=99)
    assert losses[-1] < 1e-3
    assert model(table).shape == (40, 1)


BUFFERS = {
    "Series": lambda a: pd.Series(a),
    "memoryview": memoryview,
    "duck": Duck,
    "array interface": Interface,
    "DLPack": ByDlpack,
    "array": lambda a: a,
}


@pytest.mark.parametrize("source", BUFFERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_asarray_shares_the_memory_of_dense_arrays(source, dtype):
    if source == "DLPack" and dtype == "bool" and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        pytest.skip("DLPack had no bool")
    a = np.arange(6).astype(dtype)
    assert np.shares_memory(wg.asarray(BUFFERS[source](a)).numpy(), a) == (source != "Series" or pd_shares(a))
    assert not np.shares_memory(wg.tensor(BUFFERS[source](a)).numpy(), a)


def pd_shares(a):
    return np.shares_memory(np.asarray(pd.Series(a)), a)  # a matter of pandas' version


@pytest.mark.parametrize("typecode", "bBhHiIlLqQfd")
def test_buffers_of_every_number_type(typecode):
    t = wg.asarray(array.array(typecode, [1, 2, 3]))
    assert t.tolist() == [1, 2, 3]
    assert t.dtype == {"f": "float32", "d": "float64"}.get(typecode, "int64")


def test_a_long_series_takes_numpys_time():
    series = pd.Series(np.arange(2e6))[1_000_000:]

    def seconds(f):
        times = []
        for _ in range(5):
            start = time.perf_counter()
            f(series)
            times.append(time.perf_counter() - start)
        return min(times)

    assert seconds(wg.asarray) < seconds(np.array) + 0.01  # 3 s when read item by item


RECORDED = wg.tensor([1.0, 2.0], requires_grad=True)
REFUSED = {
    "complex": (np.array([1 + 2j]), "x.real and x.imag"),
    "complex number": (1 + 2j, "x.real and x.imag"),
    "complex in a list": ([1.0, 2j], "x.real and x.imag"),
    "float16": (np.ones(2, "float16"), 'x.astype("float32")'),
    "object": (np.array([1.0, None], dtype=object), 'np.asarray(x, dtype="float64")'),
    "whole numbers of any size": ([2**70], 'np.asarray(x, dtype="float64")'),
    "None": (None, "None"),
    "None in a list": ([1.0, None], "is a list, not an array of numbers"),
    "dict": ({"a": 1.0}, "a dict, not an array of numbers"),
    "set": ({1.0}, "a set, not an array of numbers"),
    "function": (np.sin, "not an array of numbers"),
    "generator": ((i for i in range(3)), "a generator, not an array of numbers"),
    "nullable DataFrame": (pd.DataFrame(VALUES, dtype="Float64"), 'np.asarray(x, dtype="float64")'),
    "text": ("abc", 'np.asarray(x, dtype="float64")'),
    "texts": (["1", "2"], 'np.asarray(x, dtype="float64")'),
    "bytes": (b"12", 'np.asarray(x, dtype="float64")'),
    "Series of text": (pd.Series(["a", "b"]), "not"),
    "DataFrame of several kinds": (pd.DataFrame({"a": [1.0], "b": ["x"]}), "a DataFrame, not an array of numbers"),
    "dates": (pd.Series(pd.date_range("2020", periods=2)), "np.timedelta64"),
    "durations": (np.ones(2, "m8[s]"), "np.timedelta64"),
    "records": (np.ones(2, [("a", "f8")]), 'x["name"]'),
    "uint64": (np.array([2**63 + 5], "uint64"), 'x.astype("float64")'),
    "uint64 number": (np.uint64(2**63), 'x.astype("float64")'),
    "large whole number": ([2**63], 'x.astype("float64")'),
    "masked": (np.ma.array([1.0, 2.0], mask=[True, False]), "x.filled(value)"),
    "masked in a list": ([np.ma.array([1.0, 2.0], mask=[True, False])], "x.filled(value)"),
    "a masked number in a list": ([1.0, np.ma.masked], "x.filled(value)"),
    "recorded in a list": ([RECORDED, RECORDED], "wg.stack"),
    "recorded in a nested list": ([[RECORDED[0], 1.0]], "wg.stack"),
    "recorded in a deque": (collections.deque([RECORDED]), "wg.stack"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("consumer", ["asarray", "tensor", "softmax", "Linear", "exp", "operator"])
def test_nothing_is_wrapped_dropped_or_cut(name, consumer):
    value, way_out = REFUSED[name]
    f = {"asarray": wg.asarray, "tensor": wg.tensor, "softmax": wg.softmax, "Linear": MODEL, "exp": wg.exp,
         "operator": lambda x: wg.ones(2) + x}[consumer]  # fmt: skip
    with pytest.raises(TypeError) as refused:
        f(value)
    if "unsupported operand type" not in str(refused.value):  # Python's own, and in words
        assert way_out in str(refused.value)
        assert {"operator": "add", "Linear": "Linear"}.get(consumer, consumer) in str(refused.value)


def test_uint64_that_fits_is_taken():
    assert wg.asarray(np.array([2**63 - 1, 0], "uint64")).tolist() == [2**63 - 1, 0]
    assert wg.asarray(np.array([], "uint64")).shape == (0,)


def test_lists_that_hold_themselves_are_refused():
    a = []
    a.append(a)
    with pytest.raises((RecursionError, TypeError, ValueError)):
        wg.asarray(a)


@pytest.mark.parametrize("dtype", ["complex128", "float16", "uint64", "int32", "object", "U3", "M8[s]"])
def test_dtypes_that_tensors_do_not_have(dtype):
    with pytest.raises(TypeError, match="use float32, float64, int64 or bool"):
        wg.zeros(3, dtype=dtype)


@pytest.mark.parametrize("library", ["polars", "torch", "jax.numpy"])
def test_arrays_of_other_libraries(library):
    module = pytest.importorskip(library)
    make = {"polars": module.DataFrame, "torch": module.tensor, "jax.numpy": module.array}[library]
    a = make(VALUES.astype("float32"))
    for f in (wg.asarray, wg.tensor, lambda x: wg.nn.Linear(2, 2, seed=0)(x), lambda x: wg.ones((3, 2)) * x):
        np.testing.assert_array_equal(f(a).numpy(), f(VALUES.astype("float32")).numpy())
