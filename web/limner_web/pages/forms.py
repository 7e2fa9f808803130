"""The forms without JavaScript: the studio's with the page of the job that it makes, and that of a new key."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response, make_response, redirect, render_template, request
from pydantic import ValidationError

from limner_shared.db.views import as_datetime
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import LimnerError
from limner_web.auth import tenant_id
from limner_web.http import problems, strict_json
from limner_web.intake import new_keys, submission
from limner_web.intake.headers import JobHeaders
from limner_web.intake.new_keys import KeyRequest
from limner_web.pages.routes import account_page, require_sign_in, studio
from limner_web.services import get_services
from limner_web.view_builders import read_job_view

bp = APIBlueprint("forms", __name__, enable_openapi=False)
bp.before_request(require_sign_in)

TEXTS: Final = ("prompt", "negative_prompt", "model", "style", "quality")
KEY_DAYS: Final = ("1", "7", "30", "90", "365")
NUMBERS: Final = {"n": int, "seed": int, "steps": int, "guidance": float}


@bp.post("/draw")
def draw() -> Response:
    """Submit the form's job and show its page; for a problem, show the form again with what was entered."""
    values = {name: value.strip() for name, value in request.form.items()}
    try:
        made = JobRequest.model_validate(_job_fields(values))
        job_id = submission.submit(get_services(), tenant_id(), made, JobHeaders(x_stainless_retry_count=0)).job_id
    except ValidationError as error:
        return _studio_again(values, problems.from_validation(error))
    except LimnerError as error:
        return _studio_again(values, error)
    return make_response(redirect(f"/jobs/{job_id}", HTTPStatus.SEE_OTHER))


@bp.get("/jobs/<id:job_id>")
def job(job_id: str) -> str:
    """A job's own page. It reloads itself until the job has ended."""
    return render_template("job.html", job=read_job_view(get_services(), tenant_id(), job_id))


@bp.post("/account/keys")
def make_key() -> Response:
    """Make the key of the account page's form and show it; for a problem, show the form again with what was entered."""
    wish = {name: request.form.get(name, "").strip() for name in ("label", "days")}
    scopes = request.form.getlist("scope")
    try:
        made = new_keys.create(KeyRequest.model_validate(_key_fields(wish, scopes)), JobHeaders())
    except ValidationError as error:
        return _account_again(wish, scopes, problems.from_validation(error))
    except LimnerError as error:
        return _account_again(wish, scopes, error)
    end = as_datetime(made.expires_at)
    until = None if end is None else f"{end:%Y-%m-%d %H:%M} UTC"
    page = render_template("new-key.html", key=made.key, label=wish["label"], until=until)
    return make_response(page, HTTPStatus.CREATED)


def _key_fields(wish: dict[str, str], scopes: list[str]) -> dict[str, Any]:
    """The fields of the key's request. Days that the form does not offer become a time that it refuses."""
    if not all(strict_json.is_storable(text) for text in (*wish.values(), *scopes)):
        raise strict_json.refuse_text("label")
    fields: dict[str, Any] = {"label": wish["label"], "scopes": scopes}
    if wish["days"]:
        days = int(wish["days"]) if wish["days"] in KEY_DAYS else 0
        fields["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    return fields


def _account_again(wish: dict[str, str], scopes: list[str], error: LimnerError) -> Response:
    return make_response(account_page(wish | {"scopes": scopes}, error), error.status)


def _job_fields(values: dict[str, str]) -> dict[str, Any]:
    """The request's fields. A number that cannot be read stays text, which the request's check refuses."""
    if not all(strict_json.is_storable(value) for value in values.values()):
        raise strict_json.refuse_text("prompt")
    fields: dict[str, Any] = {"prompt": values.get("prompt", "")}
    fields |= {name: values[name] for name in TEXTS if values.get(name)}
    width, _, height = values.get("size", "").partition("x")
    sizes = {"width": width, "height": height} if width else {}
    kinds = NUMBERS | dict.fromkeys(sizes, int)
    for name, text in (values | sizes).items():
        if name in kinds and text:
            fields[name] = _number(kinds[name], text)
    return fields


def _number(kind: type[int | float], text: str) -> float | str:
    try:
        return kind(text) if len(text) <= 20 else text  # noqa: PLR2004 - longer than any number that is allowed
    except ValueError:
        return text


def _studio_again(values: dict[str, str], error: LimnerError) -> Response:
    return make_response(studio(values, error), error.status)
