"""Errors of OpenAI's routes have the form that its client reads, and models answer to the names of the settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from openai.types import ImageModel
from sqlalchemy import update

from limner_shared.db.accounts import keys, tenants
from limner_shared.db.engine import Database
from limner_shared.db.tables import IdempotencyKey, Job
from limner_shared.domain.stored_errors import stored_error
from limner_shared.errors import ConfigurationError, GenerationFailed, OutOfMemory
from limner_shared.settings import OPENAI_NAMES, Settings
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases, rows

IMAGES = "/v1/images/generations"
BODY = {"prompt": "a boat", "stream": True}
"""A stream: the test's client returns at once, and nothing waits for a worker."""


def assert_error(answer: Any, status: int, code: str, kind: str = "invalid_request_error") -> dict[str, str]:
    error = answer.json["error"]
    assert (answer.status_code, error["code"], error["type"]) == (status, code, kind), error
    assert error["message"]
    assert "param" in error
    assert answer.headers["X-Request-Id"]
    return error


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        ({"path": "/v1/images/none", "json": BODY}, 404, "not_found"),
        ({"data": "{", "content_type": "application/json"}, 400, "malformed_body"),
        ({"data": "[]", "content_type": "application/json"}, 400, "malformed_body"),
        ({"data": "prompt=x"}, 415, "unsupported_media_type"),
        ({"json": BODY | {"negative_prompt": "x" * (16 << 20)}}, 413, "body_too_large"),
        ({"json": {}}, 422, "invalid_request"),
        ({"json": BODY | {"model": "none"}}, 404, "model_not_found"),
        ({"json": BODY, "headers": {"X-Stainless-Retry-Count": "many"}}, 422, "invalid_request"),
    ],
)
def test_a_bad_request_is_refused_in_openais_form(client: ApiClient, request_: dict[str, Any], status: int, code: str):
    path = request_.pop("path", IMAGES)
    answer = client.post(path, **request_)
    assert_error(answer, status, code)
    assert answer.headers.get("X-Should-Retry") == "false" or status == 404


@pytest.mark.parametrize("prompt", [{"a": []}, "", "x" * 20_000], ids=["an object", "empty", "too long"])
def test_a_prompt_to_interpret_is_refused_under_its_name(client: ApiClient, prompt: object):
    error = assert_error(client.post(IMAGES, json={"prompt": prompt, "interpret": True}), 422, "invalid_request")
    assert error["param"] == "prompt"
    assert "description" not in error["message"]


def test_the_key_and_its_limits_are_refused_in_openais_form(make_app: Callable[..., App], database: Database):
    app = make_app(require_keys=True)
    client = app.test_client()
    assert_error(client.post(IMAGES, json=BODY), 401, "unauthorized", "authentication_error")
    with database.write() as session:
        tenants.change_tenant(session, "mine", {"max_queued": 1})
        reader = {"Authorization": f"Bearer {keys.create(session, 'mine', 'r', scopes=('read',))}"}
        writer = {"Authorization": f"Bearer {keys.create(session, 'mine', 'w')}"}
    assert_error(client.post(IMAGES, json=BODY, headers=reader), 403, "submit_scope_required", "permission_error")
    with client.post(IMAGES, json=BODY, headers=writer) as answer:
        assert answer.status_code == 200
    limited = client.post(IMAGES, json=BODY, headers=writer)
    assert_error(limited, 429, "limit_reached", "rate_limit_error")
    assert int(limited.headers["Retry-After"]) > 0


def test_a_conflict_and_an_overload_are_refused_in_openais_form(make_app: Callable[..., App]):
    app = make_app(max_streams=1)
    client = app.test_client()
    with client.post(IMAGES, json=BODY, headers={"Idempotency-Key": "mine"}) as answer:
        assert answer.status_code == 200
        full = client.post(IMAGES, json=BODY)
        assert_error(full, 503, "overloaded", "server_error")
        assert "X-Should-Retry" not in full.headers
    conflict = client.post(IMAGES, json=BODY | {"prompt": "another"}, headers={"Idempotency-Key": "mine"})
    assert_error(conflict, 409, "idempotency_conflict")


def test_an_unknown_model_name_leads_to_the_default_model_with_a_warning_if_the_operator_allows_it(
    make_app: Callable[..., App],
):
    client = make_app(unknown_models="default").test_client()
    for name in ("sdxl", 'odd "name\\', "na\r\nme", "näme"):
        with client.post(IMAGES, json=BODY | {"model": name}) as answer:
            assert answer.status_code == 200
            warning = answer.headers["Warning"]
            assert warning.startswith('299 limner "model ')
            assert "limner-flow was used" in warning
    with client.post(IMAGES, json=BODY | {"model": "limner-flow"}) as answer:
        assert "Warning" not in answer.headers
    assert {job["model"] for job in client.get("/api/v1/jobs").json["items"]} == {"limner-flow"}


def test_aliases_come_from_the_settings(make_app: Callable[..., App], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LIMNER_MODEL_ALIASES", "fast=limner-gan, dall-e-3 ,limner-gan=limner-flow")
    aliases = Settings().model_aliases
    assert aliases == {"fast": "limner-gan", "dall-e-3": "", "limner-gan": "limner-flow"}
    monkeypatch.setenv("LIMNER_MODEL_ALIASES", Settings(model_aliases=aliases).variables["LIMNER_MODEL_ALIASES"])
    assert Settings().model_aliases == aliases
    client = make_app(model_aliases=aliases).test_client()
    roots = {model["id"]: model["root"] for model in client.get("/v1/models").json["data"]}
    assert (roots["fast"], roots["dall-e-3"], roots["limner-gan"]) == ("limner-gan", "limner-flow", "limner-gan")
    assert "gpt-image-1" not in roots
    assert client.get("/v1/models/fast").json["root"] == "limner-gan"
    with client.post(IMAGES, json=BODY | {"model": "fast"}) as answer:
        assert answer.status_code == 200
    assert client.get("/api/v1/jobs").json["items"][0]["model"] == "limner-gan"


def test_by_default_the_names_of_openais_models_are_accepted(client: ApiClient):
    accepted = {model["id"] for model in client.get("/v1/models").json["data"]}
    assert {*OPENAI_NAMES, *get_args(ImageModel)} <= accepted


def test_an_alias_of_a_model_that_does_not_exist_is_refused_at_the_start(make_app: Callable[..., App]):
    with pytest.raises(ConfigurationError, match=r"LIMNER_MODEL_ALIASES: a=b: .* known: limner-flow, limner-gan"):
        make_app(model_aliases={"a": "b"})


def test_a_stored_error_keeps_its_code_and_an_unknown_one_is_a_failed_generation():
    assert isinstance(stored_error("out_of_memory", "too large"), OutOfMemory)
    assert stored_error("out_of_memory", "too large").message == "too large"
    assert type(stored_error("of a later version", "why")) is GenerationFailed


def try_again(client: ApiClient, count: int) -> None:
    with client.post(IMAGES, json=BODY, headers={"X-Stainless-Retry-Count": str(count)}) as answer:
        assert answer.status_code == 200


@both_databases
def test_a_late_retry_of_a_waiting_call_returns_its_job_while_it_runs_and_shortly_after(
    client: ApiClient, app: App, database: Database
):
    def age(**columns: Any) -> None:
        with database.write() as session:
            session.execute(update(IdempotencyKey).values(created_at=IdempotencyKey.created_at - 600))
            session.execute(update(Job).values(**columns))

    try_again(client, 0)
    age(finished_at=None)
    try_again(client, 1)
    assert rows(app, Job) == 1
    age(finished_at=Job.created_at)
    try_again(client, 1)
    assert rows(app, Job) == 1
    age(finished_at=Job.created_at - 600)
    try_again(client, 1)
    assert rows(app, Job) == 2
