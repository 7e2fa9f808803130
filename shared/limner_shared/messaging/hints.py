"""Hints through Redis: changes of jobs and the progress of running ones. A lost hint costs a poll, never a result."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from limner_shared.db.ledger import Change
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.measured_redis import MeasuredRedis
from limner_shared.messaging.redis_servers import connection_pool
from limner_shared.messaging.typed_redis import pipeline, publish

JOB_CHANNEL: Final = "limner:events"
"""All changes and all progress, as JSON."""
WAKE_CHANNEL: Final = "limner:wake"
"""Wakes the dispatcher: jobs wait for their release, so it need not wait for its next round."""
DELIVERIES_CHANNEL: Final = "limner:deliveries"
"""Tells the dispatcher that webhook deliveries are due."""
CANCEL_CHANNEL: Final = "limner:cancel"
"""Ids of canceled jobs, for the workers."""
PROGRESS_TTL_SECONDS: Final = 120
PREVIEW_REQUEST_SECONDS: Final = 5
"""How long a request for a preview counts, in seconds."""
PREVIEW_TTL_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done and total steps, over all images of a job."""

    done: int
    total: int


class JobHint(BaseModel):
    """A message of JOB_CHANNEL: a job's new state, its progress, or that it was deleted."""

    model_config = ConfigDict(frozen=True)
    id: str
    tenant_id: str
    bulk_id: str | None = None
    state: JobState | None = None
    version: int = 0
    deleted: bool = False
    progress: Progress | None = None


def read_hint(data: bytes) -> JobHint | None:
    """Parse a message of JOB_CHANNEL; None for anything that `Hints` does not send."""
    try:
        hint = JobHint.model_validate_json(data)
    except ValidationError:
        return None
    return hint if hint.state or hint.progress else None


_PROGRESS: Final = TypeAdapter(Progress)


def read_progress(value: str) -> Progress | None:
    """Parse a stored progress; None for anything that `Hints` does not store. Fields of later versions are ignored."""
    try:
        return _PROGRESS.validate_json(value)
    except ValidationError:
        return None


def connect(url: str, *, decode_responses: bool = True) -> Redis:
    """Return a client that fails fast, because hints are not worth a wait. It returns text, or bytes.

    Bytes that are not UTF-8 are replaced: one value that other programs wrote must not make the rest unreadable. Raises
    ConfigurationError.
    """
    pool = connection_pool(
        url,
        socket_timeout=2,
        socket_connect_timeout=1,
        retry=Retry(NoBackoff(), 0),
        decode_responses=decode_responses,
        encoding_errors="replace",
    )
    return MeasuredRedis.from_pool(pool)


class Hints:
    """Sends and reads hints; an unavailable Redis is not an error here."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def changed(self, changes: Iterable[Change], *, waiting: bool = False) -> bool:
        """Announce new states of jobs, for each bulk only the first; workers receive every cancellation.

        With `waiting`, the dispatcher is told as well that jobs wait for their release. False if Redis is unavailable.
        """
        messages: list[tuple[str, str]] = []
        bulks: set[str] = set()
        all_changes = list(changes)
        if any(change.notifies for change in all_changes):
            messages.append((DELIVERIES_CHANNEL, ""))
        for change in all_changes:
            if change.bulk_id is None or change.bulk_id not in bulks:
                messages.append((JOB_CHANNEL, json.dumps(asdict(change))))
                bulks |= {change.bulk_id} if change.bulk_id else set()
            if change.state is JobState.CANCELED:
                messages.append((CANCEL_CHANNEL, change.id))
        if waiting:
            messages.append((WAKE_CHANNEL, ""))
        return self._send(messages, {})

    def jobs_wait(self) -> bool:
        """Tell the dispatcher that jobs wait for their release; False if Redis is unavailable."""
        return self._send([(WAKE_CHANNEL, "")], {})

    def deliveries_wait(self) -> None:
        """Tell the dispatcher that webhook deliveries are due."""
        self._send([(DELIVERIES_CHANNEL, "")], {})

    def progressed(self, jobs: Mapping[str, tuple[str, Progress]]) -> None:
        """Announce the progress of running jobs: tenant and progress by job id."""
        messages: list[tuple[str, str]] = []
        keys: dict[str, str] = {}
        for job_id, (tenant, progress) in jobs.items():
            values = {"done": progress.done, "total": progress.total}
            messages.append((JOB_CHANNEL, json.dumps({"id": job_id, "tenant_id": tenant, "progress": values})))
            keys[f"limner:progress:{job_id}"] = json.dumps(values)
        self._send(messages, keys)

    def progress(self, job_ids: Iterable[str]) -> dict[str, Progress]:
        """The progress of each of these jobs; jobs without known progress are left out."""
        ids = list(job_ids)
        if not ids:
            return {}
        try:
            values = self._read_all([f"limner:progress:{job_id}" for job_id in ids])
        except RedisError:
            return {}
        read = {job_id: read_progress(value) for job_id, value in zip(ids, values, strict=True) if value}
        return {job_id: progress for job_id, progress in read.items() if progress is not None}

    def deleted(self, change: Change) -> None:
        """Announce that a job was deleted, and delete its preview and progress."""
        self._send([(JOB_CHANNEL, json.dumps(asdict(change)))], {})
        with suppress(RedisError):
            self.redis.delete(f"limner:preview:{change.id}", f"limner:progress:{change.id}")

    # --- previews: made only while a client requests them ---

    def request_preview(self, job_id: str) -> bytes | None:
        """Request previews of a job; returns its latest one as WebP, if there is one that can be read."""
        try:
            with pipeline(self.redis, transaction=False) as pipe:
                pipe.set(f"limner:watched:{job_id}", "", ex=PREVIEW_REQUEST_SECONDS)
                pipe.get(f"limner:preview:{job_id}")
                _, preview = pipe.execute()
            return base64.b64decode(preview, validate=True) if preview else None
        except (RedisError, ValueError):
            return None

    def jobs_with_preview_requests(self, job_ids: Collection[str]) -> set[str]:
        """The subset of these jobs whose previews clients have requested."""
        if not job_ids:
            return set()
        try:
            found = self._read_all([f"limner:watched:{job_id}" for job_id in job_ids])
        except RedisError:
            return set()
        return {job_id for job_id, value in zip(job_ids, found, strict=True) if value is not None}

    def _read_all(self, keys: list[str]) -> list[str | None]:
        return cast("list[str | None]", self.redis.mget(keys))  # redis-py types it for asynchronous clients too

    def previewed(self, job_id: str, webp: bytes) -> None:
        """Store the preview of a running job."""
        with suppress(RedisError):
            self.redis.set(f"limner:preview:{job_id}", base64.b64encode(webp), ex=PREVIEW_TTL_SECONDS)

    def _send(self, messages: list[tuple[str, str]], keys: dict[str, str]) -> bool:
        if not messages:
            return True
        try:
            with pipeline(self.redis, transaction=False) as pipe:
                for key, value in keys.items():
                    pipe.set(key, value, ex=PROGRESS_TTL_SECONDS)
                for channel, message in messages:
                    publish(pipe, channel, message)
                pipe.execute()
        except RedisError:
            return False
        return True
