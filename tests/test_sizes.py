"""Sizes beyond all memory, beyond 64 bits and below 0: an error in every function that takes one, and never a crash."""

import subprocess
import sys

import numpy as np
import pytest

import wengert as wg

# As a size alone, in bytes, with the header of a block, and rounded up to a class of blocks, a page or a power of 2
HUGE = [2**60 - 1, 2**60, 2**61 - 9, 2**61, 2**62 + 1, 2**63 - 64, 2**63 - 1, 2**63, 2**64, 10**30]
BELOW = [-1, -2, -(2**31), -(2**62), -(2**63), -(2**64)]

x, scalar, nothing = wg.ones((2, 3)), wg.zeros(()), wg.zeros((0, 3))

# Each makes an array from a size n; all refuse what is HUGE.
MAKE = {
    "zeros": wg.zeros,
    "zeros of two axes": lambda n: wg.zeros((n, n)),
    "zeros of no elements": lambda n: wg.zeros((0, n, n)),
    "ones": lambda n: wg.ones((3, n), "float32"),
    "full": lambda n: wg.full(n, 2.0, "float32"),
    "full of bool": lambda n: wg.full((n, 9), 1.0, "bool"),
    "eye": wg.eye,
    "eye, one side": lambda n: wg.eye(1, n),
    "arange": wg.arange,
    "arange by steps": lambda n: wg.arange(0.0, n / 4, 0.25),
    "linspace": lambda n: wg.linspace(0.0, 1.0, n),
    "broadcast_to": lambda n: wg.broadcast_to(scalar, (n,)),
    "broadcast_to a batch": lambda n: wg.broadcast_to(x, (n, 2, 3)),
    "broadcast_to, nothing": lambda n: wg.broadcast_to(nothing, (n, 0, 3)) if n > 2**62 else wg.zeros(n),
    "reshape": lambda n: wg.reshape(x, (n, 6)),
    "reshape, nothing": lambda n: wg.reshape(wg.zeros(0), (0, n, n)),
    "reshape with a rest": lambda n: wg.reshape(x, (n, -1)),
    "tile": lambda n: wg.tile(x, n),
    "tile both axes": lambda n: wg.tile(x, (n, n)),
    "repeat": lambda n: wg.repeat(x, n),
    "repeat an axis": lambda n: wg.repeat(x, [n, n], 0),
    "pad": lambda n: wg.pad(x, n),
    "pad behind": lambda n: wg.pad(x, (0, n)),
    "diag": lambda n: wg.diag(wg.ones(3), n) if n > 0 else wg.zeros(n),
}

CHILD = """
import sys
sys.path[:0] = {path!r}
from test_sizes import MAKE, HUGE, BELOW
for name, make in MAKE.items():
    for n in HUGE + BELOW:
        print(f"\\n{{name}}: {{n}}", end=" ", flush=True)
        try:
            make(n)
        except (MemoryError, ValueError, OverflowError) as error:
            assert str(error) and "incompatible function arguments" not in str(error), error
            print("refused", end="", flush=True)
        else:
            print("taken", end="")
"""


def test_a_hostile_size_is_an_error():
    """In a process of its own, as what this guards against is a crash."""
    child = CHILD.format(path=sys.path)
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", child], capture_output=True, text=True)
    lines = done.stdout.split("\n")[1:]
    assert done.returncode == 0, (lines[-1], done.stderr[-600:])
    assert len(lines) == len(MAKE) * len(HUGE + BELOW)
    for line in lines:  # a rest of the size -1 is meant, and counting down from 0 gives nothing
        assert line.endswith("refused") or line.startswith(("arange: -", "arange by steps: -", "reshape: -1 ")), line


def test_the_table_holds_every_function_that_takes_a_size():
    """A function of the namespace whose parameters name a size stands in the table, or says here why not."""
    import inspect

    words = {"shape", "n", "m", "num", "repetitions", "repeats", "pad_width"}
    elsewhere = {"diff": "how often", "set_num_threads": "threads", "threads": "threads"}
    for name in wg.__all__:
        f = getattr(wg, name)
        if not inspect.isfunction(f) or name in elsewhere:
            continue
        if words & set(inspect.signature(f).parameters):
            assert any(row.partition(" ")[0].strip(",") == name for row in MAKE), name


@pytest.mark.parametrize("n", [*HUGE, *BELOW])
def test_places_of_any_size_are_taken_or_refused_by_name(n):
    """Offsets, shifts, steps and axes."""
    i = int(np.clip(n, -9, 9))  # beyond the array all are alike
    if -(2**63) <= n < 2**63:
        assert wg.roll(x, n, 1).tolist() == np.roll(x.numpy(), n % 3, 1).tolist()
    else:
        with pytest.raises(ValueError, match=rf"roll: shift: {n} does not fit in 64 bits"):
            wg.roll(x, n, 1)
    assert np.array_equal(wg.diagonal(x, n).numpy(), np.diagonal(x.numpy(), i))
    assert np.array_equal(x[n:].numpy(), x.numpy()[i:])
    assert np.array_equal(x[::n].numpy(), x.numpy()[::i])
    assert np.array_equal(x[:n:n].numpy(), x.numpy()[:i:i])
    for take in (lambda: x[n - 3], lambda: wg.expand_dims(x, n - 3), lambda: wg.flip(x, n - 3)):
        with pytest.raises((IndexError, ValueError), match=r"out of range|64 bits"):
            take()
    with pytest.raises((IndexError, ValueError), match=r"out of range|64 bits"):
        wg.sum(x, n - 3)
    with pytest.raises(ValueError, match=r"parts|64 bits"):
        wg.split(x, n)


def test_the_message_names_the_shape_and_why():
    with pytest.raises(MemoryError, match=r"array of shape \(1152921504606846975,\): no memory for its 92\d* bytes"):
        wg.zeros(2**60 - 1)
    with pytest.raises(ValueError, match=r"full: sizes must not be negative, got \(2, -1\)"):
        wg.zeros((2, -1))
    with pytest.raises(ValueError, match=r"shape \(0, 4294967296, 4294967296\) is too large"):
        wg.zeros((0, 2**32, 2**32))
    with pytest.raises(ValueError, match=r"9223372036854775808 does not fit in 64 bits"):
        wg.zeros(2**63)


def test_after_no_memory_all_is_as_before():
    y = wg.tensor([1.0, 2.0], requires_grad=True)
    z = (y * y).sum()
    live = wg._core.memory_use()[0]
    for _ in range(100):
        with pytest.raises(MemoryError):
            wg.broadcast_to(z, (2**60 - 1,))
    assert wg._core.memory_use()[0] == live
    z.backward()
    assert y.grad.tolist() == [2, 4]
