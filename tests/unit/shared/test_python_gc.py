"""What `collect_and_freeze` excludes from garbage collection, and what it frees."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from limner_shared.python_gc import collect_and_freeze


class Node:
    """An object that can be part of a reference cycle."""

    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def unfrozen() -> Iterator[None]:
    """Let the other tests' objects be collected again."""
    yield
    gc.unfreeze()


def test_an_object_from_before_the_call_is_not_visited_and_is_freed_by_the_next_call():
    node = Node()
    gone = weakref.ref(node)
    collect_and_freeze()
    del node
    gc.collect()
    assert gone() is not None
    collect_and_freeze()
    assert gone() is None


def test_an_object_from_after_the_call_is_freed_by_any_full_collection():
    collect_and_freeze()
    gone = weakref.ref(Node())
    gc.collect()
    assert gone() is None
