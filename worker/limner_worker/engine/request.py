"""What travels through the engine: a job that was claimed, and its images as rows of a batch. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from limner_shared.events import Progress
from limner_shared.ledger import Claim


@dataclass(eq=False, slots=True)
class JobRun:
    """A claimed job in this worker's hands; `settle` acknowledges its message, once all is committed."""

    claim: Claim
    settle: Callable[[], None]
    rows: list[Row] = field(default_factory=list)
    closed: bool = False
    """Finished, failed, dropped or handed back: nothing more may be done for it."""

    @property
    def id(self) -> str:
        """The job's id."""
        return self.claim.id

    @property
    def progress(self) -> Progress:
        """Steps done of all steps of all images."""
        return Progress(sum(row.steps_done for row in self.rows), sum(row.steps for row in self.rows))


@dataclass(eq=False, slots=True)
class Row:
    """One image on its way: a row in the batches it takes part in."""

    job: JobRun
    index: int
    key: tuple[Hashable, ...]
    """What must be equal for two rows to share a forward pass: the model, then what its family says."""
    steps: int
    state: Any = None
    """What the generator keeps between steps."""
    steps_done: int = 0
    picture: Any = None
    """uint8 [height, width, 3] once decoded."""
    buckets: list[int] = field(default_factory=list)
    """The padded batch size of each forward pass so far, for the receipt."""

    @property
    def seed(self) -> int:
        """The seed of this image."""
        return self.job.claim.spec.image_seed(self.index)

    @property
    def finished(self) -> bool:
        """Whether all its steps are done."""
        return self.steps_done >= self.steps
