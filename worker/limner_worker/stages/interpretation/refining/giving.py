"""A thing that a message gives to a picture's subject: "give it a hat". No I/O."""

from __future__ import annotations

import re

from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import joined, tidy
from limner_worker.stages.interpretation.refining.changes import ChangePatterns, changes_for
from limner_worker.stages.interpretation.refining.colours import colour_in
from limner_worker.stages.interpretation.refining.removing import forms
from limner_worker.stages.interpretation.refining.wishes import without_wishes


def given(message: str, prompt: str, language: Language) -> str | None:
    """Return the prompt with a thing that a message gives to its subject; None if the message gives none.

    A thing beside others ("a cat, a hat") would stand beside the subject.
    """
    patterns = changes_for(language)
    place = patterns.scenery.search(message)
    for form, pattern in patterns.worn:
        match = pattern.search(message)
        what = "" if match is None else _with_article(tidy(match["what"]), language)
        if match is None or not what or _is_colour(what, language):
            continue
        if place is not None and place.start() < match.start("what"):  # "put it in a garden"
            continue
        who = match.groupdict().get("who")
        at = re.search(forms(who, language), prompt, re.IGNORECASE) if who else None
        if who and at is None:
            continue
        return _placed(prompt, form.format(what=what), at, language, patterns)
    return None


def _with_article(what: str, language: Language) -> str:
    article, _, noun = what.partition(" ")
    return f"{language.dative.get(article.lower(), article)} {noun}".strip()


def _is_colour(what: str, language: Language) -> bool:
    """Return whether words only name a colour ("a blue colour"), which is not worn."""
    found = colour_in(what, language)
    return found is not None and not without_wishes(what.replace(found[2].group(), " "), language)


def _placed(prompt: str, phrase: str, owner: re.Match[str] | None, language: Language, patterns: ChangePatterns) -> str:
    if language.unspaced:
        measure = re.match(language.measure, prompt) if language.measure else None
        start = owner.start() if owner is not None else 0 if measure is None else measure.end()
        return f"{prompt[:start]}{joined(phrase, prompt[start:])}"
    place = patterns.before_place.search(prompt, 0 if owner is None else owner.end())
    end = len(prompt) if place is None else place.start()
    if there := patterns.adding.search(prompt, 0, end):  # "a cat with a scarf": "and a hat"
        phrase = f"{language.additions[there[1].lower()]} {phrase.partition(' ')[2]}"
    return f"{prompt[:end]} {phrase}{prompt[end:]}"
