"""One text, or a service that misbehaves, does not stop the jobs of all tenants, nor a worker."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.clocks import Clock
from tests.fake_llm import Answer, FakeLLM
from tests.fake_moderation import CATEGORY, FLAGGED, fake_moderation, judged, texts_of
from tests.unit.worker.test_moderation_stage import Recording, judged_once, run_of

from limner_shared.circuit_breaker import BreakerState
from limner_shared.domain.catalogue import Catalogue
from limner_shared.errors import SafetyUnavailable
from limner_worker.stages.moderation import HARMLESS
from limner_worker.stages.moderation_client import MAX_NAME_CHARS

POISON = "veneno"


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with fake_moderation() as built:
        yield built


FAULTS: dict[str, Answer] = {
    "an error": (500, b"{}"),
    "an answer of another form": (200, b'{"results": [{"categories": {"hate": "no"}}]}'),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("failure", ["closed", "open"])
def test_a_text_that_the_service_fails_at_stops_no_other_job(
    server: FakeLLM, catalogue: Catalogue, fault: Answer, failure: str
) -> None:
    server.answer = lambda body: fault if POISON in str(body) else judged(body)
    stage = Recording(server, moderation_failure=failure)
    fine, poison, flagged = run_of(catalogue), run_of(catalogue, POISON), run_of(catalogue, FLAGGED)
    stage.judge(fine, poison, flagged)
    stage.judge(*[run_of(catalogue, f"{POISON} {number}") for number in range(3)])
    stage.judge(run_of(catalogue, f"otro {FLAGGED}"))
    stage.stop()
    assert fine in stage.ready
    assert stage.returned == []
    assert [stage.refused[text].code for text in (FLAGGED, f"otro {FLAGGED}")] == ["moderation_blocked"] * 2
    assert stage.breaker.state is BreakerState.CLOSED
    if failure == "closed":
        error = stage.refused[POISON]
        assert isinstance(error, SafetyUnavailable)
        assert (error.retryable, error.is_awaited) == (True, False), "its retries are counted"


def test_a_text_that_ends_the_service_is_asked_about_twice_and_then_fails(
    server: FakeLLM, catalogue: Catalogue
) -> None:
    is_gone = False

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        nonlocal is_gone
        is_gone |= POISON in str(body)
        return (500, b"") if is_gone else judged(body)

    server.answer = answer
    clock = Clock()
    stage = Recording(server, clock)
    poison = run_of(catalogue, POISON)
    for _ in range(3):
        stage.judge(poison)
        is_gone = False
        clock.now += 60
    assert (len(stage.returned), list(stage.refused)) == (2, [POISON])
    asked = len(server.asked)
    stage.judge(run_of(catalogue, description=POISON))
    stage.stop()
    assert [texts_of(body) for body in server.asked[asked:]] == [[HARMLESS], ["un gato"]]
    assert stage.breaker.state is BreakerState.CLOSED


def test_a_job_beside_a_text_that_ends_the_service_is_not_suspected(server: FakeLLM, catalogue: Catalogue) -> None:
    is_gone = False

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        nonlocal is_gone
        is_gone |= POISON in str(body)
        return (500, b"") if is_gone else judged(body)

    server.answer = answer
    clock = Clock()
    stage = Recording(server, clock)
    stage.judge(poison := run_of(catalogue, POISON))
    for _ in range(3):
        is_gone = False
        clock.now += 60
        stage.judge(poison, run_of(catalogue))
    stage.stop()
    assert stage.refused == {}


def test_a_job_does_not_pay_for_a_service_that_is_away_or_refuses_by_its_rate_limit(
    server: FakeLLM, catalogue: Catalogue
) -> None:
    clock, job = Clock(), run_of(catalogue)
    stage = Recording(server, clock)
    server.answer = lambda body: judged(body) if HARMLESS in str(body) else (429, b"")
    for _ in range(4):
        stage.judge(job)
        clock.now += 60
    stage.stop()
    assert stage.returned == [job] * 4


@pytest.mark.parametrize("named", ["", CATEGORY])
def test_names_of_categories_are_made_fit_for_an_error(server: FakeLLM, catalogue: Catalogue, named: str) -> None:
    many = {f"a\x00\n{number:05}" + "x" * 100: True for number in range(5000)} | {"\x00": True, CATEGORY: True}
    server.answer = lambda _: (200, json.dumps({"results": [{"categories": many}]}).encode())
    [error] = judged_once(server, run_of(catalogue), moderation_categories=named).refused.values()
    assert error.message.isprintable()
    assert len(error.message) < 20 * MAX_NAME_CHARS
    assert not named or CATEGORY in error.message


def test_a_stage_that_stops_does_not_ask_about_all_that_waits(server: FakeLLM, catalogue: Catalogue) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def answer(body: dict[str, Any]) -> tuple[int, bytes]:
        begun.set()
        go_on.wait(10)
        return (400, b"") if len(texts_of(body)) > 1 else judged(body)

    server.answer = answer
    stage = Recording(server, moderation_failure="open")
    waiting = threading.Thread(target=stage.judge, args=[run_of(catalogue, f"gato {number}") for number in range(32)])
    waiting.start()
    assert begun.wait(10)
    stopping = threading.Thread(target=stage.stop)
    stopping.start()
    while not stage.is_stopping:
        time.sleep(0.001)
    go_on.set()
    stopping.join(10)
    assert len(server.asked) < 5
    assert len(stage.ready) < 5, "jobs were drawn that were not judged"
