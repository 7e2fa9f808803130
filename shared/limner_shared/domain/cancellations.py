"""The states of a cancellation in the background. No I/O."""

from __future__ import annotations

from enum import StrEnum


class CancellationState(StrEnum):
    """The state of an order to cancel what waits; all but `RUNNING` are final."""

    RUNNING = "running"
    FINISHED = "finished"
    STOPPED = "stopped"
    """Its tenant has taken it back: the jobs that waited then stay."""
