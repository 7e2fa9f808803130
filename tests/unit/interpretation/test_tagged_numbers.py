"""The number of pictures where only the tagger knows the words that say it."""

from __future__ import annotations

import pytest

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions
from limner_shared.domain.jobs import JobRequest
from limner_worker.stages.interpretation.interpreter import Interpreter, Request
from limner_worker.stages.interpretation.tagging.asking_words import Tagged


def marked(text: str, sure: float = 0.95) -> Tagged:
    """Return a text without its brackets, in which the tagger surely counts pictures."""
    before, _, rest = text.partition("<")
    words, _, after = rest.partition(">")
    plain = before + words + after
    none = [0.0] * len(plain)
    return Tagged(plain, none, none, none, [0.0] * len(before) + [sure] * len(words) + [0.0] * len(after))


def read(tagged: Tagged) -> Conditions:
    card = Catalogue.load([], "limner-flow").get(None)
    [found] = Interpreter(tagger=lambda _: [tagged])([Request(card.resolve(JobRequest(description=tagged.text)), card)])
    return found.conditions


@pytest.mark.parametrize(
    ("text", "prompt", "n"),
    [
        ("a fox<, a trio of three please>", "a fox", 3),
        ("ein Igel<, am liebsten fünf Motive>", "ein Igel", 5),
        ("un renard<, tire-m'en six>", "un renard", 6),
        ("лиса<, отсыпь мне семь>", "лиса", 7),
        ("赤い狐<をよろしく三案>", "赤い狐", 3),
    ],
)
def test_words_that_count_pictures_are_read_and_taken_away(text: str, prompt: str, n: int) -> None:
    found = read(marked(text))
    assert (found.prompt, found.n) == (prompt, n)


@pytest.mark.parametrize(
    "text", ["<three> pigs in a house", "pigs< in great number>", "pigs<, a trio of three or four>"]
)
def test_a_number_alone_or_among_others_and_words_without_one_count_no_pictures(text: str) -> None:
    assert read(marked(text)).n is None


def test_what_may_count_something_else_stays() -> None:
    found = read(marked("ein Igel<, am liebsten fünf Motive>", sure=0.7))
    assert (found.prompt, found.n) == ("ein Igel, am liebsten fünf Motive", None)


@pytest.mark.parametrize("text", ["강가의 여우< 그 이미지 몇 장>", "<할머니 여섯 분이> 윷놀이"])
def test_a_number_counts_pictures_only_with_their_measure_words_where_a_language_has_them(text: str) -> None:
    assert read(marked(text)).n is None
