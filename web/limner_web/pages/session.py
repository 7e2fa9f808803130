"""Signing in with an API key, and signing out."""

from __future__ import annotations

from contextlib import suppress
from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response, g, make_response, redirect, render_template, request

from limner_shared.db.accounts import keys
from limner_shared.errors import Unauthorized
from limner_web.auth import identify_by_key
from limner_web.http import session_cookie
from limner_web.http.cross_site import refuse_foreign
from limner_web.pages.own_paths import next_path
from limner_web.services import get_services

bp = APIBlueprint("session", __name__, enable_openapi=False)


@bp.get("/sign-in")
def sign_in() -> str:
    """The sign-in page."""
    return sign_in_page()


def sign_in_page(problem: str | None = None, refusal: str | None = None) -> str:
    """The sign-in page with what is wrong with the key, or the name of why the provider's answer is refused."""
    has_provider = get_services().identity_provider is not None
    return render_template(
        "sign-in.html", next=next_path(), problem=problem, refusal=refusal, has_provider=has_provider
    )


@bp.post("/session")
def open_session() -> Response:
    """Sign the browser in with the key in the form, and redirect it to the page that it requested."""
    settings = get_services().settings
    refuse_foreign(settings)
    key = request.form.get("key", "").strip()
    try:
        identify_by_key(key)
    except Unauthorized as error:
        problem = error.message if key else "missing"
        return make_response(sign_in_page(problem), HTTPStatus.UNAUTHORIZED)
    answer = make_response(redirect(next_path(), HTTPStatus.SEE_OTHER))
    session_cookie.write(answer, settings, key, stay="stay" in request.form)
    return answer


@bp.post("/session/end")
def end_session() -> Response:
    """Sign the browser out. A session that began at an identity provider ends; an API key stays valid."""
    services = get_services()
    settings, key = services.settings, session_cookie.read()
    refuse_foreign(settings)
    if key is not None and services.identity_provider is not None:
        with suppress(Unauthorized):
            identify_by_key(key)
            with services.database.write() as session:
                keys.end_session(session, g.key_id)
    answer = make_response(redirect("/sign-in", HTTPStatus.SEE_OTHER))
    session_cookie.clear(answer, settings)
    return answer
