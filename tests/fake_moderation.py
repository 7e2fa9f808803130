"""A real HTTP server with OpenAI's moderations API; a test names the texts that it flags, and its wrong answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.fake_llm import FakeLLM, fake_llm

FLAGGED = "un rey decapitado"
"""What it flags, as a part of a text."""
CATEGORY = "violence/graphic"


def texts_of(body: dict[str, Any]) -> list[str]:
    """The texts that a call asks about."""
    given: str | list[str] = body["input"]
    return [given] if isinstance(given, str) else given


def judged(body: dict[str, Any]) -> tuple[int, bytes]:
    """The answer to a call, in OpenAI's form."""
    flags = [FLAGGED in text for text in texts_of(body)]
    results = [
        {"flagged": flag, "categories": {CATEGORY: flag, "sexual": False}, "category_scores": {CATEGORY: float(flag)}}
        for flag in flags
    ]
    return 200, json.dumps({"id": "modr_1", "model": "a-judge", "results": results}).encode()


@contextmanager
def fake_moderation() -> Iterator[FakeLLM]:
    """Start the server; `answer` may be replaced, and `asked` has the calls."""
    with fake_llm(judged) as server:
        yield server
