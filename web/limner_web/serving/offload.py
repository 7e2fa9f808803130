"""Runs blocking calls on native threads: the picture store, Pillow, SQLite.

Under gevent every request is a greenlet of one thread, so a call that waits outside Python delays all other requests.
PostgreSQL, Redis and DNS do not need this: their clients wait in Python.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast
from weakref import WeakValueDictionary

from gevent import Timeout, monkey
from gevent.threadpool import ThreadPool

from limner_shared.errors import Overloaded

P = ParamSpec("P")
T = TypeVar("T")


class OffloadPool:
    """A pool of `count` native threads. At most `waiting` further calls wait for a thread, or any number if it is None.
    Of all these calls, `tenant_share` may be one tenant's, and so much of the threads: its others wait in a queue of
    its own, where they delay no other tenant.

    Without gevent, calls run in the caller's thread. A function that runs here must not use a lock that greenlets also
    use, so it must not log.
    """

    def __init__(
        self,
        count: int,
        waiting: int | None = None,
        tenant_share: float = 1.0,
        *,
        in_turn: int | None = None,
        work: str = "images are being processed",
    ) -> None:
        """At most `in_turn` calls of a tenant wait for its turn. `work` is what the calls do, for the message that too
        many wait.
        """
        self._work = work
        self._max_in_turn = in_turn
        self._in_turn: Counter[str] = Counter()
        self._count = count
        self._max_calls = None if waiting is None else count + waiting
        self._threads_of_tenant = max(1, int(count * tenant_share))
        self._max_of_tenant = None if waiting is None else max(1, int((count + waiting) * tenant_share))
        self._calls_of_tenant: Counter[str] = Counter()
        self._queues: WeakValueDictionary[str, threading.Semaphore] = WeakValueDictionary()
        self._turns: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._calls = 0
        self._pool: ThreadPool | None = None

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a function on a thread while other greenlets run. Raises Overloaded if too many calls wait."""
        if not monkey.is_module_patched("threading"):
            return function(*args, **kwargs)
        if self._max_calls is not None and self._calls >= self._max_calls:
            raise Overloaded(f"Too many {self._work}. Try again shortly.", retry_after=2)
        if self._pool is None:
            # Made at the first call, because a pool belongs to the event loop of the process that made it.
            self._pool = ThreadPool(self._count)
        self._calls += 1
        try:
            outcome = cast("tuple[T, BaseException | None]", self._pool.apply(_caught, (function, args, kwargs)))
        finally:
            self._calls -= 1
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]

    def call_within(self, seconds: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call` a function, and raise TimeoutError after `seconds`; its thread is taken until the function ends."""
        if not monkey.is_module_patched("threading"):
            return function(*args, **kwargs)
        with Timeout(seconds, TimeoutError(f"no answer within {seconds:g} s")):
            return self.call(function, *args, **kwargs)

    def call_for(self, tenant_id: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call` a function on what a tenant has sent. Raises Overloaded also if the tenant's share is used up."""
        if self._max_of_tenant is not None and self._calls_of_tenant[tenant_id] >= self._max_of_tenant:
            raise self._too_many_of_tenant()
        self._calls_of_tenant[tenant_id] += 1
        try:
            with self._queues.setdefault(tenant_id, threading.Semaphore(self._threads_of_tenant)):
                return self.call(function, *args, **kwargs)
        finally:
            self._calls_of_tenant -= Counter([tenant_id])  # forgets a tenant without calls

    def call_in_turn(self, tenant_id: str, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`call_for` a tenant, one such call at a time: its others wait here, and take no place that others need."""
        if self._max_in_turn is not None and self._in_turn[tenant_id] >= self._max_in_turn:
            raise self._too_many_of_tenant()
        self._in_turn[tenant_id] += 1
        try:
            with self._turns.setdefault(tenant_id, threading.Lock()):
                return self.call_for(tenant_id, function, *args, **kwargs)
        finally:
            self._in_turn -= Counter([tenant_id])

    def _too_many_of_tenant(self) -> Overloaded:
        return Overloaded(f"Too many {self._work} for this tenant. Try again shortly.", retry_after=2)


def _caught(
    function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[T | None, BaseException | None]:
    """Return the result and the exception, one of them None: gevent would print an exception that leaves a thread."""
    try:
        return function(*args, **kwargs), None
    except BaseException as error:  # noqa: BLE001 - raised again in `call`
        return None, error
