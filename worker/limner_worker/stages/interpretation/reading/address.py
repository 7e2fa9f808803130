"""Takes away how a person addresses the service, judged word by word: "my kid loves trains, any way to get". No I/O.

The patterns of a language know whole phrases of asking. People join the words of asking freely, so a text is taken
apart into clauses, and a clause into words that ask, that name a person, other small words of asking, and all others.
What is taken away has no other words, or only those of a reason before a request for a thing of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.number_words import number_pattern
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern
from limner_worker.stages.interpretation.reading.things import any_

MOST_CLAUSES: Final = 24
"""The clauses of a text that are judged; a longer text is no request in one's own words."""
_CLAUSES: Final = re.compile(r"(?<=[,;:.!?…])\s+(?=[^\W\d]|[¿¡\d\"'“„«(])|\s+[–—-]\s+")
_LONGEST_JOINER: Final = 3
"""The most letters of what joins the words of a number ("twenty and one")."""
_LONGEST_SOFTENING: Final = 7
_LONGEST_COURTESY: Final = 4
_LONGEST_COMMAND: Final = 3
"""The most words of "send me" before a thing."""
_MARKS: Final = " ,;:.!?…¿¡()-–—)'\""


@dataclass(frozen=True)
class _Words:
    """The vocabulary of a language: patterns of whole words."""

    asking: Pattern
    persons: Pattern
    small: Pattern
    pronouns: Pattern
    dative: Pattern
    thanks: Pattern
    final: Pattern
    denied: Pattern
    greetings: Pattern
    reasons: Pattern
    softening: Pattern
    media: Pattern
    definite: Pattern
    places: Pattern
    """What stands before a place or before what a thing has: the words before it are a thing and not a request."""
    things: Pattern
    """What a thing of its own begins with: an indefinite article or a number."""
    pictures: Pattern
    """Nouns that mean a picture."""
    between: Pattern
    """What may stand between the words of asking and a thing: "and", "of"."""
    quoted: Pattern
    """What a text has that quotes words, which are content whatever they say."""
    articles: bool
    """Whether the language has indefinite articles. If not, a word of asking is enough to know a request."""

    def known(self, word: str) -> bool:
        """Return whether a word occurs in asking; in "you'd", each part may."""
        return self._knows(word) or ("'" in word and all(not each[1:] or self._knows(each) for each in word.split("'")))

    def _knows(self, word: str) -> bool:
        return any(kind.fullmatch(word) for kind in (self.asking, self.persons, self.small))

    def asks(self, words: list[str]) -> bool:
        return any(self.asking.fullmatch(word) for word in words)

    def names(self, words: list[str]) -> bool:
        return any(self.persons.fullmatch(word) for word in words)


@cache
def _words_of(language: Language) -> _Words | None:
    said, small = language.address, language.connectives
    if not said.asking:
        return None
    media = language.pictures.media
    articles = "|".join(filter(None, (small.indefinite, language.pictures.quantities)))
    return _Words(
        asking=expression(said.asking),
        persons=expression(any_(said.persons)),
        small=expression(any_(said.small)),
        pronouns=expression(any_(said.pronouns)),
        dative=expression(any_(said.dative)),
        thanks=expression(any_(said.thanks)),
        final=expression(any_(said.final)),
        denied=expression(any_(said.denied)),
        greetings=expression(any_(said.greetings)),
        reasons=expression(any_(said.reasons)),
        softening=expression(any_(said.softening)),
        media=expression("|".join([*map(re.escape, media), *media.values()]) or any_("")),
        definite=expression(any_(small.determiners)),
        places=expression("|".join(filter(None, (small.places, small.accompaniments))) or any_("")),
        things=expression(rf"(?:[^\W\d_]['’])?(?:(?:{any_(articles)})|{number_pattern(language)})"),
        pictures=expression(any_(language.pictures.nouns)),
        between=expression(
            rf"^(?:(?:{any_(small.links)})(?!\w)|(?:{any_(language.pictures.of)})(?=\s?(?:{any_(articles)})(?!\w)))\s*"
        ),
        quoted=expression(rf"[\"“”„«»]|(?<!\w)(?:{any_(language.requests.speech)})(?!\w)"),
        articles=bool(small.indefinite),
    )


def may_ask(text: str, language: Language) -> bool:
    """Return whether a text has a word of asking, or one for who asks and who is asked."""
    words = _words_of(language)
    if words is not None:
        kinds = (words.asking, words.persons, words.thanks, words.greetings, words.final, words.pictures)
        if any(kind.fullmatch(word) for word in _split(text.lower()) for kind in kinds):
            return True
    return expression(any_(language.requests.asked)).search(text) is not None


def without_address(text: str, language: Language) -> str:
    """Return a text without what only addresses the service; the text itself if nothing else would remain."""
    words = _words_of(language)
    plain = text.replace("\u2019", "'")
    clauses = [each for each in _CLAUSES.split(plain, maxsplit=MOST_CLAUSES) if each]
    if words is None or not 1 <= len(clauses) <= MOST_CLAUSES or words.quoted.search(plain):
        return text
    kept = _without_context(clauses, words)
    while len(kept) > 1 and (_is_pure(kept[-1], words) or _softens(kept[-1], words)):
        kept = kept[:-1]
    first = _rest(kept[0], words)
    ended = [_ended(each, words, asked=False) for each in kept[1:]]
    kept = [_ended(first, words, asked=first != kept[0]), *ended]
    if kept == clauses:
        return text
    rest = words.between.sub("", " ".join(filter(None, kept)))
    return rest if any(not words.known(each) for each in _split(rest)) else text


def _without_context(clauses: list[str], words: _Words) -> list[str]:
    """Return the clauses without the greetings and reasons before the one that asks."""
    question = clauses[-1].endswith("?")
    asked = 0
    for at, clause in enumerate(clauses):
        named = at > 0 and (question or clauses[at - 1].endswith(":")) and _begins(clause, words)
        if named or _asks(clause, words):
            asked = at
            break
    if all(_is_pure(each, words) or _is_reason(each, words) for each in clauses[:asked]):
        clauses = clauses[asked:]
    while len(clauses) > 1 and _is_pure(clauses[0], words):
        clauses = clauses[1:]
    return clauses


def _begins(clause: str, words: _Words) -> bool:
    """Return whether a clause begins with a thing of its own, after small words ("perhaps a llama")."""
    for word in _split(clause):
        if words.things.fullmatch(word):
            return True
        if not words.small.fullmatch(word):
            return False
    return False


def _softens(clause: str, words: _Words) -> bool:
    """Return whether a clause at the end only softens a request ("if that is alright", "nothing fancy")."""
    said = _split(clause)
    short = 1 < len(said) <= _LONGEST_SOFTENING
    return short and words.softening.fullmatch(said[0]) is not None and not any(map(words.things.fullmatch, said))


def _asks(clause: str, words: _Words) -> bool:
    """Return whether a clause begins or ends with words of asking."""
    return _rest(clause, words) != clause or _ended(clause, words, asked=False) != clause


def _split(clause: str) -> list[str]:
    return [word for each in clause.split() if (word := each.strip(_MARKS))]


def _is_pure(clause: str, words: _Words) -> bool:
    """Return whether a clause has only words of asking, or is a short greeting or thanks."""
    said = _split(clause)
    if clause.endswith((".", "!", "?")):  # "You can make pictures." but "Can you make a picture, on which ..."
        said = [word for word in said if not words.pictures.fullmatch(word)]
    if all(map(words.known, said)):
        return words.asks(said) or not said
    if len(said) > _LONGEST_COURTESY or any(map(words.things.fullmatch, said)):
        return False
    return words.greetings.fullmatch(said[0]) is not None or any(map(words.thanks.fullmatch, said))


def _is_reason(clause: str, words: _Words) -> bool:
    """Return whether a clause may be a reason: it is about a person and does not begin with a thing."""
    said = _split(clause)
    return words.names(said) and not words.things.fullmatch(said[0])


def _rest(clause: str, words: _Words) -> str:
    """Return a clause without the words of asking that it begins with; the clause if it does not ask.

    They end before a thing of its own, or with a word that asks ("could you show foxes", but "thank you card").
    """
    parts = clause.split()
    said = [part.strip(_MARKS) for part in parts]
    thing = _thing(said, words)
    end = next((at for at, word in enumerate(said[:thing]) if not words.known(word)), thing)
    if 0 < thing < len(said) and thing <= _LONGEST_COMMAND and words.dative.fullmatch(said[thing - 1]):
        return " ".join(parts[thing:])
    if end < thing < len(said):
        named = end > 0 and words.definite.fullmatch(said[end - 1]) is not None  # "could you paint the portrait of a"
        end = thing if _leads_to(said[:thing], end, words) else end - 1 if named else 0
    before = said[:end]
    placed = words.places.fullmatch(before[-1]) if before else None
    if not words.asks(before) or (placed and not words.asks(before[-2:-1])):
        return clause
    own = end == thing < len(said)
    bare = words.asking.fullmatch(before[-1]) is not None and (words.names(before) or not words.articles)
    return (" ".join(parts[end:]) or clause) if own or bare else clause


def _thing(said: list[str], words: _Words) -> int:
    """Return where a thing of its own begins: at the first article or number before a word that is not known.

    In "a lot of people" and "what I want is a cat", the first such word is none. A number may have several words.
    """
    starts = [at for at, word in enumerate(said) if words.things.fullmatch(word)]
    first = next(
        (at for at in starts if not any(map(words.known, said[at + 1 : at + 2]))), min(starts, default=len(said))
    )
    while first - 2 in starts and len(said[first - 1]) <= _LONGEST_JOINER:
        first -= 2
    return first


def _leads_to(said: list[str], end: int, words: _Words) -> bool:
    """Return whether words that are not all known lead to a thing: one is unknown, or they are a reason and a request.

    `end` is the index of the first unknown word. The request stands next to the thing, and somewhere before it is who
    asks ("we are decorating the nursery and would love a").
    """
    last = next((at for at in range(len(said), 0, -1) if not words.known(said[at - 1])), 0)
    request = said[last:]
    unknown = said[end]
    noun = words.media.fullmatch(unknown) or words.definite.fullmatch(said[end - 1] if end else "")
    if last == end + 1 and words.asks(said[:end]) and not noun:
        return True
    if not words.asks(request):
        return False
    return any(map(words.pronouns.fullmatch, said)) or (
        words.reasons.fullmatch(said[0]) is not None and words.names(request)
    )


def _ended(clause: str, words: _Words, *, asked: bool) -> str:
    """Return a clause without the words of asking that it ends with; in a clause that is asked, also verbs alone.

    Only verbs that a language puts last: in "draw a magic show", the last word is no verb.
    """
    parts = clause.split()
    said = [part.strip(_MARKS) for part in parts]
    start = next((at for at in range(len(said), 0, -1) if not words.known(said[at - 1])), 0)
    if start < len(said) and (words.places.fullmatch(said[start]) or words.denied.fullmatch(said[start])):
        return clause
    after = said[start:]
    asks = words.asks(after) and (words.names(after) or not words.articles)
    closes = asked and any(words.final.fullmatch(each) or words.thanks.fullmatch(each) for each in after)
    if start == 0 or not (asks or closes or (asked and _is_for(after, words))):
        return clause
    mark = parts[-1][len(parts[-1].rstrip(_MARKS)) :]
    return f"{' '.join(parts[:start])}{mark}"


def _is_for(said: list[str], words: _Words) -> bool:
    """Return whether words say whom a picture is for."""
    return bool(said) and words.reasons.fullmatch(said[0]) is not None and words.names(said)
