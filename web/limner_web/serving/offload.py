"""Calls that would block the event loop, run on native threads: the object store, Pillow, SQLite.

Under gevent every request is a greenlet of one thread, so a call that waits outside of Python keeps all other requests
waiting. PostgreSQL, Redis and DNS need none of this: their clients wait in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from gevent import monkey
from gevent.threadpool import ThreadPool

from limner_shared.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """At most `count` native threads; further calls wait for one, at most `waiting` of them if that is given.

    Without gevent, calls run where they are made. What runs here must use no lock that greenlets use too, and so must
    not log.
    """

    def __init__(self, count: int, waiting: int | None = None) -> None:
        self._count = count
        self._most = None if waiting is None else count + waiting
        self._calls = 0
        self._pool: ThreadPool | None = None

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What `function` returns or raises; other greenlets run meanwhile. Raises Overloaded if too many wait."""
        if not monkey.is_module_patched("threading"):
            return function(*args, **kwargs)
        if (
            self._pool is None
        ):  # not before the first call: a pool belongs to the event loop of the process that made it
            self._pool = ThreadPool(self._count)
        if self._most is not None and self._calls >= self._most:
            raise Overloaded("Too many pictures are being read or stored: try again shortly.", retry_after=2)
        self._calls += 1
        try:
            outcome = cast("tuple[T, BaseException | None]", self._pool.apply(_caught, (function, args, kwargs)))
        finally:
            self._calls -= 1
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]


def _caught(
    function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[T | None, BaseException | None]:
    """The result or the exception: gevent would print each exception that a thread lets through."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001 - it is raised again where the call was made
        return None, error
