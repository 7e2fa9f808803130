"""Malformed input at the doors of other services' clients gets an error in the door's form, never a 500."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import DeadlineExceeded, InvalidRequest
from limner_web import synchronous_jobs
from limner_web.a1111.options import Options
from limner_web.a1111.parameters import MASK_ONLY, ImageToImage, TextToImage, read
from limner_web.a1111.unused_parameters import IGNORED, NEUTRAL
from limner_web.auth import DOORS
from limner_web.replicate.inputs import Inputs, NewPrediction, job_fields
from tests.api.canvas import DATA_URL, TOOL
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import waiting_job
from tests.api.test_bulks import rows
from tests.api.test_input_images import CARD
from tests.models import CANVAS
from tests.processes import eventually

SHOWN = {"type": "image_url", "image_url": {"url": DATA_URL}}
WORDS = {"type": "text", "text": "a cat"}
INPUT = [{"type": "input_text", "text": "a cat"}, {"type": "input_image", "image_url": DATA_URL}]
PICTURE = base64.b64encode(png("red")).decode()
A1111 = ("txt2img", "img2img", "options", "png-info")
REPLICATE = ("predictions", "models/limner/limner-gan/predictions", "deployments/limner/limner-gan/predictions")
ROUTES = [f"/sdapi/v1/{name}" for name in A1111] + [f"/replicate/v1/{name}" for name in REPLICATE]
VALUES: tuple[Any, ...] = (None, True, -1, 0, 2**63, 0.5, "", "x", "\x00", [], ["x"], [[]], {}, {"x": None}, "9" * 400)
DEEP = "[" * 400 + "]" * 400
BODIES = ("", "{", "[]", '"x"', "null", "\ud800", f'{{"prompt": {DEEP}}}', '{"prompt": "\\ud800"}')


def code_of(answer: Any) -> str:
    """The code of an error in the door's form."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    assert answer.json["detail"]
    return answer.json["code"]


@pytest.mark.parametrize("data", BODIES)
def test_a_body_that_is_no_object_of_storable_values_is_refused(client: ApiClient, app: App, data: Any):
    for path in ROUTES:
        answer = client.post(path, data=data.encode("utf-8", "surrogatepass"), content_type="application/json")
        assert code_of(answer) in ("malformed_body", "invalid_request")
    assert rows(app, Job) == 0


def test_a_form_is_refused(client: ApiClient):
    for path in ROUTES:
        assert code_of(client.post(path, data={"prompt": "x"})) == "unsupported_media_type"


@pytest.mark.parametrize("model", ["limner-flow", "limner-gan"])
def test_no_value_of_an_a1111_parameter_is_a_server_error(catalogue: Catalogue, model: str):
    names = {*ImageToImage.model_fields, *NEUTRAL, *MASK_ONLY, *IGNORED}
    for name, value in product(sorted(names), VALUES):
        body = {"prompt": "x", "init_images": [PICTURE], "mask": PICTURE} | {name: value}
        for kind in (TextToImage, ImageToImage):
            with suppress(ValidationError, InvalidRequest):
                asked = read(body, kind, Options(), catalogue)
                catalogue.resolve(asked.job.model_copy(update={"model": model, "image": None, "mask": None}))


@pytest.mark.parametrize(("family", "padding", "warnings"), [("diffusers", 32, 0), ("null", None, 1)])
def test_only_masked_of_a1111_is_followed_by_pipelines_and_noted_otherwise(
    tmp_path: Path, family: str, padding: int | None, warnings: int
):
    (tmp_path / "painter.toml").write_text(CARD.replace('"null"', f'"{family}"'))
    body = {"prompt": "x", "init_images": [PICTURE], "mask": PICTURE, "inpaint_full_res_padding": 32}
    painters = Catalogue.load([tmp_path], "painter")
    asked = read(body | {"inpaint_full_res": 1}, ImageToImage, Options(sd_model_checkpoint="painter"), painters)
    assert (asked.job.padding_mask_crop, len(asked.warnings)) == (padding, warnings)
    whole = read(body | {"inpaint_full_res": 0}, ImageToImage, Options(sd_model_checkpoint="painter"), painters)
    assert (whole.job.padding_mask_crop, whole.warnings) == (None, ())


def test_no_value_of_a_replicate_input_is_a_server_error(catalogue: Catalogue):
    for name, value in product(Inputs.model_fields, VALUES):
        for body in ({"input": {"prompt": "x"} | {name: value}}, {"input": {"prompt": "x"}, name: value}):
            with suppress(ValidationError, InvalidRequest):
                asked = NewPrediction.model_validate(body)
                catalogue.resolve(JobRequest.model_validate(job_fields(asked, catalogue.get(None))))


def test_no_value_of_an_option_is_a_server_error(client: ApiClient):
    for name, value in product(("sd_model_checkpoint", "enable_pnginfo", "samples_format", "sd_vae", "x"), VALUES):
        assert client.post("/sdapi/v1/options", json={name: value}).status_code in (200, 422)
        assert client.get("/sdapi/v1/options").status_code == 200


@pytest.mark.parametrize("path", ["/sdapi/v1/none", "/replicate/v1/none", "/sdapi/v1/txt2img"])
def test_a_route_that_does_not_exist_has_an_error_in_the_doors_form(client: ApiClient, path: str):
    assert code_of(client.get(path)) in ("not_found", "method_not_allowed")


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("POST", "/replicate/v1/trainings/mine/cancel", "matches POST /replicate/v1/trainings/mine/cancel"),
        ("POST", "/replicate/v1/models", "POST /replicate/v1/models does not exist; this path has GET, QUERY."),
        ("GET", "/sdapi/v1/memory", "matches GET /sdapi/v1/memory"),
        ("POST", "/v1/embeddings", "matches POST /v1/embeddings"),
        ("GET", "/v1/x%00%ED%A0%80", "matches GET /v1/x%00%"),
    ],
)
def test_a_call_that_a_door_does_not_have_is_refused_by_its_name(client: ApiClient, method: str, path: str, told: str):
    assert told in client.open(path, method=method, json={}).text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/images/edits", {"prompt": "a cat", "image": DATA_URL}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [WORDS, SHOWN]}]}),
        ("/v1/responses", {"input": [{"role": "user", "content": INPUT}], "tools": [TOOL]}),
        ("/sdapi/v1/img2img", {"prompt": "a cat", "init_images": [DATA_URL]}),
        ("/replicate/v1/models/limner/limner-flow/predictions", {"input": {"prompt": "a cat", "image": DATA_URL}}),
        ("/hf/models/limner-flow", {"inputs": DATA_URL.partition(",")[2], "parameters": {"prompt": "a cat"}}),
    ],
)
def test_a_picture_for_a_model_that_starts_from_none_is_refused_with_those_that_do(
    make_app: Callable[..., App], path: str, body: dict[str, Any]
):
    client = make_app(models=(CANVAS,)).test_client()
    refused = client.post(path, json=body)
    assert refused.status_code == 422
    assert "image-to-image with limner-flow is not allowed here" in refused.text
    assert "Models with image-to-image: canvas." in refused.text


@pytest.mark.parametrize(
    ("method", "path", "meant"),
    [
        ("POST", "/images/generations", "/v1/images/generations"),
        ("POST", "/v1/v1/images/generations", "/v1/images/generations"),
        ("POST", "/responses", "/v1/responses"),
        ("POST", "/txt2img", "/sdapi/v1/txt2img"),
        ("POST", "/v1/predictions", "/replicate/v1/predictions"),
        ("GET", "/replicate/v1/v1/account", "/replicate/v1/account"),
    ],
)
def test_a_wrong_base_url_is_recognized_and_told_in_the_form_of_its_client(
    client: ApiClient, method: str, path: str, meant: str
):
    client_name = "replicate-python/1.0.7" if "replicate" in meant else "OpenAI/Python 3.54.0"
    answer = client.open(path, method=method, json={}, headers={"User-Agent": client_name})
    assert answer.status_code in (404, 405)
    told = answer.json["error"]["message"] if meant.startswith("/v1/") else answer.json["detail"]
    assert f"Did you mean {meant}? Check the client's base URL." in told


def test_an_unknown_path_of_openais_api_keeps_its_form_though_replicates_has_one_like_it(client: ApiClient):
    answer = client.get("/v1/models/file_0/content")
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")


def test_redis_away_is_no_server_error_of_ours(make_app: Callable[..., App]):
    client = make_app(redis_url="redis://127.0.0.1:1/0").test_client()
    assert client.get("/sdapi/v1/options").status_code == 200
    for method, path in (("GET", "progress"), ("POST", "interrupt")):
        refused = client.open(f"/sdapi/v1/{path}", method=method)
        assert (refused.status_code, refused.json["code"]) == (503, "service_unavailable")
    refused = client.post("/sdapi/v1/options", json={"enable_pnginfo": True})
    assert refused.status_code == 503
    assert client.get("/replicate/v1/files").status_code == 200
    created = client.post(ROUTES[-2], data=json.dumps({"input": {"prompt": "x"}}), content_type="application/json")
    assert created.status_code == 201


def test_every_route_of_every_door_needs_a_key_where_keys_are_required(make_app: Callable[..., App]):
    app = make_app(require_keys=True)
    client = app.test_client()
    rules = [rule for rule in app.url_map.iter_rules() if rule.rule.startswith(DOORS)]
    assert len(rules) > 30
    for rule in rules:
        path = re.sub(r"<\w+>", "x", re.sub(r"<id:\w+>", "job_x", rule.rule))
        for method in (rule.methods or set()) - {"OPTIONS"}:
            assert client.open(path, method=method).status_code == 401, (method, path)


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/sdapi/v1/txt2img", {"prompt": "x"}, {}),
        (ROUTES[-2], {"input": {"prompt": "x"}}, {"Prefer": "wait"}),
        ("/hf/models/limner-flow", {"inputs": "x"}, {}),
    ],
)
def test_a_call_that_waits_takes_no_place_of_other_requests(
    make_app: Callable[..., App], path: Any, body: dict[str, Any], headers: dict[str, Any]
):
    app = make_app(max_requests=1)
    client = app.test_client()
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(app.test_client().post, path, json=body, headers=headers)
        job = waiting_job(app, answer)
        try:
            eventually(lambda: client.get("/api/v1/models").status_code == 200, 10)
        finally:
            finish(app, start(app, job), png("red"))
    assert answer.result().status_code in (200, 201)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/v1/jobs", {"prompt": "x", "image": "data:image/png;base64,é"}),
        ("/v1/images/edits", {"prompt": "x", "image": "data:image/png;base64,é"}),
        ("/v1/moderations", {"input": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,é"}}]}),
    ],
)
def test_a_picture_whose_base64_is_not_ascii_is_refused(make_app: Callable[..., App], path: str, body: dict[str, Any]):
    answer = make_app(models=(CANVAS,), default_model="canvas").test_client().post(path, json=body)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("path", "body", "name"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a" * 10_001}]}, "messages"),
        (
            "/replicate/v1/models/limner/limner-gan/predictions",
            {"input": {"prompt": "x", "prompt_strength": 2}},
            "prompt_strength",
        ),
        ("/sdapi/v1/img2img", {"prompt": "x", "init_images": [PICTURE], "denoising_strength": 2}, "denoising_strength"),
    ],
)
def test_an_error_names_the_parameter_as_the_client_knows_it(
    client: ApiClient, path: str, body: dict[str, Any], name: str
):
    refused = client.post(path, json=body)
    found = refused.json["error"]["param"] if "error" in refused.json else refused.json["errors"][0]["field"]
    assert (refused.status_code, found) == (422, name)


def test_an_error_within_a_fields_json_text_names_the_field(make_app: Callable[..., App]):
    client = make_app(models=(CANVAS,), default_model="canvas").test_client()
    text = '[{"name": "\\u0000"}]'
    for path, name, file in (("/replicate/v1/files", "metadata", "content"), ("/v1/images/edits", "adapters", "image")):
        form = {name: text, "prompt": "x", file: (io.BytesIO(png("red")), "a.png")}
        refused = client.post(path, data=form, content_type="multipart/form-data")
        assert (refused.status_code, refused.json.get("field", name)) == (422, name)
        assert refused.json.get("error", {"param": name})["param"] == name


def test_the_job_of_a_client_that_has_gone_is_canceled_only_if_that_was_asked_for(client: ApiClient, app: App):
    services = app.extensions["limner"]

    def job(*, cancels: bool, streams: bool = False, waits: bool = False, gone: bool = True) -> str:
        """The status of a job after its client's wait."""
        job_id = client.post("/api/v1/jobs", json={"prompt": "x"}).json["id"]
        is_gone = iter([False] if streams else [])
        caller = synchronous_jobs.WaitingClient(lambda: next(is_gone, gone), cancels)
        if waits:
            synchronous_jobs.await_end(services, "tenant_local", job_id, 0.01, caller)
        elif streams:  # the server closes the answer
            views = synchronous_jobs.follow(services, "tenant_local", job_id, caller, 0.01)
            next(views)
            views.close()  # type: ignore[attr-defined]
        else:
            with pytest.raises(DeadlineExceeded):
                list(synchronous_jobs.follow(services, "tenant_local", job_id, caller))
        return client.get(f"/api/v1/jobs/{job_id}").json["status"]

    for how in ({}, {"streams": True}, {"waits": True}):
        assert [job(cancels=cancels, **how) for cancels in (False, True)] == ["queued", "canceled"], how
    assert job(cancels=True, gone=False, waits=True) == "queued"
    assert job(cancels=True, gone=False, streams=True) == "queued"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/images/generations", {"prompt": "x"}),
        ("/v1/responses", {"input": "x", "tools": [{"type": "image_generation"}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/sdapi/v1/txt2img", {"prompt": "x"}),
        ("/replicate/v1/models/limner/limner-gan/predictions", {"input": {"prompt": "x"}}),
    ],
)
def test_a_wish_about_disconnecting_that_is_not_understood_is_refused(
    client: ApiClient, app: App, path: str, body: dict[str, Any]
):
    refused = client.post(path, json=body, headers={"X-Cancel-On-Disconnect": "perhaps"})
    found = refused.json["error"]["param"] if "error" in refused.json else refused.json["field"]
    assert (refused.status_code, found, rows(app, Job)) == (422, "X-Cancel-On-Disconnect", 0)
