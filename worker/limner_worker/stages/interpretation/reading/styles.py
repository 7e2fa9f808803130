"""The patterns by which a description names a style: beside the word for style, between marks, after "make it". No I/O.

Each language has its own words; the names of styles may be English in any language.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, NOTHING, words
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, compiled
from limner_worker.stages.interpretation.reading.asking import thanks
from limner_worker.stages.interpretation.reading.sizes import asked, asked_after, clause_end
from limner_worker.stages.interpretation.reading.things import END, any_, picture_nouns

_WITH_NAMES: Final = (0, 1, 6, 7, 8)
"""The frames that hold a style's other names too: beside the word for style, after its key, between marks."""
_KEYED: Final = 7
_CODED: Final = re.compile(r"\d")
"""What the name of a style has that is no word of a language: it needs no word beside it at the end of a text."""
_WITH_WORD: Final = (0, 6)
"""The frames of a style's name beside the word for style, in languages with spaces and without."""


def style_patterns(text: str, style: str, language: Language) -> tuple[Pattern, ...]:
    """Return the patterns by which a text may name a style, in a language or in English.

    What may stand before a name is tried at every word, so a pattern is left out whose name the text does not have.
    """
    return tuple(whole for bare, whole in _style_patterns(style, language) if bare.search(text))


@cache
def _style_patterns(style: str, language: Language) -> tuple[tuple[Pattern, Pattern], ...]:
    """Return the patterns that name a style, without and with what may stand before."""
    both = tuple(dict.fromkeys((language, BY_CODE[FALLBACK])))
    plain = re.escape(style).replace(r"\-", "[- ]")
    names = "|".join(each.styles[style].names for each in both if style in each.styles and each.styles[style].names)
    name = rf"(?:{plain}|{names})" if names else plain
    inside = _inside(both)
    further = [each.styles[style] for each in both if style in each.styles]
    own = [source.replace("{in}", inside).replace("{end}", END) for each in further for source in each.patterns]
    frames = _style_frames(both)
    if style == "3d":
        first, last = (frames[at].replace("{style}", "3-?d") for at in _WITH_WORD)
        own += [first, last, *_three_dimensional(both, inside)]
    filled = [frame.replace("{style}", name if at in _WITH_NAMES else plain) for at, frame in enumerate(frames)]
    keyed = filled.pop(_KEYED)  # first, as a bare "3d" would leave its key
    own = [each.replace("{style}", rf"(?:{name}|3-?d)" if style == "3d" else name) for each in _made_so(language)] + own
    coded = [rf"(?<![\w-]){plain}[.!]?$"] if _CODED.search(style) else []
    made = _made(both) + (rf"(?:{asked(language)})?" if language.size.asked else "")
    sources = (*_sought(name, both), keyed, *own, *filled, *coded)
    return tuple(zip(compiled(sources), compiled(f"{made}(?:{source})" for source in sources), strict=True))


@cache
def _own_clause(styles: tuple[str, ...], language: Language) -> Pattern:
    """Return a pattern of a mark that ends a sentence before one that only names a style, perhaps with thanks."""
    both = tuple(dict.fromkeys((language, BY_CODE[FALLBACK])))
    names = [re.escape(style).replace(r"\-", "[- ]") for style in styles]
    names += [each.styles[style].names for each in both for style in styles if style in each.styles]
    named = "|".join(filter(None, names)) or NOTHING
    polite = "|".join(thanks(language))
    sentence = rf"(?P<style>{_inside(both)}(?:{named})(?!\w))"
    return expression(rf"\s*[?!？！]+\s*{sentence}(?:{polite})?[\s.!]*$")


def in_one_sentence(text: str, styles: Sequence[str], language: Language) -> str:
    """Return a text in which a sentence that only names a style is a part of the one before: "a cat? in 3d thanks"."""
    return text if language.unspaced else _own_clause(tuple(styles), language).sub(r", \g<style>", text, count=1)


@cache
def things_before(style: str, language: Language) -> Pattern:
    """Return a pattern of a thing at the end of a text, which the name of a style describes: "gafas 3d"."""
    named = language.styles.get(style)
    return expression(rf"(?<!\w)(?:{any_(named.things_before if named else '')})\s*$")


def _sought(name: str, both: tuple[Language, ...]) -> tuple[str, ...]:
    """Return how a clause says which style is wanted: "the look I am after is flat"."""
    quoted = rf"['\"“«]?{name}['\"”»]?"

    def sought(each: Language) -> str:
        start = "" if each.unspaced else r"(?<!\w)"
        particles = f"(?:{each.style.particles})?" if each.style.particles else ""
        introduced = rf"(?:[,;.?!、。，？！]\s*)?{start}(?:{each.style.sought})\s*[:：]?\s*"
        return rf"{introduced}{quoted}{asked_after(each)}{particles}{clause_end(each)}"

    return tuple(sought(each) for each in both if each.style.sought)


def _made(both: tuple[Language, ...]) -> str:
    """Return a pattern of how a picture is made, before the name of a style: ", rendered 3d", "drawn in 3d"."""
    some = words("style.made", *both)
    introduced = rf"(?:{words('style.introductions', *both)}|{words('style.in_', *both)})"
    return rf"(?:(?<=[,;(])\s*(?:{some})\s+|(?<!\w)(?:{some})\s+(?={introduced}\s))?"


def _inside(both: tuple[Language, ...]) -> str:
    return rf"(?:(?<!\w)(?:{words('style.introductions', *both)})(?: (?:{words('style.articles', *both)}))? )?"


def _made_so(language: Language) -> tuple[str, ...]:
    """Return how a clause of its own says the style, with `{style}` for its name: "make it flat"."""
    if language.unspaced or not language.size.asked:
        return ()
    introduced = rf"(?:(?:{any_(language.style.introductions)}|{any_(language.style.in_)})\s+)?"
    so = rf"(?:{asked(language)}{introduced}|[,;(]?\s*(?<!\w)(?:{any_(language.style.made)})\s+)"
    return (rf"{so}{{style}}(?!\w){asked_after(language)}{clause_end(language)}",)


def _style_frames(both: tuple[Language, ...]) -> tuple[str, ...]:
    """Return how a description names a style, with `{style}` for its name; the first after the word for "style"."""
    spaced = tuple(each for each in both if not each.unspaced)
    unspaced = tuple(each for each in both if each.unspaced)
    tail = rf"(?:{words('style.tail', *both)})?"
    nouns = "|".join(picture_nouns(each) for each in spaced)
    media = "|".join(plural for each in spaced for plural in (*each.pictures.media, *each.pictures.media.values()))
    word = words("style.word", *spaced)
    return (
        (
            rf"(?<!\w)(?:(?:{words('style.in_', *both)}) (?:(?:{words('style.the', *both)}) )?)?(?:{word})\s"
            rf"(?:(?:{words('style.of', *both)}) )?['\"“«]?{{style}}['\"”»]?(?![\w-])"
        ),
        rf"{_inside(both)}['\"“«]?(?<![\w-]){{style}}['\"”»]?[ -](?:{word})(?!\w){tail}",
        rf"(?<!\w)(?:{words('style.introductions', *spaced)})\s{{style}}{END}",
        rf"(?<![\w-]){{style}}[ -](?={nouns}|(?:{any_(media)})(?!\w))",
        rf"(?<![\w-]){{style}} (?:{words('style.pictures_after', *both)})(?!\w){tail}",
        (
            rf"\b(?:{words('style.as_', *both)})(?: (?:{words('style.a', *both)}))? "
            rf"{{style}}(?![\w-])(?:[ -](?:{words('style.as_pictures', *both)}))?"
        ),
        (
            rf"(?:{words('style.introductions', *unspaced)})?(?<![a-z0-9-]){{style}} ?"
            rf"(?:{words('style.before_word', *unspaced)})?"
            rf"(?:{words('style.word', *unspaced)})(?:{words('style.particles', *unspaced)})?"
        ),
        (
            rf"[\[(]\s*{{style}}\s*[\])]|-{{0,2}}\b(?:{words('style.word', *both)})\s*[:：=]\s*"
            r"{style}(?![\w-])|--style {style}(?![\w-])"
        ),
        (
            rf"^{{style}}\s*[:：]|[,，、/|;.。]\s*{{style}}(?:\s(?:{words('size.asked_after', *both)}))?"
            r"(?=[.!。]?\s*$|\s*[,，、/|;]|[.。]\s)"
        ),
    )


def _three_dimensional(both: tuple[Language, ...], inside: str) -> list[str]:
    """Return the patterns of "3d", of which those with a noun must come before the bare one."""
    names = [each.styles["3d"] for each in both if "3d" in each.styles]
    things = any_("|".join(name.things for name in names if name.things))
    nouns = "|".join((*(name.nouns for name in names if name.nouns), words("style.word", *both)))
    adjectives = any_("|".join(name.adjectives for name in names if name.adjectives))
    tails = any_("|".join(name.noun_tail for name in names if name.noun_tail))
    particles = any_("|".join(name.particles for name in names if name.particles))
    return [
        rf"{inside}\b3-?d[ -](?!{things})(?:{nouns})\b(?:{tails})?",
        rf"{inside}(?<![a-z0-9])3-?d(?:-rendered| rendered)?(?![a-z0-9])(?:{particles})?(?![ -]?(?:{things}))",
        rf"{inside}(?:{adjectives})",
    ]
