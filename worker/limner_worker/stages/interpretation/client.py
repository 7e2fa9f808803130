"""The client of any OpenAI-compatible language model server: one question, one answer as checked JSON or as text."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

from limner_shared.circuit_breaker import Breaker, BreakerState

Answer = TypeVar("Answer", bound=BaseModel)
MAX_ANSWER_BYTES = 1 << 20
OK = 200
FAILURES = 3
"""Failures in a row after which the server is left alone."""
REST_SECONDS = 20.0
"""How long it is left alone."""
UNKNOWN = (400, 404, 422)
"""How servers answer to a field that they do not know."""


class LanguageError(Exception):
    """The language model gave no answer that could be used; the message says why, in one plain sentence."""


class ServerTrouble(LanguageError):
    """The server itself is away, slow or broken: the next question would fare no better."""


class ChatClient:
    """One server and one of its models. For any thread. A server in trouble is left alone for a while."""

    def __init__(
        self,
        url: str,
        model: str,
        key: str = "",
        seconds: float = 8.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`url` is the base that ends in /v1; after `seconds` an answer is not waited for."""
        self.model = model
        self._clock = clock
        self._breaker = Breaker(FAILURES, REST_SECONDS, REST_SECONDS, clock)
        self._seconds = seconds
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=seconds)

    def ask(self, messages: Sequence[Mapping[str, str]], answer: type[Answer]) -> Answer:
        """An object of the given schema. Servers that do not know `response_format` are told of it in words as well.

        Raises LanguageError.
        """
        schema = answer.model_json_schema()
        form = {"type": "json_schema", "json_schema": {"name": answer.__name__, "schema": schema}}
        text = _answer(self._complete(messages, {"response_format": form}))
        first, last = text.find("{"), text.rfind("}")  # others say something around it
        try:
            return answer.model_validate(json.loads(text[max(first, 0) : last + 1]))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the answer"
            raise LanguageError(f"The language model's answer has another form: {where}: {first['msg']}.") from error
        except (ValueError, RecursionError) as error:
            raise LanguageError("The language model's answer is not JSON.") from error

    def say(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A text. Raises LanguageError."""
        return _answer(self._complete(messages, {}))

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _complete(self, messages: Sequence[Mapping[str, str]], more: Mapping[str, Any]) -> str:
        if self._breaker.state is BreakerState.OPEN:
            raise ServerTrouble("The language model's server failed several times in a row; it is left alone.")
        plain = {"model": self.model, "messages": list(messages)}
        try:
            status, content = self._post({**plain, "temperature": 0, "max_tokens": 600, **more})
            if status in UNKNOWN:
                status, content = self._post(plain)
            if status != OK:
                raise ServerTrouble(f"The language model's server answered {status}.")
        except ServerTrouble:
            self._breaker.failed()
            raise
        self._breaker.succeeded()
        return _message(content)

    def _post(self, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """Status and content, read only as far as time and size allow. Raises ServerTrouble."""
        deadline = self._clock() + self._seconds
        content = bytearray()
        try:
            with self._http.stream("POST", "chat/completions", json=body) as answer:
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise ServerTrouble("The language model's answer is far too long.")
                    if self._clock() > deadline:
                        raise ServerTrouble(self._late)
                return answer.status_code, bytes(content)
        except httpx.TimeoutException as error:
            raise ServerTrouble(self._late) from error
        except httpx.HTTPError as error:
            raise ServerTrouble("The language model's server cannot be reached.") from error

    @property
    def _late(self) -> str:
        return f"The language model did not answer within {self._seconds:g} seconds."


def _message(content: bytes) -> str:
    """What the assistant said, as text that a database can keep."""
    try:
        message = json.loads(content)["choices"][0]["message"]
        refusal, said = message.get("refusal"), message.get("content")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise LanguageError("The language model's server answered in another form than OpenAI's.") from error
    if refusal:
        raise LanguageError("The language model refused.")
    if not isinstance(said, str) or not said.strip():
        raise LanguageError("The language model said nothing.")
    return said.encode("utf-8", "ignore").decode().replace("\x00", " ")


def _answer(said: str) -> str:
    """Without what a reasoning model thought aloud before it."""
    return said.rpartition("</think>")[2].strip()
