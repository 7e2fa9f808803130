"""Whether a model whose jobs fail for unknown reasons can still draw: before its circuit breaker opens, it draws a
small picture of the worker's own. Only if that fails, the model is at fault, and not what the jobs ask for.
"""

from __future__ import annotations

import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import partial
from typing import Final

from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.db.ledger import Claim
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import Lane
from limner_shared.errors import GenerationFailed, LimnerError, ModerationBlocked, ResourceUnreadable
from limner_shared.telemetry import get_logger
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.trial_images import trial_tasks

log = get_logger(__name__)

FAILURES_IN_A_ROW: Final = 8
"""Consecutive failed jobs of one model after which it is tried."""
RECENT_JOBS: Final = 20
RECENT_FAILURES: Final = 12
"""Failed jobs among RECENT_JOBS of one model after which it is tried: one that draws now and then is found as well."""
OF_THE_MODEL: Final = (GenerationFailed, ResourceUnreadable)
"""Errors that a model may cause. The others have a known cause elsewhere, such as what a request asks for."""


class TrialVerdict(Enum):
    """What becomes of a job that failed."""

    FAIL = "fail"
    HAND_BACK = "hand back"
    """Nothing is known against it: its model pauses or is tried."""


class ModelTrials:
    """Counts the failures of each model, and tries it. Safe from any thread."""

    def __init__(
        self,
        cards: Mapping[str, ModelCard],
        breakers: Mapping[str, Breaker],
        submit: Callable[[Sequence[JobRun]], None],
    ) -> None:
        """`submit` gives a trial to the engine, which reports its end as a job's."""
        self._cards = cards
        self._breakers = breakers
        self._submit = submit
        self._recent: defaultdict[str, deque[bool]] = defaultdict(partial(deque[bool], maxlen=RECENT_JOBS))
        """Of each model's last jobs since it was tried: whether they failed, the oldest first."""
        self._running: dict[str, JobRun] = {}
        self._lock = threading.Lock()

    def job_failed(self, model: str, error: LimnerError) -> TrialVerdict:
        """Record that a job of a model failed, and try the model if that is due; return what becomes of the job.

        Only errors that the model may cause count. A job that a paused model was given on trial counts like many. While
        a model is tried, it is not known yet whose fault it is: its jobs are handed back, also the one that makes the
        trial due, or each pause would cost a job.
        """
        if not isinstance(error, OF_THE_MODEL):
            return TrialVerdict.FAIL
        with self._lock:
            state, recent = self._breakers[model].state, self._recent[model]
            if state is BreakerState.OPEN or model in self._running:
                return TrialVerdict.HAND_BACK
            recent.append(True)
            if not _is_due(recent) and state is not BreakerState.TRIAL:
                return TrialVerdict.FAIL
            trial = self._running[model] = _trial(self._cards[model])
        log.warning("trying a model whose jobs fail", model=model, failures=sum(recent), of=len(recent))
        self._submit([trial])
        return TrialVerdict.HAND_BACK

    def job_succeeded(self, model: str) -> None:
        """Record that a job of a model succeeded. One of earlier work does not end a pause: most others fail."""
        with self._lock:
            self._recent[model].append(False)
        if self._breakers[model].state is not BreakerState.OPEN:
            self._breakers[model].succeeded()

    def end_trials(self, runs: Sequence[JobRun], error: LimnerError | None = None) -> list[JobRun]:
        """Record the end of the trials among these runs, all with this error or none; return the others, the jobs."""
        jobs: list[JobRun] = []
        for run in runs:
            if self._is_trial(run):
                self._end_trial(run.claim.spec.model, error)
            else:
                jobs.append(run)
        return jobs

    def _is_trial(self, run: JobRun) -> bool:
        return self._running.get(run.claim.spec.model) is run

    def _end_trial(self, model: str, error: LimnerError | None) -> None:
        with self._lock:
            del self._running[model]
            self._recent[model].clear()
        if error is None or isinstance(error, ModerationBlocked):  # what its own safety checker flags was drawn
            self._breakers[model].succeeded()
            log.info("the model draws: the jobs that failed are at fault", model=model)
        else:
            self._breakers[model].trip()
            log.error("the model does not draw: its jobs wait", model=model, error=error.message)


def _is_due(recent: Sequence[bool]) -> bool:
    """Whether a model must be tried, by its last jobs."""
    in_a_row = list(recent)[-FAILURES_IN_A_ROW:]
    return sum(recent) >= RECENT_FAILURES or (len(in_a_row) == FAILURES_IN_A_ROW and all(in_a_row))


def _trial(card: ModelCard) -> JobRun:
    task = trial_tasks(card, card.tasks[0])[0]
    trial = JobRun(Claim(f"trial of {card.name}", "", None, 1, 1, Lane.FIRST, task.spec), lambda: None)
    trial.rows[0].task = task
    return trial
