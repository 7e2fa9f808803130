"""What the tagger holds for things to leave out, beside what the rules find."""

from __future__ import annotations

import re
from typing import Final

import pytest

from limner_shared.domain.cards import Catalogue
from limner_shared.domain.conditions import Conditions
from limner_shared.domain.jobs import JobRequest
from limner_worker.stages.interpretation.asking_words import Tagged
from limner_worker.stages.interpretation.interpreter import Interpreter, Request

_PARTS: Final = re.compile(r"([<>{}])")


def marked(text: str, thing: float = 0.95) -> Tagged:
    """Return a text without its brackets: in <> it leaves something out, in {} within these stands the thing."""
    shares: list[tuple[float, float]] = []
    leaving = left_out = 0.0
    for part in _PARTS.split(text):
        leaving = {"<": 0.97, ">": 0.0}.get(part, leaving)
        left_out = {"{": thing, "}": 0.0}.get(part, left_out)
        shares += [] if _PARTS.fullmatch(part) else [(leaving, left_out)] * len(part)
    plain = _PARTS.sub("", text)
    return Tagged(plain, [0.0] * len(plain), [each for each, _ in shares], [each for _, each in shares])


def read(tagged: Tagged) -> Conditions:
    card = Catalogue.load([], "limner-flow").get(None)
    interpreter = Interpreter(tagger=lambda texts: [tagged for _ in texts])
    [found] = interpreter([Request(card.resolve(JobRequest(description=tagged.text)), card)])
    return found.conditions


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("a castle on a hill<, {flags} would spoil it>", "a castle on a hill", "flags"),
        ("ein alter Koffer<, {Aufkleber} lieber weglassen>", "ein alter Koffer", "Aufkleber"),
        ("un castillo<, {banderas} y {nubes} sobran>", "un castillo", "banderas, nubes"),
        ("山坡上的城堡<、{旗子}就免了吧>", "山坡上的城堡", "旗子"),
        ("언덕 위의 성<, {깃발}은 질색이야>", "언덕 위의 성", "깃발"),
    ],
)
def test_words_that_the_rules_do_not_know_leave_things_out(text: str, prompt: str, left_out: str) -> None:
    found = read(marked(text))
    assert (found.prompt, found.negative_prompt) == (prompt, left_out)


def test_what_the_rules_find_stays_and_is_trimmed_to_the_thing() -> None:
    assert read(marked("a radio<, no {wires} thereabouts>")).negative_prompt == "wires"
    assert read(marked("a radio<, no {wires}>, no hat")).negative_prompt == "wires, hat"
    assert read(marked("a cat without a hat")).negative_prompt == "hat"


def test_a_thing_that_is_not_surely_left_out_stays_in_the_prompt() -> None:
    found = read(marked("a cup full of <{flowers}>", thing=0.7))
    assert (found.prompt, found.negative_prompt) == ("a cup full of flowers", "")


def test_a_text_of_nothing_else_is_its_own_prompt() -> None:
    found = read(marked("<{flags} would spoil it>"))
    assert (found.prompt, found.negative_prompt) == ("flags would spoil it", "")


def test_what_somebody_says_leaves_nothing_out() -> None:
    found = read(marked("a kitchen sign that says <no {shoes} allowed>"))
    assert (found.prompt, found.negative_prompt) == ("a kitchen sign that says no shoes allowed", "")


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("un morse<, par contre pas de {canard}>", "un morse", "canard"),
        ("un cerisier<, je préfère qu'il n'y ait pas {d'oiseaux}>", "un cerisier", "oiseaux"),
        ("お風呂のセイウチ<、{アヒルのおもちゃ}は無しで>", "お風呂のセイウチ", "アヒルのおもちゃ"),
        ("a street<, no {party}>, no art", "a street", "party, art"),
    ],
)
def test_a_thing_of_the_rules_is_the_whole_thing_and_its_clause_goes(text: str, prompt: str, left_out: str) -> None:
    found = read(marked(text))
    assert (found.prompt, found.negative_prompt) == (prompt, left_out)
