"""The parts of chat completions that need no worker."""

from __future__ import annotations

import pytest

from limner_shared.db.tables import Job
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import rows


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
