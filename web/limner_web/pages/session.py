"""Signing in with an API key, and out."""

from __future__ import annotations

from http import HTTPStatus

from apiflask import APIBlueprint
from flask import Response, make_response, redirect, render_template, request

from limner_shared.errors import Unauthorized
from limner_web import session_cookie
from limner_web.auth import identify_by_key, refuse_foreign
from limner_web.pages.own_paths import next_path
from limner_web.services import get_services

bp = APIBlueprint("session", __name__, enable_openapi=False)


@bp.get("/sign-in")
def sign_in() -> str:
    """The sign-in page."""
    return render_template("sign-in.html", next=next_path(), problem=None)


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
        page = render_template("sign-in.html", next=next_path(), problem=problem)
        return make_response(page, HTTPStatus.UNAUTHORIZED)
    answer = make_response(redirect(next_path(), HTTPStatus.SEE_OTHER))
    session_cookie.write(answer, settings, key, stay="stay" in request.form)
    return answer


@bp.post("/session/end")
def end_session() -> Response:
    """Sign the browser out."""
    settings = get_services().settings
    refuse_foreign(settings)
    answer = make_response(redirect("/sign-in", HTTPStatus.SEE_OTHER))
    session_cookie.clear(answer, settings)
    return answer
