"""What holds for all tests: every plan of a compiled program is verified, so that no two live values share a place."""

from wengert import _core

_core.verify_plans(True)
