"""How all of a picture should look, as a message says it: "as a watercolour", "with a darker mood". No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, tidy
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.nouns import is_medium
from limner_worker.stages.interpretation.refining.remarks import says_nothing

_CONTENT: Final = re.compile("pixel|像素|ピクセル|픽셀|пиксел", re.IGNORECASE)
"""Words of a medium that are else of a size."""
_ALL: Final = re.compile(
    r"\s(?:overall|in general|insgesamt|in generale|nel complesso|globalement|en général|en general|no geral|в целом"
    r"|over het geheel)\s*$",
    re.IGNORECASE,
)
"""Words after a look that say that all has it."""
_MORE: Final = re.compile(r"^(?:de|di)\s+(?=(?:plus|più|más|mais)\s)", re.IGNORECASE)
"""What stands before a comparative in "quelque chose de plus doux"."""
_LITTLE: Final = r"(?:peu|poco|pochino|pouco|pouquinho|po['\u2019]|bit|little|bisschen|wenig|beetje|tikje)(?!\w)"
"""What follows an article of "a bit"."""
_COMPARATIVE: Final = re.compile("[а-яё]+(?:ее|ше)", re.IGNORECASE)
_LAST: Final = re.compile(r"に$")
_NOUN: Final = re.compile("(?:画|絵|風|調|フォト|アート|イラスト|スケッチ|写真|デッサン|タッチ)に$")


def show_look(change: Change, text: str) -> None:
    """Append how all should look, without words that only lead to it."""
    named = _CONTENT.search(text) is not None or is_medium(text, change.language)
    if (named or not says_nothing(text, change)) and (look := plain(text, change.language)):
        change.append(_listed(_medium_in(look, change), change.language))


def _medium_in(look: str, change: Change) -> str:
    """Return the medium with which a look begins, if words behind it only ask: "Aquarell fände"."""
    first, _, rest = look.rpartition(" ")
    if change.language.unspaced:
        return look
    return first if rest and is_medium(first, change.language) and says_nothing(rest, change) else look


def plain(look: str, language: Language) -> str:
    """Return how all should look without words that lead to it; "" if there are no others."""
    if language.code == "ja" and _NOUN.search(look):
        return _LAST.sub("", look)
    return tidy(_ALL.sub("", _MORE.sub("", _leading(language).sub("", f"{look} "))))


def _listed(look: str, language: Language) -> str:
    """Return a comparative and another look with a comma between them."""
    first = rf"^([^,]{{2,30}}?)\s(?:{language.connectives.and_ or NOTHING})\s(?=.)"
    found = re.match(first, look, re.IGNORECASE)
    patterns = changes_for(language).comparatives
    if found is None or language.unspaced:
        return look
    if not any(pattern.match(found[1]) for pattern in patterns) and _COMPARATIVE.fullmatch(found[1]) is None:
        return look
    return f"{found[1]}, {plain(look[found.end() :], language)}"


def with_looks(found: Conditions, looks: Sequence[str], language: Language) -> Conditions:
    """Return the conditions of another subject, which is to look in some ways too."""
    prompt = found.prompt
    for look in (plain(each, language) for each in looks):
        prompt = prompt if not look or look in prompt else f"{prompt}{language.phrases.comma}{look}"
    return found.model_copy(update={"prompt": prompt})


@cache
def _leading(language: Language) -> Pattern:
    """Return a pattern of words before a look that only lead to it: "and", "as a", "with a"."""
    style, small = language.style, language.connectives
    words = "|".join(filter(None, (style.as_, style.in_, language.scenes.accompaniments, small.accompaniments)))
    article = rf"(?:(?:{small.indefinite or NOTHING})(?:\s+|(?<=['\u2019]))(?!{_LITTLE}))"
    led = rf"(?:(?:{words or NOTHING})\s+{article}?|{article})"
    return expression(NOTHING if language.unspaced else rf"^(?:(?:{small.and_ or NOTHING})\s+)?{led}?")
