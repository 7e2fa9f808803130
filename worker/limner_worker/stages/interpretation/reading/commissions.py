"""What a picture is needed for, before what it shows: "we run a cafe and need a wide banner: a cup". No I/O."""

from __future__ import annotations

from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern
from limner_worker.stages.interpretation.reading.parsed import Model, ParsedRequest
from limner_worker.stages.interpretation.reading.sizes import shaped
from limner_worker.stages.interpretation.reading.styles import style_patterns
from limner_worker.stages.interpretation.reading.things import any_

_SHAPES: Final = ("square", "wide", "tall")


def take_commission(found: ParsedRequest, model: Model) -> None:
    """Take what a picture is needed for out of a text, and note the shape and the style that its words name."""
    language = found.language
    match = _pattern(language).search(found.text)
    if match is None:
        return
    head, how = found.text[: match.start("shows")], (match.groupdict().get("how") or "").strip()
    shape = next((name for name in _SHAPES if _shape(name, language).search(head)), None)
    if shape is None and language.pictures.made_for.split("|")[0] in head.lower():  # a banner is wide
        shape = "wide"
    if shape is None and match.groupdict().get("headed"):  # a heading that other patterns know
        return
    styled = f"{match['shows']}, {how}"
    names = any(each.search(f", {how}") for style in model.styles for each in style_patterns(styled, style, language))
    found.text = styled if how and names else match["shows"]
    found.size = shaped(shape, model.sizes) if shape else None


@cache
def _pattern(language: Language) -> Pattern:
    needed, made = any_(language.pictures.needed), any_(language.pictures.made_for)
    if language.unspaced:
        between = "[^。：:，,、.!！]{0,16}?"
        both = rf"(?:(?:{needed}){between}(?:{made})|(?:{made}){between}(?:{needed})){between}"
        return expression(rf"^.{{0,60}}?{both}[。：:，,、.!！]\s*(?P<shows>.+)$")
    adds = any_("|".join(language.additions))
    wanted = rf"[^:.!?;]{{0,100}}?(?<!\w)(?:{needed})(?!\w)[^:.!?;,]{{0,40}}?(?<!\w)(?:{made})(?!\w)"
    headed = rf"(?:[^\W\d_]+\s+){{0,2}}(?:{made})(?!\w)(?=[^:.!?;]{{0,60}}:|[^:.!?;,]{{1,60}},\s+(?:{adds})(?!\w))"
    ends = rf"\s*(?:[:,]\s*(?:(?:{adds})(?!\w))?|(?<!\w)(?:{adds})(?!\w))"
    named = rf"(?P<headed>{headed}[^:.!?;]{{0,60}}?{ends})"
    return expression(rf"^(?:{wanted}(?P<how>[^:.!?;,]{{0,60}}?){ends}|{named})\s*(?P<shows>.+)$")


@cache
def _shape(name: str, language: Language) -> Pattern:
    words = any_(getattr(language.shapes, name))
    return expression(words if language.unspaced else rf"(?<!\w)(?:{words})")
