"""The words and the origins by which a job is found, equal for both databases. No I/O.

A text is split into words without accents and in lower case. Chinese and Japanese, which do not separate words, are
split into characters and pairs of neighbours.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from enum import StrEnum
from typing import Any, Final

from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import InvalidRequest

MAX_WORDS: Final = 2000
"""Words of one job that are stored."""
MAX_QUERY_WORDS: Final = 20
MAX_WORD_CHARS: Final = 60
PREFIX_CHARS: Final = 3
"""A query word of this length also finds longer words: a shorter one would find too many."""
ACCENTS: Final = re.compile("[\u0300-\u036f]")
UNSPACED: Final = re.compile("[\u3005-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+")
ASCII_WORD: Final = re.compile("[0-9a-z]+")
TEXTS: Final = ("prompt", "description")


class JobOrigin(StrEnum):
    """How a job was asked for: alone, as a line of a bulk, or as a message of a conversation that still exists; or, as
    a filter only, otherwise than in a bulk.
    """

    SINGLE = "single"
    BULK = "bulk"
    CONVERSATION = "conversation"
    NOT_BULK = "not_bulk"


def words(text: str) -> Iterator[str]:
    """The words of a text, in order, with repetitions."""
    if text.isascii():
        yield from (word[:MAX_WORD_CHARS] for word in ASCII_WORD.findall(text.lower()))
        return
    plain = unicodedata.normalize("NFKC", ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold())))
    # Letters, marks (vowels of Indian languages among them) and numbers.
    for run in "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in plain).split():
        rest = run
        for unspaced in UNSPACED.findall(run):
            before, _, rest = rest.partition(unspaced)
            yield from [before[:MAX_WORD_CHARS]] if before else []
            yield from unspaced
            yield from (unspaced[index : index + 2] for index in range(len(unspaced) - 1))
        yield from [rest[:MAX_WORD_CHARS]] if rest else []


def key(kind: str, value: str) -> str:
    """A word for a property such as the tenant or the style. No text contains it."""
    return f"={hashlib.sha256(f'{kind} {value}'.encode()).hexdigest()[:16]}"


def document(tenant_id: str, spec: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """All words of a job, each once, separated by spaces: its texts, its metadata, and keys of its tenant and style."""
    found = {key("tenant", tenant_id): None}
    for style in _styles(spec):
        found[key("style", style)] = None
    for text in [*(spec.get(name) for name in TEXTS), *_strings(metadata)]:
        for word in words(text) if isinstance(text, str) else ():
            found[word] = None
            if len(found) >= MAX_WORDS:
                return " ".join(found)
    return " ".join(found)


def read_query(text: str) -> tuple[str, ...]:
    """The words that a search is for; of a word of PREFIX_CHARS, the beginning is enough. Raises InvalidRequest."""
    found = dict.fromkeys(words(text))
    unspaced = {pair[0] for pair in found if len(pair) > 1 and UNSPACED.fullmatch(pair)}
    unspaced |= {pair[-1] for pair in found if len(pair) > 1 and UNSPACED.fullmatch(pair)}
    wanted = tuple(word for word in found if word not in unspaced)  # a pair says more than its characters
    if not 1 <= len(wanted) <= MAX_QUERY_WORDS:
        raise InvalidRequest(f"q: give 1 to {MAX_QUERY_WORDS} words.", field="q")
    return wanted


def have_all(wanted: Collection[str], texts: Iterable[str]) -> bool:
    """Whether the texts together have all words of a query, as `read_query` returns them."""
    found = {word for text in texts for word in words(text)}
    return all(
        word in found or (len(word) >= PREFIX_CHARS and any(each.startswith(word) for each in found)) for word in wanted
    )


def _styles(spec: Mapping[str, Any]) -> Iterator[str]:
    """The styles that a job's images have."""
    if isinstance(style := spec.get("style"), str):
        yield style
    elif spec.get("styles") and (read := JobSpec.read(spec)) is not None:
        yield from {style: None for index in range(read.n) if (style := read.style_for(read.image_seed(index)))}


def _strings(value: Any) -> Iterator[str]:
    """The names and texts in a JSON value, without recursion."""
    left = [value]
    while left:
        current = left.pop()
        if isinstance(current, str):
            yield current
        elif isinstance(current, Mapping):
            left += [*current.keys(), *current.values()]
        elif isinstance(current, list | tuple):
            left += current
