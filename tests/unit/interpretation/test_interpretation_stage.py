"""Interpretations are stored once by the owning attempt, and slow presentations delay no other job."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update
from sqlalchemy.exc import DataError, OperationalError
from tests.evaluators import Judging
from tests.processes import eventually

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job, Tenant
from limner_shared.db.views import plain_view
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.messaging.hints import Hints, connect
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.runtime.admission import Admission
from limner_worker.stages.interpretation.interpreter import MAX_BATCH, Interpreter, Request
from limner_worker.stages.interpretation.presenting.presenter import Presenter
from limner_worker.stages.interpretation.stage import InterpretationStage
from limner_worker.stages.picture_files import PictureEncoder
from limner_worker.stages.publishing import Publisher
from limner_worker.stages.safety import SafetyStage

TENANT = ledger.LOCAL_TENANT


def run_of(database: Database, catalogue: Catalogue, **request: Any) -> JobRun:
    """A claimed job."""
    card, spec = catalogue.resolve(JobRequest.model_validate(request))
    with database.write() as session:
        [change] = ledger.submit(session, TENANT, [ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)]).changes
        [claim] = ledger.claim(session, [change.id], "me", 60)
    return JobRun(claim, lambda: None)


def job_of(database: Database, run: JobRun) -> Job:
    with database.read() as session:
        return queries.job(session, TENANT, run.id)


def store(database: Database, run: JobRun, prompt: str, attempt: int | None = None) -> bool:
    found = Interpretation(conditions=Conditions(prompt=prompt, style="a\x00style"), backend="rules")
    spec = run.claim.spec.model_copy(update={"prompt": found.conditions.prompt})
    with database.write() as session:
        return ledger.store_interpretation(session, run.id, attempt or run.claim.attempt, found, spec, 1)


def test_a_later_attempt_finds_the_stored_interpretation(database: Database, catalogue: Catalogue):
    run = run_of(database, catalogue, description="please draw a \x00cat")
    assert not run.claim.interpreted
    assert store(database, run, "a \x00cat")
    with database.write() as session:
        ledger.hand_back(session, [run.key])
        [again] = ledger.claim(session, [run.id], "you", 60)
    assert again.interpreted
    assert again.spec.prompt == "a  cat"
    assert job_of(database, run).interpretation["conditions"]["style"] == "a style"


def test_an_attempt_that_lost_its_job_stores_no_interpretation(database: Database, catalogue: Catalogue):
    run = run_of(database, catalogue, description="a cat")
    assert not store(database, run, "a dog", attempt=run.claim.attempt - 1 or 7)
    assert job_of(database, run).interpretation is None


class RecordingStage:
    """An InterpretationStage with the jobs that it passed on, those that it aborted and those that failed."""

    def __init__(self, database: Database, catalogue: Catalogue, interpreter: Interpreter) -> None:
        self.ready: list[JobRun] = []
        self.aborted: list[JobRun] = []
        self.failed: list[JobRun] = []
        self.stage = InterpretationStage(
            database,
            interpreter,
            catalogue.cards,
            Supervisor(),
            self.ready.extend,
            self.aborted.extend,
            lambda job, _error: self.failed.append(job),
        )
        self.stage.start()


class Faulty(Interpreter):
    def __init__(self) -> None:
        super().__init__()
        self.faults = 1

    def __call__(self, requests: Sequence[Request]) -> list[Interpretation]:
        self.faults -= 1
        if self.faults >= 0:
            raise RuntimeError("a fault in the interpreter")
        return super().__call__(requests)


def test_a_job_that_cannot_be_interpreted_fails_and_the_next_one_goes_on(database: Database, catalogue: Catalogue):
    stage = RecordingStage(database, catalogue, Faulty())
    first, second = (run_of(database, catalogue, description="please draw a cat") for _ in range(2))
    stage.stage.submit([first])
    eventually(lambda: stage.failed)
    stage.stage.submit([second])
    eventually(lambda: stage.ready)
    stage.stage.stop()
    assert (stage.failed, stage.aborted, stage.ready) == ([first], [], [second])
    assert second.claim.spec.prompt == "a cat"


class Wide(Interpreter):
    def __call__(self, requests: Sequence[Request]) -> list[Interpretation]:
        conditions = Conditions(prompt="a fox", n=2, width=1024, height=512)
        return [Interpretation(conditions=conditions, backend="rules") for _ in requests]


def test_a_description_of_larger_pictures_than_the_units_of_the_day_cover_is_drawn_as_granted(
    database: Database, catalogue: Catalogue
):
    card = catalogue.cards[catalogue.default].model_copy(update={"sizes": ((256, 256), (1024, 512))})
    wide = Catalogue([card], card.name)
    run = run_of(database, wide, description="two wide pictures of a fox")
    with database.write() as session:
        session.execute(update(Tenant).where(Tenant.id == TENANT).values(cost_per_day=1))
    stage = RecordingStage(database, wide, Wide())
    stage.stage.submit([run])
    eventually(lambda: stage.ready or stage.aborted or stage.failed)
    stage.stage.stop()
    assert stage.ready == [run]
    spec = run.claim.spec
    assert (spec.prompt, spec.n, spec.width, spec.height) == ("a fox", 1, 256, 256)
    assert "Fewer or smaller pictures" in job_of(database, run).interpretation["fallback"]


class Slow(Interpreter):
    def __init__(self) -> None:
        super().__init__()
        self.began, self.go = threading.Event(), threading.Event()
        self.batches = 0

    def __call__(self, requests: Sequence[Request]) -> list[Interpretation]:
        self.batches += 1
        self.began.set()
        self.go.wait(30)
        return super().__call__(requests)


def test_stop_waits_for_the_batch_in_progress_only(database: Database, catalogue: Catalogue):
    interpreter = Slow()
    stage = RecordingStage(database, catalogue, interpreter)
    first = run_of(database, catalogue, description="a cat")
    stage.stage.submit([first])
    assert interpreter.began.wait(30)
    stage.stage.submit([run_of(database, catalogue, description="a dog") for _ in range(2 * MAX_BATCH)])
    stopper = threading.Thread(target=stage.stage.stop)
    stopper.start()
    interpreter.go.set()
    stopper.join(30)
    assert (stage.ready, interpreter.batches) == ([first], 1)


def test_a_job_canceled_during_interpretation_is_aborted(database: Database, catalogue: Catalogue):
    interpreter = Slow()
    stage = RecordingStage(database, catalogue, interpreter)
    run = run_of(database, catalogue, description="a cat")
    stage.stage.submit([run])
    assert interpreter.began.wait(30)
    with database.write() as session:
        ledger.cancel(session, Job.id == run.id)
    interpreter.go.set()
    eventually(lambda: stage.aborted)
    stage.stage.stop()
    assert (stage.aborted, stage.ready) == ([run], [])


class Away:
    """Makes the database fail as often as a test says while interpretations are stored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, faults: float) -> None:
        self.store, self.calls, self.faults = ledger.store_interpretation, 0, faults
        monkeypatch.setattr(ledger, "store_interpretation", self)
        monkeypatch.setattr("limner_worker.stages.interpretation.stage.RETRY_SECONDS", 0.01)

    def __call__(self, *arguments: Any) -> bool:
        self.calls += 1
        if self.calls <= self.faults:
            raise OperationalError("UPDATE", {}, ConnectionError("server closed the connection"))
        return self.store(*arguments)


def test_a_job_whose_conditions_the_database_refuses_fails_at_once(
    database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: Any) -> bool:
        raise DataError("UPDATE", {}, ValueError("unsupported Unicode escape sequence"))

    monkeypatch.setattr(ledger, "store_interpretation", refuse)
    stage = RecordingStage(database, catalogue, Interpreter())
    run = run_of(database, catalogue, description="please draw a cat")
    stage.stage.submit([run])
    eventually(lambda: stage.aborted or stage.failed)
    stage.stage.stop()
    assert (stage.failed, stage.aborted, stage.ready) == ([run], [], []), "its lease runs out, and it must run alone"


def test_an_interpretation_is_stored_after_a_short_outage_of_the_database_without_a_loss(
    database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    Away(monkeypatch, faults=2)
    interpreter = Slow()
    interpreter.go.set()
    stage = RecordingStage(database, catalogue, interpreter)
    run = run_of(database, catalogue, description="please draw a cat")
    stage.stage.submit([run])
    eventually(lambda: stage.ready or stage.aborted or stage.failed)
    stage.stage.stop()
    assert (stage.ready, stage.aborted, stage.failed, interpreter.batches) == ([run], [], [], 1)
    assert job_of(database, run).interpretation["conditions"]["prompt"] == "a cat"


def test_a_stop_while_the_database_is_away_leaves_the_job_to_be_handed_back(
    database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    away = Away(monkeypatch, faults=float("inf"))
    stage = RecordingStage(database, catalogue, Interpreter())
    stage.stage.submit([run_of(database, catalogue, description="a cat")])
    eventually(lambda: away.calls)
    stage.stage.stop()
    assert (stage.ready, stage.aborted, stage.failed) == ([], [], [])


class SlowPresenter:
    """A presenter that waits until `go` is set."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def asks(self, spec: object) -> bool:
        return getattr(spec, "description", None) is not None

    def __call__(
        self, spec: object, drawn_as: object, scene: object, recognitions: object, read_chars: object
    ) -> str | None:
        return "Your cat." if self.asks(spec) and self.go.wait(30) else None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_job_waits_for_the_presentation_of_another(
    database: Database, catalogue: Catalogue, redis_url: str, tmp_path: Path
):
    presenter = SlowPresenter()
    blobs, hints = Blobs(f"file://{tmp_path / 'blobs'}"), Hints(connect(redis_url))

    def nothing(_job: JobRun) -> None:
        return

    encoder = PictureEncoder.of(Settings(), SafetyStage(Settings(), catalogue.cards))
    store = Admission(1, []).store_breaker
    publisher = Publisher(database, blobs, hints, Supervisor(), store, nothing, nothing, presenter, encoder)
    described, plain = run_of(database, catalogue, description="a cat"), run_of(database, catalogue, prompt="a dog")
    for run in (described, plain):
        run.rows[0].picture = np.zeros((64, 64, 3), np.uint8)
    publisher.publish([described, plain], {})
    eventually(lambda: job_of(database, plain).state == "succeeded")
    assert job_of(database, described).state == "running"
    presenter.go.set()
    publisher.close()
    assert (job_of(database, described).state, job_of(database, described).presentation) == ("succeeded", "Your cat.")
    assert job_of(database, plain).presentation is None


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_presentation_speaks_of_all_pictures_of_a_job_and_each_image_says_what_is_recognised(
    database: Database, catalogue: Catalogue, redis_url: str, tmp_path: Path
):
    def nothing(_job: JobRun) -> None:
        return

    run = run_of(database, catalogue, description="a cat", n=3)
    encoder = PictureEncoder.of(Settings(), SafetyStage(Settings(), catalogue.cards), {run.claim.spec.model: Judging()})
    publisher = Publisher(
        database,
        Blobs(f"file://{tmp_path / 'blobs'}"),
        Hints(connect(redis_url)),
        Supervisor(),
        Admission(1, []).store_breaker,
        nothing,
        nothing,
        Presenter(),
        encoder,
    )
    for row, shade in zip(run.rows, (255, 255, 0), strict=True):
        row.picture = np.full((64, 64, 3), shade, np.uint8)
    publisher.publish([run], {})
    publisher.close()
    with database.read() as session:
        [shown] = queries.shown(session, [queries.job(session, TENANT, run.id)])
        view = plain_view(shown)
    assert "“a cat” may be hard to recognise in 1 of 3 pictures. “lion” may work better." in (view.presentation or "")
    seen = [image.recognition.recognised if image.recognition else None for image in view.images]
    assert seen == [True, True, False]
