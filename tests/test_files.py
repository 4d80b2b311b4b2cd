"""Saving and loading arrays: exact, whole or not at all, and clear about files that are something else."""

import os
import re
import stat
import sys

import numpy as np
import pytest
import safetensors.numpy

import wengert as wg
from wengert import _files


def raises(kind, message):
    return pytest.raises(kind, match=re.escape(message))


def test_every_dtype_and_shape_comes_back_exactly(tmp_path):
    path = tmp_path / "a.safetensors"
    arrays = {
        "f32": np.array([1 / 3, np.nan, -0.0, np.inf], np.float32),
        "f64": np.full((2, 3), 1 / 3)[:, ::-1],
        "i64": np.array([[2**62, -1]]),
        "bool": np.array([True, False]),
        "number": np.array(7.0),
        "empty": np.zeros((0, 3)),
    }
    tensors = arrays | {"parameter": wg.tensor([1.0, 2.0], requires_grad=True)}
    wg.save(path, tensors, {"note": "größe"})
    loaded, metadata = wg.load(path, with_metadata=True)
    assert metadata == {"note": "größe"}
    assert loaded.keys() == tensors.keys()
    for name, a in arrays.items():
        assert loaded[name].dtype == a.dtype and loaded[name].shape == a.shape
        assert loaded[name].numpy().tobytes() == a.tobytes()
    assert not loaded["parameter"].requires_grad
    assert safetensors.numpy.load_file(path)["f64"].tolist() == arrays["f64"].tolist()


def test_a_model_and_its_optimizer_go_through_a_file(tmp_path):
    path = tmp_path / "checkpoint.safetensors"

    def trained(model, opt, steps):
        for _ in range(steps):
            opt.zero_grad()
            wg.nn.mse_loss(model(np.ones((4, 3))), np.ones((4, 2))).backward()
            opt.step()

    def fresh(seed):
        model = wg.nn.MLP([3, 5, 2], seed=seed)
        return model, wg.optim.Adam(model.parameters(), lr=0.01)

    model, opt = fresh(0)
    trained(model, opt, 3)
    wg.save(path, {f"{part}/{k}": v for part, s in (("m", model), ("o", opt)) for k, v in s.state_dict().items()})
    other, resumed = fresh(1)
    loaded = wg.load(path)
    other.load_state_dict({k[2:]: v for k, v in loaded.items() if k[0] == "m"})
    resumed.load_state_dict({k[2:]: v for k, v in loaded.items() if k[0] == "o"})
    for pair in ((model, opt), (other, resumed)):
        trained(*pair, 3)
    assert all(np.array_equal(v, other.state_dict()[k]) for k, v in model.state_dict().items())


def test_files_that_are_something_else(tmp_path):
    path = tmp_path / "a.safetensors"
    with raises(FileNotFoundError, "load: there is no file"):
        wg.load(path)
    with raises(FileNotFoundError, "load: there is no file"):
        wg.load(tmp_path)
    wg.save(path, {"w": np.ones(100)})
    whole = path.read_bytes()
    for content in (b"", whole[:6], whole[:40], whole[:-1], b"PK\x03\x04" + bytes(100), b"w,b\n1,2\n"):
        path.write_bytes(content)
        with raises(ValueError, "is not a safetensors file, or it is truncated"):
            wg.load(path)


def test_names_that_could_not_be_read_back_are_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    with raises(ValueError, "save: '__metadata__'"):
        wg.save(path, {"__metadata__": np.ones(1)})
    with raises(TypeError, "save: names of arrays must be text, got 1"):
        wg.save(path, {1: np.ones(1)})
    assert not path.exists()


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with raises(ValueError, "is no regular file"):
        wg.load(tmp_path / "pipe")


def test_a_path_may_be_bytes(tmp_path):
    wg.save(os.fsencode(tmp_path / "a"), {"w": np.ones(1)})
    assert wg.load(tmp_path / "a")["w"].tolist() == [1]


def test_metadata_is_text(tmp_path):
    with raises(TypeError, "metadata must map text to text, got 'epoch': 3"):
        wg.save(tmp_path / "a", {}, {"epoch": 3})
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    wg.save(path, {"w": np.ones(3)})

    def full(handle):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with raises(OSError, "no space left"):
        wg.save(path, {"w": np.zeros(3)})
    assert wg.load(path)["w"].tolist() == [1, 1, 1]
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_written_file_has_the_usual_permissions(tmp_path):
    _files.write_whole(tmp_path / "ours", b"x")
    (tmp_path / "usual").write_bytes(b"x")
    ours, usual = (stat.S_IMODE(os.stat(tmp_path / name).st_mode) for name in ("ours", "usual"))
    assert ours == usual


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with raises(ImportError, "wg.save needs safetensors: pip install 'wengert[train]'"):
        wg.save(tmp_path / "a", {})


# --- what stands at the path already ------------------------------------------------------------------------------
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644, 0o755, 0o400])
def test_a_file_keeps_its_mode(tmp_path, mode):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    os.chmod(path, mode)
    _files.write_whole(path, b"new")
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(os.stat(path).st_mode) == mode
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("exists", [True, False])
def test_links_are_followed(tmp_path, exists):
    (tmp_path / "there").mkdir()
    real, near, far = tmp_path / "there" / "real", tmp_path / "near", tmp_path / "far"
    os.symlink("there/real", near)
    os.symlink(near, far)
    if exists:
        real.write_bytes(b"old")
    _files.write_whole(far, b"new")
    assert real.read_bytes() == b"new"
    assert near.is_symlink() and far.is_symlink()
    assert os.listdir(tmp_path / "there") == ["real"]


def test_devices_and_pipes_are_written_through(tmp_path):
    null = os.stat(os.devnull)
    wg.save(os.devnull, {"w": np.ones(3)})
    assert os.stat(os.devnull).st_mode == null.st_mode and os.stat(os.devnull).st_rdev == null.st_rdev
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe, 0o600)
    os.symlink(pipe, link)
    for path in (pipe, link):
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        wg.save(path, {"w": np.ones(3)})
        assert safetensors.numpy.load(os.read(reader, 1 << 16))["w"].tolist() == [1, 1, 1]
        os.close(reader)
        assert stat.S_ISFIFO(os.stat(pipe).st_mode)
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


def test_what_cannot_be_written_is_named(tmp_path):
    with pytest.raises(IsADirectoryError):
        wg.save(tmp_path, {})
    with pytest.raises(FileNotFoundError) as caught:
        wg.save(tmp_path / "none" / "a", {})
    assert caught.value.filename == str(tmp_path / "none" / "a")


@pytest.mark.parametrize(
    ("step", "done"), [("open", False), ("fsync", False), ("chmod", False), ("replace", False), ("replace", True)]
)
def test_ctrl_c_stays_ctrl_c_and_leaves_one_whole_file(tmp_path, monkeypatch, step, done):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    real = getattr(os, step)

    def interrupted(*args, **options):
        if done:
            real(*args, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        _files.write_whole(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == (b"new" if done else b"old")
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("kind", "code", "width"), [("bfloat16", "BF16", 2), ("float16", "F16", 2), ("F8_E4M3", "F8_E4M3", 1)]
)
def test_types_that_tensors_cannot_hold_are_named(tmp_path, kind, code, width):
    path = tmp_path / "a.safetensors"
    header = '{"w":{"dtype":"%s","shape":[2],"data_offsets":[0,%d]}}' % (code, 2 * width)  # noqa: UP031
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(2 * width))
    with raises(ValueError, f"load: 'w' in '{path}' is of type {kind}, which tensors cannot hold; save it as float32"):
        wg.load(path)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "bool", "float32", "float64"])
def test_types_that_tensors_can_hold(tmp_path, dtype):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"w": np.array([0, 1], dtype)}, path)
    assert wg.load(path)["w"].tolist() == [0, 1]
