"""Prompts are read as scenes only where all that they say is understood, in every language of the files."""

from __future__ import annotations

from pathlib import Path

import pytest

import limner_worker
from limner_shared.domain.scenes import Scene, SceneRule
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.scenes.reading import SceneReader
from limner_worker.generators.builtin.scenes.words import languages
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder

TEXT = Path(limner_worker.__file__).parent / "models" / "limner-text"


@pytest.fixture(scope="module")
def reader() -> SceneReader:
    return SceneReader(KnownNames(TEXT), TextEncoder(TEXT).encode)


def told(scene: Scene | None) -> str:
    """Return a scene in short: "2 blue cat + dog | left 0 1"."""
    if scene is None:
        return ""
    things = [
        " ".join(filter(None, (str(each.count) if each.count > 1 else "", each.colour, each.name)))
        for each in scene.objects
    ]
    relations = [f"{each.kind} {each.subjects[0]} {each.object}" for each in scene.relations]
    place = [] if scene.background == "white" else [scene.background]
    return " | ".join((" + ".join(things), *relations, *place))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a blue cat", "blue cat"),
        ("two apples", "2 red apple"),
        ("a photo of a red apple and a green cup", "red apple + green cup of coffee"),
        ("a rocket above a mountain", "rocket + mountain | above 0 1"),
        ("a cat to the left of a dog", "cat + dog | left 0 1"),
        ("a dog wearing a crown", "dog face + crown | wearing 0 1"),
        ("a hat on a cat", "top hat + cat face | wearing 1 0"),
        ("two cats with hats and a dog", "2 cat face + 2 top hat + dog | wearing 0 1"),
        ("a bow and arrow and a cat", "bow and arrow + cat"),
        ("5 mice", "5 mouse"),
        ("a robot on a red background", "robot | red"),
        ("seven balloons in the sky", "7 balloon | sky"),
        ("an orange cat", "orange cat"),
        ("two oranges", "2 tangerine"),
    ],
)
def test_things_numbers_colours_places_and_backgrounds_are_read(reader: SceneReader, text: str, expected: str) -> None:
    assert told(reader.read(text, SceneRule())) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("blue car", "green apple", "black cat", "a red heart", "two hearts", "fork and knife", "an octopus", "cats"),
        *("a cat without a hat", "a cat eating fish", "twenty cats", "a cat or a dog", "", "   ", "two", "and", "a"),
        "x and " * 40,
        "a cat " * 20,
    ],
)
def test_names_single_things_and_what_is_not_understood_are_no_scenes(reader: SceneReader, text: str) -> None:
    scene = reader.read(text, SceneRule())
    assert scene is None or scene.plain


SENTENCES = {
    "blue cat": "eine blaue Katze/un gato azul/un chat bleu/un gatto blu/um gato azul/een blauwe kat/"
    "синяя кошка/青い猫/파란 고양이/一只蓝色的猫",
    "2 red apple": "zwei Äpfel/dos manzanas/deux pommes/due mele/duas maçãs/twee appels/"
    "два яблока/りんご2つ/사과 두 개/两个苹果",
    "3 cat": "drei Katzen/tres gatos/trois chats/tre gatti/três gatos/drie katten/"
    "три кошки/3匹の猫/고양이 세 마리/三只猫",
    "rocket + mountain | above 0 1": "eine Rakete über einem Berg/un cohete por encima de una montaña/"
    "une fusée au-dessus d'une montagne/un razzo sopra una montagna/um foguete acima de uma montanha/"
    "een raket boven een berg/ракета над горой/火箭在山的上方",
    "mountain + rocket | above 1 0": "山の上のロケット/산 위의 로켓",
    "dog face + crown | wearing 0 1": "ein Hund, der eine Krone trägt/un perro con una corona/"
    "un chien portant une couronne/un cane che indossa una corona/um cachorro usando uma coroa/een hond met een kroon/"
    "собака в короне/王冠をかぶった犬/왕관을 쓴 개/戴着皇冠的狗",
}


@pytest.mark.parametrize(
    ("text", "expected"), [(text, each) for each, texts in SENTENCES.items() for text in texts.split("/")]
)
def test_scenes_are_read_in_eleven_languages(reader: SceneReader, text: str, expected: str) -> None:
    scene = reader.read(text, SceneRule())
    assert scene is not None
    in_order = told(scene) == expected
    assert in_order or {each.name for each in scene.objects} == {"rocket", "mountain"}
    assert [each.kind for each in scene.relations] == (
        [expected.split("| ")[1].split(maxsplit=1)[0]] if "|" in expected else []
    )
    assert scene.faithful


FORMS = {
    "red bell pepper": "eine Paprika in der Farbe Rot/einen roten Paprika/een rode paprika/een paprika in het rood/"
    "красный болгарский перец/болгарский перец красного цвета/болгарский перец, цвет красный/"
    "a bell pepper in red/a red-coloured bell pepper",
    "red cat": "un gato rojo/un gato de color rojo/un chat de couleur rouge/un gatto di colore rosso/"
    "um gato de cor vermelha/赤い猫/빨간 고양이/红色的猫/кошку красного цвета",
    "cat + dog | left 0 1": "een kat links van een hond/犬の左に猫/개 왼쪽에 고양이/слева кошка, справа собака/"
    "a cat on the left and a dog on the right/猫在狗的左边/links eine Katze und rechts ein Hund",
    "3 crab": "tre granchi/três caranguejos",
    "2 oyster": "due ostriche/duas ostras",
    "3 taxi": "três táxis",
    "pink clamp + grey telephone": "braçadeira rosa e telefone no gancho cinza",
    "3 saxophone": "drie saxofoons/drie stuks saxofoon/три саксофона/саксофон, три штуки/サックスを三つ/3x saxophones",
    "yellow horse + pink bat": "лошадь, цвет жёлтый и летучая мышь, цвет розовый/een paard in het geel en een roze "
    "vleermuis/caballo de color amarillo y murciélago rosa/Pferd in der Farbe gelb und Fledermaus in der Farbe rosa",
}


@pytest.mark.parametrize(
    ("text", "expected"), [(text, each) for each, texts in FORMS.items() for text in texts.split("/")]
)
def test_colours_numbers_and_places_are_read_in_the_forms_of_each_language(
    reader: SceneReader, text: str, expected: str
) -> None:
    scene = reader.read(text, SceneRule())
    assert scene is not None
    places = {"cat + dog | left 0 1", "dog + cat | left 1 0"}
    assert told(scene) == expected or (expected in places and told(scene) in places)
    assert scene.faithful


@pytest.mark.parametrize(
    ("text", "name", "left_out"),
    [
        ("búho sobre una mesa de madera", "owl", "sobre una mesa de madera"),
        ("saxofoon op een houten tafel", "saxophone", "op een houten tafel"),
        ("скутер на деревянном столе", "motor scooter", "на деревянном столе"),
        ("a camera in a quiet street", "camera", "in a quiet street"),
    ],
)
def test_a_place_that_is_not_understood_is_left_out_and_the_thing_remains(
    reader: SceneReader, text: str, name: str, left_out: str
) -> None:
    scene = reader.read(text, SceneRule())
    assert scene is not None
    assert (scene.plain, scene.objects[0].name, scene.left_out) == (True, name, (left_out,))


def test_a_name_of_a_language_that_the_model_was_not_trained_in_is_one_thing(reader: SceneReader) -> None:
    scene = reader.read("esdoornblad", SceneRule())
    assert scene is not None
    assert (scene.plain, scene.objects[0].name) == (True, "maple leaf")


def test_a_word_in_its_own_form_is_not_the_form_of_a_word_in_another_language(reader: SceneReader) -> None:
    assert told(reader.read("cane e rana", SceneRule())) == "dog + frog"
    assert told(reader.read("dos peras", SceneRule())) == "2 pear"


def test_what_a_scene_cannot_show_is_recorded_and_survives_the_receipt(reader: SceneReader) -> None:
    scene = reader.read("a fluffy blue cat and two lorries", SceneRule())
    assert scene is not None
    assert (scene.left_out, scene.faithful) == (("fluffy",), False)
    assert (scene.objects[1].said, scene.objects[1].exact, scene.objects[1].count) == ("lorries", False, 2)
    assert Scene.read(scene.recorded()) == scene
    assert Scene.read({"objects": []}) is None


def test_every_language_has_all_relations_and_backgrounds() -> None:
    assert len(languages()) == 11
    for words in languages():
        assert {kind for kind, _ in words.relations} == {kind for kind, _ in languages()[0].relations}, words.code
        assert {name for name, _ in words.backgrounds} == {None, "night", "sky", "grass"}, words.code


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("a cat in the snow at night", "in the snow"),
        ("eine Katze im Schnee bei Nacht", "im schnee"),
        ("눈 오는 밤의 고양이", "눈 오는"),
    ],
)
def test_weather_and_places_around_a_thing_are_left_out(reader: SceneReader, text: str, left_out: str) -> None:
    scene = reader.read(text, SceneRule())
    assert scene is not None
    assert [each.name for each in scene.objects] == ["cat"]
    assert (scene.background, scene.left_out) == ("night", (left_out,))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("一只蓝色的猫在睡觉", "blue cat"),
        ("一只蓝色的猫在树下看书", "blue cat"),
        ("两只红色的狗在跑步", "2 red dog"),
        ("一只蓝色的猫睡在沙发上", "blue cat"),
        ("一只在睡觉的蓝色的猫", "blue cat"),
    ],
)
def test_a_thing_keeps_its_colour_before_what_it_does_in_chinese(reader: SceneReader, text: str, expected: str) -> None:
    assert told(reader.read(text, SceneRule())) == expected
