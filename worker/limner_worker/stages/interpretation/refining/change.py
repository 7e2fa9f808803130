"""The change that a message makes to an earlier picture, while it is read. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import Final
from unicodedata import normalize

from limner_shared.domain.conditions import MAX_TEXT, Conditions
from limner_worker.stages.interpretation.language.declension import in_its_place
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.gender import behind
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import joined, with_particle
from limner_worker.stages.interpretation.reading.parsed import ParsedRequest
from limner_worker.stages.interpretation.refining.attributes import is_quality
from limner_worker.stages.interpretation.refining.changes import ChangePatterns
from limner_worker.stages.interpretation.refining.endings import with_endings
from limner_worker.stages.interpretation.refining.moments import is_moment, same_moments
from limner_worker.stages.interpretation.refining.removing import forms, qualities, removed

NEAREST: Final = 3
"""The words before a thing that may be its article and adjectives."""
FORM: Final = 2
"""The most letters by which a form of a word is longer."""
SHORT: Final = 3
"""The fewest letters of a name that other letters may follow in a prompt."""

_NOUN: Final = 2
"""The words of a thing that has an article and no adjective."""
_PARTITIVE: Final = re.compile(
    r"(?:^|(?<=\s))(?:du|des|de la|de l['\u2019]|aux|au|à la|les|le|la)\s+$|^(?:du|des|de la|les|le|la)\s"
)
"""A French article at the end of what stands before a thing, or at the beginning of a thing."""
_ELIDED: Final = re.compile(r"(?<!\w)de\s+$")
"""A French preposition that is shortened before a vowel."""
_VOWEL: Final = re.compile("[aeiouyéèêâîô]", re.IGNORECASE)
"""The sound before which it is; one that is written with an h may be another."""
_TO: Final = re.compile(r"(?:aux|au|à la)\s+$")
"""A French preposition with an article."""
_DATIVE: Final = r"(?<!\w)(?:mit|bei|von|aus|zu)\s+$"
"""German prepositions before a noun in the dative."""
_PLURAL: Final = re.compile(r"(?<![su])s$")
"""The end of an English plural."""
_ONE: Final = re.compile(r"(?<!\w)an?\s+$")
"""The English article that a plural cannot have."""
_BEFORE: Final = (
    "(?:(?![红黄蓝绿黑白灰紫粉的色着了在只个把张条辆匹头座片朵本盘碗杯一二两三和与上下里])[\u4e00-\u9fff]){1,3}"
)
"""The first characters of a Chinese word."""
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
"""Accents that stand apart from their letters."""


@dataclass
class Change:
    """The changes to the previous picture, as a message in one language asks for them."""

    patterns: ChangePatterns
    language: Language
    before: Conditions
    prompt: str
    negative: list[str]
    n: int | None
    another: bool = False
    """Whether another picture like it is wanted, with a new seed."""

    @property
    def articles(self) -> bool:
        """Whether a new thing has an article in this language."""
        return bool(self.language.connectives.indefinite) and not self.language.unspaced

    def append(self, text: str, separator: str = ", ") -> None:
        """Add something at the end of the prompt."""
        wide = "\u2e80" <= self.prompt[-1] < "\uac00"
        self.prompt = f"{self.prompt}{'，' if wide else separator}{text}"

    def place(self, text: str) -> None:
        """Add a place at the end, instead of another one: a boy in a park is on a beach afterwards, and not on both.

        A time, a season or weather takes the place of others of its kind.
        """
        if not self.language.unspaced and is_moment(text, self.language):
            self.give_time(text)
            return
        old = self.patterns.scenery.search(self.prompt)
        if old is None or not old.start() or not self.patterns.scenery.fullmatch(text):
            self.append(text, " ")
        else:
            self.prompt = joined(self.prompt[: old.start()].rstrip(" ,"), text)

    def give_time(self, text: str) -> None:
        """Give the picture a time, a season or weather, instead of others of its kind."""
        places = same_moments(self.prompt, text, self.language)
        if not places:
            self.append(text, ", " if self.language.unspaced else " ")
            return
        for start, end in reversed(places[1:]):
            self.prompt = f"{self.prompt[:start].rstrip(' ,，、')}{self.prompt[end:]}"
        start, end = places[0]
        self.prompt = f"{self.prompt[:start]}{text}{self.prompt[end:]}"

    def moves(self, part: re.Match[str], text: str) -> bool:
        """Put the place that a text ends with instead of the old one, if the part is of this; return whether it is."""
        old, new = self.patterns.scenery.search(self.prompt), self.patterns.scenery.search(text)
        if old is None or new is None or not 0 < old.start() <= part.start():
            return False
        self.place(new.group())
        return True

    def find(self, name: str) -> re.Match[str] | None:
        """Return where the prompt has a name, as a whole word where words are separated."""
        if not name.strip():
            return None
        if self.language.unspaced:
            return self._find_unspaced(name)
        at = self._as_word(forms(name, self.language), is_short=len(name) < SHORT)  # "Ei" is no part of "eine"
        if at is None and self.language.compounds and len(name) >= SHORT:  # "Gasse" of "Altstadtgasse"
            at = re.search(rf"\w+{forms(name, self.language)}(?!\w)", self.prompt, re.IGNORECASE)
        return self._without_accents(name) if at is None else at

    def _find_unspaced(self, name: str) -> re.Match[str] | None:
        """Return where the prompt has a name; one of a single character is a part of a longer word: "雨伞"."""
        if self.language.code == "zh" and len(name) > 1 and name not in self.prompt:
            name = name.removesuffix("子")  # "车子"
        whole = re.search(rf"{_BEFORE}{re.escape(name)}", self.prompt) if len(name) == 1 else None
        if whole is not None:
            return whole
        return re.search(forms(name, self.language), self.prompt, re.IGNORECASE)

    def _without_accents(self, name: str) -> re.Match[str] | None:
        """Return where the prompt has a name that is written without its accents: "robo" for "robô"."""
        plain = _ACCENTS.sub("", normalize("NFD", self.prompt))
        at = re.search(rf"(?<!\w){re.escape(name)}(?!\w)", plain, re.IGNORECASE)
        if at is None or len(plain) != len(self.prompt):
            return None
        return re.compile(".*").match(self.prompt, at.start(), at.end())

    def _as_word(self, name: str, *, is_short: bool) -> re.Match[str] | None:
        """Return where the prompt has a name: as a word, as the beginning of a form of it, or of a longer word.

        Of a longer word, all is meant: "bici" is short for "bicicleta", and "cheval" is no part of "chevalier".
        """
        ends = (r"(?!\w)",) if is_short else (r"(?!\w)", rf"(?=\w{{0,{FORM}}}(?!\w))", r"\w*")
        found = (re.search(rf"(?<!\w){name}{end}", self.prompt, re.IGNORECASE) for end in ends)
        return next((at for at in found if at is not None), None)

    def replace(self, part: re.Match[str], how: str) -> None:
        """Put something else in the place of a part, together with the part's own article and adjectives.

        What has no adjectives of its own keeps the known ones, if the article tells that it has the same form.
        """
        left, right = self.prompt[: part.start()], self.prompt[part.end() :]
        if self.language.cases:
            left, how = in_its_place(left, part.group(), how)
        right = behind(right, left, how, self.language)
        if self.language.unspaced:
            right = _once(how, right)
        known = rf"(?:(?<!\w)(?:{qualities(self.language)})(?!\w)\s+){{1,2}}$"
        if not self.language.unspaced and self.patterns.indefinite.match(how) and len(how.split()) > _NOUN:
            left = re.sub(known, "", left, flags=re.IGNORECASE)
        how = self._declined(left, how)
        if self.patterns.indefinite.match(how):
            kept, how = self._described(left, how)
            places = self.language.connectives.places
            small = "|".join(filter(None, (self.language.grammar.replace(" ", "|"), places))) or NOTHING
            words = rf"(?:(?!(?:{small})\s)[^\W\d]+\s+){{0,2}}"
            left = re.sub(rf"{self.patterns.article.pattern}{words}$", "", left, flags=re.IGNORECASE)
            how = f"{kept}{how}"
        elif self.patterns.article.match(how):  # "la guitarra": "el acordeón"
            left = re.sub(rf"{self.patterns.article.pattern}$", "", left, flags=re.IGNORECASE)
        left, how = self._with_one_article(left, how)
        left = self._without_measure(left, how)
        if left.lower().split()[-1:] == how.lower().split()[:1] and " " in how:  # "num comboio": "num elétrico"
            how = how.split(maxsplit=1)[1]
        if self.language.code == "fr":
            left = _ELIDED.sub("d'", left) if _VOWEL.match(how) else left
        self.prompt = f"{left}{how}{with_particle(how, right)}"

    def _without_measure(self, left: str, how: str) -> str:
        """Return the text before a thing without a Chinese number and measure word, if the thing has its own."""
        counted = rf"(?=[一二三四五六七八九十两几]){self.language.measure}"
        own = self.language.code == "zh" and re.match(counted, how) is not None
        return re.sub(rf"{counted}$", "", left) if own else left

    def _with_one_article(self, left: str, how: str) -> tuple[str, str]:
        """Return the text before a thing, and the thing, of which only one has an article: "aux", "des poires"."""
        if self.language.code == "fr" and _PARTITIVE.search(left) and (some := _PARTITIVE.match(f"{how} ")):
            return (left, how[some.end() :]) if _TO.search(left) else (_PARTITIVE.sub("", left), how)
        if self.language.code == "fr" and _TO.search(left):
            return left, re.sub(r"^une?\s", "", how)
        if self.language.code == "en" and _PLURAL.search(how) and not self.patterns.article.match(how):
            return _ONE.sub("", left), how
        return left, how

    def _declined(self, left: str, how: str) -> str:
        """Return a thing with its article in the form that the text before it asks for: "mit einer Vase"."""
        forms, (article, _, noun) = self.language.dative, how.partition(" ")
        before = left.lower().split()[-NEAREST:]
        if before[-1:] in (["de"], ["di"]) and (
            article.lower() in ("des", "du", "gli", "le", "i") or self.patterns.indefinite.match(how)
        ):
            return noun  # "un panier de pommes", "um macaco de boné"
        led = bool(forms) and re.search(_DATIVE, left, re.IGNORECASE) is not None
        is_dative = article.lower() in forms and (led or any(each in forms.values() for each in before))
        return f"{forms[article.lower()]} {noun}" if is_dative else how

    def _described(self, left: str, how: str) -> tuple[str, str]:
        """Return the article and adjectives at the end of a text that a new thing keeps, and the rest of the thing."""
        known = rf"(?<!\w)(?:{qualities(self.language)})(?!\w)"
        small = self.language.connectives
        old = re.search(rf"(?<!\w)(?P<article>{small.indefinite})\s+(?:{known}\s+){{1,2}}$", left, re.IGNORECASE)
        article, _, thing = how.partition(" ")
        if old is None or re.search(known, how, re.IGNORECASE):
            return "", how
        same = not self.language.connectives.gendered or old["article"].lower() == article.lower()
        return (old.group(), thing) if same else ("", how)


def _once(thing: str, right: str) -> str:
    """Return what stands behind a thing without the words that it ends with: "メロンのケーキ" before "ケーキ"."""
    shared = (size for size in range(min(len(thing) - 1, len(right)), 1, -1) if thing.endswith(right[:size]))
    return right[next(shared, 0) :]


def concluded(change: Change, found: ParsedRequest, named: bool) -> Conditions:
    """Return the changed picture with the conditions that a message names.

    A changed picture keeps its seed, and so does one that the message names; others get new ones.
    """
    before = change.before
    for each in change.negative:
        change.prompt = removed(change.prompt, each)
    if change.language.colour_endings:
        change.prompt = with_endings(change.prompt, found.said, partial(is_quality, language=change.language))
    negative = [part for part in before.negative_prompt.split(", ") if part] + change.negative
    size = found.size or (before.width, before.height)
    more = change.another or (found.n is not None and bool(change.patterns.more.search(found.said)))
    kept = None if more and not named else before.seed
    return Conditions(
        prompt=change.prompt[:MAX_TEXT],
        negative_prompt=", ".join(dict.fromkeys(negative))[:MAX_TEXT],
        style=found.style or before.style,
        width=size[0],
        height=size[1],
        n=change.n,
        seed=kept if found.seed is None else found.seed,
    )
