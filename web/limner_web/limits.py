"""The fixed limits of the web service, in one place.

Limits that an operator can change are in `Settings`; the limits of a tenant are in the database. This module imports
nothing that gevent patches, so that the command can import it before gevent patches Python.
"""

from __future__ import annotations

from typing import Final

from limner_shared.settings import Settings

# --- one process ----------------------------------------------------------------------------------------------------

SPARE_CONNECTIONS: Final = 1000
"""Connections beyond those that can hold a slot: for requests that are refused, and for health checks."""
STORAGE_THREADS: Final = 16
STORAGE_WAITING: Final = 64
"""Calls that may wait for a storage thread. Further calls are refused, so that a store that hangs does not block the
whole server; so are those for one tenant beyond its share (`tenant_share`)."""
PILLOW_THREADS: Final = 1
"""One image is decoded at a time, because each may take 200 MB."""
PILLOW_WAITING: Final = 32
"""As STORAGE_WAITING, for the Pillow thread."""
PILLOW_IN_TURN: Final = 64
"""Renditions of one tenant's images that wait for its turn on the Pillow thread: a page shows fewer at a time. Each
holds a slot, so that without a limit a flood of requests by one link would take them all."""
SIGNING_THREADS: Final = 4
"""A signature takes 3 ms, and half a minute while the authority for time stamps does not respond."""
SIGNING_WAITING: Final = 32
"""As STORAGE_WAITING, for the threads that sign."""

# --- one connection -------------------------------------------------------------------------------------------------

HEAD_SECONDS: Final = 2.0
"""How long a client may take for a request's line and headers, and how long an idle connection stays open while more
than half of the connections are used."""
IDLE_SECONDS: Final = 65.0
"""How long a connection stays open for its next request: longer than load balancers and clients keep theirs (60 s), so
the client closes first, and never sends into a connection that the server has just closed."""
BODY_SECONDS: Final = 3600
"""How long a client may keep a process waiting for one body, all of its pauses together: the largest bulk, of 1 GiB,
then comes with 300 kB a second. Otherwise a slow sender could hold a bulk's slot for a day."""
SEND_SECONDS: Final = 60.0
"""How long a client may take for 16 KiB of a response before its connection is closed."""
MAX_LINE_BYTES: Final = 8190
"""The longest request line and header field, which is gunicorn's maximum: 4,094, its default for a line, is too little
for a `webhook` of 2,000 characters in a query."""
UNSENT_BYTES: Final = 64 << 10
"""How much of a response the system keeps for a client, beyond what is on its way to it."""
EVENT_BACKLOG: Final = 1000
"""Events that wait for a slow reader of an event stream. Further events are lost to it, and it has to poll."""

# --- one request ----------------------------------------------------------------------------------------------------

MAX_JSON_DEPTH: Final = 32
MAX_JSON_VALUES: Final = 10_000
"""Values in one JSON text, with those within others: each wrong one may become an error, which takes memory."""
MAX_BULK_LINE_BYTES: Final = 64 << 10
MAX_BULK_ERRORS: Final = 100
"""Bad lines that an error describes; of the others it gives the number."""
MAX_HISTORY_TURNS: Final = 20
"""Earlier turns that a message's interpretation is given."""
MAX_FILES: Final = 10_000
"""Uploaded files that a tenant may keep; `max_file_bytes` limits their bytes."""
MAX_POLLED_JOBS: Final = 100
"""Jobs that one request reads by their ids."""
MAX_RETRIED_JOBS: Final = 1000
"""Dead letters that one request retries."""
CANCELED_AT_ONCE: Final = 1000
"""Jobs that one request cancels. Of a bulk, or in the background, the dispatcher cancels the rest."""

# --- one input image ------------------------------------------------------------------------------------------------

MAX_IMAGE_BYTES: Final = 10_000_000
MAX_IMAGE_PIXELS: Final = {"PNG": 16_777_216, "JPEG": 25_000_000, "WEBP": 12_582_912}
"""The largest image of each format that can be decoded within 200 MB."""


def max_connections(settings: Settings) -> int:
    """How many connections one process accepts."""
    return settings.max_requests + settings.max_streams + settings.max_bulks + SPARE_CONNECTIONS
