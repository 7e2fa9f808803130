"""Checks the ledger against a simple model for any order of calls by workers, zombies and dispatchers."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import update

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import LOSSES_TOGETHER, JobRequest, JobSpec, Lane, Priority
from limner_shared.errors import GenerationFailed, LimnerError, StorageFailed

TENANT = ledger.LOCAL_TENANT
IMAGE = ledger.NewImage("ab" * 32, "image/png", 64, 64, 10, 7, {})
SOLO_LOSSES = 1
MAX_RETRIES = 2
ENDED = {"succeeded", "failed", "canceled"}


@dataclass
class Model:
    """The expected state of a job."""

    state: str = "queued"
    attempt: int = 0
    losses: int = 0
    released: bool = False
    owner: str | None = None
    expired: bool = False
    images: int = 0
    retries: int = 0
    scheduled: bool = False
    versions: list[int] = field(default_factory=lambda: [1])


class LedgerMachine(RuleBasedStateMachine):
    """Keeps claims after their end: their holders are then zombies and can still call anything."""

    migrated: ClassVar[str]
    spec: ClassVar[JobSpec]
    jobs = Bundle("jobs")
    claims = Bundle("claims")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        file = shutil.copy(self.migrated, self.folder.name)
        self.database = Database(f"sqlite:///{file}")
        self.models: dict[str, Model] = {}
        with self.database.write() as session:
            ledger.ensure_tenant(session, TENANT, "local")

    def teardown(self) -> None:
        if hasattr(self, "database"):
            self.database.dispose()
            self.folder.cleanup()

    @rule(target=jobs, window=st.sampled_from([0, 3]))
    def submit(self, window: int) -> str:
        waiting = [model for model in self.models.values() if model.state == "queued" and not model.scheduled]
        free = all(model.released for model in waiting)
        room = window - sum(model.released and model.state == "queued" for model in self.models.values())
        with self.database.write() as session:
            new = [ledger.NewJob(self.spec, 1, Priority.NORMAL, max_retries=MAX_RETRIES)]
            submission = ledger.submit(session, TENANT, new, window=window)
        job_id = submission.changes[0].id
        at_once = free and room >= 1
        assert bool(submission.released) == at_once
        self.models[job_id] = Model(released=at_once)
        return job_id

    @rule(job=jobs)
    def release(self, job: str) -> None:
        model = self.models[job]
        with self.database.write() as session:
            released = ledger.release(session, Lane.NORMAL, [job])
        assert bool(released) == (model.state == "queued" and not model.released and not model.scheduled)
        model.released = model.released or bool(released)

    @rule(target=claims, job=jobs, owner=st.sampled_from(["a", "b"]), expired=st.booleans())
    def claim(self, job: str, owner: str, expired: bool) -> tuple[str, int, str]:
        model = self.models[job]
        with self.database.write() as session:
            claimed = ledger.claim(session, [job], owner, -5 if expired else 600)
        assert bool(claimed) == (model.state == "queued" and not model.scheduled)
        if claimed:
            model.state, model.owner, model.expired = "running", owner, expired
            model.attempt += 1
            assert claimed[0].attempt == model.attempt
        return job, model.attempt, owner

    @rule(claim=claims)
    def renew(self, claim: tuple[str, int, str]) -> None:
        job, attempt, _ = claim
        model = self.models[job]
        with self.database.write() as session:
            kept = ledger.renew(session, [ledger.AttemptKey(job, attempt)], 600)
        assert bool(kept) == (model.state == "running" and model.attempt == attempt)
        if kept:
            model.expired = False

    @rule(claim=claims, error=st.sampled_from([None, GenerationFailed(), StorageFailed()]))
    def finish_or_fail(self, claim: tuple[str, int, str], error: LimnerError | None) -> None:
        job, attempt, _ = claim
        model = self.models[job]
        with self.database.write() as session:
            if error is None:
                change = ledger.finish(session, [ledger.Result(job, attempt, [IMAGE])])
            else:
                change = ledger.fail(session, ledger.Result(job, attempt, error=error))
        assert bool(change) == (model.state == "running" and model.attempt == attempt)
        if change and error is not None and error.retryable and model.retries < MAX_RETRIES:
            model.state, model.owner, model.released, model.scheduled = "queued", None, False, True
            model.retries += 1
        elif change:
            model.state = "failed" if error else "succeeded"
            model.images += error is None

    @rule(job=jobs)
    def start_due(self, job: str) -> None:
        model = self.models[job]
        with self.database.write() as session:
            session.execute(update(Job).where(Job.id == job, Job.not_before.is_not(None)).values(not_before=now() - 1))
            changes = ledger.start_due(session, 9)
        due = model.state == "queued" and model.scheduled
        assert (job in {change.id for change in changes}) == due
        for change in changes:  # also those whose short backoff has passed
            self.models[change.id].scheduled = False

    @rule(claim=consumes(claims))
    def hand_back(self, claim: tuple[str, int, str]) -> None:
        job, attempt, _ = claim
        model = self.models[job]
        with self.database.write() as session:
            changes = ledger.hand_back(session, [ledger.AttemptKey(job, attempt)])
        assert bool(changes) == (model.state == "running" and model.attempt == attempt)
        if changes:
            model.state, model.owner, model.released = "queued", None, False

    @rule(job=jobs)
    def cancel(self, job: str) -> None:
        model = self.models[job]
        with self.database.write() as session:
            changes = ledger.cancel(session, Job.id == job)
        assert bool(changes) == (model.state not in ENDED)
        if changes:
            model.state = "canceled"

    @rule()
    def reap(self) -> None:
        with self.database.write() as session:
            changes = ledger.reap(session, SOLO_LOSSES)
        lost = {job for job, model in self.models.items() if model.state == "running" and model.expired}
        assert {change.id for change in changes} == lost
        for job in lost:
            model = self.models[job]
            model.losses += 1
            given_up = model.losses >= LOSSES_TOGETHER + SOLO_LOSSES
            model.state, model.owner = ("failed", model.owner) if given_up else ("queued", None)
            model.released = given_up and model.released

    @invariant()
    def the_database_matches_the_model(self) -> None:
        if not hasattr(self, "models"):
            return
        with self.database.read() as session:
            images = queries.images(session, list(self.models))
            for job_id, model in self.models.items():
                row = queries.job(session, TENANT, job_id)
                assert (row.state, row.attempt, row.losses) == (model.state, model.attempt, model.losses)
                assert (row.retries, row.state == "queued" and row.not_before is not None) == (
                    model.retries,
                    model.state == "queued" and model.scheduled,
                )
                assert len(images[job_id]) == model.images <= 1
                assert row.version >= model.versions[-1]
                model.versions.append(row.version)


def test_the_ledger_matches_its_model_for_any_order_of_calls(migrated_sqlite: str, catalogue: Catalogue) -> None:
    LedgerMachine.migrated = migrated_sqlite
    _, LedgerMachine.spec = catalogue.resolve(JobRequest(prompt="x"))
    run_state_machine_as_test(LedgerMachine, settings=settings(max_examples=25, stateful_step_count=30, deadline=None))
