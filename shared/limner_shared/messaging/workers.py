"""Finds running workers by their ids or the names of their machines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.orm import Session

from limner_shared.db import fleet_queries
from limner_shared.errors import NotFound
from limner_shared.messaging.reports import WorkerReport, read_reports

COMPLETE: Final = re.compile(r"[^:\s]+:\d+:[0-9a-f]{8}")
"""The id of a worker, as `domain.ids.new_owner` makes it."""


def find_workers(session: Session, redis: Redis, name: str) -> list[str]:
    """The ids of the workers that `name` means: one id, `machine:process`, or all workers of a machine.

    Without Redis only workers that run a job are known, and a complete id is taken as it is. Raises NotFound, which
    lists the workers that run.
    """
    known = fleet_queries.running_owners(session)
    try:
        known |= {report.owner for report in read_reports(redis, WorkerReport)}
        away = ""
    except RedisError:
        if COMPLETE.fullmatch(name):
            return [name]
        away = " Redis is unavailable, where idle workers report: give the complete id of the worker, from its log."
    found = matching(name, known)
    if not found:
        running = f"Running: {', '.join(sorted(known))}." if known else "No worker is running."
        raise NotFound(f"There is no worker {name!r}. {running}{away}")
    return found


def matching(name: str, ids: Iterable[str]) -> list[str]:
    """Those of the ids that `name` means, in their order."""
    return sorted(one for one in ids if one == name or one.startswith(f"{name}:"))
