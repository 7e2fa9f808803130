"""States of OpenAI's batches. No I/O."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class BatchState(StrEnum):
    """The state of a batch, as it is stored and as OpenAI's API names it.

    The API shows `FINALIZING` as `cancelling` where the outcome is `CANCELLED`.
    """

    VALIDATING = "validating"
    """Its file is being read and its jobs are being queued, all or none."""
    IN_PROGRESS = "in_progress"
    FINALIZING = "finalizing"
    """No more of its jobs start. Once they have ended, its output is measured and it takes the state of its outcome."""
    COMPLETED = "completed"
    FAILED = "failed"
    """Its file has invalid lines, so nothing was queued; or its output cannot be made."""
    EXPIRED = "expired"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether no other state follows."""
        return self not in (BatchState.VALIDATING, BatchState.IN_PROGRESS, BatchState.FINALIZING)


CANCELLING: Final = "cancelling"
"""What the API shows for a batch that is finalized because it was cancelled."""
OUTPUT_PURPOSE: Final = "batch_output"
INPUT_PURPOSE: Final = "batch"
MAX_HOURS: Final = 720
"""The longest completion window."""
