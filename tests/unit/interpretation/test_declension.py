"""Russian words in the form that a sentence asks for."""

from __future__ import annotations

import pytest

from limner_worker.stages.interpretation.language.declension import agreeing, in_form_of, in_its_place, named_alone


@pytest.mark.parametrize(
    ("left", "old", "new", "whole"),
    [
        ("рыцарь с ", "мечом", "копьё", "рыцарь с копьём"),
        ("самовар на столе с ", "пирогами", "блины", "самовар на столе с блинами"),
        ("букет ", "ромашек", "розы", "букет роз"),
        ("мальчик держит ", "мяч", "книга", "мальчик держит книгу"),
        ("", "кот", "рыжая собака", "рыжая собака"),
        ("кот в красной ", "шляпе", "берет", "кот в красном берете"),
        ("кот в красной ", "шляпе", "синий шарф", "кот в синем шарфе"),
        ("робот у ", "окна", "красная дверь с ручкой", "робот у красной двери с ручкой"),
        ("кот и ", "пёс", "robot", "кот и robot"),
        ("кот с красной ", "шляпой", "судья", "кот с красным судьёй"),
    ],
)
def test_another_thing_has_the_case_of_the_old_one(left: str, old: str, new: str, whole: str) -> None:
    assert "".join(in_its_place(left, old, new)) == whole


@pytest.mark.parametrize(
    ("thing", "named"),
    [
        ("ёжика с рюкзаком в лесу", "ёжик с рюкзаком в лесу"),
        ("рыжую кошку с бантом", "рыжая кошка с бантом"),
        ("старого волшебника", "старый волшебник"),
        ("воздушного змея", "воздушный змей"),
        ("маяк на скале", "маяк на скале"),
        ("кошка", "кошка"),
        ("two cats", "two cats"),
    ],
)
def test_the_object_of_a_sentence_is_named_alone(thing: str, named: str) -> None:
    assert named_alone(thing) == named


def test_adjectives_agree_with_their_noun_and_with_each_other() -> None:
    assert agreeing("красный", "шарфе", "кот в синем ") == "красном"
    assert agreeing("рыжая", "лошадь", "") == "рыжая"
    assert agreeing("красный", "чашку чая!", "возьми ") == "красную"
    assert [agreeing("золотой", noun, "") for noun in ("бежит", "и", "123", "")] == ["золотой"] * 4
    assert in_form_of("синий", "красной") == "синей"
    assert in_form_of("чёрный", "белых") == "чёрных"
    assert in_form_of("blue", "белых") == "blue"
