"""Pickling of callables: by name where they have one, as pickle does with functions, or by what they were made of."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any


def reduced(item: Any, again: Callable[..., Any], *parts: Any) -> Any:
    """What ``item.__reduce__`` returns: the name under which it is found, or how to make it again from its parts.

    A decorated function has taken the name of the one it was made of, which therefore has none left of its own.
    """
    found: Any = sys.modules.get(item.__module__)
    for name in item.__qualname__.split("."):
        found = getattr(found, name, None)
    return item.__qualname__ if found is item else (again, parts)
