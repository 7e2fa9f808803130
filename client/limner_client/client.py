"""The client of the native HTTP API, used by the command line, the demo and the benchmarks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from limner_shared.domain.views import (
    BulkView,
    ImageView,
    JobList,
    JobView,
    ModelList,
    ModelView,
    Receipts,
    ReceiptView,
    Retried,
)
from limner_shared.errors import LimnerError, ServiceUnavailable

API: Final = "/api/v1"
JSONL: Final = "application/x-ndjson"
WAIT_SECONDS: Final = 20
"""How long one long poll lasts; the server allows 25."""
PROBLEM_FIELDS: Final = {"type", "title", "status", "detail", "instance", "message"}
GATEWAY_ERRORS: Final = (502, 503, 504)
"""What a proxy answers whose server is away."""
TIMEOUT: Final = httpx.Timeout(30, connect=5)


class ClientError(LimnerError):
    """The server refused the request."""

    code, title = "client_error", "Request refused"


class ServerUnreachable(ServiceUnavailable):
    """No Limner server answers at this address."""

    code, title = "server_unreachable", "Server unreachable"


class Client:
    """Talks to one server. Raises the server's error as its LimnerError, and ServerUnreachable where none answers."""

    def __init__(self, server: str, key: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        self.server = server.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # Proxy settings are for the world outside; a server on loopback is not there.
        local = httpx.URL(self.server).host in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=self.server, headers=headers, timeout=TIMEOUT, transport=transport, trust_env=not local
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    # --- jobs ---

    def submit(self, request: Mapping[str, Any]) -> JobView:
        """Queue a job; `request` has the fields of `JobRequest`, and those that are None are left out."""
        body = {name: value for name, value in request.items() if value is not None}
        return JobView.model_validate(self._json("POST", f"{API}/jobs", json=body))

    def job(self, job_id: str, wait_seconds: int = 0) -> JobView:
        """A job as it is now, or when it ends within `wait_seconds`."""
        params = {"wait": wait_seconds} if wait_seconds else {}
        return JobView.model_validate(self._json("GET", f"{API}/jobs/{job_id}", params=params))

    def wait(self, job_id: str, every_seconds: int = WAIT_SECONDS) -> Iterator[JobView]:
        """The job now, and again after so many seconds, and at last as soon as it is in its terminal state."""
        view = self.job(job_id)
        yield view
        while not view.status.terminal:
            view = self.job(job_id, every_seconds)
            yield view

    def jobs(
        self, *, status: str | None = None, limit: int = 20, cursor: str | None = None, dead: bool = False
    ) -> JobList:
        """A page of your jobs, newest first; with `dead`, of the dead letters among them."""
        wanted = {"state": status, "limit": limit, "cursor": cursor, "dead": "true" if dead else None}
        answer = self._json("GET", f"{API}/jobs", params={k: v for k, v in wanted.items() if v is not None})
        return JobList.model_validate(answer)

    def retry_dead(self, job_ids: list[str] | None) -> list[str]:
        """Do dead letters again, None for all; returns the new jobs' ids."""
        answer = self._json("POST", f"{API}/jobs/retry", json={} if job_ids is None else {"jobs": job_ids})
        return Retried.model_validate(answer).jobs

    def receipts(self, job_id: str) -> list[ReceiptView]:
        """What made each of a job's pictures."""
        return Receipts.model_validate(self._json("GET", f"{API}/jobs/{job_id}/receipts")).items

    def replay(self, job_id: str) -> JobView:
        """Make a job's pictures again, as a new job."""
        return JobView.model_validate(self._json("POST", f"{API}/jobs/{job_id}/replay"))

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job that is not done."""
        return JobView.model_validate(self._json("POST", f"{API}/jobs/{job_id}/cancel"))

    def cancel_bulk(self, bulk_id: str) -> BulkView:
        """Cancel every job of a bulk that is not done."""
        return BulkView.model_validate(self._json("POST", f"{API}/bulks/{bulk_id}/cancel"))

    # --- bulks ---

    def submit_bulk(
        self, lines: BinaryIO | Path, idempotency_key: str | None = None, *, skip_bad: bool = False
    ) -> BulkView:
        """Queue every line of a JSONL file, which is sent as it is read; with a key, once however often it is sent.

        With `skip_bad`, lines that cannot be accepted are left out, and the bulk tells which. Raises BadBulk.
        """
        if isinstance(lines, Path):
            with lines.open("rb") as file:
                return self.submit_bulk(file, idempotency_key, skip_bad=skip_bad)
        headers = {"Content-Type": JSONL} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        params = {"on_error": "skip"} if skip_bad else {}
        answer = self._json("POST", f"{API}/bulks", content=lines, headers=headers, params=params, timeout=None)
        return BulkView.model_validate(answer)

    def bulk(self, bulk_id: str) -> BulkView:
        """A bulk as it is now."""
        return BulkView.model_validate(self._json("GET", f"{API}/bulks/{bulk_id}"))

    def pause_bulk(self, bulk_id: str) -> BulkView:
        """Start none of its jobs until it is resumed."""
        return BulkView.model_validate(self._json("POST", f"{API}/bulks/{bulk_id}/pause"))

    def resume_bulk(self, bulk_id: str) -> BulkView:
        """Go on with a paused bulk."""
        return BulkView.model_validate(self._json("POST", f"{API}/bulks/{bulk_id}/resume"))

    def bulk_results(self, bulk_id: str) -> Iterator[JobView]:
        """Every job of a bulk, in the order of its lines, as the answer arrives."""
        with self._stream(f"{API}/bulks/{bulk_id}/results") as answer:
            yield from (JobView.model_validate_json(line) for line in answer.iter_lines() if line.strip())

    # --- pictures, models, events ---

    def download(self, image: ImageView) -> bytes:
        """The picture's stored bytes. Raises ClientError if they are not those of its SHA-256."""
        data = self._send("GET", image.url, headers={"Accept": image.media_type}).content
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise ClientError(f"The bytes of {image.id} do not have the SHA-256 that the server gave: try again.")
        return data

    def models(self) -> list[ModelView]:
        """The models that the server knows, and what each allows."""
        return ModelList.model_validate(self._json("GET", f"{API}/models")).items

    def events(self, params: Mapping[str, str] | None = None) -> Iterator[ServerSentEvent]:
        """What changes, as it changes, until the server or the caller ends it."""
        timeout = httpx.Timeout(60, connect=5)
        try:
            with connect_sse(self._http, "GET", f"{API}/events", params=params, timeout=timeout) as source:
                if source.response.is_error:
                    source.response.read()
                    raise _refused(source.response)
                # What has no data is no event (HTML Living Standard, 9.2.6), such as a bare `retry:`.
                yield from (event for event in source.iter_sse() if event.data)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    # --- the wire ---

    def _json(self, method: str, url: str, **options: Any) -> Any:
        answer = self._send(method, url, **options)
        try:
            return answer.json()
        except json.JSONDecodeError as error:
            raise ClientError(f"What answers at {self.server} is not a Limner server.") from error

    def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, url, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise _refused(answer)
        return answer

    @contextmanager
    def _stream(self, url: str) -> Iterator[httpx.Response]:
        try:
            with self._http.stream("GET", url) as answer:
                if answer.is_error:
                    answer.read()
                    raise _refused(answer)
                yield answer
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> ServerUnreachable:
        return ServerUnreachable(
            f"No Limner server answers at {self.server} ({error or type(error).__name__}): "
            "start one with `limner up`, or name another with --server."
        )


def _refused(answer: httpx.Response) -> LimnerError:
    """The server's problem document (RFC 9457) as the error of the same code."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        if answer.status_code in GATEWAY_ERRORS:
            return ServiceUnavailable(f"The proxy before the server answered {answer.status_code}.")
        return ClientError(f"The server answered {answer.status_code} {answer.reason_phrase}.")
    fields: dict[str, Any] = problem
    kinds = {kind.code: kind for kind in LimnerError.__subclasses__()}
    message = str(fields.get("detail") or fields.get("title") or answer.reason_phrase)
    details = {name: value for name, value in fields.items() if name not in PROBLEM_FIELDS}
    kind = kinds.get(str(fields.get("code")), ClientError)
    return kind(message, **details)
