"""Rules for texts: lists of terms by category, and which categories a text falls into.

A term is a word or a phrase; `word*` matches every word that begins so, `a + b` both in any order, `$name` any word of
the list of this name. Case, accents and invisible characters do not matter. In scripts without spaces a term matches
anywhere.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from limner_shared.errors import ConfigurationError

BUILTIN: Final = "builtin"
OWN_TERMS: Final = "blocked_terms"
"""The category of a tenant's own terms."""
MAX_TERMS: Final = 20_000
MAX_TERM_CHARS: Final = 100
WORD: Final = re.compile(r"\w+")
ACCENTS: Final = re.compile("[\u0300-\u036f]")
UNSPACED: Final = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
"""Thai, Lao, Burmese, Khmer, Japanese and Chinese."""

Term = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TERM_CHARS)]
Category = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_/-]{0,39}$")]


class RuleFile(BaseModel):
    """A file of rules."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    lists: dict[str, tuple[Term, ...]] = Field(default_factory=dict)
    categories: dict[Category, tuple[Term, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule is met if a text has one pattern of every part."""

    category: str
    parts: tuple[frozenset[str], ...]


class TextRules:
    """Rules, indexed by the first words of their patterns: a text costs as much with many rules as with few."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: defaultdict[str, list[Rule]] = defaultdict(list)
        self._phrases: defaultdict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        self._prefixes: dict[str, str] = {}
        self._anywhere: list[str] = []
        for rule in rules:
            for pattern in frozenset[str]().union(*rule.parts):
                if pattern not in self._rules:
                    self._add(pattern)
                self._rules[pattern].append(rule)
        self._prefix_lengths = sorted({len(prefix) for prefix in self._prefixes})

    def categories(self, texts: Iterable[str]) -> tuple[str, ...]:
        """The categories that these texts fall into together, in order; empty if none."""
        if not self._rules:
            return ()
        text = normalized("\n".join(texts))
        present = self._present(text)
        met = {
            rule.category
            for pattern in present
            for rule in self._rules[pattern]
            if all(part & present for part in rule.parts)
        }
        return tuple(sorted(met))

    def _add(self, pattern: str) -> None:
        words = WORD.findall(pattern)
        if UNSPACED.search(pattern):
            self._anywhere.append(pattern)
        elif pattern.endswith("*") and len(words) == 1:
            self._prefixes[words[0]] = pattern
        else:
            self._phrases[words[0]].append((tuple(words), pattern))

    def _present(self, text: str) -> set[str]:
        words = WORD.findall(text)
        found = {pattern for pattern in self._anywhere if pattern in text}
        for index, word in enumerate(words):
            for phrase, pattern in self._phrases.get(word, ()):
                if tuple(words[index : index + len(phrase)]) == phrase:
                    found.add(pattern)
            for length in self._prefix_lengths:
                if (prefix := word[:length]) in self._prefixes and len(word) >= length:
                    found.add(self._prefixes[prefix])
        return found


def normalized(text: str) -> str:
    """The text without differences that only look different: case, accents, widths, invisible characters."""
    plain = ACCENTS.sub("", unicodedata.normalize("NFKD", text))
    visible = "".join(char for char in plain if unicodedata.category(char) != "Cf")
    return unicodedata.normalize("NFKC", visible.casefold())


def load_rules(names: Sequence[str]) -> TextRules:
    """Read files of rules; `builtin` is the list that comes with the service. Raises ConfigurationError."""
    rules: list[Rule] = []
    for name in names:
        file = Path(str(files("limner_shared.domain"))) / "text_rules.toml" if name == BUILTIN else Path(name)
        try:
            found = RuleFile.model_validate(tomllib.loads(file.read_text("utf-8")))
            rules += _rules(found.categories, found.lists)
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigurationError(f"LIMNER_MODERATION_RULES: {file}: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise ConfigurationError(f"LIMNER_MODERATION_RULES: {file}: {where}: {first['msg']}") from error
        except ValueError as error:
            raise ConfigurationError(f"LIMNER_MODERATION_RULES: {file}: {error}") from error
    return TextRules(rules)


@lru_cache(maxsize=512)
def rules_of_terms(terms: tuple[str, ...]) -> TextRules:
    """The rules of a tenant's own terms. Raises ValueError for a term that can match nothing."""
    return TextRules(_rules({OWN_TERMS: terms}, {}))


def _rules(categories: Mapping[str, Sequence[str]], lists: Mapping[str, Sequence[str]]) -> list[Rule]:
    if sum(map(len, (*categories.values(), *lists.values()))) > MAX_TERMS:
        raise ValueError(f"more than {MAX_TERMS} terms")
    patterns: dict[str, Any] = {name: frozenset(map(_pattern, terms)) for name, terms in lists.items()}
    return [
        Rule(category, tuple(_part(part.strip(), patterns) for part in term.split(" +")))
        for category, terms in categories.items()
        for term in terms
    ]


def _part(part: str, lists: Mapping[str, frozenset[str]]) -> frozenset[str]:
    if not part.startswith("$"):
        return frozenset((_pattern(part),))
    if part[1:] not in lists:
        raise ValueError(f"{part!r}: there is no list of this name")
    return lists[part[1:]]


def _pattern(term: str) -> str:
    pattern = normalized(term).strip()
    if not WORD.search(pattern):
        raise ValueError(f"{term!r}: a term needs a letter or a digit")
    if "*" in pattern and not re.fullmatch(r"\w+\*", pattern):
        raise ValueError(f"{term!r}: `*` is only allowed at the end of a single word")
    return pattern
