"""A histogram of `prometheus_client` that takes many values at once. Import it only where that may be imported."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any

from prometheus_client import Histogram


class BatchedHistogram(Histogram):
    """Finds a value's bucket by bisection, and changes each bucket once for all values.

    A change costs a lock, and where processes share their values a write to a mapped file.
    """

    def observe_all(self, values: Sequence[float]) -> None:
        """Record values."""
        parts: dict[str, Any] = vars(self)  # the library leaves their types open
        bounds, buckets = parts["_upper_bounds"], parts["_buckets"]
        if len(values) == 1:
            buckets[bisect_left(bounds, values[0])].inc(1)
        else:
            for place, count in Counter([bisect_left(bounds, value) for value in values]).items():
                buckets[place].inc(count)
        parts["_sum"].inc(sum(values))
