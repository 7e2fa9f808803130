"""The tenant's changes as server-sent events, as they happen."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from queue import Empty
from typing import Any

from apiflask import APIBlueprint
from flask import Response

from limner_web.auth import tenant_id
from limner_web.listener import Listener
from limner_web.services import services

KEEPALIVE_SECONDS = 15
bp = APIBlueprint("events", __name__, url_prefix="/api/v1/events", tag="Events")


@bp.get("")
@bp.doc(responses={200: {"description": "A stream of changes.", "content": {"text/event-stream": {}}}})
def stream_events() -> Response:
    """Stream changes of state and progress. Hints: what a slow or broken connection misses is found by polling."""
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return Response(_stream(services().listener, tenant_id()), mimetype="text/event-stream", headers=headers)


def _stream(listener: Listener, tenant: str) -> Iterator[str]:
    with listener.subscribe() as queue:
        yield "retry: 2000\n\n"
        bulks: dict[str, float] = {}
        number = 0
        while True:
            try:
                event = queue.get(timeout=KEEPALIVE_SECONDS)
            except Empty:
                yield ": keepalive\n\n"
                continue
            if event.get("tenant_id") == tenant and (told := _told(event, bulks)):
                number += 1
                yield f"id: {number}\nevent: {told[0]}\ndata: {json.dumps(told[1])}\n\n"


def _told(event: dict[str, Any], bulks: dict[str, float]) -> tuple[str, dict[str, Any]] | None:
    """The event's name and data; a bulk is told of once a second, not once a job."""
    bulk_id = event.get("bulk_id")
    if bulk_id is not None:
        if time.monotonic() - bulks.get(bulk_id, 0) < 1:
            return None
        bulks[bulk_id] = time.monotonic()
        return "bulk", {"id": bulk_id}
    if "progress" in event:
        return "progress", {"id": event["id"], "progress": event["progress"]}
    return "job", {"id": event["id"], "status": event["state"], "version": event["version"]}
