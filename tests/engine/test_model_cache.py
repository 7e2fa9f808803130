"""Several models in limited memory: loaded on demand, unloaded when another needs the memory."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs
from tests.counters import counted
from tests.engine.scripted import Heard, Scripted, job
from tests.processes import eventually

from limner_shared.db.ledger import AttemptKey
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Lane
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.engine.loop import Engine
from limner_worker.generators.model_cache import ModelCache
from limner_worker.runtime import watchdog
from limner_worker.runtime.watchdog import Watchdog

pytestmark = pytest.mark.long

NAMES = ("one", "two", "three")


class RecordingCache:
    """A model cache of scripted models that records each load."""

    def __init__(
        self,
        catalogue: Catalogue,
        max_bytes: int | None,
        too_large: Collection[str] = (),
        broken_again: Collection[str] = (),
    ) -> None:
        card = catalogue.get("limner-flow").model_copy(update={"adapter_folder": Path("adapters")})
        self.cards = [card.model_copy(update={"name": name}) for name in NAMES]
        self.loads: list[str] = []
        self.generators: dict[str, Scripted] = {}
        self.broken: set[str] = set()
        self.too_large, self.broken_again = set(too_large), set(broken_again)
        self.slow: set[str] = set()
        self.may_load = threading.Event()
        self.cache = ModelCache(self.cards, self.load, max_bytes)

    def load(self, card: Any) -> Scripted:
        if card.name in self.broken:
            raise CardError("the weights are gone")
        if card.name in self.loads and card.name in self.broken_again:
            self.broken_again.remove(card.name)
            raise OSError("the share does not respond")
        if card.name in self.too_large:
            raise torch.OutOfMemoryError
        if card.name in self.slow:
            assert self.may_load.wait(30)
        self.loads.append(card.name)
        self.generators[card.name] = Scripted(card)
        return self.generators[card.name]

    def loaded(self) -> list[str]:
        found: list[str] = []
        for name in NAMES:
            try:
                self.cache.get(name)
            except KeyError:
                continue
            found.append(name)
        return found


def job_for(catalogue: Catalogue, model: str, name: str, **request: Any):
    one = job(catalogue, name, **request)
    spec = one.claim.spec.model_copy(update={"model": model})
    one.claim = type(one.claim)("id-" + name, "tenant", None, 1, 2, Lane.NORMAL, spec)
    for row in one.rows:
        row.task.spec = spec
    return one


def test_without_a_limit_all_models_stay_loaded(catalogue: Catalogue):
    models = RecordingCache(catalogue, None)
    assert models.loaded() == list(NAMES)


def test_a_model_that_waits_for_room_counts_one_miss_when_it_is_loaded(catalogue: Catalogue):
    models = RecordingCache(catalogue, 200)

    def counts() -> list[float]:
        return [counted("limner_cache_requests_total", cache="models", result=result) for result in ("hit", "miss")]

    before = counts()
    for _ in range(5):
        assert not models.cache.ensure_loaded("one", busy=("two", "three"))
    assert models.cache.ensure_loaded("one", busy=())
    assert models.cache.ensure_loaded("one", busy=())
    assert [after - was for after, was in zip(counts(), before, strict=True)] == [1, 1]


def test_the_least_recently_used_model_is_unloaded_first(catalogue: Catalogue):
    models = RecordingCache(catalogue, 200)
    assert models.loaded() == ["two", "three"]
    assert models.cache.ensure_loaded("two", busy=())
    assert models.cache.ensure_loaded("one", busy=())
    assert models.loaded() == ["one", "two"]


def test_the_models_that_can_stay_beside_another_are_the_most_recently_used(catalogue: Catalogue):
    models = RecordingCache(catalogue, 200)
    assert models.cache.loaded == ("two", "three")
    assert models.cache.staying("one") == ("three",)
    assert set(models.cache.load_seconds) == set(NAMES)
    assert not models.cache.all_fit
    assert RecordingCache(catalogue, 300).cache.all_fit


def test_a_model_that_has_grown_unloads_idle_ones_and_is_loaded_again_at_its_first_size(catalogue: Catalogue):
    models = RecordingCache(catalogue, 210)
    assert models.loaded() == ["two", "three"]
    models.generators["three"].nbytes = 110
    models.cache.recount("three", busy={"three"})
    assert models.loaded() == ["two", "three"]
    models.generators["three"].nbytes = 111
    models.cache.recount("three", busy={"two", "three"})
    assert models.loaded() == ["two", "three"], "both are in use"
    models.generators["three"].nbytes = 112
    models.cache.recount("three", busy={"three"})
    assert models.loaded() == ["three"]
    assert not models.cache.ensure_loaded("one", busy={"three"}), "the grown model leaves no room"
    assert models.cache.ensure_loaded("one", busy=())
    assert models.cache.ensure_loaded("three", busy=())
    assert models.loaded() == ["one", "three"]


def replaced(_: Scripted) -> dict[str, Any]:
    return {"weights": "replaced"}


def test_a_model_that_is_loaded_again_from_other_files_is_named_in_receipts_as_these(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    models = RecordingCache(catalogue, 200)
    known = models.cache.fingerprints
    monkeypatch.setattr(Scripted, "fingerprint", replaced)
    with capture_logs() as lines:
        assert models.cache.ensure_loaded("two", busy=())
        assert models.cache.ensure_loaded("one", busy=())
    assert known == {"one": {"weights": "replaced"}, "two": {}, "three": {}}
    assert [line["model"] for line in lines if line["event"] == "a model's files have changed"] == ["one"]


def test_a_busy_model_is_not_unloaded(catalogue: Catalogue):
    models = RecordingCache(catalogue, 200)
    assert not models.cache.ensure_loaded("one", busy={"two", "three"})
    assert models.loaded() == ["two", "three"]


def test_a_model_larger_than_the_limit_is_loaded_alone(catalogue: Catalogue):
    models = RecordingCache(catalogue, 50)
    assert models.loaded() == ["three"]
    assert models.cache.ensure_loaded("one", busy=())
    assert models.loaded() == ["one"]


def test_no_model_is_loaded_beside_others_that_leave_it_no_room(catalogue: Catalogue):
    """At the start no size is known: a model that is loaded beside the others to measure it may be the one too many."""
    held, peaks = set[object](), list[int]()

    def load(card: Any) -> Scripted:
        generator = Scripted(card)
        held.add(mark := object())
        weakref.finalize(generator, held.remove, mark)
        peaks.append(len(held))
        return generator

    cards = [catalogue.get("limner-flow").model_copy(update={"name": name}) for name in NAMES]
    for room in (1, 2, 3):
        peaks.clear()
        cache = ModelCache(cards, load, max_bytes=100 * room)
        assert cache.loaded == NAMES[3 - room :]
        assert tuple(cache.cards) == NAMES
        assert max(peaks) == len(held) == room
        del cache
        gc.collect()


def test_an_engine_counts_what_its_jobs_have_added_to_a_model(catalogue: Catalogue):
    models, heard = RecordingCache(catalogue, 210), Heard()
    grown = models.generators["three"]
    begin = grown.start

    def start(tasks: Any) -> Any:
        grown.nbytes = 150  # an adapter that the job has named
        return begin(tasks)

    grown.start = start
    engine = Engine(models.cache, heard, Supervisor())
    engine.start()
    engine.submit([job_for(catalogue, "three", "one")])
    assert set(heard.wait(1).values()) == {"generated"}
    engine.stop()
    assert models.loaded() == ["three"]


def test_jobs_of_three_models_finish_in_the_memory_of_one(catalogue: Catalogue):
    models, heard = RecordingCache(catalogue, 100), Heard()
    engine = Engine(models.cache, heard, Supervisor())
    engine.start()
    engine.submit([job_for(catalogue, NAMES[n % 3], str(n), steps=5) for n in range(12)])
    assert set(heard.wait(12).values()) == {"generated"}
    engine.stop()
    assert len(models.loaded()) == 1
    assert len(models.loads) <= 3 + 4, "the models were reloaded too often"


def test_a_model_that_waits_too_long_is_loaded_although_another_always_has_work(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("limner_worker.engine.pending_models.LONGEST_WAIT_SECONDS", 0.05)
    models = RecordingCache(catalogue, 100)

    class Busy(Heard):
        """Submits another job of the busy model at every step, so that it never runs out."""

        count = 0

        def progressed(self, job: Any) -> None:
            if "id-other" not in self.done and job.claim.spec.model == "three":
                self.count += 1
                engine.submit([job_for(catalogue, "three", f"more {self.count}", steps=4)])

    heard = Busy()
    engine = Engine(models.cache, heard, Supervisor())
    engine.submit([job_for(catalogue, "three", "first", steps=4)])
    engine.submit([job_for(catalogue, "one", "other")])
    engine.start()
    with heard.news:
        assert heard.news.wait_for(lambda: "id-other" in heard.done, timeout=20)
    engine.stop()


def test_jobs_of_a_model_that_no_longer_loads_are_handed_back(catalogue: Catalogue):
    models, heard = RecordingCache(catalogue, 100), Heard()
    models.broken.add("one")
    engine = Engine(models.cache, heard, Supervisor())
    engine.start()
    engine.submit([job_for(catalogue, "one", "a"), job_for(catalogue, "two", "b")])
    assert heard.wait(2) == {"id-a": "unavailable: the model does not load", "id-b": "generated"}
    engine.stop()


def test_a_model_that_does_not_finish_loading_ends_the_worker_and_charges_no_job(
    catalogue: Catalogue, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watchdog, "INTERVAL_SECONDS", 0.01)
    models, heard, threads = RecordingCache(catalogue, 100), Heard(), Supervisor()
    ended: list[tuple[str, set[AttemptKey]]] = []
    models.slow.add("one")
    engine = Engine(models.cache, heard, threads)
    engine.submit([job_for(catalogue, "one", "a"), job_for(catalogue, "three", "b")])
    impatient = settings.model_copy(update={"load_timeout_seconds": 0.05})

    def end(reason: str, suspects: set[AttemptKey]) -> None:
        ended.append((reason, suspects))

    watching = Watchdog(impatient, threads, engine, models.cache, set, end)
    engine.start()
    eventually(lambda: models.cache.stuck_load(0.05))
    assert models.cache.stuck_load(settings.load_timeout_seconds) is None
    watching.start()
    eventually(lambda: ended)
    watching.stop()
    assert ended[0] == ("the model one does not finish loading", set())
    models.may_load.set()
    assert heard.wait(2) == {"id-a": "generated", "id-b": "generated"}
    assert models.cache.stuck_load(0) is None
    engine.stop()


def test_a_stalled_thread_of_a_worker_ends_it_and_all_that_it_holds_is_suspect(
    catalogue: Catalogue, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watchdog, "INTERVAL_SECONDS", 0.01)
    models, threads, held = RecordingCache(catalogue, 100), Supervisor(), {AttemptKey("job_a", 1)}
    ended: list[tuple[str, set[AttemptKey]]] = []
    began, go_on = threading.Event(), threading.Event()

    def work() -> None:
        threads.working()
        began.set()
        go_on.wait(30)

    def end(reason: str, suspects: set[AttemptKey]) -> None:
        ended.append((reason, suspects))

    engine = Engine(models.cache, Heard(), threads)
    watching = Watchdog(settings, threads, engine, models.cache, lambda: held, end)
    thread = threads.start("claiming", work, limit_seconds=0.01)
    assert began.wait(10)
    watching.start()
    eventually(lambda: ended)
    watching.stop()
    assert ended[0] == ("threads are stalled: claiming", held)
    go_on.set()
    thread.join()


def test_a_model_that_does_not_fit_the_device_is_left_out_and_the_others_are_served(catalogue: Catalogue):
    recorded = RecordingCache(catalogue, None, too_large=["two"])
    assert list(recorded.cache.cards) == recorded.loaded() == ["one", "three"]
    assert recorded.cache.findings["left_out"] == {"two": "out_of_memory"}


def test_a_model_that_fails_at_its_second_load_is_loaded_later(catalogue: Catalogue):
    recorded = RecordingCache(catalogue, 3 * Scripted.nbytes, broken_again=["two"])
    assert list(recorded.cache.cards) == list(NAMES)
    assert recorded.loaded() == ["one", "three"]
    assert recorded.cache.ensure_loaded("two", ())


def test_a_worker_without_models_raises_an_error(catalogue: Catalogue):
    def fail(_card: Any):
        raise CardError("gone")

    with pytest.raises(CardError, match="has no work"):
        ModelCache([catalogue.get("limner-flow")], fail)
