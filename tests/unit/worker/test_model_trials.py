"""Failures of a model's jobs: only a model that cannot draw a picture of the worker's own pauses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.clocks import Clock
from tests.models import CANVAS

from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.domain.catalogue import load_card
from limner_shared.errors import GenerationFailed, LimnerError, ModerationBlocked, OutOfMemory, RequestUnsupported
from limner_worker.engine.job_run import JobRun
from limner_worker.runtime.model_trials import (
    FAILURES_IN_A_ROW,
    RECENT_FAILURES,
    RECENT_JOBS,
    ModelTrials,
    TrialVerdict,
)

UNKNOWN = GenerationFailed()


class Trials:
    """Trials of one model, and what was given to the engine."""

    def __init__(self) -> None:
        card = load_card(CANVAS)
        self.clock, self.model, self.given = Clock(), card.name, list[JobRun]()
        self.breaker = Breaker(1, 10, 60, self.clock)
        self.trials = ModelTrials({card.name: card}, {card.name: self.breaker}, self._submit)

    def _submit(self, jobs: Sequence[JobRun]) -> None:
        self.given += jobs

    def fail(self, times: int, error: LimnerError = UNKNOWN) -> list[TrialVerdict]:
        return [self.trials.job_failed(self.model, error) for _ in range(times)]

    def succeed(self, times: int) -> None:
        for _ in range(times):
            self.trials.job_succeeded(self.model)

    def end(self, trial: JobRun, error: LimnerError | None = None) -> None:
        assert self.trials.end_trials([trial], error) == [], "a trial was taken for a job"


@pytest.fixture
def trials() -> Trials:
    return Trials()


@pytest.mark.parametrize("error", [RequestUnsupported(), OutOfMemory(), ModerationBlocked()])
def test_errors_of_known_cause_never_try_or_pause_a_model(trials: Trials, error: LimnerError):
    assert set(trials.fail(10 * FAILURES_IN_A_ROW, error)) == {TrialVerdict.FAIL}
    assert (trials.given, trials.breaker.state) == ([], BreakerState.CLOSED)


def test_requests_that_fail_for_unknown_reasons_pause_no_model_that_draws(trials: Trials):
    for _ in range(3):
        assert set(trials.fail(FAILURES_IN_A_ROW - 1)) == {TrialVerdict.FAIL}
        assert trials.given == []
        assert trials.fail(5) == [TrialVerdict.HAND_BACK] * 5, "whose fault it is, is not known during a trial"
        [trial] = trials.given
        assert trials.breaker.state is BreakerState.CLOSED
        trials.end(trial)
        assert trials.breaker.state is BreakerState.CLOSED
        trials.given.clear()


def test_a_model_whose_own_safety_checker_flags_its_trial_draws(trials: Trials):
    trials.fail(FAILURES_IN_A_ROW)
    [trial] = trials.given
    trials.end(trial, ModerationBlocked())
    assert trials.breaker.state is BreakerState.CLOSED


def test_a_model_that_cannot_draw_its_trial_pauses_and_what_fails_then_is_handed_back(trials: Trials):
    trials.fail(FAILURES_IN_A_ROW)
    trials.end(trials.given[0], UNKNOWN)
    assert trials.breaker.state is BreakerState.OPEN
    assert trials.fail(2) == [TrialVerdict.HAND_BACK] * 2
    assert trials.fail(1, RequestUnsupported()) == [TrialVerdict.FAIL], "another worker would refuse it too"
    trials.clock.now += 10
    assert trials.fail(2) == [TrialVerdict.HAND_BACK] * 2, "a pause cost a job"
    assert trials.breaker.state is BreakerState.TRIAL
    trials.end(trials.given[1], UNKNOWN)
    trials.clock.now += 19
    assert trials.breaker.state is BreakerState.OPEN, "the failed trial did not double the pause"
    trials.clock.now += 1
    trials.fail(1)
    trials.end(trials.given[2])
    assert trials.breaker.state is BreakerState.CLOSED


def test_a_success_between_failures_begins_the_count_of_those_in_a_row_anew(trials: Trials):
    for _ in range(3):
        trials.fail(FAILURES_IN_A_ROW - 3)
        trials.succeed(FAILURES_IN_A_ROW - 3)
    assert trials.given == []


def test_a_model_that_fails_most_of_its_jobs_is_tried_although_some_succeed(trials: Trials):
    for _ in range(2):
        trials.fail(FAILURES_IN_A_ROW - 2)
        trials.succeed(1)
    assert len(trials.given) == 1
    trials.end(trials.given[0], UNKNOWN)
    assert trials.breaker.state is BreakerState.OPEN


def test_the_success_of_an_earlier_job_does_not_end_the_pause_of_a_model_that_did_not_draw(trials: Trials):
    trials.fail(FAILURES_IN_A_ROW)
    trials.end(trials.given[0], UNKNOWN)
    trials.succeed(1)
    assert trials.breaker.state is BreakerState.OPEN
    trials.clock.now += 10
    trials.succeed(1)
    assert trials.breaker.state is BreakerState.CLOSED


OUTCOMES = [None, UNKNOWN, RequestUnsupported(), OutOfMemory(), ModerationBlocked()]
"""Of a job: success, a failure of unknown cause, and failures at the request's fault."""


@given(outcomes=st.lists(st.sampled_from([*OUTCOMES, *[UNKNOWN] * 4]), min_size=30, max_size=120))
def test_whatever_requests_do_a_model_that_draws_never_pauses_and_is_tried_only_for_unknown_failures(outcomes: Any):
    trials, since, tries = Trials(), list[bool](), 0
    for error in outcomes:
        if error is None:
            trials.succeed(1)
            since.append(False)
        elif error is UNKNOWN:
            since.append(True)
            in_a_row = since[-FAILURES_IN_A_ROW:]
            due = in_a_row == [True] * FAILURES_IN_A_ROW or sum(since[-RECENT_JOBS:]) == RECENT_FAILURES
            assert trials.fail(1) == [TrialVerdict.HAND_BACK if due else TrialVerdict.FAIL]
            tries += due
            if due:
                trials.end(trials.given[-1])
                since.clear()
        else:
            assert trials.fail(1, error) == [TrialVerdict.FAIL]
        assert len(trials.given) == tries
        assert trials.breaker.state is BreakerState.CLOSED


def test_a_job_of_a_tenant_is_no_trial(trials: Trials):
    trials.fail(FAILURES_IN_A_ROW)
    job = JobRun(trials.given[0].claim, lambda: None)
    assert trials.trials.end_trials([job]) == [job]
    assert trials.trials.end_trials([job], UNKNOWN) == [job]
