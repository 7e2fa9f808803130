"""Bulk states and their transitions. No I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class BulkState(StrEnum):
    """The state of a bulk, as it is stored. Its jobs are released only while it is `OPEN`.

    The API shows `OPEN` as `running`, or as `done` once every job has ended.
    """

    LOADING = "loading"
    """Its lines are being read and its jobs are being queued; it can still be dropped."""
    OPEN = "open"
    PAUSED = "paused"
    CANCELING = "canceling"
    """Its jobs are being canceled, a few in each transaction."""
    CANCELED = "canceled"
    DROPPING = "dropping"
    """It was never sealed: its jobs and then its row are being deleted. It is not visible in the API."""


BULK_TRANSITIONS: Final[dict[BulkState, frozenset[BulkState]]] = {
    BulkState.LOADING: frozenset({BulkState.OPEN, BulkState.CANCELING, BulkState.DROPPING}),
    BulkState.OPEN: frozenset({BulkState.PAUSED, BulkState.CANCELING}),
    BulkState.PAUSED: frozenset({BulkState.OPEN, BulkState.CANCELING}),
    BulkState.CANCELING: frozenset({BulkState.CANCELED}),
    BulkState.CANCELED: frozenset(),
    BulkState.DROPPING: frozenset(),
}
"""The states that may follow each state. The ledger uses `bulk_sources` as the condition of its updates."""


def bulk_sources(target: BulkState) -> tuple[BulkState, ...]:
    """The states from which a bulk may go to `target`."""
    return tuple(state for state, targets in BULK_TRANSITIONS.items() if target in targets)
