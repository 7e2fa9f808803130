"""Whether this process lives, and whether the service can take jobs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from apiflask import APIBlueprint

from limner_web.services import get_services

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
    services = get_services()
    found = services.probe.ask()
    load = {kind: {"held": services.gate.held[kind], "limit": limit} for kind, limit in services.gate.limits.items()}
    if found.database != "ok":
        status = "unavailable"
    elif "requests" in services.gate.full:
        status = "overloaded"
    else:
        status = "ok" if found.redis == "ok" else "degraded"
    code = HTTPStatus.SERVICE_UNAVAILABLE if status in ("unavailable", "overloaded") else HTTPStatus.OK
    hints = {"skipped": services.listener.skipped}
    return {"status": status, "database": found.database, "redis": found.redis, "load": load, "hints": hints}, code
