"""Small talk: which messages are answered in words instead of drawn, and with which words. No I/O after the import.

A message counts only if all of it consists of known phrases (`small_talk.toml`): "hello kitty on a beach" is a
description, "hello, what can you draw?" is not.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conversation_views import ReplyView

Kind = Literal["help", "greeting", "thanks", "praise", "farewell"]
KINDS: Final[tuple[Kind, ...]] = ("help", "greeting", "thanks", "praise", "farewell")
"""The kinds of small talk. Of several in a message, the first one here is answered."""
MAX_CHARS: Final = 160
MAX_WORDS: Final = 14
"""The most words of a clause, whose ways to fall into phrases are tried."""
MAX_STYLES: Final = 8
"""A model with more styles names none of them in an answer."""
_QUOTES: Final = re.compile('["“”„«»「」『』`]')
_BREAKS: Final = re.compile(r"\s*[,;:.!?…~。、¡¿()]+\s*|\s+[\u2013\u2014-]\s+")
_SMILES: Final = re.compile(
    "[\u2639-\u263b\u2764\ufe0f\U0001f44b-\U0001f44f\U0001f600-\U0001f64f\U0001f3fb-\U0001f3ff]"
)
"""Faces, hands and hearts, which go with words. Alone they are things to draw."""
_CHOICE: Final = re.compile(r"\s*\[([^\]]*)\]")


class _Language(BaseModel):
    """The phrases of a language and the words of its answers."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    greeting: tuple[str, ...]
    help: tuple[str, ...]
    thanks: tuple[str, ...]
    praise: tuple[str, ...]
    farewell: tuple[str, ...]
    greeting_said: str
    help_said: str
    help_styles: str
    thanks_said: str
    praise_said: str
    farewell_said: str
    examples: tuple[str, ...] = Field(min_length=2)


@dataclass(frozen=True, slots=True)
class Talk:
    """What a message of small talk is, and the languages that it may be in."""

    kind: Kind
    languages: tuple[str, ...]


def read(text: str) -> Talk | None:
    """What kind of small talk a message is; None if it may describe a picture."""
    if len(text) > MAX_CHARS or _QUOTES.search(text):
        return None
    clauses = [clause for clause in _BREAKS.split(_plain(text)) if clause]
    if not clauses:
        return None
    found: dict[str, list[Kind]] = {}
    for code, phrases in _phrases().items():
        kinds = [_kinds(clause.split(" "), phrases) for clause in clauses]
        if all(kinds):
            found[code] = [kind for each in kinds for kind in each]
    if not found:
        return None
    [(_, kinds), *_] = found.items()
    return Talk(min(kinds, key=KINDS.index), tuple(found))


def answer(talk: Talk | None, card: ModelCard, preferred: Sequence[str] = ()) -> ReplyView:
    """The answer to small talk: what to say next, and examples. `preferred` are the reader's languages, best first.

    None is a message that an earlier release took for small talk; it is answered as a request for help.
    """
    kind, languages = ("help", ("en",)) if talk is None else (talk.kind, talk.languages)
    code = next((each for each in preferred if each in languages), languages[0])
    said = languages_known()[code]
    words: dict[Kind, str] = {
        "help": said.help_said.format(model=card.title),
        "greeting": said.greeting_said,
        "thanks": said.thanks_said,
        "praise": said.praise_said,
        "farewell": said.farewell_said,
    }
    has_styles = kind == "help" and 0 < len(card.styles) <= MAX_STYLES
    joint = "" if code in ("zh", "ja") else " "
    styles = joint + said.help_styles.format(styles=", ".join(card.styles)) if has_styles else ""
    return ReplyView(text=words[kind] + styles, language=code, examples=list(said.examples))


@cache
def languages_known() -> dict[str, _Language]:
    """The languages by their codes, in the order of the file."""
    source = files("limner_web").joinpath("small_talk.toml").read_text("utf-8")
    return {code: _Language.model_validate(table) for code, table in tomllib.loads(source).items()}


@cache
def _phrases() -> dict[str, dict[str, Kind]]:
    """The kind of each phrase, by language."""
    return {
        code: {
            phrase: kind
            for kind in reversed(KINDS)
            for each in getattr(table, kind)
            for phrase in _expanded(_plain(each))
        }
        for code, table in languages_known().items()
    }


def _expanded(phrase: str) -> Iterator[str]:
    """The phrases that a phrase with choices stands for."""
    parts = _CHOICE.split(phrase)
    choices = [["", *(f" {each}" for each in part.split("|"))] if at % 2 else [part] for at, part in enumerate(parts)]
    return ("".join(chosen) for chosen in product(*choices))


def _kinds(words: Sequence[str], phrases: dict[str, Kind]) -> list[Kind]:
    """The kinds of the phrases that a clause is made of, one after the other; none if other words are left."""
    if len(words) > MAX_WORDS:
        return []
    for end in range(len(words), 0, -1):
        kind = phrases.get(" ".join(words[:end]))
        if kind is None:
            continue
        rest = words[end:]
        more = _kinds(rest, phrases) if rest else []
        if more or not rest:
            return [kind, *more]
    return []


def _plain(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")  # noqa: RUF001 - an apostrophe in texts
    without = _SMILES.sub(" ", plain)
    return " ".join(without.split()).strip()
