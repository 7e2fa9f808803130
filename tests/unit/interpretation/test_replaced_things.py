"""What takes the place of a thing keeps its adjectives, if it has none of its own and they have the same form."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import SEED, changed


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a green bus near a lake", "a tram instead of the bus, and no people", "a green tram near a lake"),
        ("a big old house on a hill", "a castle instead of the house", "a big old castle on a hill"),
        ("an old man on a bench", "change the man to a woman", "an old woman on a bench"),
        ("a red car on a road", "a green truck instead of the car", "a green truck on a road"),
        ("a sports car on a road", "a tractor instead of the car", "a tractor on a road"),
        ("a cat with a red hat", "a scarf instead of the hat", "a cat with a red scarf"),
        ("a cat with a red hat", "an umbrella instead of the hat", "a cat with a red umbrella"),
        (
            "ein blauer Lastwagen vor einer Scheune",
            "doch lieber ein Traktor statt dem Lastwagen",
            "ein blauer Traktor vor einer Scheune",
        ),
        (
            "ein blauer Lastwagen vor einer Scheune",
            "eine Kutsche statt dem Lastwagen",
            "eine Kutsche vor einer Scheune",
        ),
        (
            "un grand camion devant une grange",
            "remplace le camion par un tracteur",
            "un grand tracteur devant une grange",
        ),
        ("un grand camion devant une grange", "remplace le camion par une voiture", "une voiture devant une grange"),
        (
            "un camion bleu devant une grange",
            "remplace le camion par un tracteur",
            "un tracteur bleu devant une grange",
        ),
        ("un perro negro en un parque", "cambia el perro por un gato", "un gato negro en un parque"),
        (
            "een blauwe vrachtwagen voor een schuur",
            "vervang de vrachtwagen door een tractor",
            "een blauwe tractor voor een schuur",
        ),
        ("синий грузовик у сарая", "замени грузовик на трактор", "синий трактор у сарая"),
        ("蓝色的卡车停在谷仓前", "把卡车换成拖拉机", "蓝色的拖拉机停在谷仓前"),
        ("青いトラック", "トラックをトラクターに変えて", "青いトラクター"),
        ("파란 트럭", "트럭 말고 트랙터로", "파란 트랙터"),
    ],
)
def test_what_is_new_keeps_the_adjectives_of_what_it_replaces(before: str, message: str, prompt: str):
    found = changed(before, message)
    assert (found.prompt, found.seed) == (prompt, SEED)


def test_a_short_name_is_no_part_of_another_word():
    assert changed("eine Katze mit Hut", "eine Geige aus Eis, Hochformat").prompt == "eine Geige aus Eis"


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a cat on a sofa", "I'd rather have a dog", "a dog on a sofa"),
        ("un lapin qui jardine avec une pelle", "plutôt un hérisson", "un hérisson qui jardine avec une pelle"),
        ("ein rotes Auto", "eigentlich lieber ein Lastwagen", "ein Lastwagen"),
    ],
)
def test_a_preferred_subject_takes_the_place_of_the_old_one(before: str, message: str, prompt: str) -> None:
    assert changed(before, message).prompt == prompt


def test_a_russian_object_keeps_its_case() -> None:
    assert changed("бабушка вяжет носки у окна", "Не носки, а шарф.").prompt == "бабушка вяжет шарф у окна"
