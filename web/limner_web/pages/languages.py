"""The languages of the pages: which one a reader gets, and the texts in it, from the gettext catalogs in texts/."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from apiflask import APIBlueprint
from babel import negotiate_locale
from babel.messages import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from flask import Flask, Response, g, make_response, redirect, request

from limner_shared.errors import NotFound
from limner_web.http.caller_languages import COOKIE
from limner_web.http.cross_site import refuse_foreign
from limner_web.pages.assets import FOREVER
from limner_web.pages.compression import compressed_once, kept_answer
from limner_web.pages.own_paths import next_path
from limner_web.services import get_services

bp = APIBlueprint("languages", __name__, enable_openapi=False)

LANGUAGES: Final = {"en": "English", "de": "Deutsch", "fr": "Français", "es": "Español", "zh": "简体中文"}
"""The languages by their code, each named in itself; the first is that of the messages in the source."""
CATALOGS: Final = Path(__file__).parent / "texts"
KEPT_SECONDS: Final = 31_536_000
SCRIPTS: Final = "static/js/"


@dataclass(frozen=True, slots=True)
class Texts:
    """The texts of one language: for templates, and as JSON for scripts, whose `name` has a hash."""

    translations: NullTranslations
    script: bytes = b"{}"
    small: bytes | None = None
    name: str = ""


def install(app: Flask) -> None:
    """Let every template translate its texts into the language of the request."""
    environment: Any = app.jinja_env  # to which the extension adds a method
    environment.add_extension("jinja2.ext.i18n")
    environment.install_gettext_callables(_gettext, _ngettext, newstyle=True)
    app.jinja_env.filters["known_text"] = _known_text
    app.context_processor(_variables)
    app.after_request(_say_language)


def read_catalog(language: str) -> Catalog:
    """The catalog of a language as it is in the repository."""
    with (CATALOGS / f"{language}.po").open("rb") as file:
        return read_po(file, locale=language)


@cache
def texts_in(language: str) -> Texts:
    """The texts in one of LANGUAGES, read once. The source's language needs no catalog."""
    if language == next(iter(LANGUAGES)):
        return Texts(NullTranslations())
    catalog, compiled = read_catalog(language), io.BytesIO()
    write_mo(compiled, catalog)
    compiled.seek(0)
    script = json.dumps(script_texts(catalog), ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()
    name = f"{language}.{hashlib.sha256(script).hexdigest()[:16]}.json"
    return Texts(Translations(compiled), script, compressed_once(script), name)


def script_texts(catalog: Catalog) -> dict[str, str | list[str]]:
    """The texts that scripts use, by the message in the source; one that depends on a number has a list of forms."""
    found: dict[str, str | list[str]] = {}
    for message in catalog:
        is_used = any(name.startswith(SCRIPTS) for name, _ in message.locations)
        if message.id and is_used and message.string:
            found[message.id if isinstance(message.id, str) else message.id[0]] = (
                message.string if isinstance(message.string, str) else list(message.string)
            )
    return found


def language_of_request() -> str:
    """The language that the reader chose, else the best of those that the browser asks for, else the first."""
    if "language" not in g:
        chosen = request.cookies.get(COOKIE)
        accepted = negotiate_locale([code for code, _ in request.accept_languages], LANGUAGES, sep="-")
        g.language = chosen if chosen in LANGUAGES else accepted or next(iter(LANGUAGES))
    language: str = g.language
    return language


@bp.get("/texts/<name>")
def script(name: str) -> Response:
    """The texts of the scripts in one language; `name` changes with them, so that a browser keeps them."""
    language = name.partition(".")[0]
    if language not in LANGUAGES or name != texts_in(language).name:
        raise NotFound
    texts = texts_in(language)
    answer = kept_answer(texts.script, texts.small, "application/json; charset=utf-8", name)
    answer.headers["Cache-Control"] = FOREVER
    return answer


@bp.post("/language")
def choose() -> Response:
    """Keep the language that the reader chose in a cookie, and go back to the page."""
    refuse_foreign(get_services().settings)
    language = request.form.get("language", "")
    answer = make_response(redirect(next_path(), HTTPStatus.SEE_OTHER))
    if language in LANGUAGES:
        answer.set_cookie(COOKIE, language, max_age=KEPT_SECONDS, samesite="Lax")
    return answer


def _texts() -> Texts:
    return texts_in(language_of_request())


def _gettext(text: str) -> str:
    return _texts().translations.gettext(text)


def _ngettext(one: str, many: str, number: int) -> str:
    return _texts().translations.ngettext(one, many, number)


def _known_text(text: str) -> str:
    """A text that is not in a template, such as a card's description, translated if the catalog knows it."""
    return _gettext(text) if text else ""  # that of an empty text would be the catalog's header


def _variables() -> dict[str, Any]:
    """What every page says of its language."""
    name = _texts().name
    return {"language": language_of_request(), "languages": LANGUAGES, "texts": f"/texts/{name}" if name else None}


def _say_language(response: Response) -> Response:
    if "language" in g:
        response.vary.update(("Accept-Language", "Cookie"))
        response.content_language.add(g.language)
    return response
