"""The patterns of things to leave out, and of the small words between and after them. No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language

END: Final = r"(?=\s*[,.;:!?()，。、！？；]|\s*$)"
"""The end of a phrase."""
LONGEST_WORD: Final = 40
"""The most letters of a word after its first; of a longer one, such as a text without spaces, no more is read."""
_MAX_WORDS: Final = 3
"""The most words of a thing within a list of things to leave out."""
_MAX_THING: Final = 80
"""The most characters of what is to be left out, unless it is a list."""
_MOST_THINGS: Final = 15
"""The most things of such a list, beside the first and the last."""


def any_(alternation: str) -> str:
    """Return an alternation, or a pattern that no text matches if it is empty."""
    return alternation or NOTHING


def things(language: Language) -> str:
    """Return a pattern of one thing or a list of things to leave out, up to a word that begins something else."""
    if language.unspaced:
        return rf"[^\s、。,，．.？?！!()（）；;]{{1,{_MAX_THING}}}?"
    ends = rf"(?:{any_(language.connectives.thing_ends)})(?!\w)"
    word = rf"(?!{ends}|(?:{any_(language.connectives.lists)})\s)[^\W\d_][\w'’-]{{0,{LONGEST_WORD}}}"
    thing = rf"{word}(?:\s{word}){{0,{_MAX_WORDS - 1}}}"
    joined = rf"(?:\s*,)?\s(?:{any_(language.connectives.lists)})\s+"
    listed = rf"{thing}(?:\s*,\s*{thing}){{0,{_MOST_THINGS}}}+{joined}{thing}"
    placed = rf"(?=\s+(?:{any_(language.connectives.places)})\s)"
    return rf"(?:{listed}{END}|{listed}{placed}|[^\W\d_][^,.;:!?()\n]{{0,{_MAX_THING}}}?(?:(?=\s+{ends})|{END}))"


def dangling(language: Language) -> str:
    """Return a pattern of small words at the end of a text."""
    return rf"(?:[\s,]*(?<!\w)(?:{any_(language.connectives.dangling)})(?!\w)){{1,6}}+$"


def separators(language: Language) -> str:
    """Return a pattern of what separates the things of a list."""
    if language.unspaced:
        return any_(language.connectives.lists)
    joined = rf"(?:{any_(language.connectives.lists)})\s+"
    return rf"\s*,\s*(?:{joined})?|\s+{joined}"


def picture_nouns(language: Language) -> str:
    """Return a pattern of the nouns that mean a picture, with the adjectives that describe the request."""
    pictures = language.pictures
    before = rf"(?:(?:{pictures.before})\s+)*+" if pictures.before else ""
    after = rf"(?:\s+(?:{pictures.after})(?!\w))*+" if pictures.after else ""
    return rf"{before}(?:{any_(pictures.nouns)})(?!\w){after}"


def media_of(language: Language) -> str:
    """Return an alternation of the names of media, one and several ("pencil drawing", "photos")."""
    media = language.pictures.media
    return any_("|".join([*map(re.escape, media), *media.values()]))
