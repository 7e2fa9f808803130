"""The pages. Their scripts in static/ use the native API only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast
from urllib.parse import quote

from apiflask import APIBlueprint
from flask import Response, current_app, redirect, render_template, request
from markupsafe import Markup, escape

from limner_shared.domain.access import DEFAULT_SCOPES
from limner_shared.domain.model_views import ModelView
from limner_shared.errors import LimnerError
from limner_web.auth import PAGES, is_signed_in
from limner_web.http import route_rules
from limner_web.http.route_rules import Access
from limner_web.pages import examples, model_pictures, reference
from limner_web.pages.compression import compress
from limner_web.pages.languages import language_of_request
from limner_web.services import get_services
from limner_web.view_builders import model_view

bp = APIBlueprint("pages", __name__, enable_openapi=False)
bp.after_request(compress)

THEMES: Final = ("light", "dark", "contrast")
NEW_KEY: Final = {"label": "", "days": "90", "scopes": sorted(DEFAULT_SCOPES)}
"""What the form of a new key offers first."""
MOST_NAMED_CHARS: Final = 500
"""The most characters of a prompt in an address."""


@bp.app_template_filter()
def prose(text: str) -> Markup:
    """Turn text in backticks into `<code>`, and escape everything else."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


@bp.app_context_processor
def frame() -> dict[str, Any]:
    """What every page shows: the chosen theme."""
    theme = request.cookies.get("theme")
    return {"theme": theme if theme in THEMES else None}


@bp.before_request
def require_sign_in() -> Response | None:
    """Redirect a browser that is not signed in to the sign-in page, where the service requires keys."""
    if is_signed_in() or route_rules.of_request().access is Access.PUBLIC:
        return None
    answer = redirect(f"/sign-in?next={quote(request.full_path.rstrip('?'), safe='')}")
    return cast("Response", answer)  # typed as Werkzeug's, which Flask's is


@bp.after_app_request
def keep_private(response: Response) -> Response:
    """Let no browser show a page again after signing out."""
    if route_rules.of_request().access in PAGES and get_services().settings.keys_required:
        response.headers["Cache-Control"] = "no-store"
    return response


@bp.get("/")
def index() -> str:
    """The studio, with the prompt and the model that its address names."""
    named = {name: request.args[name][:MOST_NAMED_CHARS] for name in ("prompt", "model") if name in request.args}
    return studio(named, None)


def studio(values: dict[str, str], problem: LimnerError | None) -> str:
    """The studio with these values in its form, and a problem if there is one."""
    offered = examples.PROMPTS[language_of_request()]
    return render_template(
        "index.html", models=_models(), data=_data(), examples=offered, values=values, problem=problem
    )


@bp.get("/gallery")
def gallery() -> str:
    """All pictures of the tenant."""
    return render_template("gallery.html", models=_models())


@bp.get("/conversation")
def conversation() -> str:
    """The conversation page."""
    offered = examples.messages(language_of_request())
    return render_template("conversation.html", models=_models(), examples=offered)


@bp.get("/models")
def models() -> str:
    """What each model can draw, in words and pictures."""
    cards = get_services().catalogue.cards
    samples = {name: model_pictures.samples(card) for name, card in cards.items()}
    styles = {name: model_pictures.styles(card) for name, card in cards.items()}
    return render_template("models.html", models=_models(), samples=samples, styles=styles)


@bp.get("/bulk")
def bulk() -> str:
    """Bulks: upload, progress, results."""
    offered = examples.PROMPTS[language_of_request()]
    return render_template("bulk.html", settings=get_services().settings, examples=offered)


@bp.get("/grid")
def grid() -> str:
    """Two parameters against each other."""
    return render_template("grid.html", models=_models(), data=_data())


@bp.get("/queue")
def queue() -> str:
    """What runs and what waits."""
    return render_template("queue.html")


@bp.get("/account")
def account() -> str:
    """The key's account: usage, keys, appearance."""
    return account_page(NEW_KEY, None)


def account_page(wish: Mapping[str, Any], problem: LimnerError | None) -> str:
    """The account with these values in the form of a new key, and a problem if there is one."""
    needs_key = get_services().settings.keys_required
    return render_template("account.html", needs_key=needs_key, wish=wish, problem=problem)


@bp.get("/api/v1/docs")
def docs() -> str:
    """The API's documentation, rendered from the OpenAPI document without scripts or external files."""
    spec = reference.document(current_app)
    return render_template("docs.html", spec=spec, groups=reference.groups(spec))


def _data() -> list[dict[str, Any]]:
    """The models for the scripts, each with the pictures of its styles."""
    pictures = {name: model_pictures.styles(card) for name, card in get_services().catalogue.cards.items()}
    return [model.model_dump(mode="json") | {"style_pictures": pictures[model.name]} for model in _models()]


def _models() -> list[ModelView]:
    """The models of this service, the default first."""
    catalogue = get_services().catalogue
    models = [model_view(card, catalogue.default) for card in catalogue.cards.values()]
    return sorted(models, key=lambda model: not model.default)
