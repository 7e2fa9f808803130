"""Brings the catalogs of the pages' texts up to date with templates, scripts and our model cards: `make texts`.

New messages are added without a translation, and those that are gone are removed. The tests say what is missing.
"""

from __future__ import annotations

import io
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Final

from babel.messages import Catalog
from babel.messages.catalog import Message
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import write_po

from limner_web.pages.languages import CATALOGS, LANGUAGES, read_catalog

PAGES: Final = CATALOGS.parent
METHODS: Final = [("templates/**.html", "jinja2"), ("static/js/**.js", "javascript")]
KEYWORDS: Final = {"_": None, "gettext": None, "ngettext": (1, 2), "t": None, "tn": (1, 2)}
OPTIONS: Final = {
    "templates/**.html": {"silent": "false", "newstyle_gettext": "true"},
    "static/js/**.js": {"parse_template_string": True},
}
HEADER: Final = "# The texts of the pages: make texts"
CARDS: Final = Path(str(files("limner_shared.domain"))) / "models"
SHOWS_CARDS: Final = "static/js/form.js"
DATE: Final = datetime(2026, 11, 26, tzinfo=UTC)
"""Of every catalog: a date that changed would make each extraction a difference."""
TRANSLATED: Final = tuple(LANGUAGES)[1:]


def extract() -> Catalog:
    """Every message of templates, scripts and cards, with the files that have it."""
    catalog = Catalog(charset="utf-8")
    found = extract_from_dir(str(PAGES), METHODS, OPTIONS, keywords=KEYWORDS)
    for name, _, message, _, _ in found:
        catalog.add(message, locations=[(name, 0)])
    for card in sorted(CARDS.glob("*.toml")):
        catalog.add(tomllib.loads(card.read_text())["description"], locations=[(SHOWS_CARDS, 0)])
    return catalog


def updated(language: str, messages: Catalog) -> bytes:
    """The catalog of a language with exactly these messages, as its file should be."""
    before = read_catalog(language) if (CATALOGS / f"{language}.po").exists() else Catalog()
    after = Catalog(
        language, header_comment=HEADER, project="Limner", version="1", creation_date=DATE, revision_date=DATE
    )
    after.last_translator, after.msgid_bugs_address, after.language_team = "Limner", "", language
    after.fuzzy = False
    for message in _in_order(messages):
        known = before.get(message.id if isinstance(message.id, str) else message.id[0])
        after.add(message.id, known.string if known else None, locations=sorted(set(message.locations)))
    file = io.BytesIO()
    write_po(file, after, width=120, include_lineno=False, omit_header=False)
    return file.getvalue()


def _in_order(messages: Catalog) -> Iterator[Message]:
    return iter(sorted((each for each in messages if each.id), key=lambda each: str(each.id)))


def main() -> int:
    """Write every catalog and say how many texts are not translated."""
    messages, missing = extract(), 0
    for language in TRANSLATED:
        path: Path = CATALOGS / f"{language}.po"
        path.write_bytes(updated(language, messages))
        missing += sum(not each.string or not all(each.string) for each in read_catalog(language) if each.id)
    print(f"{len(messages)} messages in {len(TRANSLATED)} languages; {missing} are not translated")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
