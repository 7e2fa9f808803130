"""Images that ran out of memory beside others: each starts again once fewer are in work."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from limner_shared.telemetry import get_logger
from limner_worker.engine.job_run import Row
from limner_worker.engine.pending_models import LONGEST_WAIT_SECONDS

log = get_logger(__name__)


class MemoryWaits:
    """Rows without a state that wait for memory, the longest wait first.

    What a joined call needs is lowered with its batch. What an image's own code needs is not, such as a VAE that
    encodes its input picture: that has more room only when there are fewer other images. The number beside which a row
    may be is halved each time, so a row that never fits fails after a few attempts, the last of them alone.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[Row, float]] = {}  # by the row's id()

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return (row for row, _ in self._rows.values())

    def accept(self, row: Row, in_work: Sequence[Row]) -> bool:
        """Let a row wait that ran out of memory beside others in work; False if it must fail, since it was alone."""
        others = sum(1 for other in in_work if other is not row)
        most = others if row.most_others is None else min(others, row.most_others)
        if most == 0:
            return False
        row.most_others = most // 2
        row.put_back()
        self._rows[id(row)] = row, time.monotonic()
        log.info("image waits for memory", job=row.job.id, others=others, most_others=row.most_others)
        return True

    def remove(self, rows: Sequence[Row]) -> None:
        """Remove rows that are aborted. Unknown rows are ignored."""
        for row in rows:
            self._rows.pop(id(row), None)

    def take(self, in_work: Sequence[Row]) -> Row | None:
        """Remove and return a row that may be started beside those in work; None if there is none."""
        found = next((row for row in self if row.most_others is not None and len(in_work) <= row.most_others), None)
        if found is not None:
            self.remove([found])
        return found

    def are_long(self) -> bool:
        """Whether a row has waited so long that no other image is to be started before it."""
        return any(time.monotonic() - since > LONGEST_WAIT_SECONDS for _, since in self._rows.values())
