"""Colours, materials and patterns that a message gives to a thing of a picture, and the bounds of a message's parts."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import SEED, wished

from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.reading.parts import Part
from limner_worker.stages.interpretation.refining.attributes import kinds_of, same_kind
from limner_worker.stages.interpretation.refining.bounds import bounded


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "a grey cat asleep on a sofa",
            "my son says the {old:cat} was {quality:ginger}",
            "a ginger cat asleep on a sofa",
        ),
        ("a knight in silver armor", "we'd like the {old:armor} {quality:black}, ok", "a knight in black armor"),
        ("a red tulip in a glass vase", "hm the {old:vase} {quality:wooden}, she said", "a red tulip in a wooden vase"),
        ("a table of pine in a barn", "grandpa wants the {old:table} {quality:of oak}", "a table of oak in a barn"),
        ("a striped cap on a peg", "the {old:cap} {quality:oak-brown}, ok", "a striped oak-brown cap on a peg"),
        ("una Vespa gialla al mare", "la mia {old:Vespa} era {quality:azzurra}, sai", "una Vespa azzurra al mare"),
        ("un castelo de areia com torres", "agora, gente, {quality:de madeira}", "un castelo de madeira com torres"),
        (
            "ein Trabi mit hellblauem Lack",
            "bei uns war der {old:Lack} {quality:rot}, weißt du",
            "ein Trabi mit rotem Lack",
        ),
        ("девочка в жёлтых сапогах", "{old:сапоги} как у меня, {quality:малиновые}", "девочка в малиновых сапогах"),
        ("一把红色的伞靠在桥上", "我妈说{old:伞}是{quality:青色}", "一把青色的伞靠在桥上"),
        ("은색 갑옷을 입은 전사", "우리 애가 그러는데 {old:갑옷}은 {quality:검은색}", "검은색 갑옷을 입은 전사"),
    ],
)
def test_a_quality_takes_the_place_of_one_of_its_kind(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "um macaco de chapéu vendendo cocos",
            "olha, {old:chapéu} não, {new:um boné}",
            "um macaco de boné vendendo cocos",
        ),
        ("un uomo con la guitarra", "¿y si fuera {new:el acordeón}, no {old:guitarra}?", "un uomo con el acordeón"),
        ("a cafe with plastic tables", "{old:plastic tables}, hm, {new:wooden tables}", "a cafe with wooden tables"),
    ],
)
def test_another_thing_takes_the_place_of_an_old_one_with_its_article(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(("said", "seed"), [("la 3", 2), ("option B", 1), ("the left one", 0), ("numéro 4", 3)])
def test_a_picture_is_chosen_by_its_number_letter_or_place(said: str, seed: int) -> None:
    found = wished("a cat", f"{{picked:{said}}} !!", 4)
    assert (found.n, found.seed) == (1, SEED + seed)


def test_kinds_of_qualities_are_known_in_their_forms() -> None:
    english, german, japanese = (BY_CODE[code] for code in ("en", "de", "ja"))
    assert kinds_of("funny", english) == []
    assert same_kind("wooden", "glass", english)
    assert not same_kind("golden", "wooden", english)
    assert same_kind("hellblauem", "rot", german)
    assert same_kind("木", "ガラス", japanese)


@pytest.mark.parametrize(
    ("code", "prompt", "said", "part", "expected"),
    [
        ("en", "a cat", "put it in an old barn please", Part("place", "old barn please"), Part("place", "old barn")),
        ("es", "un gato", "que sea el perro", Part("new", "perro"), Part("new", "el perro")),
        ("pt", "um castelo", "agora de madeira", Part("quality", "madeira"), Part("quality", "de madeira")),
        ("en", "a cat", "pink rather than grey", Part("quality", "pink rather than grey"), Part("quality", "pink")),
        ("ja", "ろうそくがのったケーキ", "ろうそくは消して", Part("gone", "ろうそ"), Part("gone", "ろうそく")),
        ("ja", "公園の柴犬", "柴犬のかわりに猫", Part("old", "柴犬のか"), Part("old", "柴犬")),
        ("ja", "古い廊下", "もっと不気味にして", Part("look", "もっと不気味"), Part("look", "もっと不気味に")),
        ("ko", "할아버지", "배경을 바닷가로", Part("place", "을 바닷가"), Part("place", "바닷가")),
        ("ko", "골목", "밤에는 어떨까", Part("place", "밤에"), Part("place", "밤")),
        ("it", "una casetta", "in 3d, con un tetto", Part("new", "un tetto"), Part("added", "un tetto")),
    ],
)
def test_parts_have_the_words_that_belong_to_them(
    code: str, prompt: str, said: str, part: Part, expected: Part
) -> None:
    assert bounded([part], said, prompt, BY_CODE[code]) == [expected]


def test_beside_a_chosen_picture_another_subject_is_added() -> None:
    parts = [Part("picked", "la prima"), Part("subject", "un cesto di mele")]
    assert bounded(parts, "la prima, e un cesto di mele", "un forno", BY_CODE["it"])[1].role == "added"


def test_what_rules_leave_out_is_not_added_but_in_a_question_it_is_missed() -> None:
    found = wished("ein Leuchtturm", "Danke! Jetzt {place:bei Nacht} und ohne {added:Boote}.")
    assert (found.prompt, found.negative_prompt) == ("ein Leuchtturm bei Nacht", "Boote")
    found = wished("a garden", "shouldn't there be {added:a cat} somewhere?")
    assert (found.prompt, found.negative_prompt) == ("a garden, a cat", "")


def test_things_and_looks_are_added_in_the_order_of_the_message_after_its_place() -> None:
    found = wished("a house", "so {look:merrier}, {added:a cat on the wall} and {place:at night} for my gran")
    assert found.prompt == "a house at night, merrier, a cat on the wall"


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("чугунный самовар на веранде", "пусть {old:самовар} будет {quality:медный}", "медный самовар на веранде"),
        ("лодка с белым парусом", "а можно {old:парус} алый?", "лодка с алым парусом"),
        ("阳台上一把塑料椅子", "{old:椅子}换成{quality:藤编}的", "阳台上一把藤编椅子"),
        ("桌上的茶壶和两只白色茶杯", "{old:茶杯}我想要{quality:浅绿色}的", "桌上的茶壶和两只浅绿色茶杯"),
        ("회색 천 소파와 러그", "{old:소파}는 {quality:가죽}으로 하면 더 멋질 듯", "회색 가죽 소파와 러그"),
        ("노란 유치원 버스와 나무", "{old:버스}는 {quality:하늘색}", "하늘색 유치원 버스와 나무"),
        ("초록색 문이 달린 한옥", "{old:문을} {quality:남색}으로 바꿔줘", "남색 문이 달린 한옥"),
        ("木製の椅子に座る猫", "{old:椅子}は{quality:革張り}がいいな", "革張りの椅子に座る猫"),
    ],
)
def test_a_quality_takes_the_place_of_one_of_its_kind_in_every_script(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt
