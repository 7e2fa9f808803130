"""Messages that give a picture another time of day, season or weather, and others that put it elsewhere."""

from __future__ import annotations

import pytest
from tests.unit.interpretation.follow_ups import SEED, changed


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a horse by a fence", "could you do it at dusk?", "a horse by a fence at dusk"),
        ("a horse by a fence", "hmm nice, but can we have it at night?", "a horse by a fence at night"),
        ("ein Pferd am Zaun", "kannst du das bei Regen machen?", "ein Pferd am Zaun bei Regen"),
        ("un cheval près d'une haie", "tu peux le faire de nuit ?", "un cheval près d'une haie de nuit"),
        ("un caballo junto a una valla", "¿puede ser de noche?", "un caballo junto a una valla de noche"),
        ("um cavalo no campo", "queria de noite", "um cavalo no campo de noite"),
        ("un cavallo nel prato", "lo vorrei di notte", "un cavallo nel prato di notte"),
        ("een paard bij een hek", "maar dan 's nachts", "een paard bij een hek 's nachts"),
        ("лошадь за забором", "можно ночью?", "лошадь за забором ночью"),
        ("草原上的马", "不过想要傍晚的", "草原上的马\uff0c傍晚"),
        ("草原の馬", "これを夜にしてもらえますか", "草原の馬\uff0c夜"),
        ("들판의 말", "이걸 밤으로 해줄래요?", "들판의 말, 밤"),
    ],
)
def test_a_time_is_added_whatever_asks_for_it(before: str, message: str, prompt: str) -> None:
    found = changed(before, message)
    assert (found.prompt, found.seed) == (prompt, SEED)


def test_a_time_goes_to_the_picture_that_a_message_picks() -> None:
    found = changed("um cavalo no campo", "a segunda, mas de noite", 2)
    assert (found.prompt, found.seed, found.n) == ("um cavalo no campo de noite", SEED + 1, 1)


def test_a_time_that_a_picture_has_is_not_added_again() -> None:
    assert changed("a horse at night", "can we have it at night?").prompt == "a horse at night"


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a horse on a beach", "put it in a garden instead of the beach", "a horse in a garden"),
        ("un cavallo sulla spiaggia", "Grazie! Mettilo in un bosco al posto della spiaggia", "un cavallo in un bosco"),
    ],
)
def test_a_place_takes_the_place_of_another(before: str, message: str, prompt: str) -> None:
    assert changed(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a horse next to a well", "remove the well", "a horse"),
        ("ein Pferd neben einem Brunnen", "der Brunnen muss weg", "ein Pferd"),
        ("un caballo junto a un pozo", "quita el pozo", "un caballo"),
    ],
)
def test_what_stands_beside_goes_with_what_says_so(before: str, message: str, prompt: str) -> None:
    assert changed(before, message).prompt == prompt


def test_something_more_to_wear_is_of_the_same_picture() -> None:
    found = changed("ein Pferd im Wald", "Setz ihm noch einen Hut auf")
    assert (found.prompt, found.seed) == ("ein Pferd mit Hut im Wald", SEED)


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("ein Hafen im Sommer", "und wie sähe das Ganze im Winter aus?", "ein Hafen im Winter"),
        ("a harbour at night", "and how would it look at dawn?", "a harbour at dawn"),
        ("le port de nuit", "et en hiver, ça donnerait quoi ?", "le port de nuit en hiver"),
        ("il porto all'alba", "e al tramonto come sarebbe?", "il porto al tramonto"),
    ],
)
def test_another_time_takes_the_place_of_the_old_one(before: str, message: str, prompt: str) -> None:
    assert changed(before, message).prompt == prompt


@pytest.mark.parametrize(
    ("before", "message", "prompt"),
    [
        ("a harbour", "thanks! now something totally different: a goat on a bicycle", "a goat on a bicycle"),
        ("ein Hafen", "Danke! \U0001f44d Nächstes Bild: eine Ziege auf einem Fahrrad", "eine Ziege auf einem Fahrrad"),
        ("een haven", "oké iets heel anders nu, een geit op een fiets", "een geit op een fiets"),
        ("un porto", "Grazie! Adesso mi serve un'altra immagine: una capra in bici", "una capra in bici"),
        ("港口", "谢谢啦。换个主题\uff0c画一只骑车的山羊", "一只骑车的山羊"),
    ],
)
def test_something_different_is_another_subject(before: str, message: str, prompt: str) -> None:
    found = changed(before, message)
    assert (found.prompt, found.seed) == (prompt, None)


def test_an_emoji_beside_a_change_is_not_drawn() -> None:
    found = changed("ein Igel mit einem Regenschirm", "süß \U0001f994 aber der Regenschirm muss weg")
    assert (found.prompt, found.negative_prompt) == ("ein Igel", "Regenschirm")
