"""Where a thing that a message adds is, and how a prompt says so."""

from __future__ import annotations

import pytest

from limner_worker.stages.interpretation.language.at_rest import at_rest
from limner_worker.stages.interpretation.language.files import BY_CODE

from .follow_ups import wished


@pytest.mark.parametrize(
    ("code", "thing", "shown"),
    [
        ("de", "ein Rabe auf ihre Schulter", "ein Rabe auf ihrer Schulter"),
        ("de", "ein Hund vor das kleine rote Haus", "ein Hund vor dem kleinen roten Haus"),
        ("de", "Sterne an den Himmel", "Sterne am Himmel"),
        ("de", "eine Lampe ins Fenster", "eine Lampe im Fenster"),
        ("de", "Schnee auf die Dächer", "Schnee auf den Dächern"),
        ("de", "eine Katze auf dem Sofa", "eine Katze auf dem Sofa"),
        ("ru", "кот на подоконник", "кот на подоконнике"),
        ("ru", "скамейка под дерево", "скамейка под деревом"),
        ("ru", "терраса с видом на горы", "терраса с видом на горы"),
        ("ru", "платье в горошек", "платье в горошек"),
        ("en", "a cat on the sofa", "a cat on the sofa"),
    ],
)
def test_a_place_where_something_is_put_is_said_as_one_where_it_is(code: str, thing: str, shown: str) -> None:
    assert at_rest(thing, BY_CODE[code]) == shown


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "ein Igel im Laub",
            "ist der süß geworden! leg ihm noch {added:eine Nuss} daneben, soll auf Opas Tisch",
            "ein Igel im Laub, eine Nuss daneben",
        ),
        ("een draak bij een vuur", "top! zet er {added:een egel} naast", "een draak bij een vuur, een egel ernaast"),
        ("тарелка борща на столе", "ого, добавь рядом {added:чеснок} и всё", "тарелка борща на столе, рядом чеснок"),
        (
            "un lit dans une chambre",
            "ajoute à côté {added:une lampe}, hein",
            "un lit dans une chambre, à côté une lampe",
        ),
        ("un castello sul colle", "vicino al fiume, e {added:un drago} sopra", "un castello sul colle, un drago sopra"),
        ("一碗面放在桌上", "能不能在旁边加{added:一双筷子}？", "一碗面放在桌上，旁边一双筷子"),
        ("深夜的小面馆", "柜台旁边要有{added:一只招财猫}", "深夜的小面馆，柜台旁边有一只招财猫"),
        ("무대 위의 발레리나", "뒤에 {added:첼로 연주자}도 있으면 좋겠어요", "무대 위의 발레리나, 뒤에 첼로 연주자"),
    ],
)
def test_a_thing_keeps_the_place_that_is_said_apart_from_it(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "een winkel in de etalage",
            "zet er {added:een beer naast het treintje} bij",
            "een winkel in de etalage, een beer naast het treintje",
        ),
        (
            "une table dans un jardin",
            "mets {added:un chat}, à côté de ça je m'en fiche du reste",
            "une table dans un jardin, un chat",
        ),
    ],
)
def test_other_words_for_a_place_are_left(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "dos socios en un garaje",
            "el garaje está muy visto, mejor {place:en una azotea}",
            "dos socios en una azotea",
        ),
        (
            "un lapin nain dans une cage",
            "mettez-le plutôt {place:dans l'herbe}, pauvre bête",
            "un lapin nain dans l'herbe",
        ),
        ("кот летит над городом", "давай он летит не над городом, а {place:над деревней}", "кот летит над деревней"),
        (
            "ein Bus an einer Haltestelle im Regen",
            "lieber {place:bei Sonnenschein} statt {place:im Regen}",
            "ein Bus an einer Haltestelle bei Sonnenschein",
        ),
        ("un phare au bout d'une jetée", "plutôt {place:sous la neige}", "un phare au bout d'une jetée sous la neige"),
        ("鸽子和石阶", "请把{place:时间放在清晨}，谢谢您", "鸽子和石阶，清晨"),
        ("바다 위의 배", "{place:비 오는 날}이어야 합니다", "바다 위의 배, 비 오는 날"),
    ],
)
def test_another_place_takes_the_one_that_the_message_names_or_prefers_it_to(
    before: str, message: str, prompt: str
) -> None:
    assert wished(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        (
            "a bookshop window with novels",
            "could there be {added:a sleeping cat between} the novels, please?",
            "a bookshop window with novels, a sleeping cat between the novels",
        ),
        ("an octopus", "{added:a little seahorse beside} it please", "an octopus, a little seahorse beside it"),
        ("una banda in divisa", "e mettici {added:un cane che} la segue", "una banda in divisa, un cane che la segue"),
        (
            "een fanfare op het plein",
            "Wat ontbreekt is {added:een muziektent op de} achtergrond.",
            "een fanfare op het plein, een muziektent op de achtergrond",
        ),
        ("海边的小木屋", "另外在屋前加{added:一盏路灯}", "海边的小木屋\uff0c屋前一盏路灯"),
        (
            "古い本屋の前の自転車",
            "{old:自転車}{added:のかごに猫}を入れて",
            "古い本屋の前の自転車\uff0c自転車のかごに猫",
        ),
        ("縁側で眠る猫", "{added:そばに湯}のみがあったら最高", "縁側で眠る猫\uff0cそばに湯のみ"),
        ("작은 서점", "서점 {added:앞에 빨간 우체통}을 놓아 주세요", "작은 서점, 서점 앞에 빨간 우체통"),
        ("낮은 다락방", "{added:천장에 창문} 하나 내주세요", "낮은 다락방, 천장에 창문 하나"),
    ],
)
def test_an_added_thing_has_all_words_for_its_place(before: str, message: str, prompt: str) -> None:
    assert wished(before, message).prompt == prompt
