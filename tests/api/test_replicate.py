"""Replicate's API: states, waits, files and errors. The official client has end-to-end tests."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from replicate.prediction import Prediction

from limner_shared.db import ledger, signed_links
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.errors import GenerationFailed
from limner_web.replicate import inputs
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import waiting_job
from tests.api.test_bulks import rows
from tests.api.test_keys import make_key

PREDICTIONS = "/replicate/v1/predictions"
NAMED = "/replicate/v1/models/limner/limner-flow/predictions"
NULL = Path(__file__).parents[1] / "models/null.toml"
CAT = {"input": {"prompt": "a cat"}}


def create(client: ApiClient, inputs: dict[str, Any] | None = None, **more: Any):
    answer = client.post(NAMED, json={"input": {"prompt": "a cat"} | (inputs or {})}, **more)
    assert answer.status_code == 201, answer.text
    return answer.json


def fetch(client: ApiClient, prediction: dict[str, Any]):
    """The prediction now, which the official client can read."""
    answer = client.get(f"{PREDICTIONS}/{prediction['id']}")
    assert answer.status_code == 200, answer.text
    return Prediction(**answer.json)


def test_every_state_of_a_job_has_a_word_that_the_client_knows(client: ApiClient, app: App):
    prediction = create(client, {"seed": 7, "num_outputs": 2})
    assert Prediction(**prediction).status == "starting"
    claim = start(app, prediction["id"])
    assert fetch(client, prediction).status == "processing"
    finish(app, claim, png("red"), png("blue"))
    done = fetch(client, prediction)
    assert (done.status, done.progress.current, done.progress.total) == ("succeeded", 16, 16)
    assert [base64.b64decode(uri.partition(",")[2]) for uri in done.output] == [png("red"), png("blue")]
    assert done.input["seed"] == 7
    canceled = create(client)
    for _ in range(2):
        answer = client.post(f"{PREDICTIONS}/{canceled['id']}/cancel")
        assert (answer.status_code, Prediction(**answer.json).status) == (200, "canceled")
    assert client.post(f"{PREDICTIONS}/{done.id}/cancel").json["status"] == "succeeded"


def test_a_failed_prediction_names_our_code_and_an_expired_one_is_canceled(client: ApiClient, app: App):
    failed = create(client)
    claim = start(app, failed["id"])
    with app.extensions["limner"].database.write() as session:
        ledger.fail(session, ledger.Result(claim.id, claim.attempt, error=GenerationFailed()))
    shown = fetch(client, failed)
    assert (shown.status, shown.error.partition(":")[0]) == ("failed", "generation_failed")
    expired = create(client, headers={"Cancel-After": "5s"})
    with app.extensions["limner"].database.write() as session:
        job = session.get(Job, expired["id"])
        assert round(job.deadline_at - job.created_at) == 5
        job.deadline_at = 1.0
    with app.extensions["limner"].database.write() as session:
        ledger.expire(session, 10)
    assert fetch(client, expired).status == "canceled"


def test_a_wait_ends_with_the_prediction_or_with_starting(client: ApiClient, app: App):
    with ThreadPoolExecutor(1) as threads:
        late = threads.submit(app.test_client().post, NAMED, json=CAT, headers={"Prefer": "wait=1"})
        start(app, waiting_job(app, late))  # it runs when the time is over
        assert (late.result().status_code, late.result().json["status"]) == (202, "starting")
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, NAMED, json=CAT, headers={"Prefer": "wait"})
        finish(app, start(app, waiting_job(app, answer)), png("red"))
        assert (answer.result().status_code, answer.result().json["status"]) == (201, "succeeded")


@pytest.mark.parametrize(
    ("header", "expected"), [("", None), ("wait", 60), ("wait=9", 9), ("respond-async, wait=3", 3)]
)
def test_a_preference_to_wait_is_read(header: str, expected: int | None):
    assert inputs.wait_seconds(header) == expected


@pytest.mark.parametrize(("wait", "seconds"), [(1, 0.5), (2, 1), (60, 59)])
def test_the_answer_is_sent_before_the_client_stops_reading(
    app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch, wait: int, seconds: float
):
    watches, waits = app.extensions["limner"].watches, list[float]()
    await_end = watches.await_end

    def note(tenant: str, job_id: str, most: float, *more: Any) -> Any:
        waits.append(most)
        return await_end(tenant, job_id, 0, *more)

    monkeypatch.setattr(watches, "await_end", note)
    assert client.post(NAMED, json=CAT, headers={"Prefer": f"wait={wait}"}).status_code == 202
    assert waits == [seconds]


@pytest.mark.parametrize(("header", "expected"), [(None, None), ("90", 90), ("90s", 90), ("5m", 300), ("1h30m", 5400)])
def test_a_lifetime_is_read(header: str | None, expected: int | None):
    assert inputs.life_seconds(header) == expected


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Prefer", "wait=0"),
        ("Prefer", "wait=61"),
        ("Cancel-After", "4s"),
        ("Cancel-After", "25h"),
        ("Cancel-After", "x"),
    ],
)
def test_a_time_that_is_not_allowed_is_refused_by_name(client: ApiClient, app: App, header: str, value: str):
    answer = client.post(NAMED, json=CAT, headers={header: value})
    assert (answer.status_code, answer.content_type) == (422, "application/problem+json")
    assert answer.json["detail"].startswith(header)
    assert rows(app, Job) == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("width", 512),
        ("num_outputs", 99),
        ("num_inference_steps", 500),
        ("guidance_scale", 99),
        ("negative_prompt", "x"),
        ("scheduler", "DDIM"),
        ("style", "oil"),
        ("image", "https://example.com/a.png"),
        ("image", "https://example.com/images/a.png"),
        ("image", "data:image/png;base64,AAAA"),
        ("mask", "data:image/png;base64,AAAA"),
        ("prompt_strength", 0.5),
        ("made_up", 1),
        ("seed", -1),
    ],
)
def test_an_input_that_cannot_be_honoured_is_refused_by_name(
    client: ApiClient, app: App, name: str, value: float | str
):
    answer = client.post(NAMED, json={"input": {"prompt": "a cat", name: value}})
    assert answer.status_code == 422, answer.text
    assert answer.json["detail"].removeprefix("input.").startswith(f"{name}:"), answer.json["detail"]
    assert ("there is no such field here" in answer.json["detail"]) == (name == "made_up")
    assert rows(app, Job) == 0


@pytest.mark.parametrize("body", [{}, {"input": {}}, {"input": {"prompt": ""}}, {"input": 1}, CAT | {"made_up": 1}])
def test_a_body_that_is_not_complete_is_refused(client: ApiClient, body: Any):
    assert client.post(NAMED, json=body).status_code == 422
    assert client.post(PREDICTIONS, json=body).status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "models/limner/none",
        "models/someone/limner-flow",
        "models/limner/limner-flow/versions/none",
        "deployments/limner/none",
        "predictions/job_none",
        "predictions/%00",
        "predictions/job_none/stream",
        "files/file_none",
        "nothing",
    ],
)
def test_what_is_not_there_is_a_problem_document(client: ApiClient, path: str):
    answer = client.get(f"/replicate/v1/{path}")
    assert (answer.status_code, answer.json["code"], answer.json["status"]) == (404, "not_found", 404)


def test_a_version_is_named_by_its_id_or_its_model(client: ApiClient, app: App):
    version = client.get("/replicate/v1/models/limner/limner-gan").json["latest_version"]["id"]
    for reference in (version, "limner/limner-gan", f"limner/limner-gan:{version}"):
        created = client.post(PREDICTIONS, json=CAT | {"version": reference})
        assert (created.status_code, created.json["model"], created.json["version"]) == (
            201,
            "limner/limner-gan",
            version,
        )
    for unknown in ("0" * 64, "limner/limner-gan:0", "limner/none", "none/limner-gan"):
        assert client.post(PREDICTIONS, json=CAT | {"version": unknown}).status_code == 404


def test_a_program_with_another_models_name_built_in_draws_with_the_model_that_an_alias_names(
    make_app: Callable[..., App],
):
    version = "39ed52f2a78e"
    names = ("black-forest-labs/flux-schnell", "stability-ai/sdxl", version)
    client = make_app(model_aliases=dict.fromkeys(names, "limner-gan")).test_client()
    by_name = client.post("/replicate/v1/models/black-forest-labs/flux-schnell/predictions", json=CAT)
    assert (by_name.status_code, by_name.json["model"]) == (201, "limner/limner-gan")
    for reference in (names[1], f"{names[1]}:{version}", version):
        made = client.post(PREDICTIONS, json=CAT | {"version": reference})
        assert (made.status_code, made.json.get("model")) == (201, "limner/limner-gan"), reference
    own = client.get("/replicate/v1/models/stability-ai/sdxl").json
    found = client.get(f"/replicate/v1/models/stability-ai/sdxl/versions/{version}")
    assert (own["name"], found.json) == ("limner-gan", own["latest_version"])
    assert client.get(f"/replicate/v1/models/someone/else/versions/{version}").json == own["latest_version"]
    assert client.get("/replicate/v1/models/someone/else/versions/0").status_code == 404
    assert client.get(f"/replicate/v1/models/limner/limner-gan/versions/{version}").status_code == 404
    for unknown in ("limner/stability-ai/sdxl", "someone/limner-gan", "0" * 64):
        assert client.post(PREDICTIONS, json=CAT | {"version": unknown}).status_code == 404


def test_a_list_pages_through_all_predictions(client: ApiClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("limner_web.replicate.routes.PAGE", 2)
    ids = [create(client)["id"] for _ in range(5)]
    found: list[str] = []
    url = PREDICTIONS
    while url:
        page = client.get(url).json
        found += [prediction["id"] for prediction in page["results"]]
        url = page["next"]
    assert found == ids[::-1]
    ahead, ago = ((datetime.now(UTC) + timedelta(hours=hours)).isoformat() for hours in (1, -1))
    within = client.get(PREDICTIONS, query_string={"created_after": ago, "created_before": ahead}).json
    assert [prediction["id"] for prediction in within["results"]] == ids[:-3:-1]
    assert [prediction["id"] for prediction in client.get(within["next"]).json["results"]] == ids[-3:-5:-1]
    assert client.get(PREDICTIONS, query_string={"created_before": ago}).json["results"] == []
    refused = client.get(PREDICTIONS, query_string={"source": "web"})
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "source")


def upload(client: ApiClient, data: bytes = b"", **more: Any):
    form = {"content": (io.BytesIO(data or png("red")), "start.png", "image/png"), "metadata": '{"k": 1}'}
    return client.post("/replicate/v1/files", data=form, **more)


def test_a_file_belongs_to_its_tenant_until_it_is_deleted(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    ours, theirs = make_key(database, "ours"), make_key(database, "theirs")
    file = upload(client, headers=ours)
    assert (file.status_code, file.json["name"], file.json["metadata"]) == (201, "start.png", {"k": 1})
    path = f"/replicate/v1/files/{file.json['id']}"
    assert client.get(path, headers=ours).json == file.json
    assert client.get("/replicate/v1/files", headers=ours).json["results"] == [file.json]
    assert client.get("/replicate/v1/files", headers=theirs).json["results"] == []
    for method in (client.get, client.delete):
        assert method(path, headers=theirs).status_code == 404
    start_from = {"input": {"prompt": "x", "image": file.json["urls"]["get"]}}
    assert client.post(NAMED, json=start_from, headers=theirs).status_code == 404
    assert client.delete(path, headers=ours).status_code == 204
    assert client.get(path, headers=ours).status_code == 404
    assert client.get("/replicate/v1/files", headers=ours).json["results"] == []


def test_metadata_are_read_from_a_field_and_from_a_file_as_each_client_sends_them(client: ApiClient):
    part = (io.BytesIO(b'{"k": 2}'), "blob", "application/json")
    form = {"content": (io.BytesIO(png("red")), "start.png", "image/png"), "metadata": part}
    assert client.post("/replicate/v1/files", data=form).json["metadata"] == {"k": 2}


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"content": "text"},
        {"content": (io.BytesIO(b"x"), "a\x00b"), "metadata": "{"},
        {"content": (io.BytesIO(b"x"), "a"), "metadata": '{"k": "' + "x" * 5000 + '"}'},
    ],
)
def test_an_upload_without_a_file_or_with_damaged_metadata_is_refused(client: ApiClient, form: dict[str, Any]):
    assert client.post("/replicate/v1/files", data=form, content_type="multipart/form-data").status_code in (400, 422)


def test_an_upload_over_the_limit_is_refused(make_app: Callable[..., App]):
    answer = upload(make_app(max_body_bytes=2048).test_client(), b"x" * 4096)
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


def test_outputs_are_urls_where_the_client_wants_or_the_service_has_https(
    make_app: Callable[..., App], database: Database
):
    app = make_app(public_url="https://pictures.example")
    client = app.test_client()
    prediction = create(client)
    finish(app, start(app, prediction["id"]), png("red"))
    assert cast("Any", fetch(client, prediction).output)[0].startswith("https://pictures.example/images/")
    as_data = client.get(f"{PREDICTIONS}/{prediction['id']}", headers={"X-Output-Files": "data"}).json["output"]
    assert as_data[0].startswith("data:image/png;base64,")
    assert client.get(PREDICTIONS).json["results"][0]["output"][0].startswith("https:")
    wrong = client.get(f"{PREDICTIONS}/{prediction['id']}", headers={"X-Output-Files": "x"})
    assert wrong.status_code == 422


def test_an_output_url_needs_no_key_for_an_hour_and_is_an_input_of_its_tenant(
    make_app: Callable[..., App], database: Database, monkeypatch: pytest.MonkeyPatch
):
    models = {"models": (NULL,), "default_model": "null"}
    app = make_app(public_url="https://pictures.example", require_keys=True, **models)
    client = app.test_client()
    ours, theirs = make_key(database, "ours"), make_key(database, "theirs")
    named = "/replicate/v1/models/limner/null/predictions"
    prediction = client.post(named, json=CAT, headers=ours).json
    finish(app, start(app, prediction["id"]), png("red"))
    output = client.get(f"{PREDICTIONS}/{prediction['id']}", headers=ours).json["output"][0]
    path = output.removeprefix("https://pictures.example")
    assert client.get(path).data == png("red")
    again = {"input": {"prompt": "x", "image": output}}
    assert client.post(named, json=again, headers=theirs).status_code == 404
    assert client.post(named, json=again, headers=ours).status_code == 201
    later = time.time() + 3600
    monkeypatch.setattr(signed_links.time, "time", lambda: later)
    assert client.get(path).status_code == 410
    expired = client.post(named, json=again, headers=ours)
    assert (expired.status_code, expired.json["code"]) == (410, "link_expired")


def test_a_stream_of_a_canceled_prediction_says_so(client: ApiClient):
    prediction = create(client)
    client.post(f"{PREDICTIONS}/{prediction['id']}/cancel")
    text = client.get(f"{PREDICTIONS}/{prediction['id']}/stream").text
    assert 'event: done\ndata: {"reason": "canceled"}' in text
    assert all(block.startswith(("id: ", ":")) for block in text.strip().split("\n\n"))


def test_every_route_needs_a_key_where_keys_are_required(make_app: Callable[..., App]):
    client = make_app(require_keys=True).test_client()
    for name in ("predictions", "models", "models/limner/limner-flow", "deployments", "files"):
        refused = client.get(f"/replicate/v1/{name}")
        assert (refused.status_code, refused.json["code"]) == (401, "unauthorized")
