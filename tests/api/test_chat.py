"""Chat completions, as far as they can be seen without a worker."""

from __future__ import annotations

import pytest

from limner_shared.db.tables import Job
from tests.api.test_bulks import rows


def ask(client, count: int, *said: str) -> None:
    """Ask for a stream, and leave as soon as the job is made."""
    roles = ("user", "assistant")
    messages = [{"role": roles[place % 2], "content": text} for place, text in enumerate(said)]
    headers = {"X-Stainless-Retry-Count": str(count)}
    with client.post("/v1/chat/completions", json={"messages": messages, "stream": True}, headers=headers) as answer:
        assert answer.status_code == 200


def test_a_counted_retry_of_a_chat_is_the_same_job_and_another_chat_that_ends_in_the_same_words_is_not(client, app):
    ask(client, 0, "a cat", "Here is a cat.", "bluer")
    ask(client, 1, "a cat", "Here is a cat.", "bluer")
    assert rows(app, Job) == 1
    ask(client, 1, "a dog", "Here is a dog.", "bluer")
    assert rows(app, Job) == 2


@pytest.mark.parametrize("path", ["/v1/models/none", "/v1/models/%00", "/v1/nothing"])
def test_what_is_not_there_is_told_in_openais_form(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.json["error"]["code"]) == (404, "not_found")
