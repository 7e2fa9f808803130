"""What an installed page shows while the service cannot be reached: a page that waits, and the worker that keeps it.

The worker keeps that page and its files, and nothing else. Its text names a hash of the page, which names its files by
their release; so the browser, which asks for the worker after each page, replaces both with any change, also of the
reader's language or theme.
"""

from __future__ import annotations

import hashlib
from typing import Final

from apiflask import APIBlueprint
from flask import Response, render_template

from limner_web.pages.assets import ASK_AGAIN, load
from limner_web.pages.compression import kept_answer

bp = APIBlueprint("offline", __name__, enable_openapi=False)

MARK: Final = "?offline"
"""Ends the addresses of the page's files: the worker leaves those of other pages to the network."""
FILES: Final = {"sheet": "css/common.css", "script": "js/offline.js", "icon": "icon.svg"}


@bp.get("/offline")
def page() -> Response:
    """The page that stands in for others."""
    return _answer(_page(), "text/html; charset=utf-8")


@bp.get("/service-worker.js")
def worker() -> Response:
    """The service worker of all pages."""
    version = hashlib.sha256(_page().encode()).hexdigest()[:12]
    text = render_template("service-worker.js", version=version, files=list(_addresses().values()))
    return _answer(text, "text/javascript; charset=utf-8")


def _addresses() -> dict[str, str]:
    return {name: load().url(path) + MARK for name, path in FILES.items()}


def _page() -> str:
    return render_template("offline.html", files=_addresses())


def _answer(text: str, content_type: str) -> Response:
    body = text.encode()
    answer = kept_answer(body, None, content_type, hashlib.sha256(body).hexdigest()[:16])
    answer.headers["Cache-Control"] = ASK_AGAIN
    return answer
