"""Counters, gauges and histograms that never raise into the code that they measure.

They are declared without `prometheus_client`, which is imported at the first measurement: the web server first chooses
the folder in which its processes share their values (`exposition.share_values`).
"""

from __future__ import annotations

import sys
import time
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import wraps
from threading import Lock
from typing import Any, ClassVar, Concatenate, Final, ParamSpec, TypeVar

MAX_LABEL_SETS: Final = 1000
"""Label sets of one metric; further ones are counted together, with every label `other` but those of `few`."""
OTHER: Final = "other"


class Instrument:
    """A metric with its labels. Thread-safe; an error in it is reported once on standard error.

    `few` are labels with a handful of values, which sets beyond the limit keep.
    """

    kind: ClassVar[str]

    def __init__(self, name: str, text: str, labels: Sequence[str] = (), *, few: Collection[str] = ()) -> None:
        self.name = name
        self.text = text
        self.labels = tuple(labels)
        self.few = frozenset(few)
        self._children: dict[tuple[str, ...], Any] = {}
        self._backing: Any = None
        self._reported = False
        ALL[name] = self

    def _make(self) -> Any:
        raise NotImplementedError

    def _child(self, labels: Mapping[str, str]) -> Any:
        return self._child_of(tuple([labels[name] for name in self.labels]))

    def _child_of(self, values: tuple[str, ...]) -> Any:
        child = self._children.get(values)
        return self._new_child(values) if child is None else child

    def _new_child(self, values: tuple[str, ...]) -> Any:
        with LOCK:
            if self._backing is None:
                self._backing = self._make()
            if len(self._children) >= MAX_LABEL_SETS:
                kept = zip(self.labels, values, strict=True)
                values = tuple([value if name in self.few else OTHER for name, value in kept])
            if values not in self._children:
                self._children[values] = self._backing.labels(*values) if values else self._backing
            return self._children[values]

    def prepare(self) -> None:
        """Create the metric, so that it is exported before its first measurement. Unlike the others, may raise."""
        with LOCK:
            if self._backing is None:
                self._backing = self._make()
        if not self.labels:
            self._new_child(())

    def report_failure(self, error: Exception) -> None:
        """Report the first error of this metric."""
        # Not through the log: the web's native threads, which measure the picture store, must not use its lock.
        if not self._reported:
            self._reported = True
            sys.stderr.write(f"the metric {self.name} does not work: {error!r}\n")


_Metric = TypeVar("_Metric", bound=Instrument)
_Arguments = ParamSpec("_Arguments")


def never_raises(
    record: Callable[Concatenate[_Metric, _Arguments], None],
) -> Callable[Concatenate[_Metric, _Arguments], None]:
    """Let a method of an instrument do nothing while metrics are off, and report an error instead of raising it."""

    @wraps(record)
    def safe(instrument: _Metric, *values: _Arguments.args, **labels: _Arguments.kwargs) -> None:
        if STATE.enabled:
            try:
                record(instrument, *values, **labels)
            except Exception as error:  # noqa: BLE001 - a metric never breaks what it measures
                instrument.report_failure(error)

    return safe


class Counter(Instrument):
    """A number that only grows; its name ends in `_total`."""

    kind = "counter"

    @never_raises
    def inc(self, amount: float = 1, /, **labels: str) -> None:
        """Add an amount."""
        self._child(labels).inc(amount)

    @never_raises
    def inc_each(self, labels: Iterable[tuple[str, ...]]) -> None:
        """Add 1 for each set of labels, given in their order; equal sets cost one change. Not read while off."""
        for values, count in Tally(labels).items():
            self._child_of(values).inc(count)

    def _make(self) -> Any:
        from prometheus_client import Counter as Backing  # noqa: PLC0415

        return Backing(self.name, self.text, self.labels, registry=STATE.registry)


class Gauge(Instrument):
    """A value that rises and falls. Over several web processes it is the sum of the living ones."""

    kind = "gauge"

    @never_raises
    def set(self, value: float, /, **labels: str) -> None:
        """Set the value."""
        self._child(labels).set(value)

    @never_raises
    def inc(self, amount: float = 1, /, **labels: str) -> None:
        """Add an amount, which may be negative."""
        self._child(labels).inc(amount)

    @never_raises
    def replace(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Set the values by their labels, in order, and delete those of all other labels. One caller at a time."""
        for labels in self._children.keys() - values.keys():
            with LOCK:
                del self._children[labels]
                self._backing.remove(*labels)
        for labels, value in values.items():
            self.set(value, **dict(zip(self.labels, labels, strict=True)))

    def _make(self) -> Any:
        from prometheus_client import Gauge as Backing  # noqa: PLC0415

        return Backing(self.name, self.text, self.labels, registry=STATE.registry, multiprocess_mode="livesum")


class Histogram(Instrument):
    """How often values fell into each bucket, and their sum."""

    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Sequence[str], buckets: Sequence[float]) -> None:
        super().__init__(name, text, labels)
        self.buckets = tuple(buckets)

    @never_raises
    def observe(self, value: float, /, **labels: str) -> None:
        """Record one value."""
        self._child(labels).observe_all((value,))

    @never_raises
    def observe_each(self, values: Iterable[tuple[float, tuple[str, ...]]]) -> None:
        """Record values, each with its labels in their order; those with equal labels together. Not read while off."""
        together: defaultdict[tuple[str, ...], list[float]] = defaultdict(list)
        for value, labels in values:
            together[labels].append(value)
        for labels, alike in together.items():
            self._child_of(labels).observe_all(alike)

    def time(self, **labels: str) -> Timed:
        """Record the seconds that a block takes, whether or not it raises."""
        return Timed(self, labels)

    def _make(self) -> Any:
        from limner_shared.metrics.batched_histogram import BatchedHistogram  # noqa: PLC0415

        return BatchedHistogram(self.name, self.text, self.labels, buckets=self.buckets, registry=STATE.registry)


class Timed:
    """Records the seconds of a block; cheaper than a generator, which each call of the database would pay for."""

    __slots__ = ("_histogram", "_labels", "_started")

    def __init__(self, histogram: Histogram, labels: Mapping[str, str]) -> None:
        self._histogram = histogram
        self._labels = labels
        self._started = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        self._histogram.observe(time.perf_counter() - self._started, **self._labels)


class State:
    """Whether this process measures, where its values are, and what is measured only when they are read."""

    def __init__(self) -> None:
        self.enabled = True
        self.by_tenant = False
        self.at_scrape: list[Callable[[], None]] = []
        self._registry: Any = None

    @property
    def registry(self) -> Any:
        """The registry of this process's metrics."""
        if self._registry is None:
            from prometheus_client import CollectorRegistry, disable_created_metrics  # noqa: PLC0415

            disable_created_metrics()  # a further series for each counter and histogram
            self._registry = CollectorRegistry()
        return self._registry


ALL: Final[dict[str, Instrument]] = {}
"""Every declared metric, by name."""
LOCK: Final = Lock()
STATE: Final = State()
