"""The patterns by which `refine` reads what should change about a picture, composed of the words in the language files.

See `patterns` for those of requests.
"""

from __future__ import annotations

from typing import Final

from limner_worker.stages.interpretation.language_files import LANGUAGES, SPACED, UNSPACED, patterns_of, words
from limner_worker.stages.interpretation.patterns import numbered

_CHAT: Final = (
    rf"({words('changes.chat')})"
    rf"( ({words('changes.chat_degrees')}))?"
)
CHATTER: Final = rf"{_CHAT}([\s,，!！.。~]+{_CHAT})*[\s!！.。~]*"
"""Messages that ask for no change."""
UNDO: Final = rf"({words('changes.undo')})[\s.!]*"
ALSO: Final = rf"^({words('changes.also')})(?P<what>.+)$"
MORE: Final = words("changes.more")
"""With a number: other pictures like it, not the same ones again."""
POLITE: Final = patterns_of("changes.polite")
SAME: Final = patterns_of("changes.same")
REMOVE: Final = patterns_of("changes.remove")
LESS: Final = patterns_of("changes.less")
REPLACE: Final = patterns_of("changes.replace")
PART: Final = patterns_of("changes.part")
"""A part of the picture and its new quality; applied if that is a colour or the part was named before."""
CHANGE: Final = patterns_of("changes.change")
CHANGE_AFTER: Final = patterns_of("changes.change_after")
COMPARATIVES: Final = patterns_of("changes.comparatives")
PLACED: Final = patterns_of("changes.placed")
AGAIN: Final = patterns_of("changes.again")
COUNT_ALONE: Final = tuple(map(numbered, patterns_of("changes.count_alone")))
FILLERS: Final = (*patterns_of("changes.fillers"), r"[，,。.!！?？、;；:\s]+")

WITH: Final = {word: more for language in LANGUAGES for word, more in language.additions.items()}
"""What adds something, and what adds one thing more."""
INDEFINITE: Final = rf"({words('connectives.indefinite')}) \w"
LINK: Final = rf"^[\s,、，]*({words('connectives.links')})?(?!\w)[\s,、，]*"
DETERMINER: Final = rf"^({words('connectives.determiners')}) ?\b"
WORN_BEFORE: Final = "".join(language.connectives.worn_before for language in LANGUAGES)
WORN_AFTER: Final = rf"({words('connectives.worn_after')})?"
WITH_BEFORE: Final = (
    rf"[\s,]*(\b({words('connectives.accompaniments')})\s+)?"
    rf"(({words('connectives.articles')})\s+)?"
)
"""What is removed from a prompt before a thing that is not wanted any more, in scripts without and with spaces."""

_PLACES: Final = {0: "first", 1: "second", 2: "third", 3: "fourth", -1: "last"}
_BACK_TO: Final = (
    rf"(({words('ordinals.back_to')}) )?"
    rf"(({words('ordinals.the')}) )?"
)
_PICTURES: Final = words("ordinals.pictures")


def _names(name: str) -> tuple[str, ...]:
    """Return the patterns that name an earlier picture: with a noun, in scripts without spaces, and alone."""
    spaced = words(f"ordinals.{name}", SPACED)
    framed = [each.ordinals.frame.replace("{ordinal}", getattr(each.ordinals, name)) for each in UNSPACED]
    return (rf"{_BACK_TO}({spaced})( ({_PICTURES}))", *framed, rf"^{_BACK_TO}({spaced})$")


NAMES: Final = {place: _names(name) for place, name in _PLACES.items()}
"""The patterns that name each of the pictures so far, by its index."""
