"""Corrects the roles of a message's parts, where their words or those beside them tell more than the tagger. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.reading.sizes import shape_among
from limner_worker.stages.interpretation.refining.attributes import is_quality, quality_next_to
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.clauses import clause_of
from limner_worker.stages.interpretation.refining.lexemes import NEW, lexed
from limner_worker.stages.interpretation.refining.nouns import (
    is_bare_quality,
    is_medium,
    noun_behind,
    own_noun,
    without_noun,
)

_DRAWN: Final = ("subject", "added", "new", "look")
"""Roles of what a prompt has, which words for a format cannot have."""
_CONDITIONS: Final = ("style", "size", "number", "look")
"""Roles that say how a picture is drawn."""
_COUNTED: Final = re.compile(
    r"(?:\d{1,2}|[一二两三四五六七八九十네세두다섯여섯]{1,2})\s?(?:장|枚|张|張)(?:만|정도|だけ)?"
)
"""Numbers of pictures; "2枚目" and "第二张" name one."""
_NUMBER: Final = re.compile("[一二两三四五六七八九十]")
_LONGEST_SHAPE: Final = 4
"""The most characters of a word for a format in scripts without spaces: "操縦する" has one of its characters."""
_FEW_WORDS: Final = 3
"""The most words of a thing that, said alone, is to be added."""
_INSTEAD: Final = re.compile("말고|대신")
_FINALS: Final = 28
"""Syllables of Korean with the same beginning: one for each final consonant, and one without."""
_NIEUN: Final = 4
"""The place of the final consonant ㄴ, with which a word that describes the next one ends."""
_ADJECTIVE: Final = re.compile("[いなの的色]$")


def with_sure_roles(parts: Sequence[Part], said: str, prompt: str, language: Language) -> list[Part]:
    """Return the parts of a message, some with other roles.

    What names a format is no thing, a number of pictures chooses none, and a medium is a look of all. Words that ask
    for no other picture are a look. A thing to which a quality is given does not go.
    """
    found: list[Part] = []
    for part in _taken_apart(_merged(parts, said, prompt, language), said, language):
        role = _role(part, parts, said, language)
        quality = quality_next_to(part.text, said, language) if _may_change(part, parts, said, language) else None
        if quality is not None:
            found += [Part("old", part.text), Part("quality", quality)]
        elif role is not None:
            found.append(Part(role, without_noun(part.text, language) or part.text if role == "quality" else part.text))
    return found


def _taken_apart(parts: Sequence[Part], said: str, language: Language) -> Sequence[Part]:
    """Return the parts, of which two are to go and to be added that clauses of their own name: "no lamp, add a cup"."""
    if sorted(part.role for part in parts if part.role not in _CONDITIONS) != ["new", "old"]:
        return parts
    (old,), (new,) = texts_of(parts, "old"), texts_of(parts, "new")
    there, here = (clause_of(text, said, language) for text in (old, new))
    goes = there != here and _has(there, "away", language) and not _has(there, "added", language)
    if not goes or not _has(here, "added", language) or _has(here, "contrast", language):
        return parts
    roles = {"old": "gone", "new": "added"}
    return [Part(roles.get(part.role, part.role), part.text) for part in parts]


def _role(part: Part, parts: Sequence[Part], said: str, language: Language) -> str | None:
    """Return the role of a part; None if it has none."""
    text, role, changed = part.text, part.role, bool(texts_of(parts, "old"))
    if role == "again" and not _has(text, "retried", language):
        return _other_role(part, parts, language)
    is_only = len(parts) - len(texts_of(parts, *_CONDITIONS)) == 1
    others = (
        ("size", role in _DRAWN and _is_shape(text, language)),
        ("again", role == "gone" and _only_again(part, parts, said, language)),
        ("number", role in ("picked", "subject") and _is_number(part, parts)),
        ("look", role in ("new", "subject") and not changed and is_medium(text, language)),
        ("quality", role == "new" and changed and is_bare_quality(text, language)),
        ("subject", role in ("added", "new") and is_only and _begins_another(said.replace(text, ""), role, language)),
        ("subject", role == "added" and is_only and _is_bare(text, said, language)),
        ("new", role == "quality" and changed and _takes_place(text, said, language)),
    )
    return next((other for other, holds in others if holds), role)


def _is_number(part: Part, parts: Sequence[Part]) -> bool:
    """Return whether a part is only a number of pictures: "三" of "画三张" beside another subject."""
    alone = part.role == "subject" and len(texts_of(parts, "subject")) == 1
    return not alone and (_COUNTED.fullmatch(part.text) or _NUMBER.fullmatch(part.text)) is not None


def _other_role(again: Part, parts: Sequence[Part], language: Language) -> str | None:
    """Return the role of words that do not ask for another picture: "bigger", or "version" beside a style."""
    if any(each.role not in ("again", "picked", "number") for each in parts):
        return None
    words = lexed(again.text, language, "", ())
    return "look" if not texts_of(parts, "number") and all(each.has(NEW, "spared") for each in words) else "again"


def _only_again(part: Part, parts: Sequence[Part], said: str, language: Language) -> bool:
    """Return whether a message denies nothing, and asks for another try: "try again, that lizard looks odd"."""
    alone = len(parts) == len(texts_of(parts, "gone"))
    return alone and _has(said, "retried", language) and not _has(said.replace(part.text, ""), "away", language)


def _begins_another(said: str, role: str, language: Language) -> bool:
    """Return whether a message says that another picture is asked for, or drops the one before."""
    patterns = changes_for(language)
    dropped = patterns.dropped.search(said) is not None and not _has(said, "added", language)
    return dropped or patterns.other.search(said) is not None


def _is_bare(text: str, said: str, language: Language) -> bool:
    """Return whether a message is only a thing with what is said of it: "a green snake around a tree"."""
    rest = said.replace(text, "")
    long = len(text) if language.unspaced else len(text.split())
    most = _LONGEST_SHAPE if language.unspaced else _FEW_WORDS
    return long > most and not any(map(str.isalnum, rest)) and not _has(text, "added", language)


def _merged(parts: Sequence[Part], said: str, prompt: str, language: Language) -> list[Part]:
    """Return the parts, in which what something becomes has its noun: "a wooden" and "vase"."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        noun = noun_behind(part, said, prompt, language)
        own = own_noun(part, parts, prompt, language)
        if own is not None:
            found += [Part("old", own[1]), Part("quality", own[0])]
        elif noun is not None:
            found += [Part("new", f"{part.text} {noun}"), Part("old", noun)]
        elif last is not None and (joined := _in_one(last, part, said, prompt, language)) is not None:
            found[-1] = joined
        elif last is not None and last.role == "new" and part.role == "old" and f"{last.text} {part.text}" in said:
            found[-1:] = [Part("new", f"{last.text} {part.text}"), part]
        else:
            found.append(part)
    return found


def _in_one(last: Part, part: Part, said: str, prompt: str, language: Language) -> Part | None:
    """Return two parts that are one: "a table of" and "wood", and in Japanese a place and "のかごに猫".

    A thing that the picture does not have is no old one: "a ladle" and "of copper" to be added.
    """
    if language.code == "ja":
        joins = last.role == "old" and part.role == "added"
        forms = (f"{last.text}{part.text}", f"{last.text}の{part.text}")
        return next((Part("added", each) for each in forms if joins and each in said and "の" in each), None)
    both = f"{last.text} {part.text}"
    if (last.role, part.role) == ("old", "added") and both in said and last.text.lower() not in prompt.lower():
        return Part("added", both)
    made = rf".*\s(?:{language.connectives.made_of or NOTHING})"
    ends = (last.role, part.role) == ("new", "quality") and re.fullmatch(made, last.text, re.IGNORECASE)
    return Part("new", f"{last.text} {part.text}") if ends and f"{last.text} {part.text}" in said else None


def _may_change(part: Part, parts: Sequence[Part], said: str, language: Language) -> bool:
    """Return whether a thing that is to go may only get another quality: nothing is denied or taken away."""
    return part.role == "gone" and not texts_of(parts, "quality") and not _has(said, "away", language)


def _is_shape(text: str, language: Language) -> bool:
    """Return whether a text names a format, and nothing else."""
    rest = _format(language).sub("", changes_for(language).article.sub("", text))
    most = _LONGEST_SHAPE if language.unspaced else len(rest)
    return shape_among(rest, language) is not None and len(rest.split()) <= 1 and len(rest) <= most


def _takes_place(text: str, said: str, language: Language) -> bool:
    """Return whether words, in a script without spaces, name a thing that takes the place of another."""
    if language.code == "ko":
        adnominal = (ord(text[-1]) - ord("가")) % _FINALS == _NIEUN
        return _INSTEAD.search(said) is not None and not is_quality(text, language) and not adnominal
    contrast = language.changes.words.contrast or NOTHING
    return (
        language.unspaced
        and not is_quality(text, language)
        and _ADJECTIVE.search(text) is None
        and re.search(rf"(?:{contrast}){re.escape(text)}(?![的色])", said) is not None
    )


def _has(text: str, kind: str, language: Language) -> bool:
    return any(each.has(kind) for each in lexed(text, language, "", ()))


@cache
def _format(language: Language) -> Pattern:
    """Return a pattern of the words for a format and before it: "in … format"."""
    small = language.style
    words = "|".join(filter(None, (language.shapes.keys, small.in_, small.articles)))
    start, end = ("", "") if language.unspaced else (r"(?<!\w)", r"\w{0,3}(?!\w)\s*")
    return expression(rf"{start}(?:{words or NOTHING}){end}")
