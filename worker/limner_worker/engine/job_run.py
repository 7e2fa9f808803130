"""A claimed job in the worker, and its images as rows of batches. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from limner_shared.db.ledger import AttemptKey, Claim
from limner_shared.domain.inputs import INPUT_FIELDS
from limner_shared.messaging.hints import Progress
from limner_worker.engine.attempt_trace import AttemptTrace
from limner_worker.generators.base import Drawn, ImageTask, Picture, RowState


@dataclass(eq=False, slots=True)
class JobRun:
    """One attempt at a job in this worker. `acknowledge` settles the job's message once the outcome is committed."""

    claim: Claim
    acknowledge: Callable[[], None]
    trace: AttemptTrace | None = None
    key: AttemptKey = field(init=False)
    """The identity of this attempt."""
    rows: list[Row] = field(init=False)
    closed: bool = False
    """Generated, failed, aborted or returned as unavailable: the engine does no more work for it."""
    checkpointed_images: set[int] = field(default_factory=set[int])
    """Indices of the images that have a stored checkpoint, from this attempt or an earlier one."""
    generated_at: float | None = None
    """When its last picture was there, by `time.perf_counter`."""
    preview_wanted: bool = False
    """Whether a client watches the job now."""
    signed_inputs: dict[str, bytes] = field(default_factory=dict[str, bytes])
    """The files of its input pictures that are signed, by their fields."""

    def __post_init__(self) -> None:
        self.revise(self.claim)

    def revise(self, claim: Claim) -> None:
        """Replace the claim with one whose spec is complete; only before any work on the rows."""
        self.claim, self.key = claim, claim.key
        self.rows = [Row(self, index, _task(claim, index)) for index in range(claim.spec.n * claim.spec.candidates)]

    @property
    def candidates(self) -> list[list[Row]]:
        """The rows grouped by image; one row of each group is kept."""
        count = self.claim.spec.candidates
        return [self.rows[start : start + count] for start in range(0, len(self.rows), count)]

    def keep(self, rows: list[Row]) -> None:
        """Forget all other rows. Only after the engine's work: no batch holds them."""
        self.rows = rows

    def finish(self) -> None:
        """Finish the pictures that were drawn and are not finished. In one thread at a time, not the engine's."""
        for row in self.rows:
            if row.drawn is not None:
                row.picture, row.drawn = row.drawn(), None

    def forget_pictures(self) -> None:
        """Drop all pictures, once the outcome is committed. A job and its rows refer to each other, so they would keep
        them until the garbage collector's next full pass, which follows hundreds of jobs.
        """
        for row in self.rows:
            row.drawn = row.picture = row.task.image = row.task.mask = row.task.control_image = None
            row.task.reference_images = row.task.things = ()
        self.signed_inputs = {}

    @property
    def id(self) -> str:
        """The job's id."""
        return self.claim.id

    @property
    def progress(self) -> Progress:
        """The steps done, and the steps of all images."""
        return Progress(sum(row.steps_done for row in self.rows), self.claim.spec.steps * len(self.rows))


@dataclass(eq=False, slots=True)
class Row:
    """One image of a job, or a candidate for one: a row in each batch that it takes part in."""

    job: JobRun
    index: int
    task: ImageTask
    key: Hashable = None
    """Rows with equal keys may share the next call: the model, the adapters, the generator's key, and whether the row
    is finished."""
    state: RowState | Any = None
    """The generator's state between steps; None before the first step and after the decode."""
    width: int = 1
    """How many places of a batch it takes: the rows of its state."""
    steps_done: int = 0
    finished: bool = False
    """Whether all steps are done, so that the decode is next."""
    drawn: Drawn | None = None
    """Its picture as the device has drawn it, until that is finished."""
    picture: Picture | None = None
    checkpointed_at: float = 0.0
    """When the last checkpoint was taken, or the row was started, by the engine's clock."""
    decoded_from: tuple[bytes, list[int], list[int]] | None = None
    """The checkpoint that it was decoded from, its batch sizes and its places in them until then, if its job had
    unfinished images."""
    calls_before_decode: int = 0
    """The number of calls that it took part in when its decode began."""
    previewed_at: float = 0.0
    """When the last preview was taken, by the engine's clock."""
    most_others: int | None = None
    """Beside how many other images it may be started; None while it has not run out of memory."""
    resumes: ImageTask | None = None
    """Its task with the checkpoint that it is started from; None without one, and once it is started."""

    @property
    def remaining(self) -> int:
        """The number of steps still to do."""
        return self.task.spec.steps - self.steps_done

    @property
    def adapters(self) -> Hashable:
        """The LoRA adapters that its model must be set to, with their weights."""
        return tuple((each.name, each.weight) for each in self.task.spec.adapters)

    def release(self) -> None:
        """Close the generator's state. Only on the engine's thread: a pipeline's frames belong to it."""
        state, self.state = self.state, None
        if state is not None:
            state.close()

    def follow_state(self) -> bool:
        """Take over what the state says of itself; return whether it is a new one."""
        is_new = self.key is None
        self.steps_done, self.finished, self.width = self.state.steps_done, self.state.finished, self.state.rows
        self.key = self.job.claim.spec.model, self.adapters, self.state.key, self.finished
        self.resumes = None
        return is_new

    def put_back(self) -> None:
        """Become as it was before it was started, with the checkpoint that it was started from."""
        resumes = self.resumes
        self.restart()
        self.task = resumes or self.task
        self.key, self.steps_done, self.finished, self.decoded_from = None, 0, False, None

    def restart(self) -> None:
        """Discard an earlier attempt's checkpoint that cannot be read: the image starts from its first step."""
        given = {field: getattr(self.task, field) for field in (*INPUT_FIELDS, "reference_images")}
        self.task, self.resumes = replace(_task(self.job.claim, self.index), **given), None


def note_calls(rows: Sequence[Row]) -> None:
    """Before a decode: note how many calls each row took part in."""
    for row in rows:
        row.calls_before_decode = len(row.task.buckets)


def forget_decode(rows: Sequence[Row]) -> None:
    """Before a decode that failed is made again: remove it from the calls that a replay repeats."""
    for row in rows:
        del row.task.buckets[row.calls_before_decode :]
        del row.task.places[row.calls_before_decode :]


def _task(claim: Claim, index: int) -> ImageTask:
    spec = claim.spec
    replay = iter(spec.replay[index]) if index < len(spec.replay) else None
    places = iter(spec.replay_places[index]) if index < len(spec.replay_places) else None
    return ImageTask(spec, spec.candidate_seed(*divmod(index, spec.candidates)), replay, places)
