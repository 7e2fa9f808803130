"""Stands in for a worker and for a sender of webhooks, so that the calls of a tour get their answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import insert, or_, select, update
from sqlalchemy.exc import DBAPIError

from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import NewImage
from limner_shared.db.tables import Job, Leader
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.embeddings import VECTOR_BYTES, Embedding
from limner_shared.domain.ids import first_id
from limner_shared.messaging import questions
from limner_shared.messaging.hints import Hints
from limner_shared.messaging.questions import Answer
from limner_shared.messaging.reports import WorkerReport, write_report
from limner_shared.messaging.typed_redis import keys_like
from limner_shared.storage.blobs import Blobs

TURN_SECONDS: Final = 0.02
ENCODER: Final = "tower:1"


@dataclass
class StandIn:
    """Draws the same picture for every job that is made from now on, and answers for the receivers of webhooks."""

    database: Database
    blobs: Blobs
    hints: Hints
    picture: bytes
    models: Sequence[str]
    also: Sequence[Callable[[], object]] = ()
    """What else is done in each turn, in place of threads that do not run."""
    bulks: set[str] = field(default_factory=set[str])
    """The bulks whose jobs are drawn as well."""
    begun: float = field(default_factory=lambda: time.time() - 1)

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work on a thread of its own. Raises what ended it."""
        ended, failures = threading.Event(), list[BaseException]()

        def run() -> None:
            try:
                while not ended.wait(TURN_SECONDS):
                    with suppress(DBAPIError):  # on a busy machine, PostgreSQL ends a transaction that stands still
                        self._turn()
            except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
                failures.append(error)

        with self.database.write() as session:
            session.execute(insert(Leader).values(duty="tour", owner="a stand-in", until=4e9))
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(10)
            if failures:
                raise failures[0]

    def _turn(self) -> None:
        owner = WorkerReport(owner="w", models=list(self.models), device="cpu", held=0, closed=[], stalled=[])
        write_report(self.hints.redis, owner)
        for each in self.also:
            each()
        due = or_(Job.bulk_id.is_(None), Job.bulk_id.in_(self.bulks))
        waits = (Job.id > first_id("job", self.begun), Job.state == "queued", Job.not_before.is_(None), due)
        with self.database.read() as session:
            jobs = session.scalars(select(Job.id).where(*waits).limit(50)).all()
        for job in jobs:
            self._draw(job)
        self._deliver()
        self._answer()

    def _draw(self, job: str) -> None:
        with self.database.write() as session:
            claims = ledger.claim(session, [job], "a stand-in", 60)
        for claim in claims:
            digest, steps = self.blobs.put(self.picture), {"buckets": [[1, claim.spec.steps]]}
            vector = Embedding(ENCODER, bytes(VECTOR_BYTES))
            seeds = [claim.spec.image_seed(index) for index in range(claim.spec.n)]
            size = len(self.picture)
            images = [NewImage(digest, "image/png", 64, 64, size, seed, steps, embedding=vector) for seed in seeds]
            with self.database.write() as session:
                changes = ledger.finish(session, [ledger.Result(claim.id, claim.attempt, images)])
            self.hints.changed(changes)

    def _deliver(self) -> None:
        """Answer 200 to every delivery that waits."""
        waits = (WebhookDelivery.id > first_id("whd", self.begun), WebhookDelivery.state == "pending")
        with self.database.read() as session:
            waiting = session.scalars(select(WebhookDelivery.id).where(*waits)).all()
        tried: dict[str, Any] = {"number": 1, "url": "x", "request_headers": {}, "status": 200, "seconds": 0}
        for delivery in waiting:
            with self.database.write() as session:
                values = tried | {"delivery_id": delivery, "created_at": now()}
                session.execute(insert(WebhookAttempt).values(values))
                ended = update(WebhookDelivery).where(WebhookDelivery.id == delivery)
                session.execute(ended.values(state="delivered", ended_at=now()))

    def _answer(self) -> None:
        """Answer the questions about descriptions and pictures."""
        if not any(keys_like(self.hints.redis, "limner:questions:*")):
            return
        told = Interpretation(conditions=Conditions(prompt="a red apple"), backend="rules")
        for question in questions.take(self.hints.redis, self.models, 9):
            reply = Answer(interpretation=told, language="en", names=(("apple", 0.9),))
            questions.answer(self.hints.redis, question.id, reply)
