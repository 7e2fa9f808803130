"""Malformed input gets an error that explains it, never a 500, on both databases."""

from __future__ import annotations

import json
import logging
import tracemalloc
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.engine import Database
from limner_shared.domain.jobs import MAX_METADATA_BYTES
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases, lines, post

NUL, SURROGATE = "a\x00b", '"\\ud800"'
ID = "job_01j9z3w6q4x7job01j9z3w6q4x"
CHAT = '{"messages": [{"role": "user", "content": "a cat"}, {"role": "user", "content": %s}]}'
NESTED = "[" * 400 + "]" * 400


def body(field: str, value: str) -> str:
    """The JSON text of a job request whose field has this value, given as JSON text."""
    return f'{{"prompt": "x", {json.dumps(field)}: {value}}}'


# The cases of a test share a database and an application: to make both takes longer than a request.


@both_databases
def test_a_malformed_id_is_not_found(client: ApiClient):
    for kind in ("jobs", "bulks", "images", "conversations"):
        for id_ in ("%00", "job_%00", "%ED%A0%80", "a" * 300, "job_' OR 1=1"):
            answer = client.get(f"/api/v1/{kind}/{id_}")
            assert (answer.status_code, answer.json["code"]) == (404, "not_found"), (kind, id_)


@both_databases
def test_a_change_with_a_malformed_id_is_not_found(client: ApiClient):
    jobs, others = (f"/jobs/{ID}%00/cancel", f"/jobs/{ID}%00/replay"), ("/bulks/%00/cancel", "/bulks/%00/pause")
    for path in (*jobs, *others, "/conversations/%00/messages"):
        answer = client.post(f"/api/v1{path}", json={"message": "x"})
        assert (answer.status_code, answer.json["code"]) == (404, "not_found"), path


@both_databases
def test_an_invalid_filter_is_refused(client: ApiClient):
    cursors, numbers = ("cursor=%00", "cursor=%ED%A0%80%00"), ("limit=99999999999999999999",)
    for query in (*cursors, *numbers, "bulk=%00", "model=a%00b", "state=%00"):
        for path in ("/api/v1/jobs", "/api/v1/conversations"):
            answer = client.get(f"{path}?{query}")
            assert (answer.status_code, answer.json["code"]) == (422, "invalid_request"), (path, query)
            named = answer.json.get("field") or answer.json["errors"][0]["field"]
            assert named == query.partition("=")[0]


BAD_VALUES = {
    "metadata with NUL": body("metadata", json.dumps({"k": NUL})),
    "metadata with NUL in a name": body("metadata", json.dumps({NUL: 1})),
    "metadata with a lone surrogate": body("metadata", f'{{"k": {SURROGATE}}}'),
    "metadata with a lone surrogate in a name": body("metadata", f'{{"k": {{{SURROGATE}: 1}}}}'),
    "metadata beyond a double": body("metadata", '{"k": 1e999}'),
    "metadata beyond a double, below": body("metadata", '{"k": [-1e999]}'),
    "metadata beyond 64 bits": body("metadata", '{"k": 99999999999999999999999}'),
    "metadata of 5,000 digits": body("metadata", f'{{"k": {"9" * 5000}}}'),
    "metadata nested 400 deep": body("metadata", f'{{"k": {NESTED}}}'),
    "a body nested 100,000 deep": body("metadata", "[" * 100_000 + "]" * 100_000),
    "prompt with NUL": json.dumps({"prompt": NUL}),
    "prompt with a lone surrogate": f'{{"prompt": {SURROGATE}}}',
    "description with NUL": json.dumps({"description": NUL}),
    "negative prompt with NUL": body("negative_prompt", json.dumps(NUL)),
    "model with NUL": body("model", json.dumps(NUL)),
    "style with a lone surrogate": body("style", SURROGATE),
    "image with NUL": body("image", json.dumps("img_\x00")),
    "seed beyond 64 bits": body("seed", "1" + "0" * 40),
    "an unknown field with NUL in its name": body(NUL, "1"),
}
INVALID_JSON = {
    "NaN": body("guidance", "NaN"),
    "Infinity": body("metadata", '{"k": Infinity}'),
    "-Infinity": body("metadata", '{"k": -Infinity}'),
    "UTF-16": json.dumps({"prompt": "x"}).encode("utf-16"),
    "UTF-8 of a surrogate": b'{"prompt": "\xed\xa0\x80"}',
    "a raw NUL": '{"prompt": "a\x00b"}',
}


@both_databases
def test_an_unstorable_value_is_refused_in_a_job_and_in_a_bulk_line(client: ApiClient):
    for what, data in BAD_VALUES.items():
        answer = client.post("/api/v1/jobs", data=data, content_type="application/json")
        assert (answer.status_code, answer.json["code"]) == (422, "invalid_request"), (what, answer.text)
        if len(data) < 60_000:
            refused = post(client, lines({"prompt": "x"}) + data.encode())
            assert (refused.status_code, refused.json["errors"][0]["line"]) == (422, 2), what


def test_a_field_without_a_name_is_not_called_by_a_place_in_its_value(client: ApiClient):
    answer = client.post("/api/v1/jobs", data=body("", NESTED), content_type="application/json")
    assert (answer.status_code, answer.json["field"]) == (422, None)
    assert answer.json["detail"].startswith("body: lists and objects may be nested at most")


def test_invalid_json_is_refused_in_a_job_and_in_a_bulk_line(client: ApiClient):
    for what, data in INVALID_JSON.items():
        answer = client.post("/api/v1/jobs", data=data, content_type="application/json")
        assert (answer.status_code, answer.json["code"]) == (400, "malformed_body"), what
        refused = post(client, lines({"prompt": "x"}) + (data.encode() if isinstance(data, str) else data))
        assert refused.status_code == 422, what
        assert 2 in [error["line"] for error in refused.json["errors"]], what


@both_databases
def test_an_unstorable_value_is_refused_on_the_other_routes(client: ApiClient):
    routes = {
        "/api/v1/jobs/retry": '{"jobs": [%s]}',
        "/api/v1/conversations": '{"message": %s}',
        "/v1/chat/completions": CHAT,
        "/v1/images/generations": '{"prompt": %s}',
    }
    for path, data in routes.items():
        for value in (json.dumps(NUL), SURROGATE, NESTED, "1e999"):
            answer = client.post(path, data=data % value, content_type="application/json")
            assert answer.status_code == 422, (path, value, answer.text)


@both_databases
def test_an_idempotency_key_is_at_most_255_printable_characters(client: ApiClient):
    routes = {
        "/api/v1/jobs": '{"prompt": "x"}',
        "/api/v1/conversations": '{"message": "x"}',
        "/v1/chat/completions": CHAT % '"a dog"',
        "/api/v1/bulks": '{"prompt": "x"}',
    }
    for path, data in routes.items():
        kind = "application/jsonl" if "bulks" in path else "application/json"
        for key in ("", "k" * 256, "caf\xe9", "\x01retry x", "a\x7fb"):
            answer = client.post(path, data=data, content_type=kind, headers={"Idempotency-Key": key})
            assert answer.status_code == 422, (path, key, answer.text)


def test_a_retry_count_must_be_a_number(client: ApiClient):
    for count in ("-1", "x", "9" * 5000, "1.5"):
        for path, data in (("/api/v1/jobs", {"prompt": "x"}), ("/v1/chat/completions", json.loads(CHAT % '"a dog"'))):
            answer = client.post(path, json=data, headers={"X-Stainless-Retry-Count": count})
            assert answer.status_code == 422, (path, count)


@both_databases
def test_an_api_key_with_invalid_characters_and_a_correct_checksum_is_refused(make_app: Callable[..., App]):
    client = make_app(require_keys=True).test_client()
    for lookup in ("a\x00b", "caf\xe9"):
        token = f"lmn_{lookup}_x_{zlib.crc32(f'{lookup}_x'.encode()):08x}"
        answer = client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {token}"})
        assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")


@both_databases
def test_metadata_is_returned_unchanged(client: ApiClient):
    metadata: dict[str, Any] = {
        "k": "\u00e9\U0001f600\u2028\x01",
        "n": [2**63 - 1, -(2**63), 1.5, 0.1, None, True],
        "d": {"a": [[[]]]},
    }
    job = client.post("/api/v1/jobs", json={"prompt": "x\x07\ufffe", "metadata": metadata}).json
    assert client.get(job["links"]["self"]).json["metadata"] == metadata


@both_databases
def test_the_metadata_limit_counts_utf8_bytes(client: ApiClient):
    fits = {"k": "\u00e9" * ((MAX_METADATA_BYTES - 9) // 2)}
    assert client.post("/api/v1/jobs", json={"prompt": "x", "metadata": fits}).status_code == 202
    refused = client.post("/api/v1/jobs", json={"prompt": "x", "metadata": {"k": "\u00e9" * (MAX_METADATA_BYTES // 2)}})
    assert (refused.status_code, refused.json["field"]) == (422, "metadata")


@both_databases
def test_database_errors_do_not_contain_query_parameters(database: Database, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    with database.read() as session, pytest.raises(SQLAlchemyError, match="no_such_table") as caught:
        session.execute(text("SELECT 1 FROM no_such_table WHERE a = :prompt"), {"prompt": "a secret cat"})
    assert "a secret cat" not in f"{caught.value}{caplog.text}"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({}, "prompt: it is missing. Say what the picture shows."),
        ({"prompt": ["a cat"]}, "prompt: must be a valid string, not a list"),
        ({"prompt": "a cat", "n": 0}, "n: must be greater than or equal to 1"),
        (
            {"prompt": "a cat", "n": "two"},
            "n: must be a valid integer, not a text",
        ),
        ({"prompt": "a cat", "width": 1024}, "width: a width of 1024 is not allowed here; allowed: 256x256, 64x64."),
        ({"prompt": "a cat", "model": "limner-gan", "steps": 9}, "steps: 9 is not allowed here; allowed: 1."),
    ],
)
def test_a_usual_mistake_is_answered_with_what_to_change(client: ApiClient, body: dict[str, Any], told: str):
    assert client.post("/api/v1/jobs", json=body).json["detail"] == told


def test_a_body_that_is_too_large_is_told_how_much_is_allowed(client: ApiClient):
    refused = client.post("/api/v1/jobs", json={"prompt": "x" * (17 << 20)})
    assert (refused.status_code, "This call takes 16 MB" in refused.json["detail"]) == (413, True)


MANY: dict[str, tuple[str, dict[str, Any]]] = {
    "members": ("/api/v1/jobs", {"prompt": "x"} | {f"f{number}": 0 for number in range(100_000)}),
    "texts to judge": ("/v1/moderations", {"input": [0] * 100_000}),
    "messages": ("/v1/responses", {"input": [{}] * 100_000}),
    "parts of a message": ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{}] * 100_000}]}),
}


@pytest.mark.parametrize("name", MANY)
def test_a_body_of_very_many_wrong_values_is_refused_at_once(client: ApiClient, name: str):
    path, sent = MANY[name]
    tracemalloc.start()
    answer = client.post(path, json=sent)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert answer.status_code in (400, 422)
    assert "more than 10000 values" in answer.text
    assert peak < 60 << 20


def test_an_error_describes_the_first_wrong_values_and_counts_the_others(client: ApiClient):
    answer = client.post("/api/v1/jobs", json={"prompt": "x"} | {f"f{number}": 0 for number in range(2000)})
    assert answer.status_code == 422
    assert len(answer.json["errors"]) == 20
    assert answer.json["detail"].endswith("; and 1980 more")
