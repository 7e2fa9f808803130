"""Descriptions in a real worker: interpreted once, stored and presented, for any behaviour of the LLM server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from limner_shared.db import queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Tenant
from limner_shared.settings import Settings
from tests.fake_llm import FakeLLM, fake_llm
from tests.processes import TENANT, Service, eventually

pytestmark = pytest.mark.long

MODELS = Path(__file__).parent.parent / "models"


def answer(body: dict[str, Any]) -> dict[str, str]:
    asked_for_json = "response_format" in body
    return {"content": json.dumps({"prompt": "a cat in a hat", "n": 2}) if asked_for_json else "Your cat, hatted."}


@pytest.fixture
def server() -> Iterator[FakeLLM]:
    with fake_llm(answer) as built:
        yield built


@pytest.fixture
def service(
    tmp_path: Path, redis_url: str, database_url: str, database: Database, server: FakeLLM
) -> Iterator[Service]:
    settings = Settings(
        data_dir=tmp_path / "data",
        redis_url=redis_url,
        database_url=database_url,
        models=(MODELS,),
        default_model="null",
        llm_url=server.url,
        llm_model="a-model",
        llm_timeout_seconds=2,
    )
    built = Service(settings, database, tmp_path)
    built.start("dispatcher")
    yield built
    built.stop()


def describe(service: Service, text: str, **more: Any) -> str:
    [job_id] = service.submit(prompt=None, description=text, **more)
    return job_id


def test_a_description_gives_conditions_pictures_and_a_presentation(service: Service):
    service.start("worker", "--model", "null")
    described, plain = describe(service, "two pictures of a cat with a hat"), service.submit(prompt="a dog")[0]
    job, other = service.wait([described, plain])
    assert (job.state, other.state) == ("succeeded", "succeeded"), service.logs()
    assert job.spec["prompt"] == "a cat in a hat", (job.interpretation, service.logs())
    assert job.interpretation["backend"] == "server"
    assert job.presentation == "Your cat, hatted."
    assert (other.interpretation, other.presentation) == (None, None)
    with service.database.read() as session:
        pictures = queries.images(session, [described, plain])
    assert [image.alt_text for image in pictures[described]] == ["a cat in a hat"] * 2
    assert [image.alt_text for image in pictures[plain]] == ["a dog"]
    assert job.cost == 2 * other.cost


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_hanging_llm_is_replaced_by_rules_after_the_timeout(service: Service, server: FakeLLM):
    server.answer = lambda _: {"content": str(server.closing.wait(60))}
    service.start("worker", "--model", "null")
    [job] = service.wait([describe(service, "please draw a cat without a hat")])
    assert job.state == "succeeded", service.logs()
    assert (job.spec["prompt"], job.spec["negative_prompt"]) == ("a cat", "hat")
    assert job.interpretation["backend"] == "rules"
    assert "did not answer within 2 seconds" in job.interpretation["fallback"]
    assert "a cat" in job.presentation


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_second_attempt_uses_the_stored_conditions(service: Service, server: FakeLLM):
    victim = service.start("worker", "--model", "null")
    job_id = describe(service, "a cat with a hat", steps=1000)
    eventually(lambda: service.jobs([job_id])[0].interpretation)
    victim.kill()
    server.answer = lambda _: (500, b"{}")
    service.start("worker", "--model", "null")
    [job] = service.wait([job_id], 90)
    assert (job.state, job.attempt) == ("succeeded", 2), service.logs()
    assert job.interpretation["conditions"]["prompt"] == "a cat in a hat"
    assert sum("response_format" in body for body in server.asked) == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_description_cannot_exceed_the_daily_cost_limit_of_the_tenant(service: Service, server: FakeLLM):
    with service.database.write() as session:
        session.execute(update(Tenant).where(Tenant.id == TENANT).values(cost_per_day=5))
    service.start("worker", "--model", "null")
    [job] = service.wait([describe(service, "two cats with hats")])
    assert job.state == "succeeded", service.logs()
    assert job.spec["n"] == 1
    assert "Fewer or smaller pictures" in job.interpretation["fallback"]
    assert server.asked
