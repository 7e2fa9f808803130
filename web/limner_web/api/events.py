"""A tenant's job updates as server-sent events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from queue import Empty

from apiflask import APIBlueprint
from flask import Response

from limner_web.auth import tenant_id
from limner_web.services import get_services
from limner_web.serving.connection import hang_up_check
from limner_web.updates.feed import Feeds
from limner_web.updates.watch import HANG_UP_SECONDS

KEEPALIVE_SECONDS = 15
bp = APIBlueprint("events", __name__, url_prefix="/api/v1/events", tag="Events")


@bp.get("")
@bp.doc(responses={200: {"description": "A stream of server-sent events", "content": {"text/event-stream": {}}}})
def stream_events() -> Response:
    """Stream events.

    Sends changes of state and progress as server-sent events. Delivery is not guaranteed: after a slow or broken
    connection, poll for the changes that were missed.
    """
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    stream = _stream(get_services().feeds, tenant_id(), hang_up_check())
    return Response(stream, mimetype="text/event-stream", headers=headers)


def _stream(feeds: Feeds, tenant: str, gone: Callable[[], bool]) -> Iterator[str]:
    with feeds.follow(tenant) as events:
        yield "retry: 2000\n\n"
        sent_at = time.monotonic()
        while not gone():
            try:
                text = events.get(timeout=HANG_UP_SECONDS)
            except Empty:
                if time.monotonic() - sent_at < KEEPALIVE_SECONDS:
                    continue
                text = ": keepalive\n\n"
            sent_at = time.monotonic()
            yield text
