"""The application factory."""

from __future__ import annotations

import time
import uuid

from apiflask import APIFlask
from flask import Response, g, request

from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_web import auth, health, problems, request_checks, throttling
from limner_web.api import audit, bulks, conversations, events, images, jobs, keys, models, openapi, usage
from limner_web.openai import chat
from limner_web.pages import plain, routes, session
from limner_web.services import build
from limner_web.serving import connection

log = get_logger(__name__)

MODULES = (jobs, conversations, bulks, images, models, events, keys, audit, usage, health, chat)
PAGES = (routes, plain, session)

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; "
    "frame-ancestors 'none'; form-action 'self'; base-uri 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
}


def create_app(settings: Settings | None = None) -> APIFlask:
    """Build the web application. Raises CardError or ConfigurationError for invalid settings."""
    settings = settings or Settings()
    app = APIFlask(
        "limner_web",
        title="Limner",
        version="1",
        spec_path="/api/v1/openapi.json",
        docs_path=None,
        static_folder="pages/static",
        static_url_path="/static",
        template_folder="pages/templates",
    )
    app.config.update(
        OPENAPI_VERSION="3.1.0",
        MAX_CONTENT_LENGTH=None,  # a bulk may be larger than other bodies; `request_checks` sets the limit
        DESCRIPTION="Generate images from text. Errors are RFC 9457 problem documents with a stable `code`.",
    )
    app.extensions["limner"] = services = build(settings)
    problems.install(app)
    app.before_request(_begin)
    throttling.install_concurrency(app, services.limiter)
    auth.install(app)
    throttling.install_tenant_limits(app, services.limiter, services.request_rate)
    request_checks.install(app)
    openapi.install(app)
    app.after_request(_end)
    for module in (*MODULES, *PAGES):
        app.register_blueprint(module.bp)
    app.wsgi_app = connection.with_timeouts(app.wsgi_app, settings.upload_seconds)  # type: ignore[method-assign]
    return app


def _begin() -> None:
    g.started = time.perf_counter()
    g.request_id = request.headers.get("X-Request-Id", "")[:64] or uuid.uuid4().hex


def _end(response: Response) -> Response:
    response.headers.update(SECURITY_HEADERS)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    if request.path not in ("/healthz", "/readyz"):  # health checks come every few seconds
        ms = round(seconds * 1000, 1)
        log.info("request", method=request.method, path=request.path, status=response.status_code, ms=ms)
    return response
