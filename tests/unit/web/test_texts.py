"""Every text of the pages is in every catalog, translated, with the placeholders of the source."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.catalog import Message
from tools import texts

from limner_web.pages.languages import LANGUAGES, read_catalog, texts_in

PAGES = texts.PAGES
PLACEHOLDER = re.compile(r"%\(\w+\)s")
CALLED = re.compile(r"""\b(?:_|ngettext|tn?)\(\s*(["'])((?:\\.|(?!\1).)*)\1""")
PLURAL = re.compile(r'tn\("[^"]*", "[^"]*"')
SENTENCE = re.compile(r"""["`>]([A-Z][a-z]+(?: [\w“”%()'$-]+)+[.?! …]*)["`]""")
SHOWN = ("aria-label", "title", "placeholder", "alt")
SAME = ("Limner", "ZIP", ".txt, .csv, .jsonl", "red apple cat face rocket", "lmn_…")
"""What is the same in every language."""


def forms(message: Message) -> list[str]:
    return [message.string] if isinstance(message.string, str) else list(message.string or [])


def sources() -> list[Path]:
    return [*PAGES.glob("templates/*.html"), *PAGES.glob("static/js/*.js")]


@pytest.mark.parametrize("language", texts.TRANSLATED)
def test_every_text_is_translated_with_the_placeholders_of_the_source(language: str) -> None:
    for message in read_catalog(language):
        if not message.id:
            continue
        singular = message.id if isinstance(message.id, str) else message.id[0]
        assert forms(message), singular
        for form in forms(message):
            assert form.strip(), singular
            assert sorted(set(PLACEHOLDER.findall(form))) == sorted(set(PLACEHOLDER.findall(singular))), (
                singular,
                form,
            )


@pytest.mark.parametrize("language", texts.TRANSLATED)
def test_the_catalogs_are_what_make_texts_writes(language: str) -> None:
    written = (texts.CATALOGS / f"{language}.po").read_bytes()
    assert written == texts.updated(language, texts.extract()), "run make texts, and translate what is new"


def test_the_extraction_finds_every_call() -> None:
    known = {message.id if isinstance(message.id, str) else message.id[0] for message in texts.extract() if message.id}
    for file in sources():
        for _, text in CALLED.findall(file.read_text()):
            assert text in known, f"{file.name}: {text}"


def test_no_template_has_a_text_outside_the_catalogs() -> None:
    for file in PAGES.glob("templates/*.html"):
        if file.name != "docs.html":  # the reference of the API is in English
            parser = _Texts()
            parser.feed(re.sub(r"\{[{%#].*?[}%#]\}", " ", file.read_text(), flags=re.DOTALL))
            assert [text for text in parser.found if text not in SAME] == [], file.name


def test_no_script_shows_a_text_outside_the_catalogs() -> None:
    """A sentence in quotes or in a template literal that no call of `t` or `tn` has."""
    for file in PAGES.glob("static/js/*.js"):
        code = re.sub(r"^\s*//.*$", "", file.read_text(), flags=re.MULTILINE)
        code = CALLED.sub("", PLURAL.sub("", code))
        assert SENTENCE.findall(code) == [], file.name


@pytest.mark.parametrize("language", texts.TRANSLATED)
def test_scripts_get_their_texts_and_no_others(language: str) -> None:
    made = texts_in(language)
    script = json.loads(made.script)
    assert script["Connected again"] == made.translations.gettext("Connected again")
    assert len(script["%(n)s picture"]) == (1 if language == "zh" else 2)
    assert "Sign out" not in script
    assert made.translations.gettext("Sign out") != "Sign out"


def test_english_needs_no_catalog() -> None:
    assert next(iter(LANGUAGES)) == "en"
    assert texts_in("en").name == ""


class _Texts(HTMLParser):
    """Collects what a reader would see."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in SHOWN:
                self.handle_data(value or "")

    def handle_data(self, data: str) -> None:
        text = " ".join(data.replace("·", " ").split())
        if re.search(r"[A-Za-z]{2}", text):
            self.found.append(text)
