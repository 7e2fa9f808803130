"""A client of a moderation service in OpenAI's format: `POST …/moderations` says of each text whether it is flagged."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

MAX_ANSWER_BYTES: Final = 1 << 20
OK: Final = 200
REFUSED_STATUSES: Final = (400, 413, 422)
"""The statuses with which services reject one request, such as a text beyond their context, and answer others."""
UNNAMED: Final = "flagged"
"""The category of a text that the service flags without naming one."""
MAX_NAME_CHARS: Final = 60

Categories = frozenset[str]


class ModerationError(Exception):
    """The service said nothing about these texts; the message gives the reason in one sentence, without a text."""


class TextsRefused(ModerationError):
    """The service refuses this request, and may answer others."""


class Result(BaseModel):
    """What a service says of one text. Some services leave out `flagged`."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)
    flagged: bool | None = None
    categories: dict[str, bool | None] = Field(default_factory=dict[str, bool | None])

    @property
    def found(self) -> Categories:
        """The categories of a text that is flagged; empty for any other."""
        names = frozenset(name[:MAX_NAME_CHARS] for name, is_met in self.categories.items() if is_met)
        if self.flagged is None:
            return names
        return (names or frozenset((UNNAMED,))) if self.flagged else frozenset()


class Answer(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)
    results: list[Result]


class ModerationClient:
    """A client of one service. Its caller has the circuit breaker."""

    def __init__(
        self, url: str, model: str, key: str, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`url` is the base URL, which ends in /v1; without `model` the service uses its default one; `seconds` is the
        time limit of an answer.
        """
        self._model = {"model": model} if model else {}
        self._seconds = seconds
        self._clock = clock
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=seconds)

    def judge(self, texts: Sequence[str]) -> list[Categories]:
        """The categories of each text, empty for what is allowed.

        Raises ModerationError; TextsRefused also for an answer that does not have one result for each text.
        """
        status, content = self._post({"input": list(texts) if len(texts) > 1 else texts[0], **self._model})
        if status in REFUSED_STATUSES:
            raise TextsRefused(f"The moderation service refused a request with status {status}.")
        if status != OK:
            raise ModerationError(f"The moderation service answered with status {status}.")
        try:
            results = Answer.model_validate_json(content).results
        except ValidationError as error:
            raise ModerationError("The moderation service did not answer in OpenAI's format.") from error
        if len(results) == len(texts):
            return [each.found for each in results]
        if len(texts) > 1 and results:  # it takes several inputs for the parts of one
            raise TextsRefused("The moderation service did not judge each text by itself.")
        raise ModerationError("The moderation service did not answer in OpenAI's format.")

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _post(self, body: dict[str, object]) -> tuple[int, bytes]:
        """Return status and content, within the limits of time and size. Raises ModerationError."""
        deadline = self._clock() + self._seconds
        content = bytearray()
        slow = f"The moderation service did not answer within {self._seconds:g} seconds."
        try:
            with self._http.stream("POST", "moderations", json=body) as answer:
                for chunk in answer.iter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise ModerationError("The moderation service's answer is too long.")
                    if self._clock() > deadline:
                        raise ModerationError(slow)
                return answer.status_code, bytes(content)
        except httpx.TimeoutException as error:
            raise ModerationError(slow) from error
        except httpx.HTTPError as error:
            raise ModerationError("The moderation service cannot be reached.") from error
