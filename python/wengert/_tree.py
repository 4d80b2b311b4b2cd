"""Nested dicts, lists and tuples of arrays: flattened to a list of leaves and rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def leaves(tree: Any) -> list[Any]:
    """The leaves, left to right; dicts in the order of their keys as inserted. None holds no leaf."""
    return [tree] if is_leaf(tree) else list(_walk(tree))


def _walk(tree: Any) -> Iterator[Any]:
    if isinstance(tree, dict):
        for value in tree.values():
            yield from _walk(value)
    elif isinstance(tree, (list, tuple)):
        for value in tree:
            yield from _walk(value)
    elif tree is not None:
        yield tree


def rebuild(tree: Any, new_leaves: Sequence[Any]) -> Any:
    """The same structure with other leaves."""
    if is_leaf(tree) and len(new_leaves) == 1:
        return new_leaves[0]
    it = iter(new_leaves)
    result = _rebuild(tree, it)
    if next(it, it) is not it:
        raise ValueError("more leaves than the structure holds")
    return result


def _rebuild(tree: Any, it: Iterator[Any]) -> Any:
    if isinstance(tree, dict):
        return {key: _rebuild(value, it) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(_rebuild(value, it) for value in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(_rebuild(value, it) for value in tree)
    return None if tree is None else next(it)


def map(f: Callable[[Any], Any], tree: Any) -> Any:
    """Applies f to every leaf."""
    return rebuild(tree, [f(leaf) for leaf in leaves(tree)])


def is_leaf(tree: Any) -> bool:
    """A single array or number, not a structure."""
    return not isinstance(tree, (dict, list, tuple)) and tree is not None
