"""Equal requests are drawn once: what counts as equal, who waits for whom, and what becomes of those who wait."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from PIL import Image as Pillow
from sqlalchemy import delete, func, select, update
from tests.processes import eventually

from limner_shared.db import ledger
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import Claim, NewImage
from limner_shared.db.tables import Image, Job, Tenant
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane, Priority
from limner_shared.storage.blobs import Blobs
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.deduplication import Deduplicator, recipes

FINGERPRINT = {"model": "limner-flow", "weights": "abc", "device": "cpu"}
ASKED = {"prompt": "a red apple", "seed": 7}


@pytest.fixture
def blobs(tmp_path) -> Blobs:
    return Blobs(f"file://{tmp_path / 'blobs'}")


class Worker:
    """A worker with everything real but the engine and the publisher: it notes what is to be drawn and what is not."""

    def __init__(self, database: Database, blobs: Blobs, catalogue: Catalogue) -> None:
        self.database, self.blobs, self.catalogue = database, blobs, catalogue
        self.mine: set[str] = set()
        self.drawn: list[str] = []
        self.copied: dict[str, list[NewImage]] = {}
        fingerprints = dict.fromkeys(catalogue.cards, FINGERPRINT)
        self.sharing = Deduplicator(database, blobs, fingerprints, Supervisor(), self._is_mine, self._draw, self._copy)
        self.sharing.start()

    def _is_mine(self, job: JobRun) -> bool:
        return job.id in self.mine

    def _draw(self, jobs) -> None:
        self.drawn += [job.id for job in jobs]

    def _copy(self, job: JobRun, images) -> None:
        self.copied[job.id] = list(images)

    def claim(self, tenant: str = ledger.LOCAL_TENANT, lane: Lane = Lane.NORMAL, **request: object) -> Claim:
        card, spec = self.catalogue.resolve(JobRequest.model_validate(ASKED | request))
        with self.database.write() as session:
            new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)
            job_id = ledger.submit(session, tenant, [new]).changes[0].id
            [claim] = ledger.claim(session, [job_id], "a worker", 60)
        self.mine.add(job_id)
        return replace(claim, lane=lane)

    def begin(self, *claims: Claim) -> list[str]:
        self.sharing.take([JobRun(claim, lambda: None) for claim in claims])
        return [claim.id for claim in claims]

    def finish(self, claim: Claim) -> None:
        """Its picture is stored and committed."""
        made = io.BytesIO()
        Pillow.new("RGB", (8, 8), "red").save(made, "PNG")
        digest = self.blobs.put(made.getvalue())
        images = [
            NewImage(digest, "image/png", 8, 8, 100, claim.spec.image_seed(index), {"buckets": [[1, 2]]}, recipe=recipe)
            for index, recipe in enumerate(recipes(claim, FINGERPRINT))
        ]
        with self.database.write() as session:
            ledger.finish(session, [ledger.Result(claim.id, claim.attempt, images)])
        self.leave(claim)

    def make(self, claim: Claim) -> None:
        """From its beginning to its end."""
        self.begin(claim)
        eventually(lambda: claim.id in self.drawn)
        self.finish(claim)

    def leave(self, claim: Claim) -> None:
        """It has ended here, with a picture or without."""
        self.mine.discard(claim.id)
        self.sharing.ended(JobRun(claim, lambda: None))

    def settled(self) -> None:
        """All that was said so far was heard."""
        [last] = self.begin(self.claim(prompt=f"a probe {time.monotonic_ns()}"))
        eventually(lambda: last in self.drawn)
        self.drawn.remove(last)


@pytest.fixture
def worker(database: Database, blobs: Blobs, catalogue: Catalogue) -> Iterator[Worker]:
    allow(database, "local")
    built = Worker(database, blobs, catalogue)
    yield built
    built.sharing.stop()


def allow(database: Database, name: str, *, share: bool = True) -> str:
    with database.write() as session:
        tenants.change_tenant(session, name, {"share_results": share})
        return tenants.find_or_make(session, name)


def test_a_request_gets_the_picture_of_an_equal_one_and_its_receipt_says_so(worker: Worker):
    first, second = worker.claim(), worker.claim()
    worker.make(first)
    worker.begin(second)
    [image] = eventually(lambda: worker.copied.get(second.id))
    assert image.receipt == {"buckets": [[1, 2]], "shared_with": first.id}
    assert image.recipe is None
    assert worker.drawn == [first.id]


def test_who_comes_while_an_equal_one_is_drawn_waits_for_it(worker: Worker):
    first, *others = claims = [worker.claim() for _ in range(5)]
    worker.begin(*claims)
    worker.settled()
    assert worker.drawn == [first.id]
    assert not worker.copied
    worker.finish(first)
    eventually(lambda: set(worker.copied) == {claim.id for claim in others})
    assert worker.drawn == [first.id]


def test_if_the_one_that_is_drawn_is_lost_another_is_drawn(worker: Worker):
    first, second, third = (worker.claim() for _ in range(3))
    worker.begin(first, second, third)
    worker.settled()
    worker.leave(first)
    eventually(lambda: worker.drawn == [first.id, second.id])
    worker.settled()
    worker.finish(second)
    eventually(lambda: set(worker.copied) == {third.id})


def test_one_that_left_while_it_waited_is_neither_drawn_nor_waited_for(worker: Worker):
    first, second, third = (worker.claim() for _ in range(3))
    worker.begin(first, second, third)
    worker.settled()
    worker.leave(second)
    worker.leave(first)
    eventually(lambda: worker.drawn == [first.id, third.id])


def test_nobody_waits_for_a_job_of_a_lower_lane(worker: Worker):
    slow, urgent = worker.claim(lane=Lane.LOW), worker.claim(lane=Lane.FIRST)
    worker.begin(slow)
    worker.settled()
    worker.begin(urgent)
    eventually(lambda: worker.drawn == [slow.id, urgent.id])


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a green apple"},
        {"seed": 8},
        {"steps": 3},
        {"guidance": 1.5},
        {"negative_prompt": "worms"},
        {"reproducible": True},
        {"provenance": False},
        {"n": 2},
    ],
    ids=str,
)
def test_requests_that_differ_in_what_is_seen_are_drawn_each(worker: Worker, other):
    first, second = worker.claim(), worker.claim(**other)
    worker.make(first)
    worker.begin(second)
    eventually(lambda: worker.drawn == [first.id, second.id])


def test_a_picture_of_several_is_found_by_who_asks_for_it_alone(worker: Worker):
    both, second = worker.claim(n=2), worker.claim(seed=8)
    worker.make(both)
    worker.begin(second)
    assert [image.seed for image in eventually(lambda: worker.copied.get(second.id))] == [8]


def test_tenants_do_not_see_each_others_pictures(worker: Worker):
    other = allow(worker.database, "other")
    first, second = worker.claim(), worker.claim(tenant=other)
    worker.make(first)
    worker.begin(second)
    eventually(lambda: worker.drawn == [first.id, second.id])


def test_nothing_is_shared_unless_the_tenant_wants_it(worker: Worker):
    allow(worker.database, "local", share=False)
    claims = [worker.claim(), worker.claim()]
    assert worker.begin(*claims) == worker.drawn
    assert recipes(claims[0], FINGERPRINT) == ()


def test_a_replay_is_drawn_again(worker: Worker):
    first, again = worker.claim(), worker.claim()
    worker.make(first)
    spec = again.spec.model_copy(update={"replay": ((1, 1),)})
    worker.begin(replace(again, spec=spec))
    assert worker.drawn == [first.id, again.id]


def test_a_worker_that_would_draw_it_otherwise_draws_it(worker: Worker):
    claim = worker.claim()
    [here], [there] = recipes(claim, FINGERPRINT), recipes(claim, FINGERPRINT | {"weights": "def"})
    assert here != there


def test_a_description_that_became_the_same_conditions_is_an_equal_request(worker: Worker):
    plain = worker.claim()
    described = replace(plain, spec=plain.spec.model_copy(update={"description": "please, a red apple"}))
    assert recipes(described, FINGERPRINT) == recipes(plain, FINGERPRINT)


def test_what_was_deleted_is_drawn_again(worker: Worker):
    first, second, third = (worker.claim() for _ in range(3))
    worker.make(first)
    with worker.database.write() as session:
        digest = session.scalars(select(Image.sha256)).one()
    worker.blobs.delete(digest, unless_written_within=-1)  # the bytes are gone, the row is there
    worker.begin(second)
    eventually(lambda: worker.drawn == [first.id, second.id])
    with worker.database.write() as session:
        session.execute(delete(Image))
    worker.leave(second)
    worker.begin(third)
    eventually(lambda: worker.drawn == [first.id, second.id, third.id])


def test_a_damaged_picture_is_not_shared(worker: Worker):
    first, second = worker.claim(), worker.claim()
    worker.make(first)
    with worker.database.read() as session:
        digest = session.scalars(select(Image.sha256)).one()
    assert worker.blobs.folder is not None
    (worker.blobs.folder / digest[:2] / digest).write_bytes(b"damaged")
    worker.begin(second)
    eventually(lambda: worker.drawn == [first.id, second.id])
    assert not worker.copied


def test_a_shared_picture_is_written_anew_so_that_no_cleaner_takes_it_first(worker: Worker):
    first, second = worker.claim(), worker.claim()
    worker.make(first)
    with worker.database.read() as session:
        digest = session.scalars(select(Image.sha256)).one()
    assert worker.blobs.folder is not None
    file = worker.blobs.folder / digest[:2] / digest
    os.utime(file, (1, 1))
    worker.begin(second)
    eventually(lambda: second.id in worker.copied)
    assert not worker.blobs.delete(digest, unless_written_within=60)


def test_forgotten_prompts_take_their_recipes_along(worker: Worker):
    first = worker.claim()
    worker.make(first)
    with worker.database.write() as session:
        session.execute(update(Tenant).values(keep_prompts_days=1.0))
        session.execute(update(Job).values(finished_at=now() - 2 * 86400))
        assert ledger.forget_prompts(session, 10) == 1
        assert session.scalar(select(func.count()).where(Image.recipe.is_not(None))) == 0


def test_without_the_database_jobs_are_drawn(worker: Worker, monkeypatch):
    claim = worker.claim()
    monkeypatch.setattr(worker.sharing, "_look", _broken)
    worker.begin(claim)
    eventually(lambda: worker.drawn == [claim.id])


def _broken(*_: object) -> Callable[..., object]:
    raise RuntimeError("away")
