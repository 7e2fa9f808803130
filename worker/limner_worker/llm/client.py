"""The client of any OpenAI-compatible language model server: one question, one answer as checked JSON or as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError

Answer = TypeVar("Answer", bound=BaseModel)
MAX_ANSWER_BYTES = 1 << 20
_OBJECT = re.compile(r"\{.*\}", re.DOTALL)


class LanguageError(Exception):
    """The language model gave no answer that could be used; the message says why, in one plain sentence."""


class ChatClient:
    """One server and one of its models. For any thread."""

    def __init__(self, url: str, model: str, key: str = "", seconds: float = 8.0) -> None:
        """`url` is the base that ends in /v1; `seconds` bounds a whole question."""
        self.model = model
        self._seconds = seconds
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=seconds)

    def ask(self, messages: Sequence[Mapping[str, str]], answer: type[Answer]) -> Answer:
        """An object of the given schema. Servers that do not know `response_format` are told of it in words as well.

        Raises LanguageError.
        """
        schema = answer.model_json_schema()
        form = {"type": "json_schema", "json_schema": {"name": answer.__name__, "schema": schema}}
        text = self._complete(messages, {"response_format": form})
        match = _OBJECT.search(text)
        try:
            return answer.model_validate(json.loads(match.group() if match else text))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the answer"
            raise LanguageError(f"The language model's answer has another form: {where}: {first['msg']}.") from error
        except ValueError as error:
            raise LanguageError("The language model's answer is not JSON.") from error

    def say(self, messages: Sequence[Mapping[str, str]]) -> str:
        """A text. Raises LanguageError."""
        return self._complete(messages, {}).strip()

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _complete(self, messages: Sequence[Mapping[str, str]], more: Mapping[str, Any]) -> str:
        body = {"model": self.model, "messages": list(messages), "temperature": 0, "max_tokens": 600, **more}
        try:
            answer = self._http.post("chat/completions", json=body)
            if answer.status_code in (400, 422) and more:
                answer = self._http.post("chat/completions", json={k: v for k, v in body.items() if k not in more})
            answer.raise_for_status()
            if len(answer.content) > MAX_ANSWER_BYTES:
                raise LanguageError("The language model's answer is far too long.")
            message = answer.json()["choices"][0]["message"]
        except httpx.TimeoutException as error:
            raise LanguageError(f"The language model did not answer within {self._seconds:g} seconds.") from error
        except httpx.HTTPStatusError as error:
            raise LanguageError(f"The language model's server answered {error.response.status_code}.") from error
        except httpx.HTTPError as error:
            raise LanguageError("The language model's server cannot be reached.") from error
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise LanguageError("The language model's server answered in another form than OpenAI's.") from error
        return _content(message)


def _content(message: object) -> str:
    if isinstance(message, dict) and message.get("refusal"):
        raise LanguageError("The language model refused.")
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, str) or not content.strip():
        raise LanguageError("The language model said nothing.")
    return content
