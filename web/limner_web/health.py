"""Whether this process lives, and whether the service can take jobs."""

from __future__ import annotations

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
@bp.doc(responses={200: "Ready, or ready without Redis", 503: "Cannot take jobs"})
def readyz() -> tuple[dict[str, str], int]:
    """Jobs can be taken. Without Redis they are taken too, and run when it is back: `degraded`."""
    held = services()
    database, redis = _database(held), _redis(held)
    status = "unavailable" if database != "ok" else ("ok" if redis == "ok" else "degraded")
    return {"status": status, "database": database, "redis": redis}, 200 if database == "ok" else 503


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
