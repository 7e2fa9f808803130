"""Texts are judged by a moderation service before jobs are drawn: what it flags, and whatever it answers instead."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.clocks import Clock
from tests.fake_llm import Answer, FakeLLM
from tests.fake_moderation import CATEGORY, FLAGGED, fake_moderation, judged, texts_of
from tests.processes import eventually

from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Turn
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.errors import LimnerError, ModerationBlocked, SafetyUnavailable
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.moderation import HARMLESS, PIECE_CHARS, ModerationStage, pieces_of


def run_of(catalogue: Catalogue, prompt: str = "un gato", **more: Any) -> JobRun:
    _, spec = catalogue.resolve(JobRequest.model_validate({"prompt": prompt}))
    claim = Claim(f"job_{prompt}", "tenant_1", None, 1, 2, Lane.NORMAL, spec.model_copy(update=more))
    return JobRun(claim, lambda: None)


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with fake_moderation() as built:
        yield built


class Recording:
    """A stage, and what became of its jobs."""

    def __init__(self, server: FakeLLM, clock: Clock | None = None, **settings: Any) -> None:
        self.ready: list[JobRun] = []
        self.returned: list[JobRun] = []
        self.refused: dict[str, LimnerError] = {}
        self.breaker = Breaker(1, 1, 60, clock or Clock())
        values: dict[str, Any] = {"moderation_url": server.url} | settings
        given = Settings(**values)
        sinks = self.ready.extend, self.returned.extend, self._refuse
        self._stage = ModerationStage(given, self.breaker, Supervisor(), *sinks)
        self._is_started = False
        self.is_stopping = False

    def _refuse(self, job: JobRun, error: LimnerError) -> None:
        self.refused[job.claim.spec.prompt] = error

    @property
    def _count(self) -> int:
        return len(self.ready) + len(self.returned) + len(self.refused)

    def judge(self, *jobs: JobRun) -> None:
        """Judge these jobs, and wait for it; the first ones together."""
        before = self._count
        self._stage.submit(jobs)
        if not self._is_started:
            self._stage.start()
            self._is_started = True
        eventually(lambda: self._count == before + len(jobs) or self.is_stopping, 10)

    def stop(self) -> None:
        self.is_stopping = True
        self._stage.stop()


def judged_once(server: FakeLLM, *jobs: JobRun, **settings: Any) -> Recording:
    stage = Recording(server, **settings)
    stage.judge(*jobs)
    stage.stop()
    return stage


def test_jobs_that_wait_are_judged_in_one_call_and_only_the_flagged_one_is_blocked(
    server: FakeLLM, catalogue: Catalogue
) -> None:
    jobs = [run_of(catalogue, text) for text in ("un gato", FLAGGED, "два яблока")]
    stage = judged_once(server, *jobs, moderation_model="a-judge")
    assert server.asked == [{"input": ["un gato", FLAGGED, "два яблока"], "model": "a-judge"}]
    assert [job.claim.spec.prompt for job in stage.ready] == ["un gato", "два яблока"]
    [error] = stage.refused.values()
    assert isinstance(error, ModerationBlocked)
    assert CATEGORY in error.message


def test_a_text_is_asked_about_once(server: FakeLLM, catalogue: Catalogue) -> None:
    stage = Recording(server)
    stage.judge(*[run_of(catalogue) for _ in range(3)])
    stage.judge(run_of(catalogue))
    stage.judge(run_of(catalogue, FLAGGED))
    stage.judge(run_of(catalogue, "un gato", description=FLAGGED))
    stage.stop()
    assert [texts_of(body) for body in server.asked] == [["un gato"], [FLAGGED]]
    assert len(stage.ready) == 4
    assert len(stage.refused) == 2


def test_descriptions_and_turns_are_judged_beside_the_prompt_and_long_texts_in_pieces(
    server: FakeLLM, catalogue: Catalogue
) -> None:
    turn = Turn(text="más alto", conditions=Conditions(prompt="un rey alto"))
    long = "palabra " * (PIECE_CHARS // 8 + 10)
    job = run_of(catalogue, "un rey", description=long, history=(turn,), negative_prompt="sangre")
    pieces = list(pieces_of(job.claim))
    assert [len(piece) <= PIECE_CHARS for piece in pieces] == [True] * 5
    assert " ".join(pieces) == f"un rey {long.strip()} más alto un rey alto"
    unspaced = run_of(catalogue, description="無" * (PIECE_CHARS + 1))
    assert [len(piece) for piece in pieces_of(unspaced.claim)][1:] == [PIECE_CHARS, 1]
    assert judged_once(server, job).ready == [job]


def test_only_the_categories_that_the_operator_names_block(server: FakeLLM, catalogue: Catalogue) -> None:
    other, named = run_of(catalogue, FLAGGED), run_of(catalogue, FLAGGED)
    assert judged_once(server, other, moderation_categories="sexual,hate").ready == [other]
    assert judged_once(server, named, moderation_categories=f"hate, {CATEGORY}").refused


@pytest.mark.parametrize(
    ("result", "blocks"),
    [
        ({"categories": {"hate": True}}, ["hate"]),  # some services leave out `flagged`
        ({"categories": {"hate": False}}, []),
        ({"flagged": True}, ["flagged"]),
        ({"flagged": False, "categories": {"hate": True}}, []),  # below the service's own threshold
        ({"flagged": True, "categories": {"hate": None, "self-harm": True}}, ["self-harm"]),
    ],
)
def test_results_of_several_services_are_understood(
    server: FakeLLM, catalogue: Catalogue, result: dict[str, Any], blocks: list[str]
) -> None:
    server.answer = lambda _: (200, json.dumps({"results": [result]}).encode())
    messages = [error.message for error in judged_once(server, run_of(catalogue)).refused.values()]
    assert messages == [f"The text of this job is not allowed here ({', '.join(blocks)}): change it."] * bool(blocks)


BROKEN: dict[str, Answer] = {
    "an error": (500, b"{}"),
    "a refused key": (401, b"{}"),
    "no JSON": (200, b"<html>"),
    "another form": (200, b'{"choices": []}'),
    "no result": (200, b'{"results": []}'),
    "a result of another form": (200, b'{"results": [{"flagged": "no"}]}'),
    "deep nesting": (200, b"[" * 100_000),
    "a long answer": (200, b'{"results": [' + b" " * (1 << 20) + b"]}"),
    "every text refused": (400, b"{}"),
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("failure", ["closed", "open"])
def test_without_an_answer_jobs_wait_or_pass_as_the_operator_wants(
    server: FakeLLM, catalogue: Catalogue, answer: Answer, failure: str
) -> None:
    server.answer = lambda _: answer
    job = run_of(catalogue, "un secreto")
    with capture_logs() as logged:
        stage = judged_once(server, job, moderation_failure=failure)
    assert (stage.returned, stage.ready) == (([job], []) if failure == "closed" else ([], [job]))
    assert (stage.breaker.state is BreakerState.OPEN) == (failure == "closed")
    [line] = logged
    assert line["event"] == "the moderation service failed"
    assert "secreto" not in str(line).replace(job.id, "")


def test_a_service_that_trickles_its_answer_is_given_up_after_the_time_limit(
    server: FakeLLM, catalogue: Catalogue
) -> None:
    server.trickle = 0.02
    stage = judged_once(server, run_of(catalogue), moderation_timeout_seconds=0.1)
    assert len(stage.returned) == 1
    assert "within 0.1 seconds" in stage.breaker.reason


def test_one_text_that_the_service_refuses_fails_alone(server: FakeLLM, catalogue: Catalogue) -> None:
    server.answer = lambda body: (413, b"{}") if "demasiado" in str(body) else judged(body)
    fine, refused = run_of(catalogue), run_of(catalogue, "demasiado")
    stage = judged_once(server, fine, refused)
    assert stage.ready == [fine]
    [error] = stage.refused.values()
    assert isinstance(error, SafetyUnavailable)
    assert (error.retryable, error.is_awaited) == (True, False)
    assert stage.breaker.state is BreakerState.CLOSED
    assert judged_once(server, refused, moderation_failure="open").ready == [refused]


def test_a_service_that_takes_one_text_at_a_time_is_asked_so(server: FakeLLM, catalogue: Catalogue) -> None:
    server.answer = lambda body: judged({"input": str(body["input"])})
    jobs = [run_of(catalogue), run_of(catalogue, FLAGGED)]
    stage = judged_once(server, *jobs)
    assert [each["input"] for each in server.asked] == [["un gato", FLAGGED], "un gato", FLAGGED]
    assert (stage.ready, list(stage.refused)) == ([jobs[0]], [FLAGGED])


def test_after_an_outage_a_harmless_text_is_asked_about_first(server: FakeLLM, catalogue: Catalogue) -> None:
    clock = Clock()
    stage = Recording(server, clock)
    stage.judge(run_of(catalogue))
    server.answer = lambda _: (500, b"")
    stage.judge(run_of(catalogue, "otro"))
    assert stage.breaker.state is BreakerState.OPEN
    stage.judge(run_of(catalogue), run_of(catalogue, "tercero"))
    assert (len(stage.ready), len(stage.returned), len(server.asked)) == (2, 2, 3), "it was asked while it is away"
    clock.now += 1
    server.answer = judged
    stage.judge(run_of(catalogue))
    stage.stop()
    assert [texts_of(body) for body in server.asked] == [["un gato"], ["otro"], [HARMLESS], [HARMLESS]]
    assert stage.breaker.state is BreakerState.CLOSED


def test_where_jobs_pass_without_the_service_it_is_not_asked_for_a_while_after_three_failures(
    server: FakeLLM, catalogue: Catalogue
) -> None:
    server.answer = lambda _: (500, b"")
    stage = Recording(server, moderation_failure="open")
    for number in range(5):
        stage.judge(run_of(catalogue, f"gato {number}"))
    stage.stop()
    assert (len(stage.ready), len(server.asked)) == (5, 2 * 3), "about each text, and a harmless one"


def test_a_job_that_breaks_the_stage_fails_alone(
    server: FakeLLM, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    fine, broken = run_of(catalogue), run_of(catalogue, "roto")

    def pieces(claim: Claim) -> list[str]:
        if claim is broken.claim:
            raise ValueError("a damaged spec")
        return [claim.spec.prompt]

    monkeypatch.setattr("limner_worker.stages.moderation.pieces_of", pieces)
    stage = judged_once(server, fine, broken)
    assert (stage.ready, [error.code for error in stage.refused.values()]) == ([fine], ["generation_failed"])


def test_without_a_service_jobs_pass_at_once_and_no_thread_runs(server: FakeLLM, catalogue: Catalogue) -> None:
    job = run_of(catalogue, FLAGGED)
    assert judged_once(server, job, moderation_url="").ready == [job]
    assert server.asked == []
