"""What travels through the engine: a job that was claimed, and its images as rows of a batch. No torch here."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from limner_shared.db.ledger import AttemptKey, Claim
from limner_shared.messaging.hints import Progress
from limner_worker.generators.base import ImageTask, Picture, RowState


@dataclass(eq=False, slots=True)
class JobRun:
    """One attempt at a job in this worker's hands; `settle` acknowledges its message, once all is committed."""

    claim: Claim
    settle: Callable[[], None]
    rows: list[Row] = field(init=False)
    closed: bool = False
    """Finished, failed, dropped or handed back: nothing more may be done for it."""
    kept: set[int] = field(default_factory=set[int])
    """The images of which a checkpoint is stored, by this attempt or an earlier one."""
    watched: bool = False
    """Somebody looks at it now."""

    def __post_init__(self) -> None:
        self.revise(self.claim)

    def revise(self, claim: Claim) -> None:
        """Take the claim with its spec completed, before anything was done for it."""
        self.claim = claim
        self.rows = [Row(self, index, _task(claim, index)) for index in range(claim.spec.n)]

    @property
    def id(self) -> str:
        """The job's id."""
        return self.claim.id

    @property
    def key(self) -> AttemptKey:
        """Which attempt at it."""
        return self.claim.key

    @property
    def progress(self) -> Progress:
        """Steps done of all steps of all images."""
        return Progress(sum(row.steps_done for row in self.rows), self.claim.spec.steps * len(self.rows))


@dataclass(eq=False, slots=True)
class Row:
    """One image on its way: a row in the batches it takes part in."""

    job: JobRun
    index: int
    task: ImageTask
    key: Hashable = None
    """What must be equal for two rows to share the next call: the model, and what its generator says."""
    state: RowState | Any = None
    """What the generator keeps between steps; None before the first and after the decode."""
    steps_done: int = 0
    picture: Picture | None = None
    checkpointed: float = 0.0
    """When its state was kept last, on the engine's clock."""
    previewed: float = 0.0
    """When it was shown last, on the same."""

    @property
    def remaining(self) -> int:
        """How many steps are before it."""
        return self.task.spec.steps - self.steps_done

    def release(self) -> None:
        """Let go of what the generator keeps. On the engine's thread only: a pipeline's frames belong to it."""
        state, self.state = self.state, None
        if state is not None:
            state.close()

    def begin_again(self) -> None:
        """Forget what an earlier attempt left, which cannot be read: the image is drawn from its first step."""
        image, mask = self.task.image, self.task.mask
        self.task = _task(self.job.claim, self.index)
        self.task.image, self.task.mask = image, mask


def _task(claim: Claim, index: int) -> ImageTask:
    spec = claim.spec
    replay = iter(spec.replay[index]) if index < len(spec.replay) else None
    return ImageTask(spec, spec.image_seed(index), replay)
