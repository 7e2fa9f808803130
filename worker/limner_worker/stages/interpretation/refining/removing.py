"""Removes a thing from a prompt, together with what introduces it ("with a hat"). No I/O."""

from __future__ import annotations

import re
from functools import cache, partial
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.declension import forms_of
from limner_worker.stages.interpretation.language.detection import language_or_fallback
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.number_words import number_pattern
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import WIDE, Pattern, squeezed, tidy, with_particle

_AGREEING: Final = (
    ("os", "os"), ("as", "as"), ("o", "o"), ("a", "a"), ("i", "i"), ("es", "[oae]s"), ("s", "s"), ("e", "[oae]"),
)  # fmt: skip
"""Endings of Romance nouns, and of the adjectives that agree with them."""
_LISTED: Final = 3
"""The most words of a thing in a list."""
_LISTED_LAST: Final = re.compile("、([^、，,]+)$")
"""The last comma of a list."""
_COMMAS: Final = "，、, "
_CLAUSES: Final = re.compile(r"[，、,]?[^，、,]+")
STEM: Final = 3
"""The fewest letters that are left of a word whose ending may differ."""
LONG: Final = 7
"""The fewest letters of a word with endings of four letters."""


_DESCRIBING: Final = {
    "zh": "(?:[^\\s，、和与]{1,8}的)?",
    "ja": "(?:[^\\s，、とや]{1,6}[のるたいなつくすうむぶぐ])?",
    "ko": "(?:(?![가-힣]*(?:와|과|랑)\\s)[가-힣]+\\s){0,2}",
}
"""By language, what may stand between "and" and the last thing: "and a [pearl] necklace"."""


def removed(prompt: str, thing: str) -> str:
    """Return the prompt without a thing that is no longer wanted; the prompt itself if nothing else is in it."""
    name = tidy(thing)
    if not name:
        return prompt
    language = language_or_fallback(prompt)
    before, after = _around(language)
    if language.unspaced:
        listed = _last_joined(name, language).search(squeezed(prompt))
        if listed is None and (rest := _without_clause(name, squeezed(prompt))) is not None:
            return rest
        joined = _joined(name, squeezed(prompt), language)
        if joined is not None:
            return tidy(joined) or prompt
        return tidy(expression(rf"{before}{_plural(name, language)}{after}").sub("", squeezed(prompt))) or prompt
    after += modifier(name, language)
    named = expression(rf"{before}(?<!\w){forms(name, language)}(?!\w){after}{_more(language)}")
    left = named.sub(partial(_kept, language), _with_last(named, squeezed(prompt), language))
    return tidy(left) or prompt


def _with_last(thing: Pattern, prompt: str, language: Language) -> str:
    """Return a prompt in which the last but one of a list has the word before the last, if this one is the thing."""
    match, joins = thing.search(prompt), language.connectives.and_ or NOTHING
    if match is None or not re.fullmatch(joins, match["introduced"] or "", re.IGNORECASE) or match["more"]:
        return prompt
    head, comma, last = prompt[: match.start()].rpartition(", ")
    if not comma or len(last.split()) > _LISTED:
        return prompt
    return f"{head} {match['introduced']} {last}{prompt[match.start() :]}"


def _without_clause(name: str, prompt: str) -> str | None:
    """Return a prompt in a script without spaces without the clause that ends with a thing; None if none does.

    What stands before the thing there says where it is, or what is done with it: "(a teahouse,) at the door a
    scooter".
    """
    clauses = _CLAUSES.findall(prompt)
    kept = [each for at, each in enumerate(clauses) if not at or not each.strip(_COMMAS).endswith(name)]
    return "".join(kept).strip(_COMMAS) if 0 < len(kept) < len(clauses) else None


def _joined(name: str, prompt: str, language: Language) -> str | None:
    """Return a prompt in a script without spaces without one of two things that a particle joins; None if none does."""
    joins = language.connectives.and_ or NOTHING
    thing = rf"{_described(language)}{_plural(name, language)}"
    first = expression(rf"{thing}(?:{joins})\s?(?=\w)")
    for pattern in (first, _last_joined(name, language)):
        if match := pattern.search(prompt):
            left = prompt[: match.start()]
            if pattern is not first and (comma := _LISTED_LAST.search(left)) is not None:  # "牛肉、青菜和啤酒"
                left = f"{left[: comma.start()]}{match['joins']}{comma[1]}"
            if left.endswith("、") and (join := re.search(rf"(?:{joins})$", match.group().rstrip())):
                left = f"{left[:-1]}{join.group()}"  # "台灯、闹钟和绿萝"
            return left + with_particle(left, prompt[match.end() :])
    return None


def _last_joined(name: str, language: Language) -> Pattern:
    """Return a pattern of the last of two things in a script without spaces, with the particle that joins them."""
    joins = language.connectives.and_ or NOTHING
    described = _DESCRIBING.get(language.code, "")
    thing = rf"{described}{_described(language)}{_plural(name, language)}(?!\w*(?:{joins}))"
    return expression(rf"(?<=\w)(?P<joins>{joins})\s?{thing}")


def _plural(name: str, language: Language) -> str:
    """Return a pattern of a name in a script without spaces; in Korean, it may have the ending of the plural."""
    return re.escape(name) + ("(?:들(?![가-힣]*[다면고]))?" if language.code == "ko" else "")


def forms(name: str, language: Language) -> str:
    """Return a pattern of a name, with other endings where the language's nouns have cases, or a dative."""
    if not language.cases or name[0] >= WIDE:
        return re.escape(name) + ("n?" if language.dative else "")  # "mit zwei Hunden"
    return r"\s+".join(map(_declined, name.split()))


def _declined(word: str) -> str:
    """Return a pattern of the forms of a word; those of a long one may differ in four letters ("морковок")."""
    if known := forms_of(word):
        return rf"(?:{'|'.join(map(re.escape, known))})(?!\w)"
    return rf"{re.escape(word[: max(STEM, len(word) - 2)])}\w{{0,{3 if len(word) < LONG else 4}}}"


def _kept(language: Language, match: re.Match[str]) -> str:
    """Return what introduced the first of several things, of which the others stay: "with a hat and a scarf"."""
    introduced, more = match["introduced"], match["more"]
    if not match.start():
        return ""
    joins = language.connectives.and_ or NOTHING
    if not more or not introduced or re.fullmatch(joins, introduced, re.IGNORECASE):
        return more or ""
    said = f"{introduced} {match.string[match.end() :]}"
    for wrong, right in language.connectives.before_sounds.items():
        if expression(wrong).match(said):
            return f" {right} "
    return f" {introduced} "


@cache
def _more(language: Language) -> str:
    """Return a pattern of what joins a further thing of a list, and none that has another case, or things of its own.

    It has an article where the language has them, or is a word alone: "with a hat and sunglasses".
    """
    small = language.connectives
    joins, withs = small.and_ or NOTHING, language.scenes.accompaniments or NOTHING
    cases = "|".join(dict.fromkeys(language.dative.values()))
    articles = cases or f"{small.indefinite or NOTHING}|{small.articles or NOTHING}"
    made = rf"(?:\s(?:{small.made_of or NOTHING})\s\w+)?"
    ends = "|".join(filter(None, (small.places, small.holding)))
    alone = rf"(?:(?:{qualities(language)})\s+){{0,2}}\w+{made}(?=\s*(?:[,.;!?]|$)|\s(?:{ends or NOTHING})\s)"
    thing = rf"(?:(?:{articles})(?!\w)|{alone})" if small.indefinite else r"\w"
    whole = rf"(?={thing})(?![^,.;]{{1,60}}\s(?:{withs})\s)"
    first = rf"(?:{articles})\s" if small.indefinite else ""
    listed = rf",\s+(?={first}[^,.;]{{1,40}},?\s(?:{joins})\s)"
    return rf"(?P<more>\s+(?:{joins})\s+{whole}|{listed})?"


@cache
def _around(language: Language) -> tuple[str, str]:
    """Return patterns of what goes before and after the name of a thing: what introduces and what describes it."""
    small = language.connectives
    if language.unspaced:
        after = rf"(?:{small.worn_after})?" if small.worn_after else ""
        return f"{small.worn_before}{_described(language)}", after
    listed = rf"(?:{small.and_})\s(?:{small.made_of})" if small.and_ and small.made_of else ""
    words = "|".join(filter(None, (listed, small.beside, small.accompaniments, small.holding)))
    apart = r"(?:\s+|(?<=['\u2019]))"  # "à côté d'un arbre"
    joined = rf"(?:(?:{small.and_ or NOTHING})\s+)?"  # "in a hat and with an umbrella"
    introduced = rf"[\s,]*(?:(?<!\w){joined}(?P<introduced>{words}){apart})?"
    article = rf"(?:(?<!\w)(?P<article>{small.articles or NOTHING}){apart})?"
    led, sleeping = (rf"(?:(?!(?:{_small(language, verbs=some)})(?!\w))[^\W\d_]+\s+)?" for some in (True, False))
    before = rf"{introduced}{article}{_described(language)}(?(article){sleeping}|(?(introduced){led}))"
    joins = small.and_ or NOTHING
    said = rf"\s+(?:{qualities(language)})(?!\w)"
    described = rf"(?:{said}(?:,?\s+(?:{joins}){said})?){{0,3}}" if language.colour_after else ""
    aside = rf"(?:\s+(?:{small.aside or NOTHING})(?=\s*(?:[^\w\s]|$)))?"
    return before, rf"{described}(?:\s+(?:{small.complements or NOTHING})(?!\w)){{0,2}}{aside}"


def modifier(name: str, language: Language) -> str:
    """Return a pattern of an unknown adjective behind a thing with whose ending it agrees: "turisti rumorosi"."""
    if not language.colour_after or language.gender is None:
        return ""
    last = name.rsplit(maxsplit=1)[-1].lower()
    small = rf"(?:{_small(language, verbs=True)}|{language.gender.others})"
    end = next((ends for suffix, ends in _AGREEING if last.endswith(suffix)), None)
    if end is None and language.code == "fr":  # its nouns do not tell
        end = "|".join(rf"(?<={each})" for each in {*language.gender.endings, *language.gender.endings.values()})
    elif end is not None:
        end = f"(?<={end})"
    else:
        return ""
    follows = rf"(?=\s*(?:[^\w\s]|$)|\s+(?:{_small(language, verbs=False)})(?!\w))"
    return rf"(?:\s+(?!{small}(?!\w))[^\W\d_]{{3,}}(?<!ndo)(?:{end}){follows})?"


@cache
def _described(language: Language) -> str:
    """Return a pattern of what describes a thing before its name: a number, colours, and known adjectives."""
    if language.unspaced:
        return rf"(?:{language.measure or NOTHING})?(?:(?:{qualities(language)})\s?){{0,3}}"
    return rf"(?:(?<!\w)(?:{qualities(language)}|{number_pattern(language)})(?!\w),?\s+){{0,4}}"


def qualities(language: Language) -> str:
    """Return an alternation of known adjectives, colours, materials and patterns."""
    some = language.attributes
    known = (language.connectives.qualities or NOTHING, some.colours, some.materials, some.patterns)
    return "|".join((*known, *language.colours.values()))


def _small(language: Language, *, verbs: bool) -> str:
    """Return an alternation of words that are no adjectives; a form of a verb after an article may be one."""
    small = language.connectives
    some = (
        small.articles, small.accompaniments, small.and_, small.lists, small.places, small.links, small.dangling,
        small.determiners, small.beside, *((small.thing_ends, small.holding) if verbs else ()),
    )  # fmt: skip
    return "|".join(filter(None, some))
