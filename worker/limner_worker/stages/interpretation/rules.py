"""Conditions by rules alone: fast, always valid and never without a subject, in every language of the files. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Final

from limner_shared.domain.conditions import Conditions, Turn, cut
from limner_worker.languages import emoji
from limner_worker.stages.interpretation.language.detection import language_of, sure_language
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, LANGUAGES
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import tidy
from limner_worker.stages.interpretation.reading.parsed import LeavesOut, Model, ParsedRequest
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.reading.patterns import patterns_for
from limner_worker.stages.interpretation.reading.spelling import without_laughter
from limner_worker.stages.interpretation.reading.taking_apart import subject_of, taken_apart
from limner_worker.stages.interpretation.refining.agreement import agrees, mentions
from limner_worker.stages.interpretation.refining.bounds import bounded
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.clauses import is_remark, one_by_one, with_words, without_remarks
from limner_worker.stages.interpretation.refining.looks import with_looks
from limner_worker.stages.interpretation.refining.messages import undoes
from limner_worker.stages.interpretation.refining.named import conditions_of, denied, subject_among, without_names
from limner_worker.stages.interpretation.refining.refine import accounted, refined
from limner_worker.stages.interpretation.refining.roles import with_sure_roles
from limner_worker.stages.interpretation.refining.unread import is_plain, may_be_subject, partly_read
from limner_worker.stages.interpretation.refining.wished import by_parts

READ: Final = 1500
"""The characters that are searched, with emoji in words; the rest is appended to the prompt. Bounds the time for any
text."""

READ_BEFORE: Final = 3000
"""The characters that are read of earlier messages whose conditions are not known: all messages of a client that keeps
the conversation itself. The newest count."""

LONGEST_ELSEWHERE: Final = 80
"""The most characters of a message that is also read by the rules of languages that it is probably not in."""


def interpret(
    text: str,
    styles: Sequence[str],
    history: Sequence[Turn] = (),
    sizes: Sequence[tuple[int, int]] = (),
    code: str | None = None,
    leaving: LeavesOut | None = None,
    parts: Sequence[Part] | None = None,
) -> Conditions:
    """Return the conditions of a description, or of a message that may change the last picture of a history.

    `code` is the text's language, if more is known of it than the text tells, `leaving` how far words of leaving out do
    so, and `parts` what a tagger found in a message; None without one. If nothing sensible would remain, the prompt is
    the text itself.
    """
    model = Model(tuple(styles), tuple(sizes))
    previous: list[Conditions] = []
    codes: list[str | None] = []
    for turn in _recent(history):
        previous.append(turn.conditions or _one(turn.text, model, previous, codes))
        codes.append(language_of(turn.text))
    return _one(text, model, previous, codes, code, leaving, parts)


def only_left_out(text: str) -> tuple[Language, str] | None:
    """Return what a description leaves out, and its language, if it says nothing to draw ("no cat")."""
    own = language_of(text)
    spelled = emoji.spelled(cut(text, READ), BY_CODE[own or FALLBACK].phrases.without)
    for language in _languages(own, ()):
        found = taken_apart(spelled, language, Model((), ()))
        if found.negative and not subject_of(found):
            return language, language.phrases.comma.join(found.negative)
    return None


def _recent(history: Sequence[Turn]) -> Sequence[Turn]:
    """Return the newest turns that may be read."""
    unread = 0
    for place in range(len(history) - 1, -1, -1):
        unread += len(history[place].text) if history[place].conditions is None else 0
        if unread > READ_BEFORE:
            return history[place + 1 :]
    return history


def _one(
    text: str,
    model: Model,
    previous: Sequence[Conditions],
    codes: Sequence[str | None],
    code: str | None = None,
    leaving: LeavesOut | None = None,
    parts: Sequence[Part] | None = None,
) -> Conditions:
    """Return the conditions of a text after the pictures and languages of the earlier messages."""
    plain = text.replace("\x00", " ")  # as conditions do, in which a prompt of nothing else would be empty
    beginning = cut(plain, READ)
    spoken = sure_language(previous[-1].prompt) if previous else None
    own = code or language_of(emoji.removed(beginning), spoken=spoken)
    words = emoji.spelled(beginning, BY_CODE[own or FALLBACK].phrases.without)
    spelled = cut(words, READ)
    unread = words[len(spelled) :] + plain[len(beginning) :]
    languages = _languages(own or language_of(spelled, spoken=spoken), codes)
    if previous and not unread:
        spelled = without_laughter(spelled, [patterns_for(languages[0]).speech])
        begun = changes_for(languages[0]).otherwise.match(spelled)
        if begun is not None and not texts_of(parts or (), "subject"):
            spelled = spelled[begun.end() :]
        elif (told := _told(spelled, beginning, languages, model, previous, parts)) is not None:
            return told
        else:
            spelled = without_remarks(spelled, languages[0], previous)
    return _new_subject(spelled, unread, taken_apart(spelled, languages[0], model, leaving=leaving), previous)


def _told(
    spelled: str,
    written: str,
    languages: Sequence[Language],
    model: Model,
    previous: Sequence[Conditions],
    parts: Sequence[Part] | None,
) -> Conditions | None:
    """Return what a message asks for; None if it is about another picture, in words that only rules read.

    If a tagger finds nothing in a message, sentences of it are no subject. With the parts that it found, the rules'
    answer counts only if it has these, and no other words of the message: stories and reasons are none of a picture. If
    every word is accounted for, most of them are enough.
    """
    if parts is None or any(undoes(spelled, changes_for(language)) for language in LANGUAGES):
        return _continued(spelled, written, languages, model, previous)
    if not parts:
        return _without_wish(spelled, written, languages, model, previous)
    words = emoji.removed(written) or spelled
    texts = dict.fromkeys((words, spelled))
    read = (taken_apart(said, language, model, message=True) for said in texts for language in languages)
    first = next(read)
    parts = with_sure_roles(parts, words, previous[-1].prompt, languages[0])
    parts = denied(bounded(parts, words, previous[-1].prompt, languages[0]), first.negative, words)
    for found in chain([first], read):
        sure = accounted(found, model.styles, previous)
        if sure is not None and mentions(sure, parts, previous[-1], found.language, words):
            return sure
    changed = _continued(spelled, written, languages, model, previous)
    if changed is not None and agrees(changed, parts, previous[-1], languages[0], words):
        return changed
    return _by_parts(words, parts, languages[0], model, previous)


def _without_wish(
    spelled: str, written: str, languages: Sequence[Language], model: Model, previous: Sequence[Conditions]
) -> Conditions | None:
    """Return what a message asks for in which a tagger finds nothing; None if it may be another subject."""
    changed = _continued(spelled, written, languages, model, previous)
    plain = changed is not None and is_plain(changed, previous[-1], spelled, languages[0])
    if plain or may_be_subject(spelled, languages[0]):
        return changed
    return partly_read(spelled, languages[0], previous, partial(_reads, languages[0], model))


def _by_parts(
    text: str, parts: Sequence[Part], language: Language, model: Model, previous: Sequence[Conditions]
) -> Conditions:
    """Return what the parts of a message ask for.

    If all words of the clauses that have them are accounted for, the rules' answer counts.
    """
    named = conditions_of(text, parts, language, model)
    if (subject := subject_among(parts, named, model)) is not None:
        new = _new_subject(subject.said, "", subject, previous)
        return with_looks(new, texts_of(without_names(parts, language, model), "look"), language)
    shorter = with_words(text, language, [part.text for part in parts])
    sure = accounted(taken_apart(shorter, language, model, message=True), model.styles, previous)
    told = sure is not None and {*named.negative} <= {*sure.negative_prompt.split(", ")}
    if shorter != text and sure is not None and told and agrees(sure, parts, previous[-1], language, text):
        return sure
    return by_parts(named, without_names(parts, language, model), previous)


def _continued(
    spelled: str, written: str, languages: Sequence[Language], model: Model, previous: Sequence[Conditions]
) -> Conditions | None:
    """Return the last picture, changed by a message or as it is; None if the message is about another one.

    Emoji may be words, tell what someone feels, or only repeat what the words say.
    """
    if not spelled:  # a message that only laughs
        return previous[-1]
    quoting = [patterns_for(languages[0]).speech]
    others = (emoji.spelled(emoji.unfelt(written)), emoji.removed(written))
    for said in filter(None, dict.fromkeys((spelled, *(without_laughter(each, quoting) for each in others)))):
        if changed := _changed(said, languages, model, previous):
            return changed
    return previous[-1] if is_remark(spelled, languages[0], previous) else None


def _changed(
    text: str, languages: Sequence[Language], model: Model, previous: Sequence[Conditions]
) -> Conditions | None:
    """Return the last picture with the changes of a message; None if it changes nothing.

    By the likely languages, a message of which every word is accounted for goes before its clauses, and these before
    the patterns of whole messages. A short one may be in any other language, if it is read strictly.
    """
    short = len(text) <= LONGEST_ELSEWHERE
    others = (language for language in LANGUAGES if short and language not in languages)
    read = [taken_apart(text, language, model, message=True) for language in languages]
    ways = (
        (accounted(found, model.styles, previous) for found in read),
        (_one_by_one(text, language, model, previous) for language in languages),
        (_by_patterns(found, model, previous) for found in read),
        (_strictly(text, language, model, previous) for language in others),
    )
    return next(filter(None, chain.from_iterable(ways)), None)


def _one_by_one(text: str, language: Language, model: Model, previous: Sequence[Conditions]) -> Conditions | None:
    """Return the last picture with the changes of each clause of a message; None if a clause changes nothing."""
    return one_by_one(text, language, previous, partial(_reads, language, model))


def _reads(language: Language, model: Model, clause: str, previous: Sequence[Conditions]) -> Conditions | None:
    """Return the last picture with the changes of a clause; None if it changes nothing."""
    return _by_patterns(taken_apart(clause, language, model, message=True), model, previous)


def _by_patterns(found: ParsedRequest, model: Model, previous: Sequence[Conditions]) -> Conditions | None:
    """Return the last picture with the changes of a text in a likely language; None if it changes nothing."""
    return accounted(found, model.styles, previous, adding=True) or refined(found, model.styles, previous)


def _strictly(text: str, language: Language, model: Model, previous: Sequence[Conditions]) -> Conditions | None:
    """Return the last picture with the changes of a text in an unlikely language; None if it changes nothing."""
    found = taken_apart(text, language, model, message=True)
    return accounted(found, model.styles, previous) or refined(found, model.styles, previous, strict=True)


def _languages(own: str | None, codes: Sequence[str | None]) -> list[Language]:
    """Return the languages by which a message may be read, the likeliest first.

    These are its own, those of the conversation, and English: short messages such as "blu" hardly tell.
    """
    known = dict.fromkeys((own, *reversed(codes), FALLBACK))
    return [BY_CODE[code] for code in known if code is not None]


def _new_subject(spelled: str, unread: str, found: ParsedRequest, previous: Sequence[Conditions]) -> Conditions:
    """Return conditions for a new subject, which in a conversation keeps the style and size of the last picture."""
    subject = subject_of(found)
    before = previous[-1] if previous else None
    size = found.size or ((before.width, before.height) if before else (None, None))
    # A text such as "no smoking" is a subject and not something to leave out.
    whole = "" if subject else tidy(found.whole)
    return Conditions(
        prompt=(subject or whole or tidy(spelled) or spelled.strip() or "?") + unread,
        negative_prompt=", ".join(found.negative) if subject else "",
        style=found.style or (before.style if before else None),
        width=size[0],
        height=size[1],
        n=found.n,
        seed=found.seed,
    )
