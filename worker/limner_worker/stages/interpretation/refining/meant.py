"""What the parts of a message mean for its picture, where their roles do not fit it or one another. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.refining.attributes import is_quality, qualities_in, same_kind
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.clauses import clause_of
from limner_worker.stages.interpretation.refining.finding import content, is_described_by
from limner_worker.stages.interpretation.refining.moments import kinds_in
from limner_worker.stages.interpretation.refining.remarks import adds, contrasts, denies, only_denies

BECOMES: Final = ("new", "quality")
"""Roles of what something of a picture becomes."""
_TAKEN_AWAY: Final = re.compile("消し|外し|取っ|取り|除い|なくし|去掉|拿掉|删|去除|不要了|빼|지워|없애")
"""What takes a thing away in scripts without spaces."""
Parts = Sequence[Part]


def as_meant(change: Change, parts: Parts, said: str) -> Parts:
    """Return the parts of a message, some with other roles: each of `_READINGS` in its order."""
    for meant in _READINGS:
        parts = meant(change, parts, said)
    return parts


def _described(change: Change, parts: Parts, said: str) -> Parts:
    """Things get a quality that seem to go, in a clause or a message that denies nothing."""
    if texts_of(parts, "quality") and not texts_of(parts, "old") and not denies(said, change):
        return _renamed(parts, {"gone": "old"})
    found: list[Part] = []
    for part in parts:
        clause = clause_of(part.text, said, change.language)
        told = any(each.role == "quality" and each.text in clause for each in parts)
        found.append(Part("old", part.text) if part.role == "gone" and told and not denies(clause, change) else part)
    return found


def _taken_away(change: Change, parts: Parts, said: str) -> Parts:
    """What only takes away is nothing that something becomes: "those broken pots, off with them"."""
    verbs = [part for part in parts if part.role in BECOMES and only_denies(part.text, change)]
    kept = [part for part in parts if part not in verbs]
    return _renamed(kept, {"old": "gone"}) if verbs else parts


def _with_missed_quality(change: Change, parts: Parts, said: str) -> Parts:
    """A thing gets the one known quality of its clause that no part has: "that hat may well be purple"."""
    things = [part for part in parts if part.role in ("old", "gone")]
    if len(things) != 1 or texts_of(parts, *BECOMES, "place", "subject"):
        return _with_missed_in_clause(change, parts, said)
    thing = things[0]
    clause = clause_of(thing.text, said, change.language)
    all_of = qualities_in(clause.replace(thing.text, " "), change.language)
    if not all_of:  # "the dragon, if you ask me, should be golden"
        clause, all_of = said, qualities_in(said.replace(thing.text, " "), change.language)
    some = {each for each in all_of if each.strip("いの的").lower() not in change.prompt.lower()}
    if len(some) != 1 or (denies(clause, change) and len(some) == len(set(all_of))):
        return parts
    quality = some.pop()
    at = list(parts).index(thing)
    return [*parts[:at], Part("old", thing.text), Part("quality", quality), *parts[at + 1 :]]


def _with_missed_in_clause(change: Change, parts: Parts, said: str) -> Parts:
    """A thing gets the one known quality of its clause beside others that change: "a bus, and the tree in red"."""
    if change.language.unspaced:
        return parts
    found: list[Part] = []
    known = " ".join((change.prompt, *(part.text for part in parts))).lower()
    for part in parts:
        clause = clause_of(part.text, said, change.language)
        alone = part.role == "old" and clause != said and sum(each.text in clause for each in parts) == 1
        some = qualities_in(clause.replace(part.text, " "), change.language) if alone else []
        some = [each for each in some if each.lower() not in known]
        found += [part, *([Part("quality", some[0])] if len(some) == 1 and not denies(clause, change) else [])]
    return found


def _with_old_quality_first(change: Change, parts: Parts, _: str) -> Parts:
    """A quality takes the place of the one behind it, and not of its thing: "the tap in copper, not brass"."""
    found: list[Part] = []
    for part in parts:
        before = found[-1] if found else part
        things = found[:-1]
        names = [each.text for each in things[-1:] if each.role == "old"]
        known = same_kind(before.text, part.text, change.language) or is_described_by(part.text, names, change)
        if (before.role, part.role) != ("quality", "old") or not known:
            found.append(part)
            continue
        found = [*(things[:-1] if things and things[-1].role == "old" else things), part, before]
    return found


def _without_shown(change: Change, parts: Parts, _: str) -> Parts:
    """A place that the picture has is the old one, and nothing to add beside something that changes."""
    prompt, changes = change.prompt.lower(), bool(texts_of(parts, *BECOMES))
    kept = (part for part in parts if not (changes and part.role == "added" and _is_shown(part, change)))
    return [Part("old", part.text) if part.role == "place" and part.text.lower() in prompt else part for part in kept]


def _is_shown(part: Part, change: Change) -> bool:
    """Return whether a thing to add is in the picture, or is only a place of it: "on the tray"."""
    led = change.patterns.before_place.match(f" {part.text} ") is not None
    words = content(part.text, change)
    return part.text.lower() in change.prompt.lower() or (
        led and bool(words) and all(change.find(word) is not None for word in words)
    )


def _taking_places(change: Change, parts: Parts, said: str) -> Parts:
    """What seems to be a place may take the place of something: "snow instead of the rain", "replaced by a car"."""
    if texts_of(parts, *BECOMES):
        return parts
    olds = texts_of(parts, "old")
    if change.language.unspaced:  # "the beach rather than the church"
        return _renamed(parts, {"place": "new"}) if olds else parts
    small = change.language.connectives
    agents = expression(rf"(?:{small.agents or NOTHING})\s+(?=(?:{small.indefinite or NOTHING})\s)")
    found: list[Part] = []
    for part in parts:
        led = agents.match(part.text) if part.role in ("place", "added") and contrasts(said, change) else None
        bare = part.role == "place" and " " not in part.text and contrasts(said, change)
        if led is not None:
            found.append(Part("new", part.text[led.end() :]))
        elif bare and any(kinds_in(part.text, change.language) & kinds_in(old, change.language) for old in olds):
            found.append(Part("new", part.text))
        else:
            found.append(part)
    return found


def _coming(change: Change, parts: Parts, said: str) -> Parts:
    """A thing is to be added that seems to go, if the picture does not have it and the message denies nothing."""
    idle = expression(rf"\w+\s(?:{change.language.connectives.idle or NOTHING})(?!\w)")  # "without hesitation"
    if not texts_of(parts, "gone") or change.language.unspaced or denies(idle.sub("", said), change):
        return parts
    withs = change.language.scenes.accompaniments or NOTHING
    found: list[Part] = []
    for part in parts:
        comes = part.role == "gone" and change.find(part.text) is None
        led = expression(rf"(?<!\w)(?:{withs})\s+{re.escape(part.text)}").search(said)
        found.append(Part("added", part.text if led is None else led.group()) if comes else part)
    return found


def _going(change: Change, parts: Parts, said: str) -> Parts:
    """A thing goes that seems to get a quality, in a script without spaces: the quality is the reason."""
    known = any(is_quality(text, change.language) for text in texts_of(parts, *BECOMES))
    goes = (
        change.language.unspaced
        and bool(texts_of(parts, "old") and texts_of(parts, "quality"))
        and not (known or adds(said, change) or contrasts(said, change))
        and _TAKEN_AWAY.search(said) is not None
    )
    return _renamed([part for part in parts if part.role != "quality"], {"old": "gone"}) if goes else parts


def _things_in_place(change: Change, parts: Parts, said: str) -> Parts:
    """In a script without spaces, a word beside one of contrast is a thing, and no quality."""
    if not change.language.unspaced or not contrasts(said, change) or texts_of(parts, "old", "new"):
        return parts
    things = [part for part in parts if not is_quality(part.text, change.language)]
    return [Part("new", part.text) if part in things and part.role == "quality" else part for part in parts]


def _making_room(_: Change, parts: Parts, __: str) -> Parts:
    """Where something else comes, the one thing that goes makes room for it."""
    alone = texts_of(parts, "new") and not texts_of(parts, "old") and len(texts_of(parts, "gone")) == 1
    return _renamed(parts, {"gone": "old"}) if alone else parts


_READINGS: Final[tuple[Callable[[Change, Parts, str], Parts], ...]] = (
    _taken_away,
    _described,
    _without_shown,
    _with_missed_quality,
    _with_old_quality_first,
    _taking_places,
    _coming,
    _going,
    _things_in_place,
    _making_room,
)


def _renamed(parts: Parts, roles: Mapping[str, str]) -> list[Part]:
    return [Part(roles.get(part.role, part.role), part.text) for part in parts]
