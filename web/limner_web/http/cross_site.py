"""Whether a request that changes something comes from a page of another site."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from flask import request

from limner_shared.errors import Forbidden
from limner_shared.settings import Settings

SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS", "QUERY")
"""Methods that change nothing."""
OWN_SITE: Final = ("same-origin", "none")
FOREIGN: Final = "This request came from a page of another site. Use the service's own pages."


def refuse_foreign(settings: Settings, message: str = FOREIGN) -> None:
    """Raise Forbidden with this message for a request that changes something and comes from a page of another site."""
    if request.method not in SAFE_METHODS and _is_foreign(settings):
        raise Forbidden(message)


def _is_foreign(settings: Settings) -> bool:
    """Whether a browser reports that a page of another origin sends this request. Other clients report nothing.

    Browsers that send no `Sec-Fetch-Site` are judged by `Origin`. Where keys are required its scheme is not compared,
    because a proxy may end TLS without saying so; an open service knows its proxy by `public_url`.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None:
        return site not in OWN_SITE
    public = urlsplit(settings.public_url)
    if origin is None:
        return False
    if settings.keys_required:
        return origin.partition("://")[2] not in filter(None, (request.headers.get("Host"), public.netloc))
    return origin not in (request.host_url.rstrip("/"), f"{public.scheme}://{public.netloc}")
