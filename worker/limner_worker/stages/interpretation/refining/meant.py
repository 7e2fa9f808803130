"""What the parts of a message mean for its picture, where their roles do not fit it or one another. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.refining.attributes import is_quality
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.remarks import adds, contrasts, denies

BECOMES: Final = ("new", "quality")
"""Roles of what something of a picture becomes."""
_TAKEN_AWAY: Final = re.compile("消し|外し|取っ|取り|除い|なくし|去掉|拿掉|删|去除|不要了|빼|지워|없애")
"""What takes a thing away in scripts without spaces."""


def as_meant(change: Change, parts: Sequence[Part], said: str) -> Sequence[Part]:
    """Return the parts of a message, some with other roles.

    A place that the picture has is the old one. Where nothing is denied, a thing that seems to go gets a quality, and
    where something else comes, the one thing that goes makes room for it. In scripts without spaces, a place may take
    a thing's place, and a thing may go that seems to get a quality, which is the reason.
    """
    unspaced = change.language.unspaced
    if texts_of(parts, "quality") and not texts_of(parts, "old") and not denies(said, change):
        parts = _renamed(parts, {"gone": "old"})
    parts = [Part("old", part.text) if _is_there(part, change) else part for part in parts]
    if unspaced and texts_of(parts, "old") and not texts_of(parts, *BECOMES):
        parts = _renamed(parts, {"place": "new"})  # "the beach rather than the church"
    if _only_goes(change, parts, said):
        parts = _renamed([part for part in parts if part.role != "quality"], {"old": "gone"})
    if unspaced and contrasts(said, change) and not texts_of(parts, "old", "new"):
        things = [part for part in parts if not is_quality(part.text, change.language)]
        parts = [Part("new", part.text) if part in things and part.role == "quality" else part for part in parts]
    if texts_of(parts, "new") and not texts_of(parts, "old") and len(texts_of(parts, "gone")) == 1:
        parts = _renamed(parts, {"gone": "old"})
    return parts


def _renamed(parts: Sequence[Part], roles: Mapping[str, str]) -> list[Part]:
    return [Part(roles.get(part.role, part.role), part.text) for part in parts]


def _is_there(part: Part, change: Change) -> bool:
    return part.role == "place" and part.text.lower() in change.prompt.lower()


def _only_goes(change: Change, parts: Sequence[Part], said: str) -> bool:
    """Return whether a thing goes, in a script without spaces, that has what seems a quality: a reason."""
    known = any(is_quality(text, change.language) for text in texts_of(parts, *BECOMES))
    return (
        change.language.unspaced
        and bool(texts_of(parts, "old") and texts_of(parts, "quality"))
        and not (known or adds(said, change) or contrasts(said, change))
        and _TAKEN_AWAY.search(said) is not None
    )
