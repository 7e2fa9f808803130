"""The patterns of sizes in pixels, and of shapes ("square", "in landscape format"). No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, NOTHING, words
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.reading.things import END, any_

SHAPES: Final = ("small", "large", "square", "wide", "tall")
_MARK: Final = "[,;(，、；（.!?。！？/|—–-]"
_DESCRIBING: Final = "".join(map(chr, range(0xAC04, 0xD7A4, 28)))
"""The syllables of Korean with the ending of a word that describes the next one."""
_RATIOS: Final = {"square": "1:1", "wide": "16:9|3:2|4:3|21:9|16:10", "tall": "9:16|2:3|3:4|9:21|10:16"}


def size(language: Language) -> tuple[str, ...]:
    """Return the patterns of a size in pixels, as width and height or as the side of a square."""
    both = (language, BY_CODE[FALLBACK])
    start = "" if language.unspaced else r"(?<!\w)"  # "bufanda de 256x384" does not end in the word "a"
    end = "" if language.unspaced else r"(?![^\W\d])"
    before = rf"(?:{asked(language)})?(?:{start}(?:{any_(language.size.before)}|size){end}\s*[:=]?\s*){{0,4}}+"
    pixels = rf"(?:\s*(?:{words('size.pixels', *both)})(?![a-z]))"
    after = (rf"(?:{language.size.after})?" if language.size.after else "") + asked_after(language)
    square = rf"(?<!\w)(?:{language.shapes.square})(?:{language.shapes.endings})"
    media = "|".join(map(re.escape, language.pictures.media)) or NOTHING
    return (
        (
            rf"{before}(?<!\d)(?P<w>\d{{2,5}}){pixels}?\s*(?:[x×*хX]|{words('size.by', *both)})\s*"
            rf"(?P<h>\d{{2,5}})(?!\d){pixels}?{after}"
        ),
        (
            rf"(?:{square}\s+)?{before}(?<!\d)(?P<w>\d{{2,4}}){pixels}(?:\s+{square})?{after}"
            rf"(?:{END}|(?=\s+(?:{any_(language.pictures.nouns)}|{media})(?!\w)))"
        ),
    )


def asked(language: Language) -> str:
    """Return a pattern of what introduces a size or a shape in a clause of its own: ", so the picture should be"."""
    if language.unspaced:
        return rf"[,;.!、，。]?\s*(?:{any_(language.size.asked)})\s*"
    and_, so = any_(language.connectives.and_), any_(language.requests.reasons)
    return rf"[,;.!]?\s*(?<!\w)(?:(?:(?:{and_})\s+)?(?:{so})\s*,?\s+)?(?:{any_(language.size.asked)})\s+"


def clause_end(language: Language) -> str:
    """Return a pattern of the end of a clause, or of a word that begins another one."""
    small = language.connectives
    next_ = "|".join(filter(None, (small.and_, small.links, small.accompaniments, language.requests.because)))
    return rf"(?:{END}|(?=\s+(?:{any_(next_)})\s))"


def asked_after(language: Language) -> str:
    """Return a pattern of what may follow a size, a shape or a style in its clause: "quadratisch sein"."""
    if language.unspaced:
        return rf"(?:{language.size.asked_after})?"
    return rf"(?:\s+(?:{language.size.asked_after})(?!\w))?" if language.size.asked_after else ""


def _wished(name: str, language: Language) -> str:
    """Return a pattern of a shape that a clause wishes for, up to another clause: "und zwar hochkant, weil"."""
    agreeing = rf"(?:{getattr(language.shapes, name)})(?:{language.shapes.endings})"
    if language.unspaced:
        return rf"{asked(language)}{agreeing}{asked_after(language)}"
    wished = rf"{asked(language)}(?:(?:{any_(language.size.before)})\s+)?{agreeing}(?!\w)"
    return rf"{wished}{asked_after(language)}{clause_end(language)}"


def shape_named(name: str, language: Language) -> tuple[str, ...]:
    """Return the patterns of a shape, which concern the picture's size or format and not its subject."""
    found: list[str] = []
    for each in dict.fromkeys((language, BY_CODE[FALLBACK])):
        words_ = getattr(each.shapes, name)
        uses = [source.replace("{end}", END) for source in each.shapes.uses.get(name, ())]
        found += [*uses, _wished(name, each)] if name in _RATIOS else uses
        framed = each.shapes.frame.replace("{shape}", words_)
        found += [source.replace("{end}", END) for source in (framed, *each.shapes.more.get(name, ()))]
        agreeing = rf"(?:{words_})(?:{each.shapes.endings})"
        small = any_("|".join(filter(None, (each.connectives.and_, each.connectives.links))))
        inside = "" if each.unspaced else rf"(?:(?:{any_(each.style.in_)})\s+)?"
        end = END if each.unspaced else rf"(?:{END}|(?=\s+(?:{small})\s))"
        found.append(rf"(?<={_MARK})\s*{inside}{agreeing}{asked_after(each)}\s*[)）]?{end}|^{agreeing}\s*[,:，、：]")
        if each.unspaced:  # "金魚鉢 正方形", but "赤い 正方形"
            found.append(rf"(?<=\w)(?<![いなの的의{_DESCRIBING}])(?<!色)\s+{agreeing}{asked_after(each)}{END}")
        found.append(rf"(?<!\w)(?:{any_(each.shapes.keys)})\s*[:=：]?\s*{agreeing}{END}")
    if name not in _RATIOS:
        return tuple(found)
    keys = "|".join(filter(None, (each.shapes.keys for each in dict.fromkeys((language, BY_CODE[FALLBACK])))))
    ratio = rf"(?<![\d:])(?:{_RATIOS[name]})(?![\d:])"
    return (*found, rf"(?<!\w)(?:{keys or NOTHING})\s*[:=：]?\s*{ratio}", ratio)


def has_shape(size: tuple[int, int], shape: str) -> bool:
    """Return whether a size in pixels has a shape that is said too: "256x384, upright"."""
    wider = (size[0] > size[1]) - (size[0] < size[1])
    return {"square": 0, "wide": 1, "tall": -1}.get(shape) == wider


def shape_among(text: str, language: Language) -> str | None:
    """Return the shape that a text names which is known to name one ("in vertical"); None if it names none."""
    start = "" if language.unspaced else r"(?<!\w)"
    end = "" if language.unspaced else rf"(?:[- ]?format\w*)?(?:{language.shapes.endings}|\w{{0,2}})(?!\w)"
    names = (each for each in _RATIOS if expression(rf"{start}(?:{getattr(language.shapes, each)}){end}").search(text))
    return next(names, None)


def shaped(shape: str, sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the size that a shape means; None if no size has that shape."""
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    fitting = {
        "small": by_area[:1],
        "large": by_area[-1:],
        "square": [size for size in sizes if size[0] == size[1]],
        "wide": [size for size in sizes if size[0] > size[1]],
        "tall": [size for size in sizes if size[0] < size[1]],
    }[shape]
    return fitting[0] if fitting else None
