"""The client of the native HTTP API."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import httpx
from httpx_sse import ServerSentEvent, connect_sse

from limner_client.certificates import trusted
from limner_client.errors import ClientError, ServerUnreachable, refused
from limner_client.images import Images
from limner_client.keys import Keys
from limner_client.own_queue import OwnQueue
from limner_client.parameters import parameter
from limner_client.webhooks import Webhooks
from limner_shared.domain.model_views import ModelList, ModelView
from limner_shared.domain.views import (
    BulkList,
    BulkView,
    ExplanationView,
    ImageLink,
    ImageView,
    JobList,
    JobView,
    Receipts,
    ReceiptView,
    Retried,
)

API: Final = "/api/v1"
JSONL: Final = "application/x-ndjson"
WAIT_SECONDS: Final = 20  # of one long poll; the server allows 25
TIMEOUT: Final = httpx.Timeout(30, connect=5)
BULK_TIMEOUT: Final = httpx.Timeout(60, connect=5, read=600)  # a proxy may send a bulk on only when it has all
LIMITS: Final = httpx.Limits(keepalive_expiry=1)  # a busy server closes idle connections after two seconds


class Client:
    """A client of one server. Raises the server's errors as LimnerError, and ServerUnreachable if no server answers."""

    def __init__(self, server: str, key: str | None = None, *, transport: httpx.BaseTransport | None = None) -> None:
        self.server = server.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        # Proxy settings of the environment do not apply to a server on loopback.
        local = httpx.URL(self.server).host in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=self.server,
            headers=headers,
            timeout=TIMEOUT,
            limits=LIMITS,
            transport=transport,
            trust_env=not local,
            verify=trusted(),
        )
        self.webhooks = Webhooks(self._json)
        self.images = Images(self._json)
        self.own_queue = OwnQueue(self._json)
        self.keys = Keys(self._json)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client cannot be used afterwards."""
        self._http.close()

    # --- jobs ---

    def submit(self, request: Mapping[str, Any]) -> JobView:
        """Queue a job; `request` has the fields of `JobRequest`, of which those that are None are omitted."""
        body = {name: value for name, value in request.items() if value is not None}
        return JobView.model_validate(self._json("POST", f"{API}/jobs", json=body))

    def job(self, job_id: str, wait_seconds: int = 0) -> JobView:
        """Return a job; with `wait_seconds`, wait at most that long for it to end."""
        params = {"wait": wait_seconds} if wait_seconds else {}
        return JobView.model_validate(self._json("GET", f"{API}/jobs/{job_id}", params=params))

    def wait(self, job_id: str, every_seconds: int = WAIT_SECONDS) -> Iterator[JobView]:
        """Yield the job now and after each `every_seconds`, and last in its terminal state, as soon as it ends."""
        view = self.job(job_id)
        yield view
        while not view.status.terminal:
            view = self.job(job_id, every_seconds)
            yield view

    def jobs(
        self,
        *,
        status: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
        dead: bool = False,
        **filters: Any,
    ) -> JobList:
        """Return a page of your jobs, newest first; with `dead`, of your dead letters only.

        `filters` are the other filters of the API: `q`, `model`, `style`, `bulk`, `conversation`, `origin`, `tag`,
        `favourite`, `created_after`, `created_before`. The list ends where `next` is None.
        """
        wanted = {"status": status, "limit": limit, "cursor": cursor, "dead": True if dead else None} | filters
        params = {name: parameter(value) for name, value in wanted.items() if value is not None}
        return JobList.model_validate(self._json("GET", f"{API}/jobs", params=params))

    def jobs_by_id(self, job_ids: Sequence[str], wait_seconds: int = 0) -> list[JobView]:
        """Return these jobs, at most 100; with `wait_seconds`, wait at most that long for one of them to end."""
        params = {"ids": ",".join(job_ids)} | ({"wait": str(wait_seconds)} if wait_seconds else {})
        return JobList.model_validate(self._json("GET", f"{API}/jobs", params=params)).items

    def explain(self, job_id: str) -> ExplanationView:
        """Return why a job waits, and when it will probably be finished."""
        return ExplanationView.model_validate(self._json("GET", f"{API}/jobs/{job_id}/explain"))

    def retry_dead(self, job_ids: list[str] | None) -> list[str]:
        """Retry dead letters, or for None the oldest 1000 of all; returns the ids of the new jobs."""
        answer = self._json("POST", f"{API}/jobs/retry", json={} if job_ids is None else {"jobs": job_ids})
        return Retried.model_validate(answer).jobs

    def receipts(self, job_id: str) -> list[ReceiptView]:
        """Return the receipt of each of a job's images."""
        return Receipts.model_validate(self._json("GET", f"{API}/jobs/{job_id}/receipts")).items

    def replay(self, job_id: str) -> JobView:
        """Generate a job's images again, as a new job."""
        return JobView.model_validate(self._json("POST", f"{API}/jobs/{job_id}/replay"))

    def cancel(self, job_id: str) -> JobView:
        """Cancel a job that has not ended."""
        return JobView.model_validate(self._json("POST", f"{API}/jobs/{job_id}/cancel"))

    def delete(self, target_id: str) -> None:
        """Delete a job that has ended, or one image."""
        self._send("DELETE", _path(target_id))

    def mark_favourite(self, target_id: str, *, favourite: bool = True) -> None:
        """Mark a job or an image as a favourite, or unmark it."""
        self._send("PUT" if favourite else "DELETE", f"{_path(target_id)}/favourite")

    def tag(self, target_id: str, tag: str) -> None:
        """Give a job or an image a tag."""
        self._send("PUT", f"{_path(target_id)}/tags/{quote(tag, safe='')}")

    def untag(self, target_id: str, tag: str) -> None:
        """Take a tag from a job or an image."""
        self._send("DELETE", f"{_path(target_id)}/tags/{quote(tag, safe='')}")

    # --- bulks ---

    def cancel_bulk(self, bulk_id: str) -> BulkView:
        """Cancel all jobs of a bulk that have not ended."""
        return BulkView.model_validate(self._json("POST", f"{API}/bulks/{bulk_id}/cancel"))

    def submit_bulk(
        self, lines: Iterable[bytes] | Path, idempotency_key: str | None = None, *, skip_bad: bool = False
    ) -> BulkView:
        """Queue every line of a JSON Lines file, which is streamed; with a key, resubmission queues nothing twice.

        With `skip_bad`, invalid lines are skipped and listed in the result; without it, they raise BadBulk.
        """
        if isinstance(lines, Path):
            with lines.open("rb") as file:
                return self.submit_bulk(file, idempotency_key, skip_bad=skip_bad)
        headers = {"Content-Type": JSONL} | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
        options: Any = {"params": {"on_error": "skip"} if skip_bad else {}, "timeout": BULK_TIMEOUT}
        return BulkView.model_validate(self._json("POST", f"{API}/bulks", content=lines, headers=headers, **options))

    def bulks(self, *, limit: int = 20, cursor: str | None = None) -> BulkList:
        """Return a page of your bulks, newest first. The list ends where `next` is None."""
        params = {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
        return BulkList.model_validate(self._json("GET", f"{API}/bulks", params=params))

    def bulk(self, bulk_id: str) -> BulkView:
        """Return a bulk."""
        return BulkView.model_validate(self._json("GET", f"{API}/bulks/{bulk_id}"))

    def pause_bulk(self, bulk_id: str) -> BulkView:
        """Pause a bulk: none of its queued jobs is released until it is resumed."""
        return BulkView.model_validate(self._json("POST", f"{API}/bulks/{bulk_id}/pause"))

    def resume_bulk(self, bulk_id: str) -> BulkView:
        """Resume a paused bulk."""
        return BulkView.model_validate(self._json("POST", f"{API}/bulks/{bulk_id}/resume"))

    def bulk_results(self, bulk_id: str) -> Iterator[JobView]:
        """Yield every job of a bulk in the order of its lines, as the response arrives."""
        with self._stream(f"{API}/bulks/{bulk_id}/results") as answer:
            yield from (JobView.model_validate_json(line) for line in answer.iter_lines() if line.strip())

    # --- images, models, events ---

    def download(self, image: ImageView) -> bytes:
        """Return the image's stored bytes. Raises ClientError if they do not match its SHA-256."""
        headers = {"Accept": image.media_type}
        data = self._send("GET", image.url, headers=headers, follow_redirects=True).content
        if hashlib.sha256(data).hexdigest() != image.sha256:
            raise ClientError(f"The bytes of {image.id} do not have the SHA-256 that the server gave: try again.")
        return data

    def link(self, image_id: str, expires_in: int = 3600) -> ImageLink:
        """Return a link to an image that works without a key for `expires_in` seconds."""
        return ImageLink.model_validate(self._json("GET", f"{_path(image_id)}/link", params={"expires_in": expires_in}))

    def convert(self, image: ImageView, kind: str, width: int | None = None) -> bytes:
        """Return the image as another kind of file: `png`, `webp` or `jpeg`; reduced to a `width` of the API's list."""
        params = {"format": kind} | ({} if width is None else {"width": str(width)})
        return self._send("GET", image.url, params=params, follow_redirects=True).content

    def models(self) -> list[ModelView]:
        """Return the server's models with their limits."""
        return ModelList.model_validate(self._json("GET", f"{API}/models")).items

    def events(
        self, params: Mapping[str, str] | None = None, last_event_id: str | None = None
    ) -> Iterator[ServerSentEvent]:
        """Yield the server-sent events of your jobs, until the server or the caller closes the stream.

        `params` may be `bulk`, `conversation` or `jobs`. With the `id` of the last event of an earlier stream, what has
        changed since then comes first.
        """
        headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        options: Any = {"params": params, "headers": headers, "timeout": httpx.Timeout(60, connect=5)}
        try:
            with connect_sse(self._http, "GET", f"{API}/events", **options) as source:
                if source.response.is_error:
                    source.response.read()
                    raise refused(source.response)
                # A block without data, such as a bare `retry:`, is not an event (HTML Living Standard, 9.2.6).
                yield from (event for event in source.iter_sse() if event.data)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    # --- HTTP ---

    def _json(self, method: str, url: str, **options: Any) -> Any:
        answer = self._send(method, url, **options)
        if answer.status_code == HTTPStatus.NO_CONTENT:
            return None
        try:
            return answer.json()
        except json.JSONDecodeError as error:
            raise ClientError(f"The server at {self.server} is not a Limner server.") from error

    def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, url, **options)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if answer.is_error:
            raise refused(answer)
        return answer

    @contextmanager
    def _stream(self, url: str) -> Iterator[httpx.Response]:
        try:
            with self._http.stream("GET", url) as answer:
                if answer.is_error:
                    answer.read()
                    raise refused(answer)
                yield answer
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.TransportError) -> ServerUnreachable:
        return ServerUnreachable(
            f"No Limner server answers at {self.server} ({error or type(error).__name__}): "
            "start one with `limner up`, or choose another with --server."
        )


def _path(target_id: str) -> str:
    """The path of a job or of an image, by the id's prefix."""
    return f"{API}/{'images' if target_id.startswith('img_') else 'jobs'}/{quote(target_id, safe='')}"
