"""What `collect_and_freeze` excludes from garbage collection, and what it frees.

A process of its own runs each program: to collect all objects of the tests takes more than a second.
"""

from __future__ import annotations

import subprocess
import sys

NODE = """
import gc, weakref
from limner_shared.python_gc import collect_and_freeze

class Node:  # an object that can be part of a reference cycle
    def __init__(self):
        self.itself = self

"""


def run(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", NODE + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_an_object_from_before_the_call_is_not_visited_and_is_freed_by_the_next_call() -> None:
    run("""
node = Node()
gone = weakref.ref(node)
collect_and_freeze()
del node
gc.collect()
assert gone() is not None
collect_and_freeze()
assert gone() is None
""")


def test_an_object_from_after_the_call_is_freed_by_any_full_collection() -> None:
    run("""
collect_and_freeze()
gone = weakref.ref(Node())
gc.collect()
assert gone() is None
""")
