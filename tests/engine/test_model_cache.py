"""Several models in the memory of one: loaded when asked for, unloaded when another needs the room."""

from __future__ import annotations

import pytest
from tests.engine.test_loop import Heard, Scripted, job

from limner_shared.domain.cards import Catalogue
from limner_shared.errors import CardError
from limner_shared.threads import Supervisor
from limner_worker.engine.loop import Engine
from limner_worker.generators.model_cache import ModelCache

NAMES = ("one", "two", "three")


class Shelf:
    """Loads scripted models, and remembers which and how often."""

    def __init__(self, catalogue: Catalogue, max_bytes: int | None) -> None:
        self.cards = [catalogue.get("limner-flow").model_copy(update={"name": name}) for name in NAMES]
        self.loads: list[str] = []
        self.generators: dict[str, Scripted] = {}
        self.broken: set[str] = set()
        self.residents = ModelCache(self.cards, self.load, max_bytes)

    def load(self, card) -> Scripted:
        if card.name in self.broken:
            raise CardError("the weights are gone")
        self.loads.append(card.name)
        self.generators[card.name] = Scripted(card)
        return self.generators[card.name]

    def loaded(self) -> list[str]:
        found = []
        for name in NAMES:
            try:
                self.residents.get(name)
            except KeyError:
                continue
            found.append(name)
        return found


def job_for(catalogue: Catalogue, model: str, name: str, **request: object):
    one = job(catalogue, name, **request)
    spec = one.claim.spec.model_copy(update={"model": model})
    one.claim = type(one.claim)("id-" + name, "tenant", None, 1, 2, 1, spec)
    for row in one.rows:
        row.task.spec = spec
    return one


def test_all_models_stay_loaded_where_nothing_limits_them(catalogue):
    shelf = Shelf(catalogue, None)
    assert shelf.loaded() == list(NAMES)


def test_what_was_not_used_for_longest_goes_first(catalogue):
    shelf = Shelf(catalogue, 200)
    assert shelf.loaded() == ["two", "three"]
    assert shelf.residents.ensure_loaded("two", busy=())
    assert shelf.residents.ensure_loaded("one", busy=())
    assert shelf.loaded() == ["one", "two"]


def test_a_model_at_work_is_not_unloaded(catalogue):
    shelf = Shelf(catalogue, 200)
    assert not shelf.residents.ensure_loaded("one", busy={"two", "three"})
    assert shelf.loaded() == ["two", "three"]


def test_a_model_larger_than_all_the_room_has_it_for_itself(catalogue):
    shelf = Shelf(catalogue, 50)
    assert shelf.loaded() == ["three"]
    assert shelf.residents.ensure_loaded("one", busy=())
    assert shelf.loaded() == ["one"]


def test_jobs_of_three_models_are_all_done_in_the_room_of_one(catalogue):
    shelf, heard = Shelf(catalogue, 100), Heard()
    engine = Engine(shelf.residents, heard, Supervisor())
    engine.start()
    engine.submit([job_for(catalogue, NAMES[n % 3], str(n), steps=5) for n in range(12)])
    assert set(heard.wait(12).values()) == {"generated"}
    engine.stop()
    assert len(shelf.loaded()) == 1
    assert len(shelf.loads) <= 3 + 4, "loaded again and again"


def test_a_model_that_waits_too_long_gets_its_room_though_another_always_has_work(catalogue, monkeypatch):
    monkeypatch.setattr("limner_worker.engine.pending_models.PATIENCE_SECONDS", 0.05)
    shelf = Shelf(catalogue, 100)

    class Busy(Heard):
        """Hands in the next job of the busy model with every step, so that it is never without."""

        count = 0

        def progressed(self, job) -> None:
            if "id-other" not in self.done and job.claim.spec.model == "three":
                self.count += 1
                engine.submit([job_for(catalogue, "three", f"more {self.count}", steps=4)])

    heard = Busy()
    engine = Engine(shelf.residents, heard, Supervisor())
    engine.submit([job_for(catalogue, "three", "first", steps=4)])
    engine.submit([job_for(catalogue, "one", "other")])
    engine.start()
    with heard.news:
        assert heard.news.wait_for(lambda: "id-other" in heard.done, timeout=20)
    engine.stop()


def test_jobs_of_a_model_that_does_not_load_again_are_left_to_others(catalogue):
    shelf, heard = Shelf(catalogue, 100), Heard()
    shelf.broken.add("one")
    engine = Engine(shelf.residents, heard, Supervisor())
    engine.start()
    engine.submit([job_for(catalogue, "one", "a"), job_for(catalogue, "two", "b")])
    assert heard.wait(2) == {"id-a": "unavailable: the model does not load", "id-b": "generated"}
    engine.stop()


def test_a_worker_without_any_model_says_so(catalogue):
    def fail(_card):
        raise CardError("gone")

    with pytest.raises(CardError, match="has no work"):
        ModelCache([catalogue.get("limner-flow")], fail)
