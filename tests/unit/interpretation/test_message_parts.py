"""The parts of a message that a tagger finds, and what they change about the picture before it."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from bench.interpret import FOLLOW_UPS, FOUND, SIZES, after, interpreted, is_changed, rows_of

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Turn
from limner_worker.networks.word_tagger import MESSAGE_ROLES
from limner_worker.stages.interpretation.interpreter import Interpreter
from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.reading.parts import FollowUp, Part
from limner_worker.stages.interpretation.refining.removing import removed
from limner_worker.stages.interpretation.rules import interpret
from limner_worker.stages.interpretation.tagging.message_parts import parts_of
from limner_worker.stages.interpretation.tagging.tagger import Tagger

STYLES = ("3d", "noto", "noto-v1", "flat")
CARD = Catalogue.load([], "limner-flow").get(None).model_copy(update={"sizes": SIZES})
SEED = 7
LEAST_RIGHT = 0.8
_MARKED = re.compile(r"\{(\w+):([^{}]*)\}")


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return Tagger()


def marked(text: str) -> tuple[str, list[Part]]:
    """Return a text without its marks, and the parts that they mark."""
    return _MARKED.sub(r"\2", text), [Part(*each.groups()) for each in _MARKED.finditer(text)]


def changed(message: str, before: str, pictures: int = 1) -> Conditions:
    text, parts = marked(message)
    picture = Conditions(prompt=before, n=pictures, seed=SEED)
    return interpret(text, STYLES, (Turn(text=before, conditions=picture),), SIZES, parts=parts)


def shares_of(text: str, roles: dict[str, str], sure: float = 0.9) -> list[list[float]]:
    """Return shares by which the words of `roles` surely have their role, and all others are said."""
    shares = [[(1 - sure) / len(MESSAGE_ROLES)] * len(text) for _ in MESSAGE_ROLES]
    own = [MESSAGE_ROLES.index("said")] * len(text)
    for words, role in roles.items():
        at = text.index(words)
        own[at : at + len(words)] = [MESSAGE_ROLES.index(role)] * len(words)
    for at, role in enumerate(own):
        shares[role][at] = sure
    return shares


@pytest.mark.parametrize(
    ("text", "code", "roles"),
    [
        ("my son is six, can the boat be blue?", "en", {"boat": "old", "blue": "quality"}),
        ("给他戴一顶红帽子吧", "zh", {"一顶红帽子": "added"}),
        ("모자를 빼 주세요", "ko", {"모자": "gone"}),
    ],
)
def test_the_parts_are_the_words_of_each_role(text: str, code: str, roles: dict[str, str]) -> None:
    found = parts_of(text, shares_of(text, roles), BY_CODE[code])
    assert found == [Part(role, words) for words, role in roles.items()]


def test_one_doubtful_word_within_a_part_does_not_end_it() -> None:
    text = "put a horse next to the barn"
    shares = shares_of(text, {"a horse next to the barn": "added"}, 0.98)
    at = text.index("to")
    for role, name in enumerate(MESSAGE_ROLES):
        shares[role][at : at + 2] = [0.55 if name == "said" else 0.45 if name == "added" else 0.0] * 2
    assert parts_of(text, shares, BY_CODE["en"]) == [Part("added", "a horse next to the barn")]


def test_a_message_without_words_has_no_parts() -> None:
    assert parts_of("", [[] for _ in MESSAGE_ROLES], BY_CODE["en"]) == []


@pytest.mark.parametrize(
    ("message", "before", "prompt"),
    [
        ("my dad had one! his {old:boat} was {quality:blue}", "a yellow boat on a lake", "a blue boat on a lake"),
        ("the {old:boat} {quality:dark blue} I reckon", "a yellow boat on a lake", "a dark blue boat on a lake"),
        (
            "das {old:Boot} halt {quality:dunkelblau}",
            "ein gelbes Boot auf dem See",
            "ein dunkelblaues Boot auf dem See",
        ),
        ("ソファは{quality:深緑}で", "窓辺に置かれた赤いソファ", "窓辺に置かれた深緑のソファ"),
        ("a {old:table} {quality:of oak}, I'd say", "a table of pine in a kitchen", "a table of oak in a kitchen"),
        ("{quality:wooden} {old:spoons} they were", "two spoons on a cloth", "two wooden spoons on a cloth"),
        ("kids eat no noodles, so {new:pancakes} for {old:noodles}", "a plate of noodles", "a plate of pancakes"),
        ("{new:eine Schale} statt der {old:Vase}", "ein Tisch mit einer Vase", "ein Tisch mit einer Schale"),
        ("저기 {old:자동차} 대신 {new:트럭}", "자동차를 타는 고양이", "트럭을 타는 고양이"),
        ("I was after {new:a truck}, mate", "a red car", "a truck"),
        (
            "some life, like {added:ducks on the water}",
            "a picnic by a river",
            "a picnic by a river, ducks on the water",
        ),
        ("gran says {place:in winter}", "an old tram", "an old tram in winter"),
        ("I'd see it {place:at night}", "a tram at noon", "a tram at night"),
        ("{place:in a forest}, not on a {old:beach}", "a dog running on a beach", "a dog running in a forest"),
        ("bit {look:more cheerful} for the hall", "a fishing boat", "a fishing boat, more cheerful"),
    ],
)
def test_each_part_changes_the_picture_in_its_way(message: str, before: str, prompt: str) -> None:
    found = changed(message, before)
    assert (found.prompt, found.seed) == (prompt, SEED)


def test_what_goes_is_left_out() -> None:
    found = changed("see, the {gone:wine} has to go, it is for a school", "a table with lemons and wine")
    assert (found.prompt, found.negative_prompt) == ("a table with lemons", "wine")


def test_other_pictures_are_new_ones_and_a_chosen_one_keeps_its_seed() -> None:
    found = changed("my lad went wild, he'd love {number:four} {again:further takes}", "a dragon", 2)
    assert (found.prompt, found.n, found.seed) == ("a dragon", 4, None)
    found = changed("tough call for us all, {picked:the third}, but {look:softer}", "a dragon", 4)
    assert (found.prompt, found.n, found.seed) == ("a dragon, softer", 1, SEED + 2)


def test_another_subject_has_the_conditions_that_the_message_names() -> None:
    found = changed("posted it to all, ta. I'd need {subject:a whale above clouds} {size:upright} now", "a soup")
    assert (found.prompt, found.seed, (found.width, found.height)) == ("a whale above clouds", None, (256, 384))


def test_stories_around_a_wish_are_none_of_the_picture(tagger: Tagger) -> None:
    interpreter = Interpreter(tagger=tagger, finder=tagger.parts)
    story = "aw my dad had one just like this!! his was blue though, can you make the boat blue?"
    row = {"before": "a yellow rowing boat on a quiet lake", "pictures": 1, "message": story}
    [found] = interpreter([after(row, CARD)])
    assert found.conditions.prompt == "a blue rowing boat on a quiet lake"


def test_most_follow_ups_of_people_who_tell_stories_are_read_as_meant(tagger: Tagger) -> None:
    rows = [row for part in FOUND for row in rows_of(FOLLOW_UPS, part)][::15]
    found = interpreted(Interpreter(tagger=tagger, finder=tagger.parts), [after(row, CARD) for row in rows])[0]
    right = sum(is_changed(row, each.conditions) for row, each in zip(rows, found, strict=True))
    assert right >= LEAST_RIGHT * len(rows)


def test_messages_are_read_by_the_rules_if_the_tagger_of_messages_fails() -> None:
    def failing(messages: Sequence[FollowUp]) -> list[list[Part]]:
        raise RuntimeError(f"{len(messages)} messages")

    row = {"before": "a red car", "pictures": 1, "message": "make it blue"}
    [found] = Interpreter(finder=failing)([after(row, CARD)])
    assert (found.conditions.prompt, found.fallback) == ("a blue car", None)


@pytest.mark.parametrize(
    ("prompt", "thing", "rest"),
    [
        ("ein Fenster mit Hüten, Schals und einer Katze", "Katze", "ein Fenster mit Hüten und Schals"),
        ("a dog, a cat and a bird", "bird", "a dog and a cat"),
        ("a cat with a hat and a scarf", "scarf", "a cat with a hat"),
        ("一家奶茶店\uff0c门口有一辆电动车", "电动车", "一家奶茶店"),
        ("縁側でお茶を飲むおじいさん、隣に犬", "犬", "縁側でお茶を飲むおじいさん"),
        ("꽃병과 시계가 놓인 탁자", "시계", "꽃병이 놓인 탁자"),
    ],
)
def test_what_goes_leaves_a_list_and_a_sentence_that_are_whole(prompt: str, thing: str, rest: str) -> None:
    assert removed(prompt, thing) == rest


@pytest.mark.parametrize(
    ("text", "place"),
    [("비 오는 밤이면 더 좋을 것 같은데", "비 오는 밤"), ("눈 오는 날이면 더 좋겠어요", "눈 오는 날")],
)
def test_a_korean_place_has_the_time_that_it_describes(text: str, place: str) -> None:
    assert parts_of(text, shares_of(text, {place[:-2]: "place"}), BY_CODE["ko"]) == [Part("place", place)]


def test_a_korean_part_ends_before_its_particle_though_pieces_of_words_cross_it() -> None:
    text = "고양이 말고 강아지로 해줘"
    assert parts_of(text, shares_of(text, {"강아": "new"}), BY_CODE["ko"]) == [Part("new", "강아지")]


def test_what_follows_another_subject_belongs_to_it() -> None:
    text = "now draw a hedgehog with a backpack"
    shares = shares_of(text, {"a hedgehog with": "subject", "a backpack": "added"})
    assert parts_of(text, shares, BY_CODE["en"]) == [Part("subject", "a hedgehog with a backpack")]


@pytest.mark.parametrize("message", ["go back", "rückgängig", "deshacer", "元に戻して", "撤销", "되돌려줘"])
def test_undo_is_the_picture_before_whatever_the_tagger_finds_in_it(message: str) -> None:
    turns = [Turn(text=each, conditions=Conditions(prompt=each, n=1, seed=SEED)) for each in ("a red car", "a boat")]
    found = interpret(message, STYLES, turns, SIZES, parts=[Part("again", message)])
    assert found == turns[0].conditions
