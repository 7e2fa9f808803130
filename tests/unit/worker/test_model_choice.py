"""Which model a worker loads next, and which queues it reads meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.clocks import Clock

from limner_shared.circuit_breaker import Breaker
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import queue_name
from limner_shared.messaging.reports import STORE
from limner_worker.engine.model_choice import OVERDUE, PATIENCE, STAY, model_to_load
from limner_worker.generators.model_cache import ModelCache
from limner_worker.runtime.admission import Admission
from limner_worker.runtime.placement import FETCH_SECONDS, Chooser

LOADING = {"a": 4.0, "b": 4.0, "c": 4.0}
BATCH = 2
Waits = Mapping[tuple[str, Lane], float]


def choose(waits: Waits, *, loaded: tuple[str, ...] = ("a",)) -> str | None:
    return model_to_load(waits, loaded, LOADING)


def test_a_worker_leaves_a_model_to_the_workers_that_have_it_for_a_share_of_the_time_of_loading():
    assert choose({("b", Lane.NORMAL): PATIENCE * 4 - 0.1}) is None
    assert choose({("b", Lane.NORMAL): PATIENCE * 4 + 0.1}) == "b"


def test_a_worker_stays_with_its_model_until_another_has_waited_longer_by_the_cost_of_a_switch():
    waits = {("a", Lane.NORMAL): 10.0, ("b", Lane.NORMAL): 10.0 + PATIENCE * 4 - 0.1}
    assert choose(waits) is None
    assert choose(waits | {("b", Lane.NORMAL): 10.1 + PATIENCE * 4}) == "b"


def test_a_better_lane_goes_first():
    assert choose({("b", Lane.LOW): 90.0, ("c", Lane.HIGH): 20.0}) == "c"
    assert choose({("b", Lane.LOW): 90.0, ("a", Lane.HIGH): 0.1}) is None


def test_of_two_models_the_one_that_has_waited_longer_is_loaded():
    assert choose({("b", Lane.NORMAL): 20.0, ("c", Lane.NORMAL): 21.0}) == "c"


def test_a_model_that_the_worker_does_not_serve_is_never_loaded():
    assert choose({("d", Lane.NORMAL): 1000.0}) is None


def test_no_model_starves_on_one_worker_that_always_has_work():
    """Three models with jobs at all times, and room for one: each is loaded again and again."""
    oldest = dict.fromkeys(LOADING, 0.0)
    loaded, now, visits = "a", 0.0, list[str]()
    while now < 600:
        now += 1
        oldest[loaded] = now  # it serves what waited
        chosen = choose({(model, Lane.NORMAL): now - at for model, at in oldest.items()}, loaded=(loaded,))
        if chosen is not None:
            loaded, now = chosen, now + LOADING[chosen]
            visits.append(chosen)
    assert set(visits) == set(LOADING)
    assert max(now - at for at in oldest.values()) < 60


def _nothing_stays(_model: str) -> tuple[str, ...]:
    return ()


def world(free: bool = True) -> tuple[Any, Admission, Chooser]:
    cards = dict.fromkeys(LOADING, SimpleNamespace(buckets=(1, BATCH)))
    models = SimpleNamespace(cards=cards, loaded=("a",), load_seconds=LOADING, staying=_nothing_stays)
    admission = Admission(4 * BATCH, LOADING)
    chooser = Chooser(cast("ModelCache", models), admission, lambda _model: free)
    chooser.serve_loaded()
    return models, admission, chooser


def read(admission: Admission) -> list[str]:
    return [model for model in LOADING if admission.is_open(queue_name(model, Lane.NORMAL))]


LONG: Waits = {("b", Lane.NORMAL): 99.0}


def test_the_queues_of_loaded_models_are_read_and_while_one_is_loaded_only_its_own():
    models, admission, chooser = world()
    assert read(admission) == ["a"]
    chooser.decide(lambda: LONG, 0)
    assert read(admission) == ["b"]
    admission.add(queue_name("b", Lane.NORMAL), 1)
    chooser.decide(lambda: LONG, 10 * FETCH_SECONDS)
    assert read(admission) == ["b"], "its job waits for the model"
    models.loaded = ("b",)
    chooser.decide(dict, 11 * FETCH_SECONDS)
    assert read(admission) == ["b"]


def test_a_model_whose_jobs_another_worker_took_is_not_waited_for():
    _, admission, chooser = world()
    chooser.decide(lambda: LONG, 0)
    chooser.decide(dict, FETCH_SECONDS - 0.1)
    assert read(admission) == ["b"]
    chooser.decide(dict, FETCH_SECONDS)
    assert read(admission) == ["a"]


def test_a_busy_worker_uses_a_loaded_model_for_longer_than_loading_took():
    models, admission, chooser = world()
    chooser.decide(lambda: LONG, 0)
    models.loaded = ("b",)
    admission.add(queue_name("b", Lane.NORMAL), 1)
    chooser.decide(lambda: {("c", Lane.NORMAL): 99.0}, 5)
    chooser.decide(lambda: {("c", Lane.NORMAL): 99.0}, 4.9 + STAY * 4)
    assert read(admission) == ["b"]
    chooser.decide(lambda: {("c", Lane.NORMAL): 99.0}, 5.1 + STAY * 4)
    assert read(admission) == ["c"]


def test_two_workers_do_not_decide_for_the_same_model_at_once():
    _, admission, chooser = world(free=False)
    chooser.decide(lambda: LONG, 0)
    assert read(admission) == ["a"]


def test_a_model_that_does_not_load_is_not_chosen():
    _, admission, chooser = world()
    admission.model_breakers["b"].trip()
    chooser.decide(lambda: LONG, 0)
    assert read(admission) == ["a"]


def test_a_job_that_must_run_alone_is_fetched_whichever_models_are_loaded():
    _, admission, _ = world()
    assert all(admission.is_open(queue_name(model, Lane.ALONE)) for model in LOADING)


def test_what_finds_no_place_in_a_batch_stays_in_its_queue_but_a_better_lane_is_read():
    _, admission, _ = world()
    for held in range(BATCH):
        assert read(admission) == ["a"], held
        admission.add(queue_name("a", Lane.NORMAL), 1)
    assert read(admission) == []
    assert admission.is_open(queue_name("a", Lane.HIGH))
    admission.remove(queue_name("a", Lane.NORMAL))
    assert read(admission) == ["a"]


def test_jobs_of_a_second_model_are_left_to_other_workers_until_they_are_overdue():
    models, admission, chooser = world()
    models.loaded = ("a", "b")
    chooser.decide(dict, 0)
    assert read(admission) == ["a", "b"]
    admission.add(queue_name("a", Lane.NORMAL), 1)
    chooser.decide(lambda: {("b", Lane.NORMAL): OVERDUE - 0.1}, 1)
    assert read(admission) == ["a"]
    assert admission.is_open(queue_name("b", Lane.HIGH)), "a worse lane held up a better one"
    assert not admission.is_open(queue_name("b", Lane.LOW))
    chooser.decide(lambda: {("b", Lane.NORMAL): OVERDUE}, 2)
    assert read(admission) == ["a", "b"]
    admission.add(queue_name("b", Lane.NORMAL), 1)
    chooser.decide(dict, 3)
    assert read(admission) == ["a", "b"], "jobs of a model that is in progress may join it"
    admission.remove(queue_name("a", Lane.NORMAL))
    assert read(admission) == ["b"]


@pytest.mark.parametrize("failing", ["b", STORE])
def test_after_a_failure_and_its_pause_a_model_that_is_not_loaded_is_loaded_for_the_job_on_trial(failing: str):
    _, admission, chooser = world()
    clock = Clock()
    breaker = Breaker(1, 10, 60, clock)
    if failing == STORE:
        admission.store_breaker = breaker
    else:
        admission.model_breakers[failing] = breaker
    breaker.trip()
    chooser.decide(lambda: LONG, 0)
    assert "b" not in read(admission)
    clock.now += 10
    chooser.decide(lambda: LONG, 0)
    assert read(admission) == ["b"]
