"""The official openai client works with a running service if only its base URL is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import httpx
import openai
import pytest


@pytest.fixture
def client(door: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{door}/v1", api_key="unused", max_retries=0) as built:
        yield built


def ask(client: openai.OpenAI, *messages: str, **more: Any) -> Any:
    roles = ("user", "assistant")
    conversation: Any = [{"role": roles[place % 2], "content": text} for place, text in enumerate(messages)]
    return cast("Any", client.chat.completions).create(model="limner-gan", messages=conversation, **more)


def test_a_message_is_answered_with_a_sentence_and_a_picture(client: openai.OpenAI, door: str):
    answer = ask(client, "please draw a red apple")
    content = answer.choices[0].message.content
    assert "a red apple" in content
    [link] = re.findall(r"\]\((.*?)\)", content)
    assert link.startswith(door)
    assert httpx.get(link).content.startswith(b"\x89PNG")
    assert answer.choices[0].finish_reason == "stop"
    assert answer.revised_prompt == "a red apple"


def test_a_later_message_changes_the_picture_of_the_previous_answer(client: openai.OpenAI, door: str):
    first = ask(client, "a red car", seed=7)
    second = ask(client, "a red car", first.choices[0].message.content, "bluer")
    assert second.revised_prompt == "a blue car"
    assert second.images[0]["seed"] == 7


def test_a_stream_contains_the_whole_answer(client: openai.OpenAI):
    chunks = list(ask(client, "a rocket", stream=True))
    assert "a rocket" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_parts_of_a_message_are_joined(client: openai.OpenAI):
    parts = [{"type": "text", "text": "a crown"}]
    message: Any = {"role": "user", "content": parts}
    answer: Any = client.chat.completions.create(model="limner-gan", messages=[message])
    assert answer.revised_prompt == "a crown"


@pytest.mark.parametrize(
    ("messages", "model"),
    [
        ([{"role": "assistant", "content": "hello"}], "limner-gan"),
        ([{"role": "user", "content": " "}], "limner-gan"),
        ([], "limner-gan"),
        ([{"role": "user", "content": "x" * 10_001}], "limner-gan"),
    ],
)
def test_an_invalid_request_raises_the_clients_error_with_a_reason(client: openai.OpenAI, messages: Any, model: str):
    with pytest.raises(openai.UnprocessableEntityError) as refused:
        client.chat.completions.create(model=model, messages=messages)
    assert refused.value.code == "invalid_request"
    assert cast(Any, refused.value.body)["message"]


def test_an_unknown_model_is_not_found(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError) as refused:
        client.chat.completions.create(model="gpt-9", messages=[{"role": "user", "content": "a cat"}])
    assert refused.value.code == "model_not_found"


def test_models_are_listed(client: openai.OpenAI):
    assert {"limner-flow", "limner-gan"} <= {model.id for model in client.models.list()}
    assert client.models.retrieve("limner-gan").owned_by == "limner"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")
