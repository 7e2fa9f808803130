"""Synthetic descriptions in eleven languages, of which each character's role is known.

A description joins phrases of `phrases/` (greetings, reasons, requests, thanks, conditions) around a subject, which is
made of the tasks' nouns and prompts; or it is one that was written as a whole, in which braces mark the roles.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from limner_training.tagging.kinds import phrases
from limner_training.tagging.marks import pieces
from limner_training.tasks.prompts import prompts
from limner_training.tasks.vocabulary import nouns
from limner_worker.networks.word_tagger import DESCRIPTION_ROLES
from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.language.texts import WIDE

STYLES: Final = ("noto", "noto-v1", "flat", "3d", "3D")
_TASKS: Final = ("colour", "counting", "two objects", "position", "colour attribution")
_PARTICLES: Final = {"를": "을", "가": "이", "는": "은", "로": "으로", "와": "과", "면": "이면", "라": "이라"}
"""Korean particles after a vowel, and after a consonant."""
_SUBJECT, _ASKING, _NUMBER, _SIZE, _STYLE, _NEGATIVE, _LEFT_OUT = range(len(DESCRIPTION_ROLES))
_CONDITIONS: Final = {"sizes": _SIZE, "styles": _STYLE, "negatives": _NEGATIVE}
"""Kinds of phrases that name a condition, and their roles."""
_WHOLE: Final = 0.35
"""How often a description is one that was written as a whole."""
_BARE: Final = 0.3
"""How often another one has no words of asking."""


@dataclass
class Described:
    """A text, and the role of each of its characters."""

    language: str
    text: str = ""
    roles: list[int] = field(default_factory=list[int])
    prompt: str = ""
    """The description of the picture that it is about, if it is a message about one."""

    def add(self, text: str, role: int) -> None:
        """Add words of one role."""
        self.text += text
        self.roles += [role] * len(text)

    def join(self, other: Described) -> None:
        """Add another description's words."""
        self.text += other.text
        self.roles += other.roles


class Writer:
    """Writes descriptions in one language."""

    def __init__(self, language: str, choose: random.Random, *, held_out: bool = False) -> None:
        """With `held_out`, the phrases are those that training leaves out."""
        self._language = language
        self._choose = choose
        self._phrases = phrases(language, held_out=held_out)
        self._wide = self._phrases["openers"][0][0] >= WIDE and language != "ko"
        self._tasks = [each.text for task in _TASKS for each in prompts(task, language, 200)]

    def __call__(self) -> Described:
        """Return a new description."""
        found = self._written() if self._chance(_WHOLE) else self._plain() if self._chance(_BARE) else self._asked()
        self.spoil(found)
        return found

    def _chance(self, share: float) -> bool:
        return self._choose.random() < share

    def aside(self) -> str:
        """Return words that ask for nothing: a greeting, a reason, or thanks."""
        return self._one(self._choose.choice(("openers", "contexts", "contexts", "tails")))

    def _one(self, kind: str) -> str:
        """Return a phrase, with a person and a thing in the places that it has for them."""
        phrase = self._phrase(kind)
        return phrase.replace("{y}", self.noun()) if "{y}" in phrase else phrase

    def _phrase(self, kind: str) -> str:
        """Return a phrase, with a person, or a name, in the place that it has for one."""
        phrase = self._choose.choice(self._phrases[kind])
        for place, names in (("{p}", "people"), ("{w}", "signers")):
            phrase = phrase.replace(place, self._choose.choice(self._phrases[names])) if place in phrase else phrase
        return phrase

    def _new(self, text: str = "", role: int = _SUBJECT) -> Described:
        found = Described(self._language)
        found.add(text, role)
        return found

    def _written(self) -> Described:
        """Return a description that was written as a whole, with another thing left out, or more words of asking."""
        found = self._new()
        for words, role in pieces(self._phrase("whole")):
            other = role == "left out" and self._chance(0.3)
            shown = self._choose.choice(self._phrases["unwanted"]) if other else words
            found.add(shown, _SUBJECT if role is None else DESCRIPTION_ROLES.index(role))
        if self._chance(0.12):
            found.add(("" if self._wide else " ") + self._one("tails"), _ASKING)
        return found

    def _plain(self) -> Described:
        found = self._new(self.shown() if self._chance(0.7) else self._one("plain"))
        return self._with_conditions(self._lacking() if self._chance(0.2) else found, 0.2)

    def _asked(self) -> Described:
        request = self._placed(self._one("requests"), self._with_conditions(self._thing(), 0.25), _ASKING)
        request = self._with_conditions(request, 0.15)
        letter = self._chance(0.08)
        opener = "salutations" if letter else "openers"
        parts = [self._new(self._one(opener), _ASKING)] if letter or self._chance(0.35) else []
        context = [self._new(self._one("contexts"), _ASKING)] if self._chance(0.45) else []
        context += [self._condition(self._choose.choice(list(_CONDITIONS)))] if self._chance(0.1) else []
        after = bool(context) and self._chance(0.2)
        parts += ([] if after else context) + [request] + (context if after else [])
        parts += [self._new(self._one("tails"), _ASKING) for share in (0.5, 0.1) if self._chance(share)]
        parts += [self._new(self._one("closings"), _ASKING)] if letter or self._chance(0.04) else []
        found = Described(self._language)
        for at, part in enumerate(parts):
            if at:
                found.add(self._between(), _ASKING)
            elif self._chance(0.6):
                part.text = part.text[:1].upper() + part.text[1:]
            found.join(part)
        found.add(self._choose.choice(["", "", ".", "?", "!", "。" if self._wide else "..."]), _ASKING)
        return found

    def _between(self) -> str:
        wide = ["\uff0c", "。", "\uff01", "、", "\uff1a"]
        return self._choose.choice(wide if self._wide else [", ", ", ", ". ", "! ", ": ", " - ", " ", "; "])

    def _thing(self) -> Described:
        """Return a thing, alone or as a picture or a number of pictures of it."""
        kind = self._choose.choices(["thing", "pictures", "counted"], [5, 2, 3])[0]
        thing = self._new(self.shown())
        if self._chance(0.2):
            thing = self._lacking()
        if kind == "thing":
            return thing
        if kind == "pictures":
            return self._placed(self._one("pictures"), thing, _ASKING)
        numbers = [word for word, value in BY_CODE[self._language].numbers.items() if 1 < value <= 20]
        number = str(self._choose.randint(2, 12)) if self._chance(0.4) else self._choose.choice(numbers)
        template = self._one("counted").replace("{n}", number)
        return self._placed(template, self._new(self._subject()), _NUMBER)

    def _placed(self, template: str, thing: Described, role: int) -> Described:
        before, after = template.split("{x}")
        found = self._new(before, role)
        found.join(thing)
        found.add(self._after(thing, after), role)
        return found

    def _after(self, thing: Described, words: str) -> str:
        """Return the words after a thing, with the particle that it has in Korean."""
        return self._with_particle(thing.text, words)[len(thing.text) :]

    def _with_particle(self, text: str, words: str) -> str:
        """Return a text with words after it, which in Korean may begin with a particle."""
        if self._language == "ko" and words and _has_final(text):
            return text + _PARTICLES.get(words[0], words[0]) + words[1:]
        return text + words

    def _lacking(self) -> Described:
        """Return a thing with what it lacks: before it, as some languages say it, or between it and the rest."""
        if "lacking" in self._phrases:
            before, after = self._phrase("lacking").split("{x}")
            found = self._leaving_out(before)
            found.add(self.noun() + after, _SUBJECT)
            return found
        found = self._new(self._article() + self.noun())
        after = self._one("things").partition("{x}")[2]
        if self._chance(0.4):  # another thing to draw
            after = self._phrases["joins"][0] + self._article(certain=True) + self.noun()
        found.join(self._leaving_out(self._phrase("mid").removeprefix("{x}")))
        if self._chance(0.15):  # another thing that lacks something
            found.add(self._phrases["joins"][0], _SUBJECT)
            found.join(self._lacking())
            return found
        found.add(after, _SUBJECT)
        return found

    def _leaving_out(self, template: str) -> Described:
        """Return words that leave things out; the things have a role of their own."""
        found = self._new()
        for at, words in enumerate(template.split("{y}")):
            if at:
                found.join(self._unwanted())
            found.add(self._after(found, words) if at else words, _NEGATIVE)
        return found

    def _unwanted(self) -> Described:
        """Return something to leave out, or two."""
        found = self._new()
        for at in range(2 if self._chance(0.15) else 1):
            thing = self._choose.choice(self._phrases["unwanted"]) if self._chance(0.6) else self.noun()
            found.add(self._phrases["joins"][0] if at else "", _NEGATIVE)
            found.add(thing, _LEFT_OUT)
        return found

    def _with_conditions(self, found: Described, share: float) -> Described:
        for kind in _CONDITIONS:
            if self._chance(share if kind == "negatives" else share / 2):
                lead = self._choose.choice(["\uff0c", "\uff0c", ""] if self._wide else [", ", ", ", " ", " - ", ". "])
                found.add(lead, _CONDITIONS[kind])
                found.join(self._condition(kind))
        return found

    def _condition(self, kind: str) -> Described:
        """Return words that name a size, a style, or what to leave out."""
        if kind != "negatives":
            return self._new(self._phrase(kind).replace("{s}", self._choose.choice(STYLES)), _CONDITIONS[kind])
        found = self._new(self._lead(), _NEGATIVE)
        found.join(self._leaving_out(self._phrase(kind)))
        return found

    def _lead(self) -> str:
        """Return words that lead into those that leave something out, or none."""
        if not self._chance(0.25):
            return ""
        return self._phrase("leads") + ("" if self._wide else " ")

    def _article(self, *, certain: bool = False) -> str:
        some = self._phrases["articles"]
        article = self._choose.choice([each for each in some if each or not certain] or some)
        return f"{article} " if article and not self._wide else article

    def noun(self) -> str:
        """Return the name of a thing."""
        return self._choose.choice(nouns()).called(self._language)

    def shown(self) -> str:
        """Return what a picture shows: a subject as people write it, a scene, or one of parts, with an article."""
        kind = self._choose.choices(["whole", "scene", "parts"], [3, 2, 6])[0]
        if kind == "parts":
            shown = self._article() + self._subject()
        else:
            shown = self._whole() if kind == "whole" else self._composed("scenes")
        return shown + (self._one("further") if self._chance(0.15) else "")

    def _whole(self) -> str:
        """Return a subject as people write it; one with a title may have words that have another role elsewhere."""
        if self._chance(0.7):
            return self._one("subjects")
        title = self._one("names")
        return title if self._chance(0.2) else self._one("named").replace("{t}", title)

    def _subject(self) -> str:
        kinds = ["noun", "thing", "media", "two", "having", "task", "plain", "speech", "whole"]
        kind = self._choose.choices(kinds, [3, 6, 2, 2, 2, 2, 1, 1, 2])[0]
        whole: dict[str, Callable[[], str]] = {
            "noun": self.noun,
            "whole": self._whole,
            "plain": lambda: self._one("plain"),
            "task": lambda: self._choose.choice(self._tasks),
        }
        return whole[kind]() if kind in whole else self._composed(kind)

    def _composed(self, kind: str) -> str:
        """Return a subject of a noun and other words of a kind."""
        if kind == "two":
            second = self._one("things").replace("{x}", self.noun()) if self._chance(0.4) else self.noun()
            return f"{self.noun()}{self._one('joins')}{second}"
        if kind == "having":  # what others leave out
            thing = self._choose.choice(self._phrases["unwanted"])
            return self._one("having").replace("{x}", self.noun()).replace("{u}", thing)
        if kind == "speech":
            said = self._one(self._choose.choice(["tails", "openers", "negatives"]))
            return self._phrase("carriers").replace("{q}", said)
        before, after = self._one({"thing": "things"}.get(kind, kind)).split("{x}")
        noun = self._article() + self.noun() if kind == "scenes" else self.noun()
        return self._with_particle(before + noun, after)

    def spoil(self, found: Described) -> None:
        """Write as people do: without capitals or commas or in capitals alone, and with typing errors."""
        if self._chance(0.04):
            found.text = "".join(each.upper() if len(each.upper()) == 1 else each for each in found.text)
        elif self._chance(0.3):
            found.text = "".join(each.lower() if len(each.lower()) == 1 else each for each in found.text)
        kept = list(range(len(found.text)))
        if self._chance(0.15):
            kept = [at for at in kept if found.text[at] not in ",.\uff0c。、"]
        if self._chance(0.25) and not self._wide:
            kept = [at for at in kept if not (found.text[at].isalpha() and self._chance(0.015))]
        found.text, found.roles = "".join(found.text[at] for at in kept), [found.roles[at] for at in kept]


def _has_final(text: str) -> bool:
    """Return whether a text ends with a Korean syllable with a final consonant."""
    return "가" <= text[-1:] <= "힣" and (ord(text[-1]) - ord("가")) % 28 != 0
