"""One function for each line of cpp/ops/elementwise.def; the stub beside this file is written by the build."""

from wengert import _core

__all__ = [op["name"] for op in _core.op_table]

globals().update({name: getattr(_core, name) for name in __all__})
