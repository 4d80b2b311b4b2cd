"""Arrays in files: the safetensors format, which holds plain numbers and text and runs nothing when it is read."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Mapping
from typing import Any, Literal, overload

import numpy as np

from wengert._tensor import Tensor, asarray, tensor
from wengert.nn.module import StateDict

Path = str | os.PathLike[str]

# As safetensors calls the types that a tensor can hold, and some that it cannot.
_KINDS = {"F32", "F64", "BOOL", *(f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64))}
_OTHER_KINDS = {"BF16": "bfloat16", "F16": "float16", "C64": "complex64"}
LAYOUT = {"wengert.layout": "in, out"}  # in files of a module's state: its matrices are not PyTorch's (out, in)


def require(module: str, extra: str, purpose: str) -> Any:
    """An optional dependency, or an ImportError that says how to get it."""
    import importlib

    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"{purpose} needs {package}: pip install 'wengert[{extra}]'") from error


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file under another name first, so that ``path`` is either the old file or the whole new one.

    Links are followed, and a file that is there keeps its mode. What is no regular file, a device or a pipe, can only
    be written as it stands.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None and not stat.S_ISREG(mode):
        with open(path, "wb") as through:
            through.write(content)
        return
    target = os.path.realpath(os.fsdecode(path))
    folder, name = os.path.split(target)
    unfinished = os.path.join(folder, f"{name[:100]}.{secrets.token_hex(8)}")
    try:
        with open(unfinished, "xb", opener=lambda p, flags: os.open(p, flags, 0o600 if mode else 0o666)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode:
            os.chmod(unfinished, stat.S_IMODE(mode))
        os.replace(unfinished, target)
    except BaseException as error:
        with contextlib.suppress(FileNotFoundError):  # it may have got its place already, or never been made
            os.unlink(unfinished)
        if isinstance(error, OSError) and error.filename == unfinished:
            error.filename = os.fspath(path)
        raise


def save(path: Path, tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> None:
    """Writes named arrays (a ``state_dict``) and texts to a safetensors file, whole or not at all.

    A link is followed, a file that is there keeps its mode, and a device or a pipe is written to. Needs the safetensors
    package (``wengert[train]``). TypeError for names and metadata that are not text, ValueError for the name
    that the format keeps to itself.

    >>> import tempfile, wengert as wg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wg.save(folder + "/a.safetensors", {"w": wg.ones(2)}, {"note": "ones"})
    ...     wg.load(folder + "/a.safetensors", with_metadata=True)
    ({'w': Tensor([1., 1.])}, {'note': 'ones'})
    """
    safetensors = require("safetensors.numpy", "train", "wg.save")
    for name, text in (metadata or {}).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"save: metadata must map text to text, got {name!r}: {text!r}")
    for name in tensors:
        if not isinstance(name, str):
            raise TypeError(f"save: names of arrays must be text, got {name!r}")
        if name == "__metadata__":
            raise ValueError("save: '__metadata__' is where the format keeps its texts; give the array another name")
    arrays = {name: np.array(asarray(t).detach().numpy()) for name, t in tensors.items()}
    marked = dict(metadata or {}) | (LAYOUT if isinstance(tensors, StateDict) else {})
    write_whole(path, safetensors.save(arrays, marked or None))


@overload
def load(path: Path) -> dict[str, Tensor]: ...
@overload
def load(path: Path, with_metadata: Literal[True]) -> tuple[dict[str, Tensor], dict[str, str]]: ...
def load(path: Path, with_metadata: bool = False) -> Any:
    """The named tensors of a safetensors file; with ``with_metadata`` also its texts, as a pair.

    FileNotFoundError if there is none, ValueError for what is no regular file, is truncated or of another format, or
    holds another type, such as bfloat16. See :func:`wengert.save`.

    >>> import tempfile, wengert as wg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wg.save(folder + "/a.safetensors", {"w": wg.ones(2)})
    ...     wg.load(folder + "/a.safetensors")
    {'w': Tensor([1., 1.])}
    """
    safetensors = require("safetensors", "train", "wg.load")
    if not os.path.isfile(path):
        if os.path.exists(path) and not os.path.isdir(path):
            raise ValueError(f"load: {os.fspath(path)!r} is no regular file, and only those are read: copy it into one")
        raise FileNotFoundError(f"load: there is no file {os.fspath(path)!r}")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            for name in file.keys():  # noqa: SIM118
                if (kind := file.get_slice(name).get_dtype()) not in _KINDS:
                    raise ValueError(
                        f"load: {name!r} in {os.fspath(path)!r} is of type {_OTHER_KINDS.get(kind, kind)}, which "
                        "tensors cannot hold; save it as float32 or float64"
                    )
            tensors = {name: tensor(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"load: {os.fspath(path)!r} is not a safetensors file, or it is truncated ({error})"
        ) from error
    if LAYOUT.items() <= metadata.items():
        tensors = StateDict(tensors)
        metadata = {name: text for name, text in metadata.items() if name not in LAYOUT}
    return (tensors, metadata) if with_metadata else tensors
