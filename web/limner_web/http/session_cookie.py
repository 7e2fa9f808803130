"""The cookie that signs a browser in: it holds the API key itself, so that it ends when the key does.

Scripts cannot read it (`HttpOnly`), other sites' requests that change something do not carry it (`SameSite=Lax`), and
those requests are checked as well: see `cross_site`.
"""

from __future__ import annotations

from typing import Final

from flask import Response, request

from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.settings import Settings

NAME: Final = "limner_key"
KEPT_SECONDS: Final = 30 * DAY_SECONDS
"""For how long a browser stays signed in if the user asks for it; otherwise until it is closed."""


def read() -> str | None:
    """The API key in this request's cookie, if there is one."""
    return request.cookies.get(NAME) or None


def write(response: Response, settings: Settings, key: str, *, stay: bool) -> None:
    """Sign the browser in."""
    response.set_cookie(
        NAME,
        key,
        max_age=KEPT_SECONDS if stay else None,
        secure=is_encrypted(settings),
        httponly=True,
        samesite="Lax",
    )


def clear(response: Response, settings: Settings) -> None:
    """Sign the browser out."""
    response.delete_cookie(NAME, secure=is_encrypted(settings), httponly=True, samesite="Lax")


def is_encrypted(settings: Settings) -> bool:
    """Whether the browser reaches the service by HTTPS, directly or through a proxy."""
    forwarded = request.headers.get("X-Forwarded-Proto", "")
    return request.is_secure or settings.public_url.startswith("https:") or forwarded == "https"
