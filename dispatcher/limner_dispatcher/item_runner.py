"""The dispatcher's recurring duties, item by item: a failing item is set aside and the others continue."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from redis.exceptions import RedisError

from limner_shared import metrics
from limner_shared.db.engine import DATABASE_AWAY, describe
from limner_shared.messaging.reports import FailingItem
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

FIRST_SECONDS: Final = 1.0
"""The delay of an item's first retry; it doubles with each further failure."""
LONGEST_SECONDS: Final = 300.0
LONGEST_PASSING_SECONDS: Final = 4.0
"""The longest delay for items that failed for the state of the database or Redis: held rows, a refused command."""
PASSING: Final = (*DATABASE_AWAY, RedisError)


@dataclass(slots=True)
class _Failure:
    error: str
    count: int
    retry_at: float


class ItemRunner:
    """Runs the items of duties and records which of them fail. Thread-safe.

    An exception that `lets_through` accepts is not caused by the item (the database is unavailable, another process
    leads): it ends the pass and is raised to the caller.
    """

    def __init__(
        self,
        lets_through: Callable[[Exception], bool],
        clock: Callable[[], float] = time.monotonic,
        before_each: Callable[[], None] = lambda: None,
    ) -> None:
        """`before_each` is called before each item; the thread reports a new unit of work with it."""
        self.lets_through = lets_through
        self._clock = clock
        self._before_each = before_each
        self._aside: dict[str, dict[str, _Failure]] = {}
        self._failures: Counter[str] = Counter()
        self._finished: dict[str, float] = {}
        self._last: dict[str, str] = {}
        self._threads: dict[str, int] = {}
        """The thread that ran a duty last."""
        self._lock = threading.Lock()

    def run(self, duty: str, work: Callable[[], object]) -> None:
        """Run a duty that is a single item."""
        self.each(duty, [duty], lambda _: work())

    def each(
        self, duty: str, items: Iterable[str], work: Callable[[str], object], seconds: float = float("inf")
    ) -> None:
        """Run `work` for every item that is not set aside, in the order of their names; records of items that no longer
        exist are deleted. After `seconds` it stops, and the next pass continues after the last item.
        """
        names = sorted(items)
        self._threads[duty] = threading.get_ident()
        self._forget(duty, names)
        first = bisect_right(names, self._last.get(duty, ""))
        started = self._clock()
        for name in [*names[first:], *names[:first]]:
            if not self._is_due(duty, name):
                continue
            self._before_each()
            self._try(duty, name, work)
            self._last[duty] = name
            if self._clock() - started >= seconds:
                break
        with self._lock:
            self._finished[duty] = self._clock()

    def keep(self, duty: str, names: Sequence[str]) -> None:
        """Record a pass that tried none of these items, even if the retry of one has become due meanwhile; records of
        other items are deleted.
        """
        self._threads[duty] = threading.get_ident()
        self._forget(duty, names)
        with self._lock:
            self._finished[duty] = self._clock()

    def stand_by(self) -> None:
        """Delete the records of failing items of the duties that the calling thread runs: another process leads, and
        has records of its own.
        """
        for duty, thread in list(self._threads.items()):
            if thread == threading.get_ident():
                self._forget(duty, [])

    def set_aside(self, duty: str) -> list[str]:
        """The items of a duty that are not tried before their retries are due."""
        with self._lock:
            names = list(self._aside.get(duty, ()))
        return [name for name in names if not self._is_due(duty, name)]

    def failing_items(self) -> list[FailingItem]:
        """The items whose last run failed, with the seconds until their retries."""
        now = self._clock()
        with self._lock:
            return [
                FailingItem(
                    duty=duty,
                    item=name,
                    error=failure.error,
                    failures=failure.count,
                    retry_in=max(0.0, failure.retry_at - now),
                )
                for duty, failures in sorted(self._aside.items())
                for name, failure in sorted(failures.items())
            ]

    def failures(self) -> dict[str, int]:
        """The number of failures since the start, by duty."""
        with self._lock:
            return dict(self._failures)

    def finished(self) -> dict[str, float]:
        """The seconds since the last pass over a duty's items ended, by duty."""
        now = self._clock()
        with self._lock:
            return {duty: now - at for duty, at in self._finished.items()}

    def _try(self, duty: str, name: str, work: Callable[[str], object]) -> None:
        try:
            work(name)
        except Exception as error:
            if self.lets_through(error):
                raise
            self._failed(duty, name, error)
        else:
            with self._lock:
                self._aside.get(duty, {}).pop(name, None)

    def _failed(self, duty: str, name: str, error: Exception) -> None:
        with self._lock:
            failures = self._aside.setdefault(duty, {})
            count = failures[name].count + 1 if name in failures else 1
            longest = LONGEST_PASSING_SECONDS if isinstance(error, PASSING) else LONGEST_SECONDS
            pause = min(longest, FIRST_SECONDS * 2.0 ** min(count - 1, 30))
            failures[name] = _Failure(type(error).__name__, count, self._clock() + pause)
            self._failures[duty] += 1
        metrics.DISPATCHER_FAILURES.inc(duty=duty)
        log.error("failed, set aside", duty=duty, item=name, failures=count, retry_seconds=pause, error=describe(error))

    def _is_due(self, duty: str, name: str) -> bool:
        with self._lock:
            failure = self._aside.get(duty, {}).get(name)
        return failure is None or failure.retry_at <= self._clock()

    def _forget(self, duty: str, names: Sequence[str]) -> None:
        known = set(names)
        with self._lock:
            failures = self._aside.get(duty, {})
            for gone in [name for name in failures if name not in known]:
                del failures[gone]
