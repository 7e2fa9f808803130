"""Hints through Redis: what changed, and how far a running job is. Losing one costs a poll, never a result."""

from __future__ import annotations

import base64
import json
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, ValidationError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from limner_shared.db.ledger import Change
from limner_shared.domain.jobs import JobState

CHANNEL: Final = "limner:events"
"""Every change and every progress, as JSON."""
WAKE_CHANNEL: Final = "limner:wake"
"""For the dispatcher: there is something to release that it need not wait for its next round to see."""
CANCEL_CHANNEL: Final = "limner:cancel"
"""Ids of canceled jobs, for the workers."""
PROGRESS_TTL_SECONDS: Final = 120
WATCHED_SECONDS: Final = 5
"""For so long whoever asked for a preview is believed to look."""
PREVIEW_TTL_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Progress:
    """Steps done of all the steps of a job's images together."""

    done: int
    total: int


class Heard(BaseModel):
    """A message of CHANNEL: a new state of a job, or how far it is."""

    model_config = ConfigDict(frozen=True)
    id: str
    tenant_id: str
    bulk_id: str | None = None
    state: JobState | None = None
    version: int = 0
    progress: Progress | None = None


def read_message(data: bytes) -> Heard | None:
    """What a message of CHANNEL says; None for anything that `Hints` does not send."""
    try:
        heard = Heard.model_validate_json(data)
    except ValidationError:
        return None
    return heard if heard.state or heard.progress else None


def connect(url: str, *, decode_responses: bool = True) -> Redis:
    """A client that fails fast: hints are not worth waiting for. It returns text, or else bytes."""
    return Redis.from_url(
        url, socket_timeout=2, socket_connect_timeout=1, retry=Retry(NoBackoff(), 0), decode_responses=decode_responses
    )


class Hints:
    """Tells and reads hints; a Redis that is away is not an error here."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis

    def changed(self, changes: Iterable[Change]) -> None:
        """Tell that these jobs have new states; of a bulk's jobs, one at a time stands for all."""
        messages: list[tuple[str, str]] = []
        bulks: set[str] = set()
        for change in changes:
            if change.bulk_id is None or change.bulk_id not in bulks:
                messages.append((CHANNEL, json.dumps(asdict(change))))
                bulks |= {change.bulk_id} if change.bulk_id else set()
            if change.state is JobState.CANCELED:
                messages.append((CANCEL_CHANNEL, change.id))
        self._send(messages, {})

    def waiting(self) -> None:
        """Tell the dispatcher that jobs wait for their release."""
        self._send([(WAKE_CHANNEL, "")], {})

    def progressed(self, jobs: Mapping[str, tuple[str, Progress]]) -> None:
        """Tell how far running jobs are: tenant and progress by job id."""
        messages = [
            (CHANNEL, json.dumps({"id": job_id, "tenant_id": tenant, "progress": asdict(progress)}))
            for job_id, (tenant, progress) in jobs.items()
        ]
        self._send(messages, {f"limner:progress:{job_id}": asdict(p) for job_id, (_, p) in jobs.items()})

    def progress(self, job_ids: Iterable[str]) -> dict[str, Progress]:
        """How far each of these jobs is, for those of which it is known."""
        ids = list(job_ids)
        if not ids:
            return {}
        try:
            values: list[Any] = self.redis.mget([f"limner:progress:{job_id}" for job_id in ids])  # type: ignore[assignment]
        except RedisError:
            return {}
        return {job_id: Progress(**json.loads(value)) for job_id, value in zip(ids, values, strict=True) if value}

    # --- previews: made only while somebody looks ---

    def watch(self, job_id: str) -> bytes | None:
        """Say that somebody looks at this job now; returns the WebP of how it looked last, if there is one."""
        try:
            with self.redis.pipeline(transaction=False) as pipe:
                pipe.set(f"limner:watched:{job_id}", "", ex=WATCHED_SECONDS)
                pipe.get(f"limner:preview:{job_id}")
                _, preview = pipe.execute()
        except RedisError:
            return None
        return base64.b64decode(preview) if preview else None

    def watched(self, job_ids: Collection[str]) -> set[str]:
        """Those of these jobs that somebody looks at."""
        if not job_ids:
            return set()
        try:
            found: list[Any] = self.redis.mget([f"limner:watched:{job_id}" for job_id in job_ids])  # type: ignore[assignment]
        except RedisError:
            return set()
        return {job_id for job_id, value in zip(job_ids, found, strict=True) if value is not None}

    def previewed(self, job_id: str, webp: bytes) -> None:
        """Show how a running job looks."""
        with suppress(RedisError):
            self.redis.set(f"limner:preview:{job_id}", base64.b64encode(webp), ex=PREVIEW_TTL_SECONDS)

    def _send(self, messages: list[tuple[str, str]], keys: dict[str, dict[str, Any]]) -> None:
        if not messages:
            return
        try:
            with self.redis.pipeline(transaction=False) as pipe:
                for key, value in keys.items():
                    pipe.set(key, json.dumps(value), ex=PROGRESS_TTL_SECONDS)
                for channel, message in messages:
                    pipe.publish(channel, message)
                pipe.execute()
        except RedisError:
            return
