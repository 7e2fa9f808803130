"""Every door leads to the moderation service: a job whose text it flags ends as blocked, in the door's own form."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import select

from limner_shared.circuit_breaker import Breaker
from limner_shared.db import ledger
from limner_shared.db.tables import Job
from limner_shared.errors import LimnerError
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_web.openai.batch_loader import BatchLoader
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.moderation import ModerationStage
from tests.api import batches
from tests.api.clients import Answer, ApiClient, App
from tests.api.fake_worker import start
from tests.api.test_moderation import BLOCKED, DOORS, code
from tests.fake_llm import FakeLLM
from tests.fake_moderation import CATEGORY, FLAGGED, fake_moderation
from tests.processes import eventually

WAITING = {"/v1/images/generations", "/v1/chat/completions", "/sdapi/v1/txt2img", "/hf/models/limner-flow"}
"""The doors that answer when the job has ended."""


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with fake_moderation() as built:
        yield built


def queued(app: App) -> list[str]:
    with app.extensions["limner"].database.read() as session:
        return list(session.scalars(select(Job.id).where(Job.state == "queued").order_by(Job.id)))


def moderate(app: App, server: FakeLLM) -> list[str]:
    """Let a worker's stage judge the jobs that are queued, once there are some; the ids of those that may be drawn."""
    services = app.extensions["limner"]
    runs = [JobRun(start(app, job_id), lambda: None) for job_id in eventually(lambda: queued(app))]
    ready: list[JobRun] = []
    refused: list[JobRun] = []

    def refuse(job: JobRun, error: LimnerError) -> None:
        with services.database.write() as session:
            change = ledger.fail(session, ledger.Result(job.id, job.claim.attempt, error=error))
        assert change is not None
        services.hints.changed([change])
        refused.append(job)

    stage = ModerationStage(
        Settings(moderation_url=server.url), Breaker(1, 1, 1), Supervisor(), ready.extend, print, refuse
    )
    stage.submit(runs)
    stage.start()
    eventually(lambda: len(ready) + len(refused) == len(runs))
    stage.stop()
    return [job.id for job in ready]


@pytest.mark.parametrize(("path", "body"), DOORS, ids=[path for path, _ in DOORS])
def test_a_flagged_text_ends_blocked_at_every_door(
    app: App, client: ApiClient, server: FakeLLM, path: str, body: dict[str, Any]
) -> None:
    flagged = json.loads(json.dumps(body).replace(BLOCKED, FLAGGED))
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, path, json=flagged)
        assert moderate(app, server) == []
    found: Answer = answer.result()
    if path in WAITING:
        assert (found.status_code, code(found)) == (400, "moderation_blocked"), found.text
        assert CATEGORY in found.text
    else:
        assert found.status_code in (201, 202), found.text
    [job] = client.get("/api/v1/jobs").json["items"]
    assert (job["status"], job["error"]["code"]) == ("failed", "moderation_blocked")
    assert len(server.asked) == 1


def test_lines_of_a_bulk_are_judged_in_one_call_after_the_upload(app: App, client: ApiClient, server: FakeLLM) -> None:
    prompts = ["un gato", FLAGGED, *["un gato"] * 8]
    lines = "\n".join(json.dumps({"prompt": prompt}) for prompt in prompts)
    answer = client.post("/api/v1/bulks", data=lines, content_type="application/jsonl")
    assert (answer.status_code, server.asked) == (202, [])
    assert len(moderate(app, server)) == 9
    assert [body["input"] for body in server.asked] == [["un gato", FLAGGED]]
    counts = client.get(f"/api/v1/bulks/{answer.json['id']}").json["counts"]
    assert (counts["failed"], counts["running"]) == (1, 9)


def test_a_flagged_line_of_a_batch_is_in_its_file_of_errors(app: App, client: ApiClient, server: FakeLLM) -> None:
    lines = [batches.request_line("flagged", prompt=FLAGGED)]
    batch_id = batches.create(client, *lines)
    loader = BatchLoader(app.extensions["limner"])
    assert loader.load_next()
    assert moderate(app, server) == []
    assert loader.finish_next()
    file = batches.batch(client, batch_id)["error_file_id"]
    [line] = client.get(f"/v1/files/{file}/content").text.splitlines()
    assert "moderation_blocked" in line
