"""Texts that name conditions by keys, as forms do ("Subject: a fox", "Ratio: 1:1"), and by hashtags. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, NOTHING
from limner_worker.stages.interpretation.language.number_words import number_in, number_pattern
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, tidy

KINDS: Final = ("subject", "medium", "about", "style", "size", "number", "without")
_BETWEEN: Final = r"(?:^|[\n,;/|，；、。.]\s*|\s[–—-]\s)\s*(?:[-–—*•·■□●◆▪►▶【\[]\s*)?"
_KEYED: Final = r"[^\S\n]*(?:[】\]][^\S\n]*[:：=]?|[:：=])[^\S\n]*"
_SHORT: Final = re.compile(r"[,;.\n/|，；。]")
"""What ends a value that is no list and no sentence."""
_LIST: Final = re.compile(r"[;\n|；。]|\.(?:\s|$)")
_TAG: Final = re.compile(r"(?<![\w&])#(?=[^\W\d_]|3d)(\w+)(?=\s*(?:[#,.;!]|$))", re.IGNORECASE)
_FEW: Final = 2
"""The fewest keys of a form that names no subject."""


@dataclass
class Form:
    """What a form says by its keys, and what it draws."""

    subject: str
    values: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


def form_of(text: str, language: Language) -> Form | None:
    """Return what a text says by keys; None if it is no form."""
    keys = list(_keys(language).finditer(text))
    named = [kind for match in keys for kind in KINDS if match[kind]]
    if not named or ("subject" not in named and len(set(named)) < _FEW):
        return None
    ends = [*(match.start() for match in keys[1:]), len(text)]
    parts = [text[: keys[0].start()]]
    form = Form("")
    for match, kind, end in zip(keys, named, ends, strict=True):
        value, rest = _value(text[match.end() : end], kind)
        if kind in ("subject", "medium"):
            parts += [value]
        elif kind == "about":
            parts += [] if "subject" in named else [value]
        else:
            form.values.setdefault(kind, []).append(value)
        parts += [rest]
    form.subject = ", ".join(filter(None, map(tidy, parts)))
    return form


def _value(text: str, kind: str) -> tuple[str, str]:
    """Return the value after a key, and what follows it."""
    if kind == "subject":
        return text.strip(), ""
    match = (_LIST if kind == "without" else _SHORT).search(text.strip())
    value = text.strip()
    return (value, "") if match is None else (value[: match.start()].strip(), value[match.end() :].strip())


def number_of(value: str, language: Language) -> int | None:
    """Return the number that a value names."""
    match = expression(number_pattern(language)).search(value)
    return None if match is None else number_in(match.group(), language)


def things_of(value: str, lists: Pattern, determiners: Pattern) -> Iterator[str]:
    """Return the things of a list."""
    for each in re.split(r"[,，、]", value):
        for thing in lists.split(each):
            if name := tidy(determiners.sub("", thing.strip(), count=1)):
                yield name


def without_tags(text: str, language: Language) -> str:
    """Return a text with its hashtags as words between commas: "#3d #nopeople" as ", 3d, no people"."""
    denying = expression(rf"^(?:{language.requests.denying or NOTHING})(?=\w{{2}})")

    def said(match: re.Match[str]) -> str:
        word = denying.sub(lambda found: f"{found.group()} ", match[1].replace("_", " "))
        return word if not match.string[: match.start()].strip() else f", {word}"

    return re.sub(r"\s+,", ",", _TAG.sub(said, text)) if _TAG.search(text) else text


@cache
def _keys(language: Language) -> Pattern:
    both = tuple(dict.fromkeys((language, BY_CODE[FALLBACK])))
    groups = (
        rf"(?P<{kind}>{'|'.join(filter(None, (getattr(each.requests.keys, kind) for each in both))) or NOTHING})"
        for kind in KINDS
    )
    return expression(rf"{_BETWEEN}(?:{'|'.join(groups)}){_KEYED}", re.IGNORECASE)
