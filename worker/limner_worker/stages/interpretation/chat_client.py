"""A client of any OpenAI-compatible language model server; answers are validated JSON or text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_worker.stages.timed_posts import PostError, TimedPosts, printable

Answer = TypeVar("Answer", bound=BaseModel)
OK: Final = 200
FAILURES: Final = 3
"""The failures in a row that open the circuit breaker."""
OPEN_SECONDS: Final = 20.0
"""How long the circuit breaker stays open."""
REASON_CHARS: Final = 200
"""The longest part of a reason: names of fields are as the language model made them."""
UNKNOWN_FIELD_STATUSES: Final = (400, 404, 422)
"""The statuses with which servers reject a request field that they do not know."""
REFUSED_STATUSES: Final = (400, 413, 422)
"""The statuses with which servers reject one text, such as one beyond their context, while they answer others."""


class LanguageError(Exception):
    """The language model gave no usable answer; the message gives the reason in one sentence."""


class ServerUnavailable(LanguageError):
    """The server is unreachable, slow or failing, so another question would fail as well."""


class ChatClient:
    """A client of one model on one server, with a circuit breaker. Thread-safe."""

    def __init__(
        self,
        url: str,
        model: str,
        key: str = "",
        seconds: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` is the base URL, which ends in /v1; `seconds` is the time limit of a request."""
        self.model = model
        self._breaker = Breaker(FAILURES, OPEN_SECONDS, OPEN_SECONDS, clock)
        self._posts = TimedPosts(url, key, seconds)

    def ask(self, messages: Sequence[Mapping[str, str]], answer: type[Answer]) -> Answer:
        """Ask for an object of the given schema; servers without `response_format` are asked again without it.

        Raises LanguageError.
        """
        schema = answer.model_json_schema()
        form = {"type": "json_schema", "json_schema": {"name": answer.__name__, "schema": schema}}
        text = _answer(self._complete(messages, {"response_format": form}))
        first, last = text.find("{"), text.rfind("}")  # some models write text around the object
        try:
            return answer.model_validate(json.loads(text[max(first, 0) : last + 1]))
        except ValidationError as error:
            first = error.errors()[0]
            where = printable(".".join(map(str, first["loc"])), REASON_CHARS) or "the answer"
            reason = printable(first["msg"], REASON_CHARS)
            message = f"The language model's answer does not match: {where}: {reason}."
            raise LanguageError(message) from error
        except (ValueError, RecursionError) as error:
            raise LanguageError("The language model's answer is not JSON.") from error

    def say(self, messages: Sequence[Mapping[str, str]]) -> str:
        """Ask for a text. Raises LanguageError."""
        return _answer(self._complete(messages, {}))

    def close(self) -> None:
        """Close the connections."""
        self._posts.close()

    def _complete(self, messages: Sequence[Mapping[str, str]], more: Mapping[str, Any]) -> str:
        if self._breaker.state is BreakerState.OPEN:
            raise ServerUnavailable("The language model's server failed repeatedly and is not asked for a while.")
        plain = {"model": self.model, "messages": list(messages)}
        try:
            status, content = self._post({**plain, "temperature": 0, "max_tokens": 600, **more})
            if status in UNKNOWN_FIELD_STATUSES:
                status, content = self._post(plain)
            if status in REFUSED_STATUSES:
                raise LanguageError(f"The language model's server refused this request with status {status}.")
            if status != OK:
                raise ServerUnavailable(f"The language model's server answered with status {status}.")
        except ServerUnavailable:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return _message(content)

    def _post(self, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """Return status and content of the answer. Raises ServerUnavailable."""
        try:
            return self._posts.post("chat/completions", body)
        except PostError as error:
            raise ServerUnavailable(f"The language model's server {error}") from error


def _message(content: bytes) -> str:
    """Return the assistant's message without characters that a database refuses. Raises LanguageError."""
    try:
        message = json.loads(content)["choices"][0]["message"]
        refusal, said = message.get("refusal"), message.get("content")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise LanguageError("The language model's server did not answer in OpenAI's format.") from error
    if refusal:
        raise LanguageError("The language model refused to answer.")
    if not isinstance(said, str) or not said.strip():
        raise LanguageError("The language model's answer is empty.")
    return said.encode("utf-8", "ignore").decode().replace("\x00", " ")


def _answer(said: str) -> str:
    """Return the answer without the reasoning that some models write before it."""
    return said.rpartition("</think>")[2].strip()
