"""Chat completions: what they take, refuse and answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from limner_shared.db.tables import Job
from tests.api.canvas import DATA_URL
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_a1111 import waiting_job
from tests.api.test_built_in_habits import CHAT, drawn
from tests.api.test_bulks import rows
from tests.models import CANVAS


def ask(client: ApiClient, count: int, *said: str) -> None:
    """Request a stream and disconnect as soon as the job is created."""
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]
    headers = {"X-Stainless-Retry-Count": str(count)}
    with client.post("/v1/chat/completions", json={"messages": messages, "stream": True}, headers=headers) as answer:
        assert answer.status_code == 200


def test_a_chat_retry_returns_the_first_job_unless_the_earlier_messages_differ(client: ApiClient, app: App):
    ask(client, 0, "a cat", "Here is a cat.", "bluer")
    ask(client, 1, "a cat", "Here is a cat.", "bluer")
    assert rows(app, Job) == 1
    ask(client, 1, "a dog", "Here is a dog.", "bluer")
    assert rows(app, Job) == 2


@pytest.mark.parametrize(
    ("path", "code"),
    [("/v1/models/none", "model_not_found"), ("/v1/models/%00", "not_found"), ("/v1/nothing", "not_found")],
)
def test_not_found_errors_have_the_openai_format(client: ApiClient, path: str, code: str):
    answer = client.get(path)
    assert (answer.status_code, answer.json["error"]["code"]) == (404, code)


def picture(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def says(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": [{"type": "text", "text": "make it blue"}, *parts]}]}


def test_a_picture_in_the_last_message_is_what_the_model_starts_from(make_app: Callable[..., App]):
    app = make_app(models=(CANVAS,), default_model="canvas")
    drawn(app, CHAT, says(picture(DATA_URL)))
    answer = drawn(app, CHAT, says() | {"metadata": {"page": "3"}, "user": "u-1", "safety_identifier": "s-1"})
    [shown] = answer.json["choices"][0]["message"]["images"]
    assert shown == picture(answer.json["images"][0]["url"])
    drawn(app, CHAT, says(shown))
    jobs = app.test_client().get("/api/v1/jobs").json["items"]
    assert [bool(job["image"]) for job in jobs] == [True, False, True]
    assert jobs[1]["metadata"] == {"page": "3", "user": "u-1", "safety_identifier": "s-1"}


@pytest.mark.parametrize(
    ("more", "param", "told"),
    [
        (says(picture(DATA_URL)), "messages", "Models with image-to-image: none here"),
        (says(picture("https://pictures.example/x.png")), "messages", "a data URL of a PNG, WebP or JPEG"),
        (says(picture(DATA_URL), picture(DATA_URL)), "messages", "Models with image-to-image: none here"),
        (says({"type": "input_audio", "input_audio": {"data": "", "format": "mp3"}}), "messages", "'input_audio'"),
        ({"response_format": {"type": "json_object"}}, "response_format", "pictures are presented in plain words"),
        ({"tool_choice": "required"}, "tool_choice", "answers with pictures"),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice", "answers with pictures"),
        ({"modalities": ["text", "audio"]}, "modalities.1", "image"),
    ],
)
def test_what_no_picture_answers_is_refused_by_name(client: ApiClient, app: App, more: Any, param: str, told: str):
    refused = client.post(CHAT, json=says() | more)
    assert (refused.status_code, refused.json["error"]["param"]) == (422, param)
    assert told in refused.json["error"]["message"]
    assert rows(app, Job) == 0


@pytest.mark.parametrize("text", ["a cat", "### Task:\nGenerate a title."])
def test_a_stream_ends_with_the_words_that_were_read_and_said_if_the_client_wants_that(app: App, text: str):
    body = {"messages": [{"role": "user", "content": text}], "stream": True, "stream_options": {"include_usage": True}}
    send = partial(app.test_client().post, CHAT, json=body, buffered=True)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(send)
        if text == "a cat":
            finish(app, start(app, waiting_job(app, answer)), png("red"))
        *_, last, done = answer.result().text.split("\n\n")[:-1]
    usage = json.loads(last.removeprefix("data: "))
    assert (usage["choices"], done) == ([], "data: [DONE]")
    assert usage["usage"]["total_tokens"] == usage["usage"]["prompt_tokens"] + usage["usage"]["completion_tokens"]
    assert usage["usage"]["prompt_tokens"] == (2 if text == "a cat" else 9)
