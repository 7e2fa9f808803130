"""The patterns by which `rules` reads requests, composed of the words in the language files.

They recognise how people ask for pictures, count them, name styles and sizes, and leave things out. Words of scripts
with spaces stand alone; others are parts of what is written.
"""

from __future__ import annotations

from typing import Final

from limner_worker.stages.interpretation.language_files import (
    LANGUAGES,
    SPACED,
    UNSPACED,
    StyleName,
    patterns_of,
    words,
)

GRAMMAR: Final = frozenset(word for language in LANGUAGES for word in language.grammar.split())
"""Words without content; prompts that share only these share nothing."""
ADDING: Final = "|".join(word for language in LANGUAGES for word in language.additions)

LEAD_INS: Final = patterns_of("requests.lead_ins")
POLITE_TAILS: Final = patterns_of("requests.polite_tails")
TAILS: Final = (*POLITE_TAILS, *patterns_of("requests.tails"))
ASIDES: Final = patterns_of("requests.asides")
PICTURE_OF: Final = patterns_of("requests.picture_of")
PICTURES_AFTER: Final = patterns_of("requests.pictures_after")

NUMBERS: Final = {word: number for language in LANGUAGES for word, number in language.numbers.items()}
NUMBER: Final = "|".join(
    sorted((*(word for language in SPACED for word in language.numbers), r"\d{1,7}"), key=len, reverse=True)
)
"""A number in digits or in the words of scripts with spaces."""


def numbered(source: str) -> str:
    """Return the pattern with `{number}` filled in."""
    return source.replace("{number}", NUMBER)


COUNTED: Final = (
    numbered(
        rf"(?<!\w)(({words('pictures.sets')}) )?(?P<n>{{number}}) "
        rf"(({words('pictures.qualifiers')}) )?"
        rf"({words('pictures.plurals')})\b"
        rf"( ({words('pictures.of')}))?"
    ),
    numbered(rf"(?<!\w)(?P<n>{{number}}) ({words('pictures.of_them')})\b"),
    *patterns_of("requests.counted"),
)
JOINED_TWICE: Final = rf"(?<!\w)({words('connectives.and_')}) (?P<last>({ADDING})(?!\w))"
"""What remains between two things of which the first was taken out."""
DANGLING: Final = rf"(?<!\w)([\s,]*({words('connectives.dangling')}))+$"
"""What introduced a style, a size or a seed that was taken out."""
SEED: Final = (
    (
        rf"(({ADDING}) )?(({words('seed.the')}) )?"
        rf"({words('seed.word')})\s*[:=#]?\s*(?P<seed>\d{{1,10}})"
    ),
)
SIZE: Final = (
    (
        rf"(({words('size.before')}) )?(?P<w>\d{{2,5}})\s*[x×*хX]\s*(?P<h>\d{{2,5}})"
        rf"( ?({words('size.pixels')}))?"
    ),
)
THING: Final = rf"[^\W\d_][^,.;:!?\n]*?(?=\s+({words('connectives.thing_ends')})\s|[,.;:!?]|$)"
WITHOUT: Final = tuple(source.replace("{thing}", THING) for source in patterns_of("requests.without"))

_IN: Final = (
    rf"(({words('style.introductions')})"
    rf"( ({words('style.articles')}))? )?"
)
_TAIL: Final = rf"({words('style.tail')})?"
STYLE_FRAMES: Final = (
    (
        rf"({words('style.in_')}) "
        rf"(({words('style.the')}) )?"
        rf"({words('style.word', SPACED)}) "
        rf"(({words('style.of')}) )?['\"“]?{{style}}['\"”]?(?![\w-])"
    ),
    (
        rf"{_IN}['\"“]?(?<![\w-]){{style}}['\"”]?[ -]"
        rf"({words('style.word', SPACED)})\b{_TAIL}"
    ),
    rf"(?<![\w-]){{style}} ({words('style.pictures_after')})\b{_TAIL}",
    (
        rf"\b({words('style.as_')})( ({words('style.a')}))? "
        rf"{{style}}(?![\w-])( ({words('style.as_pictures')}))?"
    ),
    (
        rf"(?<![\w-]){{style}} ?({words('style.before_word')})?"
        rf"({words('style.word', UNSPACED)})"
        rf"({words('style.particles')})?"
    ),
    (
        rf"[\[(]\s*{{style}}\s*[\])]|-{{0,2}}\b({words('style.word')})\s*[:：=]\s*"
        r"{style}(?![\w-])|--style {style}(?![\w-])"
    ),
    r"^{style}\s*[:：]|,\s*{style}\s*$",
)
"""How a description names a style, with `{style}` for its name."""


def _style_names(style: str) -> list[StyleName]:
    return [language.styles[style] for language in LANGUAGES if style in language.styles]


def _three_dimensional() -> tuple[str, ...]:
    """Return the patterns of "3d", of which those with a noun must come before the bare one."""
    names = _style_names("3d")
    things = "|".join(name.things for name in names if name.things)
    nouns = "|".join(name.nouns for name in names if name.nouns)
    adjectives = "|".join(name.adjectives for name in names if name.adjectives)
    tails = "|".join(name.noun_tail for name in names if name.noun_tail)
    particles = "|".join(name.particles for name in names if name.particles)
    return (
        rf"{_IN}\b3-?d[ -](?!{things})({nouns})\b(?:{tails})?",
        rf"{_IN}(?<![a-z0-9])3-?d(-rendered| rendered)?(?![a-z0-9])({particles})?(?![ -]({things}))",
        rf"{_IN}({adjectives})",
    )


def _styles() -> dict[str, tuple[str, ...]]:
    names = dict.fromkeys(name for language in LANGUAGES for name in language.styles)
    found = {
        style: tuple(source.replace("{in}", _IN) for name in _style_names(style) for source in name.patterns)
        for style in names
    }
    return found | {"3d": (*found["3d"], *_three_dimensional())}


STYLES: Final = _styles()
"""Further names of styles that a model may have, beside the names themselves."""

_END: Final = r"(?=\s*[,.;:!?]|\s*$)"


def _shape(shape: str) -> tuple[str, ...]:
    """Return the patterns of a shape, which concern the picture's size or format and not its subject."""
    found: list[str] = []
    for language in LANGUAGES:
        words = getattr(language.shapes, shape)
        framed = language.shapes.frame.replace("{shape}", words)
        found += [source.replace("{end}", _END) for source in (framed, *language.shapes.more.get(shape, ()))]
    return tuple(found)


SHAPES: Final = {shape: _shape(shape) for shape in ("small", "large", "square", "wide", "tall")}
