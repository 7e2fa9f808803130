"""What a tagger alone knows of a description: its format, its heading, and words that leave nothing out."""

from __future__ import annotations

import re

import pytest

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions
from limner_shared.domain.jobs import JobRequest
from limner_worker.stages.interpretation.interpreter import Interpreter, Request
from limner_worker.stages.interpretation.tagging.asking_words import Tagged

from .follow_ups import SIZES

_MARKED = re.compile(r"\{(\w+):([^{}]*)\}")
CARD = Catalogue.load([], "limner-flow").get(None).model_copy(update={"sizes": SIZES})
ROLES = ("ask", "no", "out", "n", "size", "subject")


def marked(text: str, sure: float = 0.97) -> Tagged:
    """Return a text without its marks, of whose words each surely has its role; the others are its subject."""
    said, shares = "", {role: list[float]() for role in ROLES}
    at = 0
    for match in [*_MARKED.finditer(text), None]:
        plain = text[at : match.start()] if match is not None else text[at:]
        for role, words in (("subject", plain),) if match is None else (("subject", plain), match.groups()):
            said += words
            for each, values in shares.items():
                values.extend([sure if each == role else (1 - sure) / len(ROLES)] * len(words))
        at = match.end() if match is not None else at
    leaving = [no + out for no, out in zip(shares["no"], shares["out"], strict=True)]
    return Tagged(said, shares["ask"], leaving, shares["out"], shares["n"], shares["size"], shares["subject"])


def read(tagged: Tagged) -> Conditions:
    [found] = Interpreter(tagger=lambda _: [tagged])([Request(CARD.resolve(JobRequest(description=tagged.text)), CARD)])
    return found.conditions


@pytest.mark.parametrize(
    ("text", "prompt", "size"),
    [
        ("{size:hochformatiges Bild: }eine Brücke im Nebel", "eine Brücke im Nebel", (256, 384)),
        ("一艘小船停在港口{size:\uff0c竖的画幅}", "一艘小船停在港口", (256, 384)),
        ("een vos in de sneeuw{size:, iets vierkants}", "een vos in de sneeuw", (256, 256)),
        ("лиса в снегу{size:, картинка широкая}", "лиса в снегу", (384, 256)),
    ],
)
def test_words_that_a_tagger_holds_for_a_format_are_read_and_taken_away(
    text: str, prompt: str, size: tuple[int, int]
) -> None:
    found = read(marked(text))
    assert (found.prompt, (found.width, found.height)) == (prompt, size)


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("{ask:For the tavern: }an owl reading by candlelight", "an owl reading by candlelight"),
        ("{ask:Para la carta de Rosa: }una paella humeante", "una paella humeante"),
        ("three old friends: a cat, a dog and a goose", "three old friends: a cat, a dog and a goose"),
        ("{ask:Watercolour: }a bare plane tree", "Watercolour: a bare plane tree"),
    ],
)
def test_a_heading_that_says_nothing_of_the_picture_goes(text: str, prompt: str) -> None:
    assert read(marked(text)).prompt == prompt


def test_words_in_which_the_rules_know_no_word_of_asking_go_only_beyond_doubt() -> None:
    text = "the crane limped all week. a heron in the reeds"
    doubtful = marked(f"{{ask:{text[:27]}}}{text[27:]}")
    assert read(doubtful).prompt == text
    assert read(marked(f"{{ask:{text[:27]}}}{text[27:]}", sure=0.999)).prompt == "a heron in the reeds"


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("an aqueduct being built, {no:with} {out:scaffolds}", ""),
        ("an aqueduct being built, {no:without} {out:scaffolds}", "scaffolds"),
    ],
)
def test_words_that_deny_nothing_leave_something_out_only_beyond_doubt(text: str, left_out: str) -> None:
    assert read(marked(text, sure=0.85)).negative_prompt == left_out


@pytest.mark.parametrize(
    ("text", "prompt", "size"),
    [
        ("{ask:Estoy montando una panadería y quiero un cartel apaisado. }una hogaza", "una hogaza", (384, 256)),
        ("{ask:wij zoeken een staande poster voor de borrel. }een lange tafel", "een lange tafel", (256, 384)),
        ("a wide poster on a brick wall", "a wide poster on a brick wall", (None, None)),
    ],
)
def test_a_format_counts_where_a_picture_of_it_is_asked_for(
    text: str, prompt: str, size: tuple[int | None, int | None]
) -> None:
    found = read(marked(text))
    assert (found.prompt, (found.width, found.height)) == (prompt, size)
