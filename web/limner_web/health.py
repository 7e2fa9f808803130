"""Whether this process lives, and whether the service can take jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from apiflask import APIBlueprint
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.database import is_current
from limner_web.services import Services, services

bp = APIBlueprint("health", __name__, tag="Health")


@bp.get("/healthz")
@bp.doc(responses={200: "Alive"})
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@bp.get("/readyz")
@bp.doc(responses={200: "Ready, or ready without Redis", 503: "Cannot take jobs, or no more of them now"})
def readyz() -> tuple[dict[str, Any], int]:
    """Jobs can be taken. Without Redis they are taken too, and run: `degraded`. With all hands full: `overloaded`."""
    held = services()
    database, redis = _database(held), _redis(held)
    load = {kind: {"held": held.gate.held[kind], "limit": limit} for kind, limit in held.gate.limits.items()}
    if database != "ok":
        status = "unavailable"
    elif "requests" in held.gate.full:
        status = "overloaded"
    else:
        status = "ok" if redis == "ok" else "degraded"
    code = HTTPStatus.SERVICE_UNAVAILABLE if status in ("unavailable", "overloaded") else HTTPStatus.OK
    return {"status": status, "database": database, "redis": redis, "load": load}, code


def _database(held: Services) -> str:
    try:
        migrated = is_current(held.database, held.settings.resolved_database_url)
    except SQLAlchemyError:
        return "away"
    return "ok" if migrated else "not migrated: run `limner db upgrade`"


def _redis(held: Services) -> str:
    try:
        held.hints.redis.ping()
    except RedisError:
        return "away"
    return "ok"
