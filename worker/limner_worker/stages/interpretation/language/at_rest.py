"""Where a thing stands, of which a message says where to put it: "auf den Tisch" becomes "auf dem Tisch". No I/O."""

from __future__ import annotations

import re
from functools import cache

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.declension import standing
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern


def at_rest(thing: str, language: Language) -> str:
    """Return a thing with a place that tells where it is, in a language in which it has another case then."""
    rest = language.at_rest
    if rest is None:
        return thing
    if not rest.articles:  # by a dictionary
        return standing(thing, rest.prepositions)
    thing = _contracted(language).sub(lambda match: rest.contracted[match.group().lower()], thing)
    return _placed(language).sub(lambda match: _dative(match, language), thing)


def _dative(match: re.Match[str], language: Language) -> str:
    """Return a German preposition with its noun in the dative."""
    article, noun, rest = match["article"], match["noun"], language.at_rest
    if rest is None:
        return match.group()
    plural = expression(rest.plural or NOTHING).fullmatch(noun) is not None
    noun = f"{noun}n" if plural and noun[-1] not in "ns" else noun
    article = (rest.plural_articles if plural else rest.articles).get(article.lower(), article)
    words = re.sub(r"(\w+?)e[rs]?(\s)", r"\1en\2", match["described"])
    placed = f"{match['before']} {article}"
    return f"{rest.shortened.get(placed.lower(), placed)} {words}{noun}"


@cache
def _contracted(language: Language) -> Pattern:
    rest = language.at_rest
    words = "|".join(rest.contracted) if rest is not None else ""
    return expression(rf"(?<!\w)(?:{words or NOTHING})(?!\w)")


@cache
def _placed(language: Language) -> Pattern:
    rest = language.at_rest
    articles = "|".join(rest.articles) if rest is not None else NOTHING
    before = rest.prepositions if rest is not None else NOTHING
    return expression(
        rf"(?<!\w)(?P<before>{before})\s+(?P<article>{articles})\s+(?P<described>(?-i:(?:[a-zäöüß]+e[nrs]?\s+){{0,2}}))"
        r"(?P<noun>(?-i:[A-ZÄÖÜ][\w-]+))"
    )
