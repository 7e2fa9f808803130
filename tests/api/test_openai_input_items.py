"""The input items of responses: what is listed, page by page, and when it is deleted."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import pytest
from openai.types.responses import ResponseItemList
from PIL import Image
from sqlalchemy import update

from limner_dispatcher.retention import Retention
from limner_shared.db.engine import Database
from limner_shared.db.response_tables import ResponseInput
from limner_shared.db.tables import Job, Tenant
from limner_web.openai.batch_loader import BatchLoader
from tests.api.batches import call_line, loader
from tests.api.batches import create as create_batch
from tests.api.canvas import DATA_URL, RESPONSES, app
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases, rows
from tests.api.test_keys import make_key
from tests.api.test_openai_files import upload
from tests.models import CANVAS

__all__ = ["app", "loader"]

TOOL: dict[str, Any] = {"type": "image_generation", "size": "64x32"}
RED = png("red")
PICTURE = "message.input_image.image_url"


def respond(client: ApiClient, status: int = 200, **more: Any) -> dict[str, Any]:
    body = {"input": "a red apple", "tools": [TOOL], "background": True} | more
    answer = client.post(RESPONSES, json=body)
    assert answer.status_code == status, answer.text
    return answer.json


def listed(client: ApiClient, response: dict[str, Any], query: str = "") -> dict[str, Any]:
    answer = client.get(f"{RESPONSES}/{response['id']}/input_items?{query}")
    assert answer.status_code == 200, answer.text
    if answer.json["data"]:
        ResponseItemList.model_validate(answer.json)
    return answer.json


def text(role: str, words: str, kind: str = "input_text") -> dict[str, Any]:
    return {"role": role, "content": [{"type": kind, "text": words}]}


def told(items: list[dict[str, Any]]) -> list[Any]:
    """The texts of messages, and the types of other items."""
    return [item["content"][0]["text"] if item["type"] == "message" else item["type"] for item in items]


@both_databases
def test_the_items_of_a_response_are_its_messages_in_the_order_asked_for(client: ApiClient, app: App):
    said = [text("system", "Be brief."), text("user", "a cat"), text("assistant", "A cat.", "output_text")]
    response = respond(client, input=[*said, text("user", "bluer")])
    found = listed(client, response)
    assert told(found["data"]) == ["bluer", "A cat.", "a cat", "Be brief."]
    assert (found["object"], found["has_more"]) == ("list", False)
    assert (found["first_id"], found["last_id"]) == (found["data"][0]["id"], found["data"][-1]["id"])
    roles = [item["role"] for item in listed(client, response, "order=asc")["data"]]
    assert roles == ["system", "user", "assistant", "user"]
    finish(app, start(app, response["job_id"]), png("blue"))
    assert listed(client, response) == found
    assert told(listed(client, respond(client))["data"]) == ["a red apple"]


def test_the_pages_of_a_list_have_each_item_once(client: ApiClient):
    response = respond(client, input=[text("user", str(number)) for number in range(5)])
    for order, expected in (("asc", list("01234")), ("desc", list("43210"))):
        found, after, more = list[Any](), "", True
        while more:
            page = listed(client, response, f"limit=2&order={order}{after and f'&after={after}'}")
            found, after, more = found + told(page["data"]), page["last_id"], page["has_more"]
        assert found == expected


def test_the_items_of_earlier_responses_come_first_with_what_they_answered(client: ApiClient, app: App):
    first = respond(client, input="a cat", tools=[TOOL | {"n": 2}])
    finish(app, start(app, first["job_id"]), png("red"), png("blue"))
    second = respond(client, input="bluer", previous_response_id=first["id"])  # it has not ended
    output = client.get(f"{RESPONSES}/{first['id']}").json["output"]
    references = [{"type": "item_reference", "id": output[each]["id"]} for each in (0, -1)]
    sent = [*references, text("user", "with a hat")]
    third = respond(client, input=sent, previous_response_id=second["id"])
    items = listed(client, third, "order=asc")["data"]
    call, caption = "image_generation_call", output[-1]["content"][0]["text"]
    assert told(items) == ["a cat", call, call, caption, "bluer", "with a hat"]
    assert [item["id"] for item in items[1:4]] == [item["id"] for item in output]
    assert {item["result"] for item in items[1:3]} == {None}
    assert len({item["id"] for item in items}) == len(items)
    assert client.delete(f"{RESPONSES}/{first['id']}").status_code == 200
    assert told(listed(client, third, "order=asc")["data"]) == ["bluer", call, "with a hat"]


def test_a_picture_is_listed_on_request_as_the_model_got_it(client: ApiClient):
    file = upload(client, RED).json["id"]
    for given in ({"image_url": DATA_URL}, {"file_id": file}):
        content = [{"type": "input_text", "text": "make it blue"}, {"type": "input_image"} | given]
        response = respond(client, input=[{"role": "user", "content": content}])
        [plain] = listed(client, response)["data"]
        assert plain["content"][1]["image_url"] is None
        assert plain["content"][1]["file_id"] == given.get("file_id")
        for name in ("include[]", "include"):
            [item] = listed(client, response, f"{name}=message.output_text.logprobs&{name}={PICTURE}")["data"]
            url = item["content"][1]["image_url"]
            picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
            assert (picture.size, picture.getpixel((3, 3))) == ((64, 32), (255, 0, 0))


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("order=up", "order"),
        ("after=msg_none", "after"),
        ("include=everything", "include.0"),
        ("before=x", "before"),
    ],
)
def test_a_page_that_cannot_be_given_is_refused_by_name(client: ApiClient, query: str, param: str):
    answer = client.get(f"{RESPONSES}/{respond(client)['id']}/input_items?{query}")
    assert (answer.status_code, answer.json["error"]["param"]) == (422, param)


def test_an_input_too_large_to_store_is_refused_unless_it_is_not_stored(client: ApiClient, app: App):
    large = [text("system", "é" * 140_000), text("user", "a cat")]
    assert respond(client, 422, input=large)["error"]["param"] == "input"
    assert rows(app, Job) == 0
    body = {"input": large, "tools": [TOOL], "store": False, "stream": True}
    with client.post(RESPONSES, json=body) as answer:
        assert answer.status_code == 200
    assert (rows(app, Job), rows(app, ResponseInput)) == (1, 0)


def test_another_tenants_items_and_those_of_no_response_are_not_found(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True, models=(CANVAS,), default_model="canvas").test_client()
    mine, other = make_key(database, "mine"), make_key(database, "other")
    body = {"input": "x", "tools": [TOOL], "background": True}
    path = f"{RESPONSES}/{client.post(RESPONSES, json=body, headers=mine).json['id']}/input_items"
    assert client.get(path, headers=mine).status_code == 200
    assert client.get(path, headers=other).status_code == 404
    assert client.get(f"{RESPONSES}/resp_none/input_items", headers=mine).status_code == 404


@both_databases
@pytest.mark.parametrize("how", ["retention", "deletion"])
def test_the_items_are_deleted_with_the_prompt_and_with_the_job(
    client: ApiClient, app: App, database: Database, how: str
):
    response, kept = respond(client), respond(client)
    finish(app, start(app, response["job_id"]), png("red"))
    if how == "deletion":
        assert client.delete(f"/api/v1/jobs/{response['job_id']}").status_code < 300
    else:
        with database.write() as session:
            session.execute(update(Tenant).values(keep_prompts_days=1.0))
            session.execute(update(Job).where(Job.id == response["job_id"]).values(finished_at=1.0))
        Retention(database, app.extensions["limner"].blobs).run()
    assert client.get(f"{RESPONSES}/{response['id']}/input_items").status_code == 404
    with database.read() as session:
        assert [row.job_id for row in session.query(ResponseInput)] == [kept["job_id"]]


def test_a_response_of_an_earlier_release_lists_its_description(client: ApiClient, database: Database):
    response = respond(client)
    with database.write() as session:
        session.query(ResponseInput).delete()
    assert told(listed(client, response)["data"]) == ["a red apple"]


@both_databases
def test_responses_of_a_batch_have_items_too(client: ApiClient, app: App, loader: BatchLoader):
    calls = [{"input": "a cat"}, {"input": "a dog", "store": False}]
    lines = [call_line(str(at), RESPONSES, {"tools": [TOOL]} | call) for at, call in enumerate(calls)]
    create_batch(client, *lines, endpoint=RESPONSES)
    loader.load_next()
    first, second = client.get("/api/v1/jobs").json["items"][::-1]
    assert told(listed(client, {"id": first["id"].replace("job_", "resp_")})["data"]) == ["a cat"]
    assert client.get(f"{RESPONSES}/{second['id'].replace('job_', 'resp_')}/input_items").status_code == 404
    assert rows(app, ResponseInput) == 1
