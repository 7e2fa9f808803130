"""What chat programs ask the model of a conversation by themselves is answered in words and draws nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from limner_shared.db.tables import Job
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import rows

CHAT = "/v1/chat/completions"
HISTORY = """
### Chat History:
<chat_history>
USER: a red apple on a {table}
ASSISTANT: Here is your picture: a red apple.
USER: bluer
</chat_history>"""


def open_webui(task: str, form: str) -> str:
    """A task as Open WebUI writes it."""
    return f"### Task:\n{task}\n### Output:\nJSON format: {form}{HISTORY}"


TASKS: dict[str, tuple[str, Any]] = {
    "title": (
        open_webui("Generate a concise title.", '{ "title": "your title" }'),
        {"title": "a red apple on a {table}"},
    ),
    "tags": (open_webui("Generate 1-3 tags.", '{ "tags": ["tag1", "tag2"] }'), {"tags": []}),
    "next": (open_webui("Predict 3-5 messages.", '{ "follow_ups": ["one"] }'), {"follow_ups": []}),
    "prompt": (open_webui("Generate a prompt.", '{ "prompt": "a prompt" }'), {"prompt": "bluer"}),
}
LIBRECHAT = (
    "Provide a concise, 5-word-or-less title for the conversation, using title case conventions. Only return the title"
    " itself.\n\nConversation:\nUser: a red apple\nAI: Here is your picture"
)


def ask(client: ApiClient, text: str, **more: Any) -> Any:
    return client.post(CHAT, json={"messages": [{"role": "user", "content": text}]} | more)


@pytest.mark.parametrize("task", TASKS)
def test_a_task_of_open_webui_is_answered_in_the_json_that_it_reads(client: ApiClient, app: App, task: str):
    text, expected = TASKS[task]
    answer = ask(client, text, max_tokens=1000)
    assert answer.status_code == 200, answer.text
    assert json.loads(answer.json["choices"][0]["message"]["content"]) == expected
    assert rows(app, Job) == 0


def test_a_title_for_librechat_is_what_the_user_has_said(client: ApiClient, app: App):
    assert ask(client, LIBRECHAT).json["choices"][0]["message"]["content"] == "a red apple"
    assert rows(app, Job) == 0


def test_a_task_without_words_of_the_user_and_as_a_stream_is_answered_as_well(client: ApiClient, app: App):
    streamed = ask(client, "### Task:\nSay something.", stream=True)
    assert "Pictures" in streamed.text
    assert streamed.text.endswith("data: [DONE]\n\n")
    assert rows(app, Job) == 0


@pytest.mark.parametrize("text", ["a picture of a to-do list titled Task", "the title page of a book", "### a castle"])
def test_a_description_with_similar_words_is_drawn(client: ApiClient, app: App, text: str):
    with ask(client, text, stream=True) as answer:
        assert answer.status_code == 200
    assert rows(app, Job) == 1
