"""Pickling of callables: by name where they have one, as pickle does with functions, or by what they were made of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def reduced(item: Any, again: Callable[..., Any], *parts: Any) -> Any:
    """What ``item.__reduce__`` returns. A decorated function takes the name of the one it was made of, so that one could
    not be found by name; what is not found under its own name is made again from its parts."""
    found: Any = sys.modules.get(item.__module__)
    for name in item.__qualname__.split("."):
        found = getattr(found, name, None)
    return item.__qualname__ if found is item else (again, parts)
