"""Descriptions over HTTP: any text is accepted, and the job shows its interpretation."""

from __future__ import annotations

import json
from typing import Any

import pytest

from limner_shared.db import ledger
from limner_shared.db.ledger import NewImage
from limner_shared.db.tables import Job
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.jobs import JobSpec
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import start

URL = "/api/v1/jobs"
both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)


def describe(client: ApiClient, text: str, **more: Any) -> dict[str, Any]:
    answer = client.post(URL, json={"description": text} | more)
    assert answer.status_code == 202, answer.json
    return answer.json


def draw(app: App, job: dict[str, Any], prompt: str) -> None:
    """Act as the worker: interpret and finish the job."""
    claim = start(app, job["id"])
    found = Interpretation(conditions=Conditions(prompt=prompt), backend="rules", fallback="No LLM is configured.")
    with app.extensions["limner"].database.write() as session:
        fitted = claim.spec.model_copy(update={"prompt": prompt, "seed": 7})
        assert ledger.store_interpretation(session, claim.id, claim.attempt, found, fitted, 1)
    image = NewImage("ab" * 32, "image/png", 256, 256, 1, 7, {"seed": 7, "buckets": []})
    with app.extensions["limner"].database.write() as session:
        assert ledger.finish(session, [ledger.Result(claim.id, claim.attempt, [image])])


@both_databases
@pytest.mark.parametrize("text", ["please draw a cat", "🐱🍕", "أسد كبير", "x" * 10_000])
def test_any_description_is_accepted_and_its_interpretation_is_shown(client: ApiClient, app: App, text: str):
    job = describe(client, f" {text} ")
    assert job["description"] == text
    assert (job["revised_prompt"], job["interpretation"], job["presentation"]) == (None, None, None)
    draw(app, job, "a cat")
    done = client.get(f"{URL}/{job['id']}").json
    assert (done["status"], done["prompt"], done["revised_prompt"]) == ("succeeded", "a cat", "a cat")
    assert (done["interpretation"]["backend"], done["interpretation"]["fallback"]) == ("rules", "No LLM is configured.")
    assert "history" not in done


def test_a_described_job_names_what_its_request_chose_itself(client: ApiClient):
    job = describe(client, "a cat", style="flat", n=2)
    assert (job["given"], job["prompt"]) == (["style", "n"], "a cat")
    assert client.post(URL, json={"prompt": "a cat", "style": "flat"}).json["given"] == []


def test_the_languages_that_a_client_prefers_are_kept_with_its_description(client: ApiClient, app: App):
    def languages(**asked: Any) -> tuple[str, ...]:
        answer = client.post(URL, json={"description": "un taco"}, **asked)
        return start(app, answer.json["id"]).spec.languages

    assert languages() == ()
    assert languages(headers={"Accept-Language": "es-MX,en;q=0.5"}) == ("es", "en")
    client.set_cookie("language", "de")
    assert languages(headers={"Accept-Language": "es"}) == ("de", "es")
    assert "languages" not in client.get(f"{URL}/{describe(client, 'un taco')['id']}").json


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"description": " "},
        {"description": "x" * 10_001},
        {"description": "a cat", "prompt": "a cat"},
        {"description": "a cat", "style": "cubist"},
        {"description": "a cat", "history": []},
        {"description": "a cat", "given": ["style"]},
        {"description": ["a cat"]},
    ],
)
def test_an_invalid_description_is_refused_with_a_reason(client: ApiClient, body: dict[str, Any]):
    answer = client.post(URL, json=body)
    assert answer.status_code == 422
    assert answer.json["code"] == "invalid_request"
    assert answer.json["detail"]


def test_a_repeated_description_with_the_same_key_is_one_job(client: ApiClient):
    headers = {"Idempotency-Key": "k"}
    first, second = (client.post(URL, json={"description": "a cat"}, headers=headers).json for _ in range(2))
    assert first["id"] == second["id"]
    other = client.post(URL, json={"prompt": "a cat"}, headers=headers)
    assert (other.status_code, other.json["code"]) == (409, "idempotency_conflict")


def test_bulk_lines_can_be_descriptions(client: ApiClient):
    lines = [{"description": "please draw a cat"}, {"prompt": "a dog"}]
    body = "\n".join(map(json.dumps, lines))
    answer = client.post("/api/v1/bulks", data=body, content_type="application/jsonl")
    assert answer.status_code == 202, answer.json
    jobs = client.get(URL, query_string={"bulk": answer.json["id"]}).json["items"]
    assert {(job["description"], job["prompt"]) for job in jobs} == {
        ("please draw a cat", "please draw a cat"),
        (None, "a dog"),
    }


def test_a_replay_uses_the_stored_conditions_and_is_not_interpreted_again(client: ApiClient, app: App):
    job = describe(client, "please draw a cat")
    draw(app, job, "a cat")
    again = client.post(f"{URL}/{job['id']}/replay").json
    assert (again["prompt"], again["seed"], again["description"]) == ("a cat", 7, None)
    with app.extensions["limner"].database.read() as session:
        assert JobSpec.model_validate(session.get_one(Job, again["id"]).spec).history == ()
    assert start(app, again["id"]).interpreted
