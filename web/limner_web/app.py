"""The application factory."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import Final

from apiflask import APIFlask
from flask import Response, g, request

from limner_shared.db import signed_links
from limner_shared.settings import Settings
from limner_shared.telemetry import bind_log_ids, get_logger
from limner_web import auth, health, metrics_routes, request_checks
from limner_web.a1111 import controlnet_lists
from limner_web.a1111 import routes as a1111
from limner_web.api import (
    audit,
    bulks,
    cancellations,
    conversations,
    estimates,
    events,
    fleet,
    history,
    images,
    interpretation,
    job_lists,
    job_pictures,
    jobs,
    keys,
    labels,
    models,
    openapi,
    own_pause,
    pauses,
    picture_names,
    presets,
    privacy,
    similar_images,
    usage,
    webhook_deliveries,
    webhook_endpoints,
    webhook_secret,
)
from limner_web.http import problems, route_rules, throttling
from limner_web.hugging_face import routes as hugging_face
from limner_web.openai import batches, chat, responses
from limner_web.openai import files as openai_files
from limner_web.openai import images as openai_images
from limner_web.openai import models as openai_models
from limner_web.openai import moderations as openai_moderations
from limner_web.pages import assets, forms, languages, offline, oidc, session
from limner_web.pages import routes as pages
from limner_web.replicate import directory as replicate_directory
from limner_web.replicate import routes as replicate
from limner_web.replicate import webhook_secret as replicate_webhook_secret
from limner_web.services import build
from limner_web.serving import connection, operator_port, request_trace
from limner_web.updates.unchanged import with_unchanged_polls

log = get_logger(__name__)

MODULES: Final = (
    jobs,
    job_lists,
    job_pictures,
    labels,
    interpretation,
    picture_names,
    estimates,
    conversations,
    bulks,
    cancellations,
    images,
    similar_images,
    models,
    events,
    keys,
    audit,
    usage,
    privacy,
    presets,
    own_pause,
    pauses,
    fleet,
    history,
    webhook_endpoints,
    webhook_deliveries,
    webhook_secret,
    health,
    metrics_routes,
    chat,
    batches,
    openai_files,
    openai_images,
    openai_models,
    responses,
    openai_moderations,
    a1111,
    controlnet_lists,
    hugging_face,
    replicate,
    replicate_directory,
    replicate_webhook_secret,
    pages,
    forms,
    session,
    oidc,
    languages,
    assets,
    offline,
)
BLUEPRINTS: Final = (*(module.bp for module in MODULES), images.links, privacy.settings)
CONFIGURATION: Final = {
    "OPENAPI_VERSION": "3.1.0",
    "MAX_CONTENT_LENGTH": None,  # a bulk may be larger than other bodies; `request_checks` sets the limit
    "DESCRIPTION": "Generate images from text. Errors are RFC 9457 problem documents with a stable `code`.",
}
LOGGED_IDS: Final = ("job", "bulk", "conversation")
"""The parts of a route that every line of its requests names."""
LOGGED_PATH_CHARS: Final = 200
WORD: Final = re.compile(r"[\w.:/+=-]{1,64}", re.ASCII)


def security_headers(picture_origin: str) -> dict[str, str]:
    """The headers of every response; `picture_origin` is the bucket's, if it delivers pictures itself."""
    pictures = " ".join(["'self' data: blob:", *([picture_origin] if picture_origin else [])])
    return {
        "Content-Security-Policy": f"default-src 'self'; img-src {pictures}; "
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
        template_folder="pages/templates",
        static_folder=None,  # Flask's own route of files; ours is `pages.assets`
    )
    app.config.from_mapping(CONFIGURATION)
    app.extensions["limner"] = services = build(settings)
    problems.install(app)
    app.before_request(_begin)
    throttling.install_concurrency(app, services.limiter)
    auth.install(app)
    metrics_routes.install(app)
    throttling.install_tenant_limits(app, services.limiter, services.request_rate)
    request_checks.install(app)
    openapi.install(app)
    assets.install(app)
    languages.install(app)
    headers = security_headers(services.bucket_redirects.origin)
    app.after_request(partial(_end, headers))
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.register_blueprint(webhook_endpoints.bp, url_prefix="/v1", name="openai_webhook_endpoints")
    route_rules.require_declared(app)
    answered = with_unchanged_polls(app.wsgi_app, services.unchanged, _request_id, headers)
    served = operator_port.with_operator_port(answered, settings.port)
    app.wsgi_app = connection.with_timeouts(served, settings.upload_seconds)
    return app


def _begin() -> None:
    g.started = time.perf_counter()
    g.request_id = _request_id(request.headers.get("X-Request-Id", ""))
    request_trace.begin(g.request_id, traced=_is_reported())
    ids = {name.removesuffix("_id"): str(value) for name, value in (request.view_args or {}).items()}
    bind_log_ids(**{name: value for name, value in ids.items() if name in LOGGED_IDS})


def _request_id(sent: str) -> str:
    """The client's id of the request, if it is a plain word; otherwise a new one."""
    return sent if WORD.fullmatch(sent) else uuid.uuid4().hex


def _end(headers: Mapping[str, str], response: Response) -> Response:
    response.headers.update(headers)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    seconds = time.perf_counter() - g.get("started", time.perf_counter())
    metrics_routes.measure_request(request.method, response.status_code, seconds)
    request_trace.end(response.status_code)
    if _is_reported():
        ms = round(seconds * 1000, 1)
        route = request.url_rule.rule if request.url_rule is not None else None
        log.info("request", method=request.method, path=_logged_path(), route=route, status=response.status_code, ms=ms)
    return response


def _is_reported() -> bool:
    """Whether this request is traced and logged: health checks and scrapes come every few seconds."""
    return route_rules.of_request() is not route_rules.ALWAYS


def _logged_path() -> str:
    """The path without the token of a signed link, which shows the image to anyone who has it."""
    folder = f"{signed_links.FOLDER}/"
    return f"{folder}…" if request.path.startswith(folder) else request.path[:LOGGED_PATH_CHARS]
