"""What the tagger holds for things to leave out, beside what the rules find."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

import pytest

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions
from limner_shared.domain.jobs import JobRequest
from limner_worker.stages.interpretation.interpreter import Interpreter, Request
from limner_worker.stages.interpretation.rules import interpret
from limner_worker.stages.interpretation.tagging.asking_words import Tagged

_PARTS: Final = re.compile(r"([<>{}])")


UNSURE: Final = 0.08
"""How likely words leave something out that the tagger cannot tell: then the rules decide."""


def marked(text: str, thing: float = 0.95, others: float = 0.0) -> Tagged:
    """Return a text without its brackets: in <> it leaves something out, in {} within these stands the thing.

    The other words do so with the likelihood `others`.
    """
    shares: list[tuple[float, float]] = []
    leaving, left_out = others, 0.0
    for part in _PARTS.split(text):
        leaving = {"<": 0.97, ">": others}.get(part, leaving)
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
    assert read(marked("a radio<, no {wires}>, no hat", others=UNSURE)).negative_prompt == "wires, hat"
    assert read(marked("a cat without a hat", others=UNSURE)).negative_prompt == "hat"


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("a cat<, but take off the >hat", "hat"),
        ("ein Iglu<, aber nimm die >Fahne weg", "Fahne"),
        ("un igloo<, mais enlève le >drapeau", "drapeau"),
        ("un iglú<, pero quítale la >bandera", "bandera"),
        ("un igloo<, ma togli la >bandiera", "bandiera"),
        ("um iglu<, mas tira a >bandeira", "bandeira"),
        ("een iglo<, maar haal de >vlag weg", "vlag"),
        ("иглу<, но убери >флаг", "флаг"),
        ("冰屋<，但是不要>旗子", "旗子"),
        ("イグルー、旗<は入れないで>", "旗"),
        ("이글루, 깃발<은 빼 줘>", "깃발"),
    ],
)
def test_the_tagger_cannot_undo_a_removal_by_the_rules(text: str, left_out: str) -> None:
    found = read(marked(text, others=0.02))
    assert found.negative_prompt == left_out
    assert left_out not in found.prompt


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("кот< без {хвоста}> и собака", "кот и собака", "хвоста"),
        ("Gatto< senza {coda}> e cane", "Gatto e cane", "coda"),
        ("fiets< zonder {zadel}> tegen een muur", "fiets tegen een muur", "zadel"),
        ("No Face from Spirited Away on a train", "No Face from Spirited Away on a train", ""),
        ("постер к фильму Без имени", "постер к фильму Без имени", ""),
        ("无锡的古运河夜景", "无锡的古运河夜景", ""),
    ],
)
def test_what_surely_leaves_nothing_out_is_drawn(text: str, prompt: str, left_out: str) -> None:
    found = read(marked(text))
    assert (found.prompt, found.negative_prompt) == (prompt, left_out)


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
        ("a street< without {cars}>, people and bicycles", "a street", "cars, people, bicycles"),
    ],
)
def test_a_thing_of_the_rules_is_the_whole_thing_and_its_clause_goes(text: str, prompt: str, left_out: str) -> None:
    found = read(marked(text, others=UNSURE))
    assert (found.prompt, found.negative_prompt) == (prompt, left_out)


@pytest.mark.parametrize(
    ("text", "prompt", "left_out"),
    [
        ("a red house without windows and a tree", "a red house and a tree", "windows"),
        ("a robot without legs, a tree and a cat", "a robot, a tree and a cat", "legs"),
        ("no clouds and a sun", "a sun", "clouds"),
        ("a house without a door and a window", "a house", "door, window"),
        ("ein Haus ohne Fenster und ein Baum", "ein Haus und ein Baum", "Fenster"),
        ("une maison sans fenêtres et un arbre", "une maison et un arbre", "fenêtres"),
        ("una casa sin ventanas y un árbol", "una casa y un árbol", "ventanas"),
        ("uma casa sem janelas e uma árvore", "uma casa e uma árvore", "janelas"),
        ("una casa senza finestre e un albero", "una casa e un albero", "finestre"),
        ("een huis zonder ramen en een boom", "een huis en een boom", "ramen"),
    ],
)
def test_a_thing_with_an_article_after_things_without_one_is_drawn(text: str, prompt: str, left_out: str) -> None:
    found = interpret(text, (), ())
    assert (found.prompt, found.negative_prompt) == (prompt, left_out)


@pytest.mark.parametrize(
    "text",
    [
        "a cat, but not without a hat",
        "a man who can't live without his dog",
        "ein Haus nicht ohne Fenster",
        "un chat, pas sans chapeau",
        "un gato no sin sombrero",
        "um gato não sem chapéu",
        "un gatto non senza cappello",
        "een kat niet zonder hoed",
        "кот не без шляпы",
        "不是没有窗户的房子",
        "帽子なしではない猫",
        "모자가 없지 않은 고양이",
    ],
)
def test_a_negation_of_leaving_out_leaves_nothing_out(text: str) -> None:
    found = interpret(text, (), ())
    assert (found.prompt, found.negative_prompt) == (text, "")


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("a dog in a hat, no rush", "a dog in a hat"),
        ("ein Hund, kein Stress", "ein Hund"),
        ("pas de panique, un chat bleu", "un chat bleu"),
        ("um cão, sem problema", "um cão"),
        ("geen haast, een kat", "een kat"),
    ],
)
def test_a_courtesy_leaves_nothing_out(text: str, prompt: str) -> None:
    found = interpret(text, (), ())
    assert (found.prompt, found.negative_prompt) == (prompt, "")
    assert read(marked("a dog<, no {hurry} at all>")).negative_prompt == ""


def test_a_clause_ends_before_another_thing_to_draw_and_a_negated_one_is_none() -> None:
    found = read(marked("a house< without any {windows} and a {tree}>"))
    assert (found.prompt, found.negative_prompt) == ("a house and a tree", "windows")
    assert read(marked("<no {clouds} and a {sun}>")).prompt == "a sun"
    assert read(marked("a cat< not without a {hat}>")).negative_prompt == ""


def test_what_joins_things_leaves_none_of_them_out() -> None:
    found = read(marked("时间的流逝<\uff0c{金色}与{灰色}>"))
    assert (found.prompt, found.negative_prompt) == ("时间的流逝\uff0c金色与灰色", "")


def test_words_that_hardly_leave_things_out_name_none() -> None:
    said = marked("ein Nilpferd< und liest {Zeitung} und gähnt>")
    found = read(replace(said, leaving=[min(share, 0.55) for share in said.leaving]))
    assert found.negative_prompt == ""


def test_words_that_leave_something_out_begin_where_the_rules_have_it_if_the_tagger_doubts() -> None:
    said = marked("a kite <and it rains but leave out the {flags}>")
    leaving = [0.3 if at in range(7, 19) else share for at, share in enumerate(said.leaving)]
    found = read(replace(said, leaving=leaving))
    assert (found.prompt, found.negative_prompt) == ("a kite and it rains", "flags")


def test_words_beside_a_clause_go_with_it_if_they_may_be_of_it() -> None:
    said = marked("a kite< yet minding {flags} there>")
    leaving = [0.7 if at in range(7, 10) else share for at, share in enumerate(said.leaving)]
    assert read(replace(said, leaving=leaving)).prompt == "a kite"
    alone = marked("a kite< yet minding> <{flags}>")
    assert read(replace(alone, leaving=alone.left_out)).negative_prompt == ""
