"""Batches of edits and responses: their lines are read, refused and answered as the calls of their own routes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from openai.types import ImagesResponse
from openai.types.responses import Response

from limner_shared.db.batch_tables import Batch
from limner_shared.db.tables import Job
from limner_shared.errors import Overloaded, StorageFailed
from limner_web.intake import busy
from limner_web.openai import batch_loader, batch_reader
from limner_web.openai.batch_loader import BatchLoader
from tests.api.batches import (
    EDITS,
    batch,
    call_line,
    change,
    create,
    loader,
    request_line,
    sweep,
    upload,
)
from tests.api.canvas import DATA_URL, MASK, RESPONSES, TOOL, app
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import rows
from tests.api.test_openai_batches import job_ids, output
from tests.models import CANVAS

__all__ = ["app", "loader"]


def edit(custom_id: str, **body: Any) -> dict[str, Any]:
    return call_line(custom_id, EDITS, {"prompt": "a boat"} | body)


def response(custom_id: str, **body: Any) -> dict[str, Any]:
    return call_line(custom_id, RESPONSES, {"input": "a boat", "tools": [TOOL]} | body)


def run(client: ApiClient, app: App, loader: BatchLoader, endpoint: str, *lines: object) -> list[dict[str, Any]]:
    """The output of a batch whose jobs have all succeeded; its size is the one that was measured."""
    made = create(client, *lines, endpoint=endpoint)
    loader.load_next()
    assert batch(client, made)["errors"] is None
    for job_id in job_ids(app):
        if client.get(f"/api/v1/jobs/{job_id}").json["status"] == "queued":
            finish(app, start(app, job_id), png("blue"))
    loader.finish_next()
    found = batch(client, made)
    assert (found["status"], found["error_file_id"]) == ("completed", None)
    size = client.get(f"/v1/files/{found['output_file_id']}").json["bytes"]
    assert size == len(client.get(f"/v1/files/{found['output_file_id']}/content").data)
    return output(client, found["output_file_id"])


def refused(client: ApiClient, loader: BatchLoader, endpoint: str, *lines: object) -> dict[int, str]:
    """The parameter that each bad line is refused for."""
    made = create(client, *lines, endpoint=endpoint)
    loader.load_next()
    found = batch(client, made)
    assert found["status"] == "failed"
    return {error["line"]: error["param"] for error in found["errors"]["data"]}


def test_edits_start_from_uploaded_files_data_urls_and_pictures_of_the_service(
    client: ApiClient, app: App, loader: BatchLoader
):
    file, mask = upload(client, png("red"), "vision"), upload(client, MASK, "vision")
    lines = [
        edit("file", images=[{"file_id": file}], mask={"file_id": mask}, strength=0.5),
        edit("url", images=[{"image_url": DATA_URL}], output_format="webp"),
        edit("plain", image=DATA_URL, response_format="url", model="gpt-image-1"),
    ]
    answers = run(client, app, loader, EDITS, *lines)
    assert [line["custom_id"] for line in answers] == ["file", "url", "plain"]
    for line in answers:
        ImagesResponse.model_validate(line["response"]["body"])
    first, second, third = [client.get(f"/api/v1/jobs/{job_id}").json for job_id in job_ids(app)]
    assert (bool(first["mask"]), first["strength"], first["priority"]) == (True, 0.5, "low")
    assert first["image"] == second["image"] == third["image"]
    assert base64.b64decode(answers[1]["response"]["body"]["data"][0]["b64_json"])[8:12] == b"WEBP"
    picture = answers[2]["response"]["body"]["data"][0]
    assert picture["url"].endswith(picture["id"])
    [again] = run(client, app, loader, EDITS, edit("again", image=picture["id"]))
    assert again["response"]["body"]["usage"]["input_tokens_details"]["image_tokens"] > 0


def test_responses_continue_earlier_ones_and_can_be_retrieved_later(client: ApiClient, app: App, loader: BatchLoader):
    body = {"input": "a boat", "tools": [TOOL], "background": True}
    earlier = client.post(RESPONSES, json=body).json
    lines = [
        response("next", input="make it red", previous_response_id=earlier["id"], metadata={"page": "3"}),
        response("told", instructions="Be brief.", tools=[TOOL | {"output_format": "jpeg", "seed": 7}]),
        response("unstored", store=False),
    ]
    answers = run(client, app, loader, RESPONSES, *lines)
    bodies = {line["custom_id"]: line["response"]["body"] for line in answers}
    for each in bodies.values():
        Response.model_validate(each)
        assert [item["type"] for item in each["output"]] == ["image_generation_call", "message"]
    assert bodies["next"] == client.get(f"{RESPONSES}/{bodies['next']['id']}").json
    assert (bodies["next"]["previous_response_id"], bodies["next"]["metadata"]) == (earlier["id"], {"page": "3"})
    with app.extensions["limner"].database.read() as session:
        spec = session.get_one(Job, bodies["next"]["job_id"]).spec
    assert [turn["text"] for turn in spec["history"]] == ["a boat"]
    picture = bodies["told"]["output"][0]
    assert (base64.b64decode(picture["result"])[:2], picture["seed"]) == (b"\xff\xd8", 7)
    warnings = {line["custom_id"]: line["response"].get("warning") for line in answers}
    assert "instructions" in warnings.pop("told")
    assert set(warnings.values()) == {None}
    assert client.get(f"{RESPONSES}/{bodies['unstored']['id']}").status_code == 404


def test_what_an_edit_cannot_have_is_refused_by_name_in_its_line(client: ApiClient, loader: BatchLoader):
    lines = [
        edit("a"),
        edit("b", images=[{"file_id": "file_none"}]),
        edit("c", images=[{"image_url": "https://pictures.example/x.png"}]),
        edit("d", images=[DATA_URL, DATA_URL]),
        edit("e", image=DATA_URL, mask=DATA_URL),
        edit("f", image=DATA_URL, stream=True),
        edit("g", image=DATA_URL, size="3x3"),
        edit("h", image="img_none"),
        edit("i", image=DATA_URL, colour="red"),
        request_line("j"),
        edit("k", image=5),
    ]
    names = ["image", "image", "image", "image", "mask", "stream", "size", "image", "colour", "url", "image"]
    assert refused(client, loader, EDITS, *lines) == dict(enumerate(names, 1))


def test_what_a_response_cannot_have_is_refused_by_name_in_its_line(client: ApiClient, loader: BatchLoader):
    picture = {"type": "input_image", "image_url": "https://pictures.example/x.png"}
    lines = [
        response("a", tools=[]),
        response("b", tools=[TOOL | {"size": "3x3"}]),
        response("c", stream=True),
        response("d", background=True),
        response("e", previous_response_id="resp_none"),
        response("f", conversation="conv_1"),
        response("g", input=[{"role": "user", "content": [{"type": "input_text", "text": "x"}, picture]}]),
        response("h", metadata={"a": 1}),
        response("i", model="gpt-9"),
        edit("j", image=DATA_URL),
    ]
    names = ["tools", "tools[0].size", "stream", "background", "previous_response_id"]
    names += ["conversation", "input", "metadata.a", "model", "url"]
    assert refused(client, loader, RESPONSES, *lines) == dict(enumerate(names, 1))


def test_files_and_responses_of_another_tenant_are_unknown(
    make_app: Callable[..., App], client: ApiClient, loader: BatchLoader
):
    """The batch's tenant is the one that counts: there is no request when its file is read."""
    services = loader._services
    file = upload(client, png("red"), "vision")
    earlier = client.post(RESPONSES, json={"input": "a boat", "tools": [TOOL], "background": True}).json["id"]
    for endpoint, line in (
        (EDITS, edit("a", images=[{"file_id": file}])),
        (RESPONSES, response("a", previous_response_id=earlier)),
    ):
        reader = batch_reader.BatchReader(services, "another", endpoint, _stream(line), lambda: None)
        with pytest.raises(Exception, match="Line 1: "):
            list(reader.jobs())


def _stream(line: object) -> Any:
    return batch_reader.body_of(iter([json.dumps(line).encode()]))


def test_a_line_may_be_as_large_as_a_request(make_app: Callable[..., App]):
    app = make_app(models=(CANVAS,), default_model="canvas", max_body_bytes=200_000)
    client, reader = app.test_client(), BatchLoader(app.extensions["limner"])
    large, padding = edit("a", image=DATA_URL, metadata={"x": "y"}), " " * 150_000
    made = create(client, large | {"custom_id": "b", "body": large["body"] | {"prompt": "a" + padding}}, endpoint=EDITS)
    reader.load_next()
    assert batch(client, made)["status"] == "in_progress"
    assert refused(client, reader, EDITS, edit("a", image=DATA_URL, prompt="a" + padding * 2)) == {1: None}


def test_a_line_whose_pictures_cannot_be_read_now_is_not_a_bad_line(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made = create(client, edit("a", image=DATA_URL), edit("b", image=DATA_URL), endpoint=EDITS)
    services = app.extensions["limner"]
    put, failures = services.blobs.put_input, [Overloaded("Too many images."), StorageFailed()]

    def fail(data: bytes) -> str:
        if failures:
            raise failures.pop(0)
        return put(data)

    monkeypatch.setattr(busy, "BUSY_SECONDS", 0)
    monkeypatch.setattr(services.blobs, "put_input", fail)
    loader.load_next()
    assert (batch(client, made)["status"], failures) == ("validating", [])
    change(app, made, lease_until=1)
    loader.load_next()
    sweep(app)
    assert batch(client, made)["status"] == "in_progress"
    assert rows(app, Job) == 2


def test_the_lease_is_renewed_at_each_line(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    made = create(client, *[edit(str(number), image=DATA_URL) for number in range(3)], endpoint=EDITS)
    check, leases = batch_reader.check_and_store_inputs, list[float]()

    def look(*arguments: Any, store: bool) -> Any:
        with app.extensions["limner"].database.read() as session:
            leases.append(session.get_one(Batch, made).lease_until or 0.0)
        change(app, made, lease_until=1)
        return check(*arguments, store=store)

    monkeypatch.setattr(batch_loader, "RENEW_SECONDS", -1)
    monkeypatch.setattr(batch_reader, "check_and_store_inputs", look)
    loader.load_next()
    assert len(leases) == 3
    assert min(leases) > 1


def test_a_cancelled_batch_of_responses_tells_which_did_not_run(client: ApiClient, app: App, loader: BatchLoader):
    made = create(client, response("a"), response("b"), endpoint=RESPONSES)
    loader.load_next()
    finish(app, start(app, job_ids(app)[0]), png("blue"))
    client.post(f"/v1/batches/{made}/cancel")
    loader.finish_next()
    found = batch(client, made)
    [failed] = output(client, found["error_file_id"])
    assert (failed["custom_id"], failed["error"]["code"]) == ("b", "batch_cancelled")
    assert [line["custom_id"] for line in output(client, found["output_file_id"])] == ["a"]


def test_a_batch_whose_pictures_have_to_wait_keeps_its_lease(
    client: ApiClient, app: App, loader: BatchLoader, monkeypatch: pytest.MonkeyPatch
):
    file = upload(client, png("red"), "vision")
    made = create(client, edit("a", images=[{"file_id": file}]), endpoint=EDITS)
    blobs, refusals, kept = app.extensions["limner"].blobs, [Overloaded()] * 3, list[float]()
    read = blobs.get_file_part

    def get(file_id: str, number: int) -> bytes:
        if file_id != file:
            return read(file_id, number)
        with app.extensions["limner"].database.read() as session:
            kept.append(session.get_one(Batch, made).lease_until or 0)
        change(app, made, lease_until=1)  # as if the lease had passed meanwhile
        if refusals:
            raise refusals.pop()
        return read(file_id, number)

    monkeypatch.setattr(busy, "BUSY_SECONDS", 0)
    monkeypatch.setattr(batch_loader, "RENEW_SECONDS", 0)
    monkeypatch.setattr(blobs, "get_file_part", get)
    loader.load_next()
    assert batch(client, made)["status"] == "in_progress"
    assert len(kept) >= 4
    assert min(kept) > 1
