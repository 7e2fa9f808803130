"""POST requests to an operator's service that judges or understands texts: each ends after its time limit, whatever the
service sends, and no more than a limited answer is read.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, Final, cast

import httpx

from limner_shared.timed_streams import TimedBackend

MAX_ANSWER_BYTES: Final = 1 << 20


class PostError(Exception):
    """The service did not answer; the message says why, as what follows the service's name."""


class NotSent(PostError):
    """There was no connection, so the service has not seen the request."""


class TimedPosts:
    """A client of one service. Thread-safe."""

    def __init__(self, url: str, key: str, seconds: float) -> None:
        """`url` is the base URL; `seconds` limits a request, from the connection to the last byte of the answer."""
        self._seconds = seconds
        self._own = threading.local()
        # Compressed, a short answer could fill the memory.
        headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {key}"} if key else {})
        self._http = httpx.Client(base_url=url.rstrip("/") + "/", headers=headers, timeout=seconds)
        backend, known = TimedBackend(self._deadline), cast("Any", self._http)
        for transport in (known._transport, *known._mounts.values()):  # noqa: SLF001 - httpx has no public way, and without this no time limit of a whole request
            if transport is not None:  # of a host that the environment's proxy is not for
                transport._pool._network_backend = backend  # noqa: SLF001 - as above

    def post(self, path: str, body: Mapping[str, object]) -> tuple[int, bytes]:
        """Return status and content of the answer. Raises PostError."""
        self._own.deadline = time.monotonic() + self._seconds
        content = bytearray()
        try:
            with self._http.stream("POST", path, json=body) as answer:
                for chunk in answer.iter_raw():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise PostError("sent an answer that is too long.")
                return answer.status_code, bytes(content)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise NotSent("cannot be reached.") from error
        except httpx.TimeoutException as error:
            raise PostError(f"did not answer within {self._seconds:g} seconds.") from error
        except httpx.HTTPError as error:
            raise PostError("cannot be reached.") from error

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _deadline(self) -> float:
        """The end of the calling thread's request."""
        return self._own.deadline


def printable(text: str, most: int) -> str:
    """A service's own words as they may stand in an error: at most `most` characters, none that a database refuses."""
    return "".join(char for char in text if char.isprintable()).strip()[:most]
